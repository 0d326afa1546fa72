"""From recorded calls to the Graph: names, shapes over symbols, costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from edgepart.errors import CaptureError
from edgepart.frameworks.keras.flatten import Flattener
from edgepart.frameworks.keras.layers import Cost, cost
from edgepart.frameworks.keras.sizes import fit, probes
from edgepart.frameworks.keras.tracing import Call, Value, get_mask, run, trace
from edgepart.graph import Graph, Layer, Tensor
from edgepart.graph.sizes import evaluate_size

Shape = tuple[int | str, ...]


@dataclass
class Described:
    """A Graph and what its names stand for."""

    graph: Graph
    #: layer → its call
    calls: dict[str, Call]
    #: value → tensor, those between layers
    names: dict[Value, str]
    #: name → Keras variable, or a tensor that is a constant in the user's code
    state: dict[str, Any]
    #: id of a variable or constant → its name
    keys: dict[int, str]


def describe(
    name: str,
    flattener: Flattener,
    inputs: Mapping[str, Value],
    outputs: Sequence[Value],
    shapes: Mapping[str, Shape],
    symbols: Mapping[str, int],
) -> Described:
    """Name and measure what was recorded.

    Raises:
        CaptureError: nothing is computed, or a size is no expression over batch and sequence lengths.
    """
    outputs = _own_outputs(flattener, inputs, outputs)
    calls = _needed(flattener.calls, outputs)
    if not calls:
        raise CaptureError("the network computes nothing from its inputs")
    return _Describer(calls, inputs, outputs, shapes, symbols).describe(name)


def _own_outputs(flattener: Flattener, inputs: Mapping[str, Value], outputs: Sequence[Value]) -> list[Value]:
    """An input that is returned as it is, or a tensor that is returned twice, becomes a copy made by a layer."""
    own: list[Value] = []
    for value in outputs:
        if value in own or value in inputs.values():
            [value] = flattener.call(keras.layers.Identity(name="output"), (value,), {}, ())
        own.append(value)
    return own


def _needed(calls: Sequence[Call], outputs: Sequence[Value]) -> list[Call]:
    wanted = set(outputs)
    kept = []
    for call in reversed(calls):
        if wanted.intersection(call.makes):
            kept.append(call)
            wanted.update(call.reads)
    return kept[::-1]


class _Describer:
    def __init__(
        self,
        calls: Sequence[Call],
        inputs: Mapping[str, Value],
        outputs: Sequence[Value],
        shapes: Mapping[str, Shape],
        symbols: Mapping[str, int],
    ) -> None:
        self._inputs, self._outputs, self._symbols = inputs, outputs, symbols
        self._calls = dict(zip(_unique(calls), calls, strict=True))
        self._readers: dict[Value, list[str]] = {}
        self._producer: dict[Value, str] = {}
        for layer, call in self._calls.items():
            for value in call.reads:
                self._readers.setdefault(value, []).append(layer)
            self._producer |= dict.fromkeys(call.makes, layer)
        self._names = {value: name for name, value in inputs.items()}
        for layer, call in self._calls.items():
            leaving = [v for v in call.makes if v in self._readers or v in outputs]
            single = len(leaving) == 1 and layer not in inputs
            self._names |= {v: layer if single else f"{layer}:{place}" for place, v in enumerate(leaving)}
        self._shapes: dict[Value, Shape] = {value: shapes[name] for name, value in inputs.items()}
        self._costs: dict[str, Cost] = {}
        self._state: dict[str, Any] = {}
        self._keys: dict[int, str] = {}

    def describe(self, name: str) -> Described:
        for layer, call in self._calls.items():
            self._measure(layer, call)
            self._name_state(layer, call)
        features: set[Value] = set()
        layers = [self._layer(layer, call, features) for layer, call in self._calls.items()]
        graph = Graph(
            name=name,
            framework="keras",
            layout="channels_last",
            symbols=dict(self._symbols),
            layers=tuple(layers),
            tensors=tuple(self._tensor(value, value in features) for value in self._names),
            inputs=tuple(self._inputs),
            outputs=tuple(self._names[value] for value in self._outputs),
            parameters={key: _bytes(value.shape, value.dtype) for key, value in self._state.items()},
        )
        return Described(graph, self._calls, self._names, self._state, self._keys)

    def _measure(self, layer: str, call: Call) -> None:
        """Trace a call at sizes that are known: once for its costs, and more often where sizes have to be told."""
        example = probes(self._symbols)[0]
        first = trace(call, lambda value: self._at(value, example))
        steps = next((self._at(v, example)[1] for v in call.values() if len(v.shape) > 2), None)
        self._costs[layer] = cost(first.graph, _results(first), steps)
        shapes = self._made_shapes(call, first, example)
        if len(self._symbols) == 1 and all(
            None not in value.shape[1:] and (value.shape[:1] != (None,) or shape[0] == 1)
            for value, shape in zip(call.makes, shapes, strict=True)
        ):
            found = [tuple("batch" if size is None else size for size in value.shape) for value in call.makes]
        else:
            found = self._told(layer, call)
        self._shapes |= dict(zip(call.makes, found, strict=True))

    def _told(self, layer: str, call: Call) -> list[Shape]:
        """Shapes over the symbols, from tracing the call at several sizes; at more where the sizes are not linear."""
        known: list[list[tuple[int | None, ...]]] = []
        for many in (False, True):
            at = probes(self._symbols, many)
            for symbols in at[len(known) :]:
                traced = trace(call, lambda value, symbols=symbols: self._at(value, symbols))  # type: ignore[misc]
                known.append(self._made_shapes(call, traced, symbols))
            shapes = [_fitted([made[place] for made in known], at, many) for place in range(len(call.makes))]
            if None not in shapes:
                return [shape for shape in shapes if shape is not None]
        depends = any(None in shape for made in known for shape in made)
        raise CaptureError(
            f"the layer '{layer}' makes a tensor whose size "
            + ("depends on the values" if depends else f"is no simple expression over {', '.join(self._symbols)}")
            + ": use a mask instead, or give the network inputs of a fixed size"
        )

    def _made_shapes(self, call: Call, traced: Any, at: Mapping[str, int]) -> list[tuple[int | None, ...]]:
        """Of the values that a call makes, in order; where TensorFlow does not infer them, by computing."""
        shapes = _shapes(call, traced.outputs)
        if not any(None in shape for shape in shapes):
            return shapes
        runs = [_shapes(call, run(call, lambda value: self._at(value, at), fill)) for fill in (0, 1)]
        return runs[0] if runs[0] == runs[1] else shapes

    def _at(self, value: Value, symbols: Mapping[str, int]) -> tuple[int, ...]:
        return tuple(evaluate_size(size, symbols) for size in self._shapes[value])

    def _name_state(self, layer: str, call: Call) -> None:
        for variable in call.variables:
            if id(variable) not in self._keys:
                self._add_state(id(variable), _weight_name(call, variable), variable)
        for number, constant in enumerate(call.constants):
            if id(constant) not in self._keys:
                self._add_state(id(constant), f"{call.title}.constant_{number}", constant)

    def _add_state(self, key: int, stem: str, value: Any) -> None:
        name, number = stem, 0
        while name in self._state:
            number += 1
            name = f"{stem}_{number}"
        self._state[name], self._keys[key] = value, name

    def _layer(self, name: str, call: Call, features: set[Value]) -> Layer:
        weighted = any(variable.dtype != "uint32" for variable in call.variables)  # but the state of a generator
        if weighted or features.intersection(call.reads):
            features.update(value for value in call.makes if not value.is_mask and value.dtype != "bool")
        assert call.body is not None
        measured = self._costs[name]
        is_layer = isinstance(call.operation, keras.layers.Layer)
        kind = type(call.operation).__name__
        return Layer(
            name=name,
            module=".".join(call.path if is_layer else call.path[:-1]),
            kind=kind if is_layer else kind.lower(),
            ops=call.body.ops or ("Identity",),
            inputs=tuple(self._names[v] for v in self._names if v in call.reads),
            outputs=tuple(self._names[v] for v in call.makes if v in self._names),
            parameters=tuple(self._keys[id(v)] for v in (*call.variables, *call.constants)),
            macs=measured.macs,
            activation_bytes=measured.activation_bytes,
            uncounted=measured.uncounted,
        )

    def _tensor(self, value: Value, feature: bool) -> Tensor:
        shape = self._shapes[value]
        return Tensor(
            name=self._names[value],
            shape=shape,
            dtype=value.dtype,
            bytes=_bytes([evaluate_size(size, self._symbols) for size in shape], value.dtype),
            producer=self._producer.get(value),
            consumers=tuple(self._readers.get(value, ())),
            feature=feature,
        )


def _fitted(
    shapes: Sequence[Sequence[int | None]], at: Sequence[Mapping[str, int]], strides: bool
) -> tuple[int | str, ...] | None:
    sizes: list[int | str] = []
    for values in zip(*shapes, strict=True):
        size = None if None in values else fit([int(value) for value in values], at, strides)
        if size is None:
            return None
        sizes.append(size)
    return tuple(sizes)


def _shapes(call: Call, outputs: Sequence[Any]) -> list[tuple[int | None, ...]]:
    """Of data, then of masks, as :attr:`Call.makes` lists them."""
    data = [value for value in call.makes if not value.is_mask]
    masks: dict[Value, tuple[int | None, ...]] = {}
    for value, tensor in zip(data, outputs, strict=True):
        mask = get_mask(tensor)
        if value.mask is not None and value.mask not in masks and mask is not None:
            masks[value.mask] = tuple(mask.shape)
    return [*(tuple(tensor.shape) for tensor in outputs), *(masks[value] for value in call.makes if value.is_mask)]


def _results(traced: Any) -> list[Any]:
    """Data and masks that a traced call gives out, of its own graph."""
    tensors = [*traced.outputs, *(get_mask(tensor) for tensor in traced.outputs)]
    return [tensor for tensor in tensors if getattr(tensor, "graph", None) is traced.graph]


def _weight_name(call: Call, variable: Any) -> str:
    """The layer's path, and the rest of the variable's own path below that layer."""
    pieces = str(variable.path).split("/")
    own = str(call.operation.name)
    inside = pieces[len(pieces) - pieces[::-1].index(own) :] if own in pieces else pieces[-1:]
    return ".".join((*call.path, *(inside or pieces[-1:])))


def _unique(calls: Sequence[Call]) -> list[str]:
    """Every title once; another call gets a number, and no title that belongs to a layer."""
    layers = {call.title for call in calls if isinstance(call.operation, keras.layers.Layer)}
    used, found = set[str](), []
    for call in calls:
        own = isinstance(call.operation, keras.layers.Layer)
        name, number = call.title, 0
        while name in used or (name in layers and (number or not own)):
            number += 1
            name = f"{call.title}_{number}"
        used.add(name)
        found.append(name)
    return found


def _bytes(shape: Any, dtype: Any) -> int:
    return math.prod(int(size) for size in shape) * int(tf.as_dtype(dtype).size)
