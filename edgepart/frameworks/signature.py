"""The names, shapes and types of what goes in and out of a part, beside its artefact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgepart.errors import GraphError
from edgepart.files import Document
from edgepart.graph import Tensor
from edgepart.graph.sizes import evaluate_size
from edgepart.units import dimensions


class Signature(Document):
    """What a part reads and makes, in order. An artefact ``stage_0.onnx`` has its own in ``stage_0.onnx.json``.

    Arrays are float32, int64 … as the tensors say. A dtype that NumPy lacks (bfloat16, float8) travels as its bits, an
    unsigned integer of the same width.
    """

    kind: ClassVar[str] = "signature"

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    #: value of every symbol of the shapes in the network's example, with ``batch`` at 1 (``Graph.symbols``)
    symbols: dict[str, int]

    @classmethod
    def of(cls, inputs: Sequence[Tensor], outputs: Sequence[Tensor], symbols: Mapping[str, int]) -> Signature:
        """Without who makes and reads the tensors, which is the graph's business."""
        bare = {"producer": None, "consumers": ()}
        return cls(
            inputs=tuple(tensor.model_copy(update=bare) for tensor in inputs),
            outputs=tuple(tensor.model_copy(update=bare) for tensor in outputs),
            symbols=dict(symbols),
        )

    @staticmethod
    def beside(artefact: Path) -> Path:
        """Where the signature of an artefact lies."""
        return artefact.with_name(f"{artefact.name}.json")

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(tensor.name for tensor in self.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        return tuple(tensor.name for tensor in self.outputs)

    def checked(self, arrays: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The arrays that are read, in order; others are ignored.

        Raises:
            GraphError: one is missing, or has another dtype or shape; names the tensor, what was given and expected.
        """
        symbols: dict[str, int] = {}
        for spec in self.inputs:
            if spec.name not in arrays:
                raise GraphError(f"the input '{spec.name}' is missing: given are {', '.join(arrays) or 'none'}")
            array = np.asarray(arrays[spec.name])
            expected = f"expected {spec.dtype} {dimensions(spec.shape)}"
            if array.dtype.newbyteorder("=") != array_dtype(spec.dtype):
                raise GraphError(f"the input '{spec.name}' is {array.dtype} {array.shape}: {expected}")
            if array.ndim != len(spec.shape):
                raise GraphError(f"the input '{spec.name}' has the shape {array.shape}: {expected}")
            for size, given in zip(spec.shape, array.shape, strict=True):
                if isinstance(size, str) and size.isidentifier():
                    symbols.setdefault(size, given)
        for spec in self.inputs:
            _check_shape(spec, np.asarray(arrays[spec.name]).shape, symbols)
        return [np.asarray(arrays[spec.name]) for spec in self.inputs]

    def example(self, batch: int) -> dict[str, NDArray[Any]]:
        """Arrays of zeros that fit."""
        sizes = self.symbols | {"batch": batch}
        return {
            spec.name: np.zeros([evaluate_size(size, sizes) for size in spec.shape], array_dtype(spec.dtype))
            for spec in self.inputs
        }


def array_dtype(name: str) -> np.dtype[Any]:
    """The dtype of the arrays that stand for tensors of the named dtype."""
    bits = np.dtype(np.uint8 if name.startswith("float8") else np.uint16)
    try:
        found = np.dtype(name)
    except TypeError:
        return bits
    # TensorFlow and onnx import ml_dtypes, which adds its own to NumPy's; arrays must not depend on that
    return found if found.isbuiltin == 1 else bits


def _check_shape(spec: Tensor, given: tuple[int, ...], symbols: Mapping[str, int]) -> None:
    for size, expected in zip(given, spec.shape, strict=True):
        try:
            wanted = evaluate_size(expected, symbols)
        except GraphError:
            continue  # a symbol that no input shows by itself
        if size != wanted or (size < 1 and isinstance(expected, str)):
            known = ", ".join(f"{name} = {value}" for name, value in symbols.items() if value >= 0)
            raise GraphError(
                f"the input '{spec.name}' has the shape {given}: expected {dimensions(spec.shape)}"
                + (f" with {known}" if known else "")
            )
