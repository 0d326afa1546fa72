"""A captured network: its Graph, and slices of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgepart.errors import GraphError
from edgepart.frameworks.keras.describe import Described
from edgepart.frameworks.keras.example import Example
from edgepart.frameworks.keras.flatten import structure
from edgepart.frameworks.keras.part import Part, Step
from edgepart.frameworks.keras.store import load_program, save_program
from edgepart.frameworks.keras.tracing import Call, Value
from edgepart.graph import Boundary, Graph


class Program:
    """The calls that Keras recorded, each a layer.

    ``graph`` describes it. The weights are those of the captured model, not copies, until a part takes its own.
    """

    graph: Graph

    def __init__(self, described: Described, example: Example, modules: tuple[str, ...]) -> None:
        self.graph = described.graph
        self._modules: tuple[str, ...] | None = modules
        self._sample = example.sample()
        self._steps = {layer: _step(call, layer, described) for layer, call in described.calls.items()}
        self._state = {name: _variable(value, name) for name, value in described.state.items()}

    @property
    def steps(self) -> tuple[Step, ...]:
        """The layers in topological order, each with the call of Keras' operation that it was captured from."""
        return tuple(self._steps.values())

    def example(self) -> dict[str, NDArray[np.generic]]:
        """One sample of the inputs that the network was captured with, by the names of the graph's inputs."""
        return {name: array.copy() for name, array in self._sample.items()}

    def slice(self, start: Boundary | None, stop: Boundary | None, *, share: bool = False) -> Part:
        """The part between two boundaries (None: the network's input, its output).

        Args:
            share: use the network's own variables and operations (for training it through its parts), not copies

        Raises:
            GraphError: the boundaries are not closed, do not nest, or hold nothing between them.
        """
        cuts = self.graph.chain([boundary for boundary in (start, stop) if boundary is not None])
        inside = cuts[0] if start is None else cuts[1]
        if not inside:
            raise GraphError("there is no layer between the two boundaries")
        layers = self.graph.in_order(inside)
        names = sorted({name for layer in layers for name in self.graph.layer(layer).parameters})
        variables = {name: self._state[name] if share else _copy(self._state[name], name) for name in names}
        return Part(self.graph, [self._steps[layer] for layer in layers], variables, live=share)

    def update(self, model: object) -> None:
        """Take the weights that a model holds now; Keras writes them into the variables that were captured.

        Raises:
            GraphError: the model has other layers or variables than it had when it was captured.
        """
        if self._modules is not None and self._modules != structure(model):
            raise GraphError(f"the layers of the {type(model).__name__} have changed: capture the network again")

    def save(self, folder: Path) -> None:
        """Write the operations of every layer, the weights and the graph; another process needs no code of the user's.

        Raises:
            FileError: the folder's parent is missing or the disk is full.
        """
        save_program(Path(folder), self.graph, self._steps.values(), self._state, self._sample)

    @classmethod
    def open(cls, folder: Path) -> Program:
        """Read back what :meth:`save` wrote; it has no operations of Keras to train.

        Raises:
            FileError: a file is missing or damaged.
        """
        program = cls.__new__(cls)
        program.graph, steps, state, program._sample = load_program(folder)
        program._steps = {step.layer: step for step in steps}
        program._state = {name: tf.Variable(value, trainable=False, name=_plain(name)) for name, value in state.items()}
        program._modules = None
        return program


def _step(call: Call, layer: str, described: Described) -> Step:
    assert call.body is not None
    names: Mapping[Value, str] = described.names
    body = call.body
    return Step(
        layer=layer,
        definition=body.definition,
        inputs={names[value]: place for value, place in body.inputs.items()},
        weights={described.keys[key]: place for key, place in body.weights.items()},
        outputs={names[value]: place for value, place in zip(call.makes, body.outputs, strict=True) if value in names},
        call=call,
        names=names,
    )


def _variable(value: Any, name: str) -> Any:
    """The variable of TensorFlow inside one of Keras; a constant becomes one."""
    return value.value if hasattr(value, "assign") else tf.Variable(value, trainable=False, name=_plain(name))


def _copy(variable: Any, name: str) -> Any:
    return tf.Variable(variable.value(), trainable=variable.trainable, name=_plain(name))


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._" else "_" for c in name).lstrip("_.") or "weight"
