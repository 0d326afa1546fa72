"""Logits of Keras networks, whatever they end in: heads and training count on logits."""

from __future__ import annotations

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
            return kind if kind == ("sigmoid" if single else "softmax") else ""
        # made by the layer before, or a weight
        name = next((tensor for tensor, place in step.inputs.items() if place == node.name), "")
    return ""


class Logits:
    """What makes the logits (batch, C) of a network's first output, in a graph that TensorFlow traces."""

    def __init__(self, program: Program) -> None:
        self.ending, self._single = ending_of(program), is_single(program.graph)

    def __call__(self, output: Any) -> Any:
        """float32; the logarithms of probabilities are such that softmax gives these again."""
        read = _before_sigmoid(output) if self.ending == "sigmoid" else None
        values = tf.cast(output if read is None else read, tf.float32)
        if self.ending == "softmax":
            values = tf.math.log(tf.maximum(values, _LEAST))
        elif self.ending == "sigmoid" and read is None:
            values = tf.clip_by_value(values, _LEAST, _MOST)
            values = tf.math.log(values) - tf.math.log1p(-values)
        return tf.pad(tf.reshape(values, [-1, 1]), [[0, 0], [1, 0]]) if self._single else values


def _before_sigmoid(output: Any) -> Any | None:
    """What goes into the sigmoid, exact where the probability is nearly 1; None where another graph has made that."""
    while output.op.type in _COPIES | _VIEWS:
        output = output.op.inputs[0]
    return output.op.inputs[0] if output.op.type == "Sigmoid" else None
