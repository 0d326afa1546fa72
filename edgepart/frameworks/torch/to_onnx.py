"""Parts as ONNX models, in the precision that the network has."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn
from torch.export import ExportedProgram

from edgepart.errors import ExportError, FileError, MissingExtra
from edgepart.files import atomic_file, require_parent
from edgepart.frameworks.messages import first_line
from edgepart.frameworks.signature import Signature
from edgepart.frameworks.torch.arrays import dtype_name
from edgepart.frameworks.torch.trace import (
    lacking,
    layer_of,
    module_path,
    require_varying,
    trace,
    user_inputs,
    vary,
)
from edgepart.silence import silence

#: protobuf holds no message of 2 GiB; above this, weights go to a file beside the model
_LARGEST_MODEL_BYTES = 2_000_000_000


def write_onnx(module: nn.Module, signature: Signature, path: Path) -> None:
    """Write a module as an ONNX model that takes any batch size, and any value of the other symbols.

    Inputs and outputs have the names of the signature, nodes those of the modules that they come from. Weights of more
    than 2 GB together lie in ``<path>.data``.

    Args:
        module: called with one tensor for each input in order, returns a tuple with one for each output

    Raises:
        ExportError: ONNX lacks an operation, names it and its layer; a tensor is bfloat16; a size is fixed.
        MissingExtra: onnx or onnxscript is not installed.
        FileError: the folder is missing or the disk is full.
    """
    _require_onnxscript()
    require_parent(path)
    # A batch of 2: torch takes a size of 1 for a constant.
    exported = trace(module, signature, {**signature.symbols, "batch": 2}, vary)
    require_varying(exported, signature)
    _require_known_types(exported)
    _lift_attention(exported.graph_module)
    model = _convert(exported)
    _share_transposed(model)
    _name_sizes(model, _symbols(exported, signature))
    _name_nodes(model)
    _name_ends(model, signature)
    _save(model, Path(path))


def _require_onnxscript() -> None:
    try:
        with silence():
            import onnx_ir  # noqa: F401
            import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtra(error.name or "onnxscript", "onnx") from error


def _require_known_types(exported: ExportedProgram) -> None:
    for node in exported.graph.nodes:
        value = node.meta.get("val")
        name = dtype_name(value.dtype) if isinstance(value, torch.Tensor) else ""
        if node.op == "call_function" and (name == "bfloat16" or "float8" in name or "complex" in name):
            raise ExportError(
                f"the layer '{layer_of(node)}' computes in {name}, which ONNX Runtime cannot: "
                "give the network in float32 (model.float()), or keep this part in torch"
            )


def _lift_attention(module: fx.GraphModule) -> None:
    """Give attention without heads a dimension of one head: torch's exporter knows it with heads only."""
    attention = torch.ops.aten.scaled_dot_product_attention.default
    for node in list(module.graph.nodes):
        if node.target is not attention or node.args[0].meta["val"].dim() != 3:
            continue
        with module.graph.inserting_before(node):
            lifted = [_unsqueezed(module, arg) if _rank(arg) == 3 else arg for arg in node.args]
        node.args = tuple(lifted)
        node.meta["val"] = node.meta["val"].unsqueeze(1)
        with module.graph.inserting_after(node):
            flat = module.graph.call_function(torch.ops.aten.squeeze.dim, (node, 1))
        flat.meta = {**node.meta, "val": node.meta["val"].squeeze(1)}
        node.replace_all_uses_with(flat, delete_user_cb=lambda user, flat=flat: user is not flat)
    module.recompile()


def _rank(argument: object) -> int:
    return argument.meta["val"].dim() if isinstance(argument, fx.Node) else 0


def _unsqueezed(module: fx.GraphModule, node: fx.Node) -> fx.Node:
    lifted = module.graph.call_function(torch.ops.aten.unsqueeze.default, (node, 1))
    lifted.meta = {**node.meta, "val": node.meta["val"].unsqueeze(1)}
    return lifted


def _convert(exported: ExportedProgram) -> Any:
    """The ``onnx_ir`` model of an exported program."""
    try:
        with silence(), torch.no_grad():
            program = torch.onnx.export(exported, dynamo=True, verbose=False, optimize=True)
    except Exception as error:
        reasons = [str(each) for each in _causes(error)]
        programs = _rewordings(exported)
        found = next(filter(None, (lacking(text, programs) for text in reasons)), "")
        why = first_line(reasons[0])
        if not found:
            raise ExportError(f"torch cannot write the part as ONNX: {why}") from error
        raise ExportError(
            f"ONNX lacks {found} ({why}): cut the network such that it is in a part that runs in torch"
        ) from error
    assert program is not None
    return program.model


def _rewordings(exported: ExportedProgram) -> list[ExportedProgram]:
    """A program as it is and broken up: the exporter does so too, and is at a loss for a piece of an operation."""
    with silence(), contextlib.suppress(Exception):
        return [exported, exported.run_decompositions(dict(torch._decomp.decomposition_table))]
    return [exported]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what caused it, the first cause first."""
    if error is not None:
        yield from _causes(error.__cause__)
        yield error


def _share_transposed(model: Any) -> None:
    """Keep a weight once that the network reads as it is and transposed, as of an embedding that is a classifier too.

    The exporter transposes weights of matrix products in advance. ONNX Runtime does so itself when it loads a model.
    """
    import onnx_ir

    held: dict[tuple[Any, ...], Any] = {}
    for value in list(model.graph.initializers.values()):
        array = value.const_value.numpy()
        if array.ndim != 2:
            continue
        twin = held.get(_digest(array.T))
        if twin is None:
            held[_digest(array)] = value
            continue
        node = onnx_ir.node("Transpose", [twin], {"perm": [1, 0]})
        node.outputs[0].type, node.outputs[0].shape = value.type, value.shape
        model.graph.insert_before(model.graph[0], node)
        onnx_ir.convenience.replace_all_uses_with(value, node.outputs[0])
        del model.graph.initializers[value.name]


def _digest(array: NDArray[Any]) -> tuple[Any, ...]:
    return array.shape, str(array.dtype), hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest()


def _symbols(exported: ExportedProgram, signature: Signature) -> dict[str, str]:
    """What torch calls the sizes of the inputs → their names in the signature."""
    found: dict[str, str] = {}
    for spec, value in zip(signature.inputs, user_inputs(exported), strict=True):
        for wanted, size in zip(spec.shape, value.shape, strict=True):
            if isinstance(wanted, str) and wanted.isidentifier():
                found.setdefault(str(size), wanted)
    return found


def _name_sizes(model: Any, symbols: Mapping[str, str]) -> None:
    """Call sizes as the signature does, wherever they occur."""
    import onnx_ir

    pattern = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in symbols) or "$^")
    values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
    for value in values:
        if value.shape is not None:
            named = [
                size if isinstance(size, int) else pattern.sub(lambda found: symbols[found[0]], str(size.value))
                for size in value.shape
            ]
            value.shape = onnx_ir.Shape(None if size == "None" else size for size in named)


def _name_nodes(model: Any) -> None:
    """Call nodes after the modules that they come from, for messages; forget what else torch wrote about them."""
    for number, node in enumerate(model.graph.all_nodes()):
        scopes = re.findall(r"'([^']*)'", node.metadata_props.get("pkg.torch.onnx.name_scopes", ""))
        node.name = f"{module_path(scopes[:-1])}/{node.op_type}_{number}".lstrip("/")
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
    model.metadata_props.clear()
    model.graph.metadata_props.clear()


def _name_ends(model: Any, signature: Signature) -> None:
    """Give inputs and outputs their names; nothing else keeps one of these."""
    import onnx_ir

    graph = model.graph
    taken = {*signature.input_names, *signature.output_names}
    inside = [*graph.initializers.values(), *(value for node in graph.all_nodes() for value in node.outputs)]
    for number, value in enumerate(inside):
        if value.name in taken:
            value.name = f"{value.name}#{number}"
    for value, name in zip(graph.inputs, signature.input_names, strict=True):
        value.name = name
    given = dict(zip(signature.input_names, graph.inputs, strict=True))
    used: set[Any] = set(graph.inputs) | set(graph.initializers.values())
    for place, spec in enumerate(signature.outputs):
        value = graph.outputs[place]
        if spec.name in given:  # passed on under its own name
            graph.outputs[place] = given[spec.name]
            continue
        if value in used:
            copy = onnx_ir.node("Identity", [value], name=f"Identity_{place}_{spec.name}")
            graph.append(copy)
            copy.outputs[0].type, copy.outputs[0].shape = value.type, value.shape
            graph.outputs[place] = value = copy.outputs[0]
        value.name = spec.name
        used.add(value)


def _save(model: Any, path: Path) -> None:
    import onnx_ir

    size = sum(weight.const_value.nbytes for weight in model.graph.initializers.values())
    if size > _LARGEST_MODEL_BYTES:
        try:
            onnx_ir.save(model, path, external_data=f"{path.name}.data")
        except OSError as error:
            raise FileError(f"cannot write {path}: {error.strerror or error}") from error
        return
    content = onnx_ir.to_proto(model).SerializeToString()
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)
