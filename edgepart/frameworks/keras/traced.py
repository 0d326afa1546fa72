"""A part as one TensorFlow function, which every form is written from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import tensorflow as tf

from edgepart.errors import ExportError
from edgepart.frameworks.messages import first_line
from edgepart.silence import silence

if TYPE_CHECKING:
    from edgepart.frameworks.signature import Signature

#: names of inputs and outputs inside a form, which sort in their order; those of tensors may hold any character
INPUT, OUTPUT = "edgepart_input_{:04d}", "edgepart_output_{:04d}"


class Exportable(Protocol):
    """What is read of a part, or of a stage with its head."""

    signature: Signature
    layers: tuple[str, ...]

    def function(self, tensors: Sequence[Any], training: bool = False) -> Sequence[Any]:
        """The outputs, from the inputs, both in the order of the signature."""
        ...


class Traced:
    """A part's function for any size that its signature leaves open; ``batch`` fixes the batch size.

    Raises:
        ExportError: TensorFlow cannot trace it so.
    """

    def __init__(self, part: Exportable, batch: int | None = None) -> None:
        self.part = part
        self.signature, self.batch = part.signature, batch
        self.specs = [
            tf.TensorSpec([_size(size, batch) for size in tensor.shape], tensor.dtype, INPUT.format(place))
            for place, tensor in enumerate(self.signature.inputs)
        ]

        def compute(*tensors: Any) -> dict[str, Any]:
            # an output that is an input as it came needs an operation of its own to carry its name
            made = part.function(list(tensors), training=False)
            return {OUTPUT.format(place): tf.identity(tensor) for place, tensor in enumerate(made)}

        self.function = tf.function(compute, input_signature=self.specs, autograph=False)
        try:
            with silence():
                self.concrete = self.function.get_concrete_function()
        except Exception as error:
            raise ExportError(
                f"TensorFlow cannot trace the part with {', '.join(part.layers[:3])}: "
                f"{type(error).__name__}: {first_line(error)}"
            ) from error
        #: what the writers of TensorFlow want: an object that holds the variables that the function reads
        self.module = tf.Module()
        self.module.part_variables = list(self.concrete.variables)
        self.module.function = self.function

    @property
    def variable_bytes(self) -> int:
        """Of the variables that the function reads."""
        return sum(variable.dtype.size * variable.shape.num_elements() for variable in self.concrete.variables)

    def layer(self, operation: str) -> str:
        """The part's layer that a TensorFlow operation comes from, told by its scope (``block.dense/MatMul``)."""
        scopes = operation.split("/")[:-1]
        known = {_scope(layer): layer for layer in self.part.layers}
        for scope in scopes:
            # that of an operation inside a layer called again ends with a number
            for name in (scope, re.sub(r"_\d+$", "", scope)):
                if name in known:
                    return known[name]
        return "/".join(scopes) or operation

    def blame(self, writer: str, kind: str, operation: str) -> ExportError:
        """One operation that a form lacks, for what it reads."""
        operation = operation.partition("@")[0]  # the function it lies in
        return ExportError(
            f"{writer} has no operation for '{kind}'{self._reads(operation)} of the layer '{self.layer(operation)}': "
            "replace the layer, run the part on another runtime, or split the network to have the layer elsewhere"
        )

    def _reads(self, operation: str) -> str:
        """The types that an operation reads, where they may be why it is lacking."""
        try:
            found = self.concrete.graph.get_operation_by_name(operation)
        except (KeyError, ValueError):  # inside a loop, or made by the converter
            return ""
        types = dict.fromkeys(tensor.dtype.name for tensor in found.inputs if tensor.dtype not in _USUAL)
        return f" on {' and '.join(types)}" if types else ""


#: types that every runtime computes with
_USUAL = (tf.float32, tf.int32, tf.int64, tf.bool, tf.resource)


def _scope(layer: str) -> str:
    """A layer's name in the characters that TensorFlow's scopes may have."""
    return re.sub(r"[^\w.-]", "_", layer).lstrip("_-")


def _size(size: int | str, batch: int | None) -> int | None:
    if isinstance(size, int):
        return size
    return batch if size == "batch" else None
