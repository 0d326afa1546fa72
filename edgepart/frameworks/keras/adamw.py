"""AdamW as torch has it (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8


class AdamW:
    """Decays matrices and kernels, not vectors; every variable counts its own steps.

    Args:
        variables: name → variable of TensorFlow
        ratios: name → what the learning rate is multiplied by for it
    """

    def __init__(self, variables: Mapping[str, Any], ratios: Mapping[str, float], weight_decay: float) -> None:
        self._variables, self._ratios = dict(variables), dict(ratios)
        self._decays = {name: weight_decay if len(v.shape) > 1 else 0.0 for name, v in variables.items()}
        self._moments = {
            name: (_zeros(variable), _zeros(variable), tf.Variable(0, dtype=tf.int64, trainable=False))
            for name, variable in variables.items()
        }

    def apply(self, gradients: Mapping[str, Any], learning_rate: Any) -> None:
        """One step on the variables that have a gradient; inside a function that TensorFlow compiles.

        Args:
            learning_rate: a scalar float64
        """
        for name, gradient in gradients.items():
            first, second, steps = self._moments[name]
            count = tf.cast(steps.assign_add(1), tf.float64)
            rate, variable = learning_rate * self._ratios[name], self._variables[name]
            if self._decays[name]:
                variable.assign(variable * tf.cast(1 - rate * self._decays[name], variable.dtype))
            correction = tf.sqrt(1 - tf.pow(tf.constant(_BETA_2, tf.float64), count))
            scaled = rate * correction / (1 - tf.pow(tf.constant(_BETA_1, tf.float64), count))
            # The powers of the betas are part of the rate and of epsilon, in double precision.
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=first.handle,
                v=second.handle,
                beta1_power=tf.zeros((), variable.dtype),
                beta2_power=tf.zeros((), variable.dtype),
                lr=tf.cast(scaled, variable.dtype),
                beta1=tf.constant(_BETA_1, variable.dtype),
                beta2=tf.constant(_BETA_2, variable.dtype),
                epsilon=tf.cast(_EPSILON * correction, variable.dtype),
                grad=gradient,
            )

    def state(self) -> dict[str, NDArray[Any]]:
        """Moments and steps, by kind and name of the variable."""
        return {
            f"{kind} {name}": np.array(value.numpy())
            for name, moments in self._moments.items()
            for kind, value in zip(("exp_avg", "exp_avg_sq", "step"), moments, strict=True)
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go back to what :meth:`state` returned."""
        for name, moments in self._moments.items():
            for kind, value in zip(("exp_avg", "exp_avg_sq", "step"), moments, strict=True):
                value.assign(state[f"{kind} {name}"])


def clipped(gradients: Mapping[str, Any], groups: Sequence[Sequence[str]], norm: float) -> dict[str, Any]:
    """Gradients whose norm over each group is at most ``norm``."""
    found: dict[str, Any] = {}
    for group in groups:
        present = [name for name in group if name in gradients]
        if present:
            total = tf.linalg.global_norm([gradients[name] for name in present])
            factor = tf.minimum(norm / (total + 1e-6), 1.0)
            found |= {name: gradients[name] * tf.cast(factor, gradients[name].dtype) for name in present}
    return found


def _zeros(variable: Any) -> Any:
    return tf.Variable(tf.zeros(variable.shape, variable.dtype), trainable=False)
