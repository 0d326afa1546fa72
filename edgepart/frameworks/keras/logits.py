"""Logits of networks that end in softmax, as most of Keras do, where heads and training count on logits."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from edgepart.frameworks.keras.program import Program

#: far below any probability that float32 holds with all its digits
_LEAST = 1e-37


def gives_probabilities(program: Program) -> bool:
    """Whether the first output of the network is that of a softmax, perhaps cast to another type."""
    output = program.graph.outputs[0]
    step = next(step for step in program.steps if output in step.outputs)
    nodes = {node.name: node for node in step.definition.node}
    node = nodes[step.outputs[output]]
    while node.op in ("Identity", "Cast") and node.input:
        node = nodes[node.input[0].partition(":")[0]]
    return bool(node.op == "Softmax")


def logits_of(output: Any, probabilities: bool) -> Any:
    """(batch, C) float32 logits; the logarithms of probabilities are such that softmax gives these again."""
    values = tf.cast(output, tf.float32)
    return tf.math.log(tf.maximum(values, _LEAST)) if probabilities else values
