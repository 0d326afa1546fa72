"""What each value of a model depends on: weights alone, sizes alone, or data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import onnx_ir as ir

#: operations that draw numbers
_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
#: operations that read sizes, not values
_SIZES = frozenset({"Shape", "Size"})


@dataclass
class Sides:
    """Values by what they depend on; all others are data."""

    #: weights and what follows from weights only: not layers, but part of every part that reads them
    constant: set[ir.Value] = field(default_factory=set)
    #: what follows from sizes (and weights) only
    sizes: set[ir.Value] = field(default_factory=set)

    @classmethod
    def of(cls, graph: ir.Graph) -> Sides:
        """Of a sorted graph."""
        sides = cls(set(graph.initializers.values()))
        leaving = set(graph.outputs)
        for node in graph:
            read = set(inputs(node))
            if node.op_type not in _RANDOM and read <= sides.constant and not leaving.intersection(node.outputs):
                sides.constant.update(node.outputs)
            elif node.op_type in _SIZES or (read and read <= sides.constant | sides.sizes):
                sides.sizes.update(node.outputs)
        return sides

    def is_layer(self, node: ir.Node) -> bool:
        """Whether a node is more than a computation on weights."""
        return node.outputs[0] not in self.constant

    def closure(self, node: ir.Node) -> tuple[list[ir.Node], list[ir.Value]]:
        """The nodes and the weights that a layer's node needs on the side of the weights."""
        nodes: dict[ir.Node, None] = {}
        weights: dict[ir.Value, None] = {}
        waiting = [value for value in inputs(node) if value in self.constant]
        while waiting:
            value = waiting.pop()
            maker = value.producer()
            if maker is None:
                weights[value] = None
            elif maker not in nodes:
                nodes[maker] = None
                waiting.extend(inputs(maker))
        return list(nodes), list(weights)


def inputs(node: ir.Node) -> list[ir.Value]:
    """What a node reads, each once, with what the graphs inside it (If, Loop, Scan) read from around it."""
    found = dict.fromkeys(value for value in node.inputs if value is not None)
    for graph in subgraphs(node):
        read, own = _inside(graph)
        found.update(dict.fromkeys(value for value in read if value not in own))
    return list(found)


def _inside(graph: ir.Graph) -> tuple[list[ir.Value], set[ir.Value]]:
    """What a graph of control flow, and those inside it, read and make."""
    read: list[ir.Value] = list(graph.outputs)
    own = {*graph.inputs, *graph.initializers.values()}
    for node in graph:
        own.update(node.outputs)
        read += [value for value in node.inputs if value is not None]
        for inner in subgraphs(node):
            more, theirs = _inside(inner)
            read += more
            own |= theirs
    return read, own


def subgraphs(node: ir.Node) -> Iterator[ir.Graph]:
    """The graphs that a node of control flow holds."""
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def ordered(graph: ir.Graph, sides: Sides) -> list[ir.Node]:
    """The nodes in topological order, computations on sizes as early as they can be.

    The size then waits for its reader instead of the tensor that it was taken from, which can be left behind.
    """
    made = {*graph.inputs, *sides.constant}
    early = {node for node in graph if node.outputs[0] in sides.sizes}
    placed: dict[ir.Node, None] = {}

    def place(node: ir.Node) -> None:
        waiting = [node]
        while waiting:
            current = waiting.pop()
            if current in placed:
                continue
            placed[current] = None
            made.update(current.outputs)
            for output in current.outputs:
                waiting.extend(ready(output))

    def ready(value: ir.Value) -> list[ir.Node]:
        readers = dict.fromkeys(value.consumers())
        return [reader for reader in reversed(readers) if reader in early and made.issuperset(inputs(reader))]

    for value in graph.inputs:
        for node in reversed(ready(value)):
            place(node)
    for node in graph:
        place(node)
    return list(placed)
