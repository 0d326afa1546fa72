"""Logits of Keras networks, whatever they end in: heads and training count on logits."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import tensorflow as tf

from edgepart.frameworks.builder import Ending, is_single
from edgepart.frameworks.keras.program import Program

#: operations that change no value, and those that only give it another shape
_COPIES = frozenset({"Identity", "Cast"})
_VIEWS = frozenset({"Reshape", "Squeeze", "ExpandDims"})
_KINDS: dict[str, Ending] = {"Softmax": "softmax", "Sigmoid": "sigmoid"}
#: the least and the largest probability that is taken for more than 0 and less than 1
_LEAST, _MOST = 1e-37, 1 - 2.0**-24


def ending_of(program: Program) -> Ending:
    """The activation that the network's first output comes from, perhaps cast to another type."""
    return _activation(program)[0]


def _activation(program: Program) -> tuple[Ending, str]:
    """The activation that the network ends in, and the layer that computes it."""
    single = is_single(program.graph)
    passed = _COPIES | _VIEWS if single else _COPIES
    name = program.graph.outputs[0]
    while step := next((step for step in program.steps if name in step.outputs), None):
        nodes = {node.name: node for node in step.definition.node}
        node = nodes[step.outputs[name]]
        while node.op in passed and node.input:
            node = nodes[node.input[0].partition(":")[0]]
        if node.op != "Placeholder":
            kind = _KINDS.get(node.op, "")
            return (kind, step.layer) if kind == ("sigmoid" if single else "softmax") else ("", "")
        # made by the layer before, or a weight
        name = next((tensor for tensor, place in step.inputs.items() if place == node.name), "")
    return "", ""


class Logits:
    """What makes the logits (batch, C) of a network's first output, in a graph that TensorFlow traces.

    They are what goes into the last softmax or sigmoid, exact where a probability is nearly 0 or 1. Only where an
    earlier slice computes that are they calculated back.

    Args:
        layers: those of the slice that ends with the output
    """

    def __init__(self, program: Program, layers: Collection[str]) -> None:
        self._single = is_single(program.graph)
        self._ending, layer = _activation(program)
        self._inside = layer in layers

    def __call__(self, output: Any) -> Any:
        """float32; softmax gives the probabilities again."""
        read = self._read(output) if self._inside else None
        values = tf.cast(output if read is None else read, tf.float32)
        if read is None and self._ending == "softmax":
            values = tf.math.log(tf.maximum(values, _LEAST))
        elif read is None and self._ending == "sigmoid":
            values = tf.clip_by_value(values, _LEAST, _MOST)
            values = tf.math.log(values) - tf.math.log1p(-values)
        return tf.pad(tf.reshape(values, [-1, 1]), [[0, 0], [1, 0]]) if self._single else values

    def _read(self, output: Any) -> Any | None:
        """What goes into the activation; None where Keras, in training, computes it by other operations."""
        while output.op.type in (_COPIES | _VIEWS if self._single else _COPIES):
            output = output.op.inputs[0]
        return output.op.inputs[0] if _KINDS.get(output.op.type) == self._ending else None
