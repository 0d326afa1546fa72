"""A slice of a network as a function of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgepart.errors import GraphError
from edgepart.frameworks.base import Arrays
from edgepart.frameworks.keras.functions import with_own_functions
from edgepart.frameworks.keras.tracing import Call, Value, get_mask
from edgepart.frameworks.signature import Signature, array_dtype
from edgepart.graph import Graph
from edgepart.silence import quiet

if TYPE_CHECKING:
    from edgepart.frameworks.runtimes.base import Precision


@dataclass
class Step:
    """One layer: TensorFlow's operations, with placeholders for tensors and weights by the Graph's names."""

    layer: str
    definition: Any
    inputs: dict[str, str]
    weights: dict[str, str]
    outputs: dict[str, str]
    #: the call of Keras' own operation, and what its values are called; none where it was read from a file
    call: Call | None = None
    names: Mapping[Value, str] = field(default_factory=dict)

    def compute(self, known: dict[str, Any], weights: Mapping[str, Any]) -> None:
        """Add the operations to the graph that is being traced, and what they make to ``known``."""
        given = {f"{place}:0": known[name] for name, place in self.inputs.items()}
        given |= {f"{place}:0": weights[name] for name, place in self.weights.items()}
        scope = "".join(c if c.isalnum() or c in "._-" else "_" for c in self.layer).lstrip("_-") or "layer"
        wanted = [f"{place}:0" for place in self.outputs.values()]
        definition = with_own_functions(self.definition)
        made = tf.graph_util.import_graph_def(definition, input_map=given, return_elements=wanted, name=scope)
        known.update(zip(self.outputs, made, strict=True))

    def train(self, known: dict[str, Any], training: bool) -> None:
        """Call Keras' own operation, on its own variables."""
        assert self.call is not None
        tensors = self.call.live(lambda value: known.get(self.names.get(value, "")), training)
        data = [value for value in self.call.makes if not value.is_mask]
        for value, tensor in zip(data, tensors, strict=True):
            for made, result in ((value, tensor), (value.mask, get_mask(tensor))):
                if made is not None and made in self.names and made in self.call.makes:
                    known[self.names[made]] = result


class Part:
    """Consecutive layers of a captured network.

    Attributes:
        parameters: name → bytes of the weights that it holds
        variables: name → the variable of TensorFlow that it reads
    """

    def __init__(self, graph: Graph, steps: Sequence[Step], variables: Mapping[str, Any], live: bool = False) -> None:
        inside = {step.layer for step in steps}
        inputs = [t for t in graph.tensors if t.producer not in inside and inside.intersection(t.consumers)]
        outputs = [
            t
            for t in graph.tensors
            if t.producer in inside and (t.name in graph.outputs or not inside.issuperset(t.consumers))
        ]
        self.signature = Signature.of(inputs, outputs, graph.symbols)
        self.layers = tuple(step.layer for step in steps)
        self.inputs, self.outputs = self.signature.input_names, self.signature.output_names
        self.variables = dict(variables)
        self.parameters = {name: graph.parameters[name] for name in variables}
        self._steps, self._live = tuple(steps), live
        self._concrete: dict[bool, tuple[Any, Any]] = {}

    def function(self, tensors: Sequence[Any], training: bool = False) -> list[Any]:
        """The outputs from the inputs, tensors in the order of the signature; gradients flow through it.

        Args:
            training: dropout draws, batch normalisation takes and updates its statistics; only where the part shares
                the network's own variables

        Raises:
            GraphError: ``training`` of a part that holds copies.
        """
        if training and not (self._live and all(step.call is not None for step in self._steps)):
            raise GraphError("a part with copies of the weights cannot train: take it with share=True")
        if tf.executing_eagerly():
            return list(self._compiled(training)(*tensors))
        return self._traced(tensors, training)

    def compute(self, tensors: Sequence[Any]) -> list[Any]:
        """The outputs from eager tensors, compiled, without gradients or training."""
        return list(self._compiled(False)(*tensors))

    def _traced(self, tensors: Sequence[Any], training: bool) -> list[Any]:
        known = dict(zip(self.inputs, tensors, strict=True))
        weights = {name: tf.convert_to_tensor(variable) for name, variable in self.variables.items()}
        with quiet():
            for step in self._steps:
                if self._live and step.call is not None:
                    step.train(known, training)
                else:
                    step.compute(known, weights)
        return [known[name] for name in self.outputs]

    def _compiled(self, training: bool) -> Any:
        """The function compiled for any size that the signature leaves open; once."""
        if training not in self._concrete:
            specs = [
                tf.TensorSpec([size if isinstance(size, int) else None for size in t.shape], t.dtype)
                for t in self.signature.inputs
            ]

            def compute(*tensors: Any) -> list[Any]:
                # an input that leaves as it came needs a tensor of its own
                return [tf.identity(tensor) for tensor in self._traced(tensors, training)]

            with quiet():
                function = tf.function(compute, input_signature=specs, autograph=False)
                # functions inside (loops) are forgotten with the function that was traced
                self._concrete[training] = function, function.get_concrete_function()
        return self._concrete[training][1]

    def run(self, arrays: Arrays) -> dict[str, NDArray[np.generic]]:
        """Compute the outputs; arrays that the part does not read are ignored.

        bfloat16 tensors are uint16 arrays that hold their bits.

        Raises:
            GraphError: an input is missing, or has another dtype or shape than the graph says.
        """
        results = self.compute(self._tensors(arrays))
        return {t.name: _array(result, t.dtype) for t, result in zip(self.signature.outputs, results, strict=True)}

    def runner(self, arrays: Arrays) -> Callable[[], object]:
        """One inference on inputs that are converted and checked beforehand, to be timed.

        Raises:
            GraphError: as :meth:`run`.
        """
        given = self._tensors(arrays)
        function = self._compiled(False)
        return lambda: function(*given)

    def export(
        self, form: str, path: Path, *, precision: Precision = "float32", samples: Sequence[Arrays] = ()
    ) -> None:
        """Write the part as a SavedModel, an ONNX model or a LiteRT model.

        Raises:
            ExportError: it cannot be written so; names the operation and the layer.
        """
        from edgepart.frameworks.keras.export import export

        export(self, form, path, precision=precision, samples=samples)

    def _tensors(self, arrays: Arrays) -> list[Any]:
        checked = self.signature.checked(arrays)
        return [tensor(array, t.dtype) for array, t in zip(checked, self.signature.inputs, strict=True)]


def tensor(array: NDArray[Any], dtype: str) -> Any:
    """The tensor that an array stands for."""
    plain = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False)).reshape(array.shape)
    return tf.constant(plain if plain.dtype == dtype else plain.view(tf.as_dtype(dtype).as_numpy_dtype))


def _array(tensor: Any, dtype: str) -> NDArray[Any]:
    array: NDArray[Any] = np.array(tensor.numpy())
    return array if array.dtype == array_dtype(dtype) else array.view(array_dtype(dtype))
