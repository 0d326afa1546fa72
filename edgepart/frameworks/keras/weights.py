"""Weights that learn in the place of the user's own, whose layers are called and left as they are.

Keras reads and writes its variables through a scope where there is one. This one hands out copies that belong to the
builder, keeps what layers write (the moving statistics of batch normalisation) until it is told to store it, and gives
every generator of random numbers the seed of the step, so that nothing random outlives a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from edgepart.frameworks.keras.program import Program

#: odd, so that the seeds of a step's first 2³¹ generators differ
_STRIDE = 0x9E3779B1
_SEEDS = 2**31


class Weights:
    """The builder's own weights: copies of a program's, and those of the heads that are added.

    Attributes:
        named: name → variable of TensorFlow
        learned: the names of those that the user's layers, or heads, let learn
        network: the names of the program's
        heads: exit → the names of its head's
    """

    def __init__(self, program: Program) -> None:
        self.named: dict[str, Any] = {}
        self.learned: set[str] = set()
        self.heads: dict[str, list[str]] = {}
        self._variables: dict[str, Any] = {}
        names = {id(variable): name for name, variable in program.slice(None, None, share=True).variables.items()}
        for step in program.steps:
            assert step.call is not None
            own = {names[id(variable.value)]: variable for variable in step.call.variables}
            # what only training reads or writes was not captured: power iterations, counters
            more = enumerate(getattr(step.call.operation, "weights", ()))
            own |= {f"{step.layer}:{n}:{v.name}": v for n, v in more if id(v.value) not in names}
            for name, variable in own.items():
                names.setdefault(id(variable.value), name)
                if name not in self.named:
                    self._add(name, variable, tf.Variable(variable.value, trainable=False))
        self.network = list(self.named)

    def add_head(self, name: str, head: Any) -> None:
        """Take in the weights of an exit's head, which stay its own."""
        # numbered, as Keras counts the layers of a class over all that the process has made
        names = [f"head:{name}:{number}:{variable.name}" for number, variable in enumerate(head.weights)]
        for own, variable in zip(names, head.weights, strict=True):
            self._add(own, variable, variable.value)
        self.heads[name] = names

    def scope(self, seed: Any = None) -> Scope:
        """Where layers read these weights; ``seed`` is a scalar int64, needed where they draw random numbers."""
        return Scope([(variable, self.named[name]) for name, variable in self._variables.items()], seed)

    def _add(self, name: str, variable: Any, own: Any) -> None:
        self._variables[name], self.named[name] = variable, own
        if variable.trainable:
            self.learned.add(name)


class Scope(keras.StatelessScope):  # type: ignore[misc]
    """What layers that are called inside read and write instead of their own variables."""

    def __init__(self, own: Sequence[tuple[Any, Any]], seed: Any) -> None:
        # Read here, as what is first read inside a loop is known there only.
        super().__init__([(variable, tensors.value()) for variable, tensors in own])
        self._own = {id(variable): tensors for variable, tensors in own}
        self._seed, self._generators = seed, 0
        self._written: dict[int, None] = {}

    def get_current_value(self, variable: Any) -> Any:
        key = id(variable)
        if key not in self.state_mapping and self._seed is not None and variable.path.endswith("seed_generator_state"):
            self.state_mapping[key] = self._next_generator(variable.dtype)
        return self.state_mapping.get(key)

    def add_update(self, update: Any) -> None:
        self._written[id(update[0])] = None
        super().add_update(update)

    def changes(self) -> list[tuple[Any, Any]]:
        """(variable of TensorFlow, its new value) for the weights that layers wrote."""
        return [(self._own[key], self.state_mapping[key]) for key in self._written if key in self._own]

    def _next_generator(self, dtype: str) -> Any:
        """(seed, count) of one more generator; which one that is depends on the order of calls only."""
        self._generators += 1
        seed = tf.math.floormod(self._seed + self._generators * _STRIDE, tf.constant(_SEEDS, tf.int64))
        return tf.cast(tf.stack([seed, tf.zeros_like(seed)]), dtype)
