"""The inputs of a network: what the model says of them, and an example of them at any batch size and length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgepart.errors import CaptureError
from edgepart.frameworks.onnx.session import is_native
from edgepart.units import dimensions

Sizes = tuple[int | str, ...]
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Inputs:
    """The inputs in order: shapes over ``batch`` and ``sequence``, and arrays that the user gave for them."""

    shapes: dict[str, Sizes]
    arrays: Arrays
    #: the batch that the model is made for; None where it takes any
    fixed_batch: int | None

    @property
    def symbols(self) -> dict[str, int]:
        """Value of every symbol in the example, with batch at 1."""
        used = {size for shape in self.shapes.values() for size in shape}
        found = {"batch": 1} if "batch" in used else {}
        return found | ({"sequence": self.length} if "sequence" in used else {})

    @property
    def length(self) -> int:
        """Length of the sequences in the example; 1 where there are none."""
        given = ((self.shapes[name], array.shape) for name, array in self.arrays.items())
        sizes = (size for shape, shown in given for name, size in zip(shape, shown, strict=True) if name == "sequence")
        return next(sizes, 1)

    def at(self, batch: int, length: int | None = None, first: int = 0) -> Arrays:
        """Arrays of another size, made of the example's rows; every row is another one.

        Args:
            first: number of the first row
        """
        return {name: self._resized(name, batch, length, first) for name in self.shapes}

    def sample(self) -> Arrays:
        """One row, as given."""
        return {
            name: array[:1].copy() if self.shapes[name][:1] == ("batch",) else array.copy()
            for name, array in self.arrays.items()
        }

    def any_batch(self) -> Inputs:
        """The same inputs where the first dimension may have any size."""
        return replace(
            self, shapes={name: ("batch", *shape[1:]) if shape else shape for name, shape in self.shapes.items()}
        )

    def fixed_length(self) -> Inputs:
        """The same inputs where sequences have the length of the example."""
        return replace(
            self,
            shapes={
                name: tuple(self.length if size == "sequence" else size for size in shape)
                for name, shape in self.shapes.items()
            },
        )

    def _resized(self, name: str, batch: int, length: int | None, first: int) -> NDArray[Any]:
        array, shape = self.arrays[name], self.shapes[name]
        if length is not None:
            for axis, size in enumerate(shape):
                if size == "sequence":
                    array = np.take(array, np.arange(length) % array.shape[axis], axis=axis)
        if shape[:1] != ("batch",):
            return array
        rows = [_varied(array[index % len(array)], index // len(array)) for index in range(first, first + batch)]
        return np.stack(rows)


def _varied(row: NDArray[Any], times: int) -> NDArray[Any]:
    """Another sample that is as valid: integers stay among those of the example, ones become ones and zeros."""
    if not times or not row.ndim:
        return row
    if row.dtype.kind in "biu" and row.shape[-1] > 1 and (row == 1).all():  # a mask: of a shorter sample
        shorter = row.copy()
        shorter[..., max(1, row.shape[-1] >> times) :] = 0
        return shorter
    turned = np.roll(row, times, axis=-1)
    return turned * row.dtype.type(1 + 0.125 * times) if row.dtype.kind == "f" else turned


def read_inputs(graph: ir.Graph, given: object) -> Inputs:
    """Hold the example to what the model says of its inputs.

    Raises:
        CaptureError: they do not fit, or the model has dimensions of any size other than batch and sequence.
    """
    arrays = _by_name(graph, given)
    declared = {str(value.name): _declared(value, arrays[str(value.name)]) for value in graph.inputs}
    shapes, fixed = _named(declared, arrays)
    for name, shape in shapes.items():
        _check(name, shape, arrays[name], fixed)
    inputs = Inputs(shapes, arrays, fixed)
    for symbol in ("batch", "sequence"):
        sizes = {
            array.shape[axis]
            for name, array in arrays.items()
            for axis, size in enumerate(shapes[name])
            if size == symbol
        }
        if len(sizes) > 1 or 0 in sizes:
            raise CaptureError(
                f"the {symbol} of the example inputs is {', '.join(map(str, sorted(sizes)))}: it must be the same for "
                "every input and at least 1"
            )
    return inputs


def _by_name(graph: ir.Graph, given: object) -> Arrays:
    names = [str(value.name) for value in graph.inputs]
    if isinstance(given, Mapping):
        unknown = [str(name) for name in given if name not in names]
        missing = [name for name in names if name not in given]
        if unknown or missing:
            raise CaptureError(
                f"the example gives the inputs {', '.join(map(str, given)) or 'none'}, the network reads "
                f"{', '.join(names)}"
            )
        values = [given[name] for name in names]
    else:
        values = list(given) if isinstance(given, tuple | list) else [given]
        if len(values) != len(names):
            raise CaptureError(
                f"the example holds {len(values)} inputs, the network reads {len(names)}: {', '.join(names)}"
            )
    return {name: _array(name, value) for name, value in zip(names, values, strict=True)}


def _array(name: str, value: object) -> NDArray[Any]:
    detach = getattr(value, "detach", None)  # a torch tensor
    array = np.array(detach().cpu().numpy() if detach is not None else value)
    if array.dtype.kind not in "biufc":
        raise CaptureError(f"the example input '{name}' is a {type(value).__name__}: give an array of numbers")
    return array


def _declared(value: ir.Value, array: NDArray[Any]) -> Sizes:
    """The shape that the model says; "" where it names no size, nothing but the rank taken from the example."""
    if not isinstance(value.type, ir.TensorType):
        raise CaptureError(
            f"the input '{value.name}' is a {_kind(value)}: edgepart cuts networks that read and make tensors only"
        )
    dtype = value.type.dtype
    if not is_native(dtype):
        raise CaptureError(
            f"the input '{value.name}' holds {dtype.name.lower()}, which NumPy arrays cannot: export the network with "
            "float32, float16 or integer inputs"
        )
    if array.dtype != dtype.numpy():
        raise CaptureError(
            f"the example input '{value.name}' is {array.dtype}, the network reads {dtype.numpy()}: convert it with "
            "astype"
        )
    if value.shape is None:
        return ("", *array.shape[1:]) if array.ndim else ()
    if len(value.shape) != array.ndim:
        raise CaptureError(
            f"the example input '{value.name}' has the shape {array.shape}, the network reads "
            f"{dimensions(tuple(size if isinstance(size, int) else size.value or '?' for size in value.shape))}"
        )
    return tuple(size if isinstance(size, int) else size.value or "" for size in value.shape)


def _named(declared: Mapping[str, Sizes], arrays: Arrays) -> tuple[dict[str, Sizes], int | None]:
    """The shapes with the model's own names of sizes replaced, and the batch that the model is made for."""
    batched = [name for name, shape in declared.items() if shape]
    fixed = {shape[0] for shape in declared.values() if shape and isinstance(shape[0], int)}
    if not batched:
        raise CaptureError("the network reads no tensor with a batch dimension: its inputs are numbers")
    everything_fixed = all(isinstance(declared[name][0], int) for name in batched)
    if everything_fixed and len(fixed) > 1:
        raise CaptureError(
            f"the first dimensions of the inputs are {', '.join(map(str, sorted(fixed)))}: they must be the batch, the "
            "same for every input; export the network with a batch of any size"
        )
    lengths: set[int | str] = {
        shape[1]
        for name, shape in declared.items()
        if len(shape) > 1 and isinstance(shape[1], str) and shape[1] and _is_sequence(arrays[name])
    }
    shapes = {name: _renamed(name, shape, arrays[name], lengths) for name, shape in declared.items()}
    return shapes, int(next(iter(fixed))) if everything_fixed else None


def _renamed(name: str, shape: Sizes, array: NDArray[Any], lengths: set[int | str]) -> Sizes:
    renamed: list[int | str] = []
    for axis, size in enumerate(shape):
        if isinstance(size, int):
            renamed.append(size)
        elif axis == 0:
            renamed.append("batch")
        elif (axis == 1 and _is_sequence(array)) or size in lengths:
            renamed.append("sequence")
        else:
            raise CaptureError(
                f"dimension {axis} of the input '{name}' ({size or 'without a name'}) may have any size, only the "
                f"batch and the length of sequences may: fix it, for example with python -m "
                f"onnxruntime.tools.make_dynamic_shape_fixed --input_name {name} --input_shape "
                f"{','.join(map(str, array.shape))} MODEL.onnx FIXED.onnx"
            )
    return tuple(renamed)


def _is_sequence(array: NDArray[Any]) -> bool:
    """Whether the second dimension counts positions: of tokens (integers, masks) or of vectors of features."""
    return (array.ndim == 2 and array.dtype.kind != "f") or (array.ndim == 3 and array.dtype.kind == "f")


def _check(name: str, shape: Sizes, array: NDArray[Any], fixed: int | None) -> None:
    for axis, (size, given) in enumerate(zip(shape, array.shape, strict=True)):
        if isinstance(size, int) and size != given and not (axis == 0 and fixed is not None):
            raise CaptureError(
                f"the example input '{name}' has the shape {array.shape}, the network reads {dimensions(shape)}"
            )


def _kind(value: ir.Value) -> str:
    kinds = {ir.SequenceType: "sequence", ir.OptionalType: "optional"}
    return next((word for kind, word in kinds.items() if isinstance(value.type, kind)), "value of unknown type")
