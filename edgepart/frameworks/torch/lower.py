"""From torch's ExportedProgram to the Graph and the operations of each of its layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

from edgepart.errors import CaptureError
from edgepart.frameworks.torch.arrays import dtype_name
from edgepart.frameworks.torch.flatten import Flat, flatten, prune, require_backed
from edgepart.frameworks.torch.layers import Group, group
from edgepart.frameworks.torch.measure import measure
from edgepart.frameworks.torch.symbols import Symbols, localise
from edgepart.graph import Graph, Layer, Tensor


@dataclass
class Lowered:
    """A Graph and what its names stand for."""

    exported: ExportedProgram
    graph: Graph
    #: layer → its nodes in order, sizes included; they read weights, their own nodes and ``nodes`` of other layers
    bodies: dict[str, list[fx.Node]]
    #: tensor → its node
    nodes: dict[str, fx.Node]
    #: name → parameter, buffer or constant
    state: dict[str, Any]


def lower(exported: ExportedProgram, name: str, ties: Mapping[str, str]) -> Lowered:
    """Group an exported program into layers.

    Raises:
        CaptureError: it cannot be cut into parts without a state.
    """
    exported, flat = flatten(exported, ties)
    prune(flat)
    require_backed(flat)
    symbols = Symbols(flat.inputs)
    groups = group(flat)
    if not groups:
        raise CaptureError("the network computes nothing from its inputs")
    for entry in groups:
        entry.nodes = localise(flat.graph, symbols, flat.inputs, entry.nodes)
    prune(flat)
    return _Describer(exported, flat, symbols, groups).describe(name)


class _Describer:
    """Turns groups of nodes into a Graph."""

    def __init__(self, exported: ExportedProgram, flat: Flat, symbols: Symbols, groups: list[Group]) -> None:
        self._exported, self._flat, self._symbols, self._groups = exported, flat, symbols, groups
        self._owner = {node: entry.name for entry in groups for node in entry.nodes}
        self._readers = self._find_readers()
        self._names = {node: node.meta["argument"] for node in flat.inputs}
        for entry in groups:
            leaving = [node for node in entry.nodes if self._leaves(node)]
            single = len(leaving) == 1 and entry.name not in self._names.values()
            self._names |= {n: entry.name if single else f"{entry.name}:{i}" for i, n in enumerate(leaving)}

    def _find_readers(self) -> dict[fx.Node, dict[str, None]]:
        """Node → the layers other than its own that read it, in order."""
        readers: dict[fx.Node, dict[str, None]] = {}
        for entry in self._groups:
            read = [source for node in entry.nodes for source in node.all_input_nodes if source.op != "get_attr"]
            for source in read:
                if self._owner.get(source) != entry.name:
                    readers.setdefault(source, {})[entry.name] = None
        return readers

    def _leaves(self, node: fx.Node) -> bool:
        return node in self._readers or node in self._flat.outputs

    def describe(self, name: str) -> Lowered:
        flat = self._flat
        samples = {node: self._symbols.sample(node.meta["val"]) for node in flat.inputs}
        costs = measure({entry.name: entry.nodes for entry in self._groups}, samples, flat.state, flat.trained)
        layers = []
        features: set[fx.Node] = set()
        for entry, cost in zip(self._groups, costs, strict=True):
            weights = self._weights(entry)
            trained = any(weight in flat.trained for weight in weights)
            read = self._read(entry)
            if trained or features.intersection(read):
                features.update(entry.nodes)
            layers.append(
                Layer(
                    name=entry.name,
                    module=entry.module,
                    kind=entry.kind,
                    ops=tuple(str(node.target) for node in entry.nodes if "val" in node.meta),
                    inputs=tuple(self._names[node] for node in read),
                    outputs=tuple(self._names[node] for node in entry.nodes if node in self._names),
                    parameters=tuple(weights),
                    macs=cost.macs,
                    activation_bytes=cost.activation_bytes,
                    uncounted=cost.uncounted,
                )
            )
        used = {weight: None for layer in layers for weight in layer.parameters}
        graph = Graph(
            name=name,
            framework="torch",
            symbols=self._symbols.values,
            layers=tuple(layers),
            tensors=tuple(self._tensor(node, node in features) for node in self._names),
            inputs=tuple(self._names[node] for node in flat.inputs),
            outputs=tuple(self._names[node] for node in flat.outputs),
            parameters={weight: flat.state[weight].nbytes for weight in used},
        )
        bodies = {entry.name: entry.nodes for entry in self._groups}
        return Lowered(self._exported, graph, bodies, {n: node for node, n in self._names.items()}, flat.state)

    def _weights(self, entry: Group) -> list[str]:
        sources = (source for node in entry.nodes for source in node.all_input_nodes if source.op == "get_attr")
        return list(
            dict.fromkeys(str(s.target) for s in sources if isinstance(self._flat.state[str(s.target)], torch.Tensor))
        )

    def _read(self, entry: Group) -> list[fx.Node]:
        """Tensors of other layers that a layer reads, in the order of the Graph's tensors."""
        found = {s for node in entry.nodes for s in node.all_input_nodes if self._owner.get(s) != entry.name}
        return [node for node in self._names if node in found]

    def _tensor(self, node: fx.Node, feature: bool) -> Tensor:
        value = node.meta["val"]
        return Tensor(
            name=self._names[node],
            shape=self._symbols.shape(value),
            dtype=dtype_name(value.dtype),
            bytes=math.prod(self._symbols.sample(value)) * value.dtype.itemsize,
            producer=self._owner.get(node),
            consumers=tuple(self._readers.get(node, ())),
            feature=feature,
        )
