"""From a Keras model to the calls of its operations in order, models inside models dissolved."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import KerasTensor

from edgepart.errors import CaptureError
from edgepart.frameworks.keras.tracing import Call, Value, record
from edgepart.silence import quiet

#: numbers that TensorFlow writes into the code
_FEW = 128


@dataclass
class Opened:
    """A model as Keras recorded it: operations between symbolic tensors."""

    inputs: list[Any]
    outputs: list[Any]


class Flattener:
    """Walks a model and records each call of an operation that is no model itself."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        #: where a mask is no more what the call gave out that made the value
        self._masks: dict[Value, Value | None] = {}

    def run(self, opened: Opened, given: Sequence[Value], path: tuple[str, ...] = ()) -> list[Value]:
        """What a model makes of values, in the order of its outputs."""
        known: dict[int, Value] = {}
        for symbol, value in zip(opened.inputs, given, strict=True):
            known[id(symbol)] = self._adapted(value, symbol, path)
        for node in _nodes(opened):
            self._node(node, known, path)
        return [known[id(symbol)] for symbol in opened.outputs]

    def call(self, operation: Any, args: Any, kwargs: Any, path: tuple[str, ...]) -> list[Value]:
        """Record one call; the values it gives out, in order."""
        args, kwargs = keras.tree.map_structure(_constant, (args, kwargs))
        call = Call(operation, args, kwargs, (*path, _name(operation)), masks=dict(self._masks))
        record(call)
        self._masks |= dict.fromkeys(call.unmasks)
        self.calls.append(call)
        return [value for value in call.makes if not value.is_mask]

    def _node(self, node: Any, known: dict[int, Value], path: tuple[str, ...]) -> None:
        operation = _with_batch(node.operation)
        args, kwargs = keras.tree.map_structure(
            lambda leaf: known[id(leaf)] if isinstance(leaf, KerasTensor) else leaf,
            (node.arguments.args, node.arguments.kwargs),
        )
        if isinstance(operation, keras.Model):
            made = self._model(operation, args, kwargs, path)
        else:
            made = self.call(operation, args, kwargs, path)
        if len(made) != len(node.outputs):
            name = ".".join((*path, operation.name))
            raise CaptureError(
                f"the layer '{name}' returned {len(made)} tensors, Keras expected {len(node.outputs)}: let its call "
                "always return the same structure"
            )
        for symbol, value in zip(node.outputs, made, strict=True):
            known[id(symbol)] = value

    def _model(self, model: Any, args: Any, kwargs: Any, path: tuple[str, ...]) -> list[Value]:
        """A model inside the model; one that Keras cannot record inside stays one call."""
        inner = (*path, _name(model))
        functional = functional_of(model)
        if functional is not None:
            values = [leaf for leaf in keras.tree.flatten(args) if isinstance(leaf, Value)]
            # a mask in its arguments goes to what it is given, and stays there
            for value, mask in zip(values, keras.tree.flatten(kwargs.get("mask")), strict=False):
                if isinstance(mask, Value):
                    self._masks[value] = mask
            made = self.run(Opened(functional.inputs, functional.outputs), values, inner)
            return self._masked(model, values, made)
        values = [leaf for leaf in keras.tree.flatten((args, kwargs)) if isinstance(leaf, Value)]
        if any(self._mask(value) is not None for value in values):
            return self.call(model, args, kwargs, path)
        symbols = {value: KerasTensor(value.shape, value.dtype) for value in values}
        filled = keras.tree.map_structure(lambda x: symbols[x] if isinstance(x, Value) else x, (args, kwargs))
        before, masks = len(self.calls), dict(self._masks)
        try:
            with called(model, *filled) as outputs:
                opened = Opened(list(symbols.values()), outputs)
                return self.run(opened, list(symbols), inner)
        except Exception:  # whatever the user's code raises on symbolic tensors: it then stays one call
            del self.calls[before:]
            self._masks = masks
            return self.call(model, args, kwargs, path)

    def _adapted(self, value: Value, symbol: Any, path: tuple[str, ...]) -> Value:
        """A Functional casts what it is given, and adds or drops a last dimension of one."""
        given = value
        if value.dtype != symbol.dtype:
            value = self._changed(keras.ops.cast, value, path, symbol.dtype)
        rank, wanted = len(value.shape), len(symbol.shape)
        if rank == wanted + 1:
            value = self._changed(keras.ops.squeeze, value, path, -1)
        if rank == wanted - 1:
            value = self._changed(keras.ops.expand_dims, value, path, -1)
        if value is not given:
            value.mask = self._mask(given)
        return value

    def _mask(self, value: Value) -> Value | None:
        return self._masks.get(value, value.mask)

    def _masked(self, model: Any, given: Sequence[Value], made: list[Value]) -> list[Value]:
        """As Keras does after it has called a model: outputs without a mask take the one of the input."""
        if not model.supports_masking or all(self._mask(value) is not None for value in made):
            return made
        for value, source in zip(made, given, strict=False):
            if self._mask(value) is None:
                self._masks[value] = self._mask(source)
        return made

    def _changed(self, function: Any, value: Value, path: tuple[str, ...], argument: Any) -> Value:
        outcome = function(KerasTensor(value.shape, value.dtype), argument)
        [made] = self.call(outcome._keras_history.operation, (value,), {}, path)
        return made


def _name(operation: Any) -> str:
    """A layer's own; a function's without the number that says how many were called in this process before."""
    own = str(operation.name).replace(":", "_")
    return own if isinstance(operation, keras.layers.Layer) else re.sub(r"_\d+$", "", own)


def _constant(leaf: Any) -> Any:
    """An array of the user's code becomes a tensor, that parts can hold and count; a few numbers stay in the code."""
    weights = isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f" and leaf.size > _FEW
    return keras.ops.convert_to_tensor(leaf) if weights else leaf


def _with_batch(operation: Any) -> Any:
    """``ops.reshape(x, (ops.shape(x)[0], …))`` on symbolic tensors: the batch is None, which Keras cannot compute."""
    sizes = getattr(operation, "newshape", None)
    if isinstance(sizes, tuple | list) and sizes and sizes[0] is None and None not in sizes[1:]:
        return keras.layers.Reshape(tuple(sizes[1:]), name="reshape", dtype="float32", autocast=False)
    return operation


def functional_of(model: Any) -> Any:
    """The graph that Keras keeps of a model, or None where it is written as a class of its own."""
    if isinstance(model, keras.Sequential):
        return getattr(model, "_functional", None)
    # a subclass with a call of its own computes something else than the graph it was made with
    recorded = hasattr(model, "_nodes_by_depth") and type(model).call.__module__.startswith("keras.")
    return model if recorded else None


@contextmanager
def called(model: Any, args: Any, kwargs: Any) -> Iterator[list[Any]]:
    """What a model's ``call`` makes of symbolic tensors; Keras forgets it again when the block ends.

    Raises:
        Exception: whatever the user's code raises.
    """
    operations = {id(layer): layer for layer in model._flatten_layers()}
    before = {key: (len(o._inbound_nodes), len(o._outbound_nodes)) for key, o in operations.items()}
    try:
        with quiet():
            outputs = keras.tree.flatten(model.call(*args, **kwargs))
        if not outputs or not all(isinstance(symbol, KerasTensor) for symbol in outputs):
            kinds = ", ".join(sorted({type(symbol).__name__ for symbol in outputs})) or "nothing"
            raise TypeError(f"call returns {kinds}, expected tensors")
        yield outputs
    finally:
        for key, (inbound, outbound) in before.items():
            del operations[key]._inbound_nodes[inbound:]
            del operations[key]._outbound_nodes[outbound:]


def _nodes(opened: Opened) -> list[Any]:
    """The calls between inputs and outputs, every one after those it reads from, branch by branch."""
    entered = {id(symbol) for symbol in opened.inputs}
    done: dict[int, Any] = {}
    open_: set[int] = set()
    waiting = [(symbol, False) for symbol in reversed(opened.outputs)]
    while waiting:
        symbol, finished = waiting.pop()
        if id(symbol) in entered:
            continue
        node = _maker(symbol)
        if finished:
            done[id(node)] = node
        elif id(node) not in done and id(node) not in open_:
            open_.add(id(node))
            waiting.append((symbol, True))
            waiting += [(read, False) for read in reversed(node.input_tensors)]
    return list(done.values())


def _maker(symbol: Any) -> Any:
    history = getattr(symbol, "_keras_history", None)
    if history is None or history.operation is None:
        raise CaptureError(
            "the network reads a symbolic tensor that is none of its inputs: list it in inputs= of keras.Model"
        )
    return history.operation._inbound_nodes[history.node_index]


def structure(model: Any) -> tuple[str, ...]:
    """Path, class and weights of every layer: what must stay for a captured program to stand for the model."""

    def described(layer: Any) -> str:
        own: Mapping[int, Any] = {id(v): v for v in [*layer._trainable_variables, *layer._non_trainable_variables]}
        weights = ", ".join(f"{v.path} {v.dtype} {tuple(v.shape)} {key}" for key, v in own.items())
        return f"{layer.path} {type(layer).__qualname__}: {weights}"

    return tuple(described(layer) for layer in model._flatten_layers())
