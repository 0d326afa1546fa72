"""Shapes and types of every value, read off runs of the model at several batch sizes and lengths."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgepart.errors import CaptureError
from edgepart.frameworks.onnx.example import Inputs, Sizes
from edgepart.frameworks.onnx.session import is_native, open_session, reason
from edgepart.frameworks.onnx.sides import Sides
from edgepart.graph.sizes import evaluate_size

#: ONNX Runtime's names of element types
_TYPES = {
    "float": "float32", "double": "float64", "float16": "float16", "bool": "bool",
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip

#: lengths that are tried where sizes are not linear in them
_WINDOW = 24
#: ONNX Runtime's words for the operation and the node that failed
_FAILED = re.compile(r"(?:running|executing) (\w+) node\. Name:'([^']*)'")
#: operations → the inputs whose values say how large the result is
_SIZED_BY = {
    "Compress": (0, 1), "ConstantOfShape": (0,), "Expand": (1,), "NonMaxSuppression": (0, 1), "NonZero": (0,),
    "OneHot": (1,), "Pad": (1,), "Range": (0, 1, 2), "Reshape": (1,), "Resize": (2, 3), "Tile": (1,), "TopK": (1,),
    "Unique": (0,),
}  # fmt: skip


@dataclass(frozen=True)
class Shaped:
    """One value: its shape over ``batch`` and ``sequence``, its shape for one sample, its element type."""

    shape: Sizes
    sample: tuple[int, ...]
    dtype: str

    @property
    def count(self) -> int:
        """Numbers in one sample."""
        return math.prod(self.sample)

    @property
    def array_dtype(self) -> np.dtype[Any]:
        """The element type, as NumPy's."""
        return np.dtype(self.dtype)

    @property
    def bytes(self) -> int:
        """Bytes of one sample."""
        return self.count * self.array_dtype.itemsize


def infer(model: ir.Model, inputs: Inputs) -> dict[ir.Value, Shaped]:
    """Shapes and types of all values outside the graphs of control flow.

    Shape inference leaves holes on real models. Instead the model runs at four settings of batch size and length (two
    where there are no sequences), a + b·batch + c·sequence + d·batch·sequence is fitted to every size, and held to a
    further run; where that fails, a floor division of the length, as strided convolutions make, at many more lengths.

    Raises:
        CaptureError: ONNX Runtime lacks an operation or cannot run the model, a value is no tensor of numbers, or a
            size is none of batch and length; names the node.
    """
    _require_known_sizes(model.graph)
    values = [v for node in model.graph for v in node.outputs if v.name]
    dtypes = _types(model, values)
    settings = _settings(inputs)
    measured = run_shapes(model, values, [inputs.at(batch, length) for batch, length in settings])
    by_value = list(zip(*measured, strict=True))
    more = _more_lengths(model, inputs, values, settings, by_value)
    found = {}
    for place, (value, dtype, shapes) in enumerate(zip(values, dtypes, by_value, strict=True)):
        longer = {length: each[place] for length, each in more.items()}
        found[value] = Shaped(_fitted(value, settings, shapes, longer), shapes[0], dtype)
    for value in model.graph.inputs:
        array = inputs.arrays[str(value.name)]
        shape = inputs.shapes[str(value.name)]
        sample = tuple(1 if size == "batch" else given for size, given in zip(shape, array.shape, strict=True))
        found[value] = Shaped(shape, sample, str(array.dtype))
    for value in model.graph.initializers.values():
        tensor = value.const_value
        assert tensor is not None
        dtype = tensor.dtype.numpy().name if is_native(tensor.dtype) else tensor.dtype.name.lower()
        found[value] = Shaped(tuple(tensor.shape.numpy()), tuple(tensor.shape.numpy()), dtype)
    return found


def declare(model: ir.Model, inputs: Inputs) -> None:
    """Let the model say of its inputs what is known of them, and of other values no size that might be wrong."""
    for value in model.graph.inputs:
        value.shape = ir.Shape(inputs.shapes[str(value.name)])
    for graph in model.graphs():
        for node in graph:
            for value in node.outputs:
                value.shape = None
        if graph is not model.graph:
            for value in graph.inputs:
                if value.shape:  # a number remains one: ONNX Runtime wants that of a Loop's count
                    value.shape = None


def run_shapes(
    model: ir.Model, values: Sequence[ir.Value], given: Sequence[Mapping[str, NDArray[Any]]]
) -> list[list[tuple[int, ...]]]:
    """The shapes that values have for each of the given inputs. The values themselves are freed as the model runs.

    Raises:
        CaptureError: ONNX Runtime lacks an operation, or cannot run the model; names the node.
    """
    session = _session(_observed(model, values, shapes=True))
    measured = []
    for arrays in given:
        try:
            shapes = session.run(None, dict(arrays))
        except Exception as error:  # ONNX Runtime has a dozen classes for it, with no common base
            raise explain_run(error, arrays) from error
        measured.append([tuple(int(size) for size in shape) for shape in shapes])
    return measured


def explain_run(error: Exception, arrays: Mapping[str, NDArray[Any]]) -> CaptureError:
    """Why a model does not run on inputs, in one sentence."""
    sizes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
    node = _FAILED.search(str(error))
    where = f"the node '{node[2]}' ({node[1]})" if node else "the network"
    why = reason(error).partition("Status Message: ")
    return CaptureError(
        f"{where} does not run on the inputs {sizes}: {why[2] or why[0]}; the network must run with any batch "
        "size, and with any length of sequences that it declares"
    )


def failed_node(error: Exception) -> str:
    """Name of the node that ONNX Runtime was at; empty where it does not say."""
    found = _FAILED.search(str(error))
    return found[2] if found else ""


def _session(model: ir.Model) -> Any:
    try:
        return open_session(model, fuse=False, prepack=False)
    except Exception as error:
        raise explain_load(error, model) from error


def explain_load(error: Exception, model: ir.Model) -> CaptureError:
    """Why ONNX Runtime does not take a model, in one sentence that names operation and node where it does."""
    text = reason(error)
    missing = re.search(r"implementation for (?:\S+:)?(\w+)\(\d+\) node with name '([^']*)'", text)
    unknown = re.search(r"(?:([\w.]+):)?(\w+)\(-?\d+\) is not a registered function/op", text)
    if missing or unknown:
        operation = missing[1] if missing else unknown[2] if unknown else ""
        domain = f"{unknown[1]}." if unknown and unknown[1] not in (None, "ai.onnx") else ""
        node = missing[2] if missing else ""
        node = node or next((str(n.name) for n in model.graph.all_nodes() if n.op_type == operation), "")
        return CaptureError(
            f"ONNX Runtime lacks the operation {domain}{operation} of node '{node}': export the network with other "
            "operations or another opset"
        )
    newest = re.search(r"Opset (\d+) is under development.* is till opset (\d+)", text)
    if newest:
        return CaptureError(
            f"the model is of operator set {newest[1]}, and ONNX Runtime knows those up to {newest[2]}: export it with "
            "an older one"
        )
    return CaptureError(f"ONNX Runtime does not take the model: {text}; export it again")


def _require_known_sizes(graph: ir.Graph) -> None:
    """Refuse nodes that make as much as the values say that they read."""
    sides = Sides.of(graph)
    known = sides.constant | sides.sizes
    for node in graph:
        places = _SIZED_BY.get(node.op_type, ()) if not node.domain else ()
        read = [node.inputs[place] for place in places if place < len(node.inputs)]
        if any(value is not None and value not in known for value in read):
            raise CaptureError(
                f"the node '{node.name}' ({node.op_type}) makes a tensor whose size depends on values: edgepart cuts "
                "networks whose sizes follow from the batch size and the length of sequences"
            )


def _observed(model: ir.Model, values: Sequence[ir.Value], *, shapes: bool) -> ir.Model:
    """The model with values, or only their shapes, as its outputs."""
    graph = model.graph
    view = ir.GraphView(
        graph.inputs,
        values,
        nodes=tuple(graph),
        initializers=tuple(graph.initializers.values()),
        opset_imports=graph.opset_imports,
        name=graph.name,
    ).clone()
    for index, value in enumerate(tuple(view.outputs)):
        if shapes:
            node = ir.node("Shape", [value])
            node.outputs[0].name = f"edgepart/shape/{index}"
            view.append(node)
            view.outputs[index] = node.outputs[0]
    return ir.Model(view, ir_version=model.ir_version)


def _types(model: ir.Model, values: Sequence[ir.Value]) -> list[str]:
    outputs = _session(_observed(model, values, shapes=False)).get_outputs()
    found = []
    for value, output in zip(values, outputs, strict=True):
        inner = re.fullmatch(r"tensor\((\w+)\)", output.type)
        if inner is None or inner[1] not in _TYPES:
            node = value.producer()
            assert node is not None
            raise CaptureError(
                f"the node '{node.name}' ({node.op_type}) makes a {output.type}: edgepart cuts networks whose values "
                "are tensors of numbers that NumPy has"
            )
        found.append(_TYPES[inner[1]])
    return found


def _settings(inputs: Inputs) -> list[tuple[int, int]]:
    """(batch, length), the example's own first and the one to verify with last."""
    length = inputs.length
    lengths = [length - 1, length - 2] if length > 3 else [length + 1, length + 2]
    if "sequence" not in inputs.symbols:
        return [(1, length), (2, length), (3, length)]
    return [(1, length), (2, length), (1, lengths[0]), (2, lengths[0]), (3, lengths[1])]


def _more_lengths(
    model: ir.Model,
    inputs: Inputs,
    values: Sequence[ir.Value],
    settings: Sequence[tuple[int, int]],
    by_value: Sequence[Sequence[tuple[int, ...]]],
) -> dict[int, list[tuple[int, ...]]]:
    """Length → the shapes at batch 1, for lengths around the example's, where some size is not linear; else empty."""
    if len(settings) == 3:
        return {}
    found: dict[int, list[tuple[int, ...]]] = {}

    def run(lengths: Iterable[int], *, once: bool) -> None:
        for length in lengths:
            try:
                found[length] = run_shapes(model, values, [inputs.at(1, length)])[0]
            except CaptureError:  # too short for it, or too long
                if not once:
                    return
            else:
                if once:
                    return

    # Sizes that are divided by 4 may be alike at three lengths in a row: one that is far shows it.
    run((inputs.length // 2, inputs.length * 3 // 4, inputs.length * 2), once=True)
    for place, shapes in enumerate(by_value):
        far = {length: each[place] for length, each in found.items()}
        if any(
            _linear([shape[axis] for shape in shapes], settings, {n: shape[axis] for n, shape in far.items()}) is None
            for axis in range(min(map(len, (*shapes, *far.values()))))
        ):
            run(range(inputs.length, max(0, inputs.length - _WINDOW), -1), once=False)
            run(range(inputs.length + 1, _WINDOW), once=False)
            return found
    return {}


def _linear(sizes: Sequence[int], settings: Sequence[tuple[int, int]], lengths: Mapping[int, int]) -> int | str | None:
    """What :func:`fit` finds, where it holds at further lengths too."""
    size = fit(sizes, settings)
    if size is None or any(evaluate_size(size, {"batch": 1, "sequence": n}) != seen for n, seen in lengths.items()):
        return None
    return size


def _fitted(
    value: ir.Value,
    settings: Sequence[tuple[int, int]],
    shapes: Sequence[tuple[int, ...]],
    longer: Mapping[int, tuple[int, ...]],
) -> Sizes:
    node = value.producer()
    assert node is not None
    if len({len(shape) for shape in shapes}) > 1:
        raise CaptureError(f"the rank of what the node '{node.name}' ({node.op_type}) makes depends on the batch size")
    fitted: list[int | str] = []
    for axis in range(len(shapes[0])):
        sizes = [shape[axis] for shape in shapes]
        lengths = {length: shape[axis] for length, shape in longer.items()}
        size = _linear(sizes, settings, lengths)
        if size is None:
            size = fit_floor(lengths, sizes, settings)
        if size is None:
            seen = ", ".join(f"{s[axis]} (batch {b}, length {n})" for s, (b, n) in zip(shapes, settings, strict=True))
            raise CaptureError(
                f"dimension {axis} of what the node '{node.name}' ({node.op_type}) makes follows neither from the "
                f"batch size nor from the length of sequences: {seen}; export the network such that its sizes do not "
                "depend on values"
            )
        fitted.append(size)
    return tuple(fitted)


def fit(sizes: Sequence[int], settings: Sequence[tuple[int, int]]) -> int | str | None:
    """The expression a + b·batch + c·sequence + d·batch·sequence of these sizes; None where there is none."""
    if len(set(sizes)) == 1:
        return sizes[0]
    (batch, length), *_ = settings
    if len(settings) == 3:
        b = sizes[1] - sizes[0]
        terms = {"": sizes[0] - b * batch, "batch": b}
    else:
        # with batch b and length n: f(b + 1, n) - f(b, n) = b' + d' n
        step = settings[2][1] - length
        d, odd = divmod(sizes[3] - sizes[2] - sizes[1] + sizes[0], step)
        c, odder = divmod(sizes[2] - sizes[0] - d * batch * step, step)
        if odd or odder:
            return None
        b = sizes[1] - sizes[0] - d * length
        a = sizes[0] - b * batch - c * length - d * batch * length
        terms = {"": a, "batch": b, "sequence": c, "batch*sequence": d}
    verified = all(
        size == terms[""] + terms["batch"] * b + terms.get("sequence", 0) * n + terms.get("batch*sequence", 0) * b * n
        for size, (b, n) in zip(sizes, settings, strict=True)
    )
    return _written(terms) if verified else None


def fit_floor(lengths: Mapping[int, int], sizes: Sequence[int], settings: Sequence[tuple[int, int]]) -> str | None:
    """The expression a + m·((sequence + o) // k), or that times batch, of sizes that grow by m at every k-th length.

    Divisions of divisions, as several strides make, are divisions again.

    Args:
        lengths: length → size at batch 1
        sizes: at other batch sizes, for ``settings``
    """
    steps = [n for n in sorted(lengths) if n - 1 in lengths and lengths[n] != lengths[n - 1]]
    if len(steps) < 2:
        return None
    k, m = steps[1] - steps[0], lengths[steps[0]] - lengths[steps[0] - 1]
    o = -steps[0] % k
    a = lengths[steps[0]] - m * ((steps[0] + o) // k)
    for symbol in ("", "batch"):
        text = f"(sequence + {o})//{k}" if o else f"sequence//{k}"
        text = text if m == 1 else f"{m}*({text})"
        text = f"{text} {'-' if a < 0 else '+'} {abs(a)}" if a else text
        text = f"batch*({text})" if symbol else text
        seen = [((1, n), size) for n, size in lengths.items()] + list(zip(settings, sizes, strict=True))
        if all(evaluate_size(text, {"batch": b, "sequence": n}) == size for (b, n), size in seen):
            return text
    return None


def _written(terms: Mapping[str, int]) -> int | str:
    text = ""
    for symbol in ("batch*sequence", "batch", "sequence", ""):
        factor = terms.get(symbol, 0)
        if not factor:
            continue
        size = abs(factor)
        term = str(size) if not symbol else symbol if size == 1 else f"{size}*{symbol}"
        sign = "-" if factor < 0 else "+"
        text = f"{text} {sign} {term}" if text else term if sign == "+" else f"-{term}"
    return int(text) if text.lstrip("-").isdigit() else text
