"""Where the blocks of a network go when a plan is drawn over it.

Layers are grouped into blocks by the names of the user's modules until few enough are left to read, then put in
rows, tier by tier. A block never spans a tier or an exit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgepart.graph import Graph
from edgepart.partitioning.plan import Plan

#: at most this many blocks in a row
WIDTH = 4


@dataclass(frozen=True)
class Block:
    """Layers drawn as one box. ``row`` counts within the tier, ``column`` within the row."""

    label: str
    layers: tuple[str, ...]
    tier: int
    row: int = 0
    column: int = 0
    #: blocks in the same row
    columns: int = 1


@dataclass(frozen=True)
class Layout:
    """Blocks in topological order; edges between them; which blocks read each input of the network."""

    blocks: tuple[Block, ...]
    edges: tuple[tuple[int, int], ...]
    readers: dict[str, tuple[int, ...]]

    def rows(self, tier: int) -> int:
        """Rows that a tier takes."""
        return max((block.row + 1 for block in self.blocks if block.tier == tier), default=0)

    def block_of(self, layer: str) -> int:
        """Index of the block that holds a layer."""
        return next(index for index, block in enumerate(self.blocks) if layer in block.layers)


def lay_out(graph: Graph, plan: Plan, limit: int = 24) -> Layout:
    """Group the layers into about ``limit`` blocks (more only if tiers and exits force it) and place them."""
    blocks = _group(graph, plan, limit)
    owner = {layer: index for index, block in enumerate(blocks) for layer in block.layers}
    edges = _edges(graph, blocks)
    readers = {
        tensor.name: tuple(sorted({owner[layer] for layer in tensor.consumers}))
        for tensor in graph.tensors
        if tensor.producer is None
    }
    return Layout(tuple(_place(blocks, edges)), tuple(sorted(edges)), readers)


def _edges(graph: Graph, blocks: Sequence[Block]) -> set[tuple[int, int]]:
    owner = {layer: index for index, block in enumerate(blocks) for layer in block.layers}
    pairs = {(owner[t.producer], owner[layer]) for t in graph.tensors if t.producer for layer in t.consumers}
    return {(source, target) for source, target in pairs if source != target}


def _group(graph: Graph, plan: Plan, limit: int) -> list[Block]:
    """The finest grouping by module prefix that fits; where that is very coarse, a finer chain of blocks in chunks."""
    segments = _segments(graph, plan)
    paths = {layer.name: (layer.module or layer.name).split(".") for layer in graph.layers}
    deepest = max(len(path) for path in paths.values())
    finer: list[list[Block]] = []
    for depth in range(deepest, 0, -1):
        runs = [_runs(tier, layers, paths, depth) for tier, layers in segments]
        count = sum(map(len, runs))
        if count <= limit:
            too_coarse = finer and count <= max(limit // 3, len(segments)) and _is_chain(graph, _flat(finer))
            return _flat(_chunks(finer, limit) if too_coarse else runs)
        finer = runs
    return _flat(_chunks(finer, limit))


def _is_chain(graph: Graph, blocks: list[Block]) -> bool:
    """Whether nearly all blocks follow one another; joining neighbours would hide the branches of a network."""
    alone = sum(block.columns == 1 for block in _place(blocks, _edges(graph, blocks)))
    return alone > 0.8 * len(blocks)


def _segments(graph: Graph, plan: Plan) -> list[tuple[int, tuple[str, ...]]]:
    """(tier, layers) between one cut or exit and the next; this order of the layers is topological too."""
    found = []
    for index, tier in enumerate(plan.tiers):
        layers = graph.in_order(tier.layers)
        cuts = sorted({0, len(layers), *(point.depth for point in plan.exits_of(tier.name))})
        found += [(index, layers[start:stop]) for start, stop in itertools.pairwise(cuts)]
    return found


def _runs(tier: int, layers: Sequence[str], paths: dict[str, list[str]], depth: int) -> list[Block]:
    """Consecutive layers with the same first ``depth`` pieces of their module's path; one alone keeps its name."""
    grouped = itertools.groupby(layers, key=lambda name: ".".join(paths[name][:depth]))
    runs = [(label, tuple(inside)) for label, inside in grouped]
    return [Block(label if len(inside) > 1 else inside[0], inside, tier) for label, inside in runs]


def _chunks(runs: list[list[Block]], limit: int) -> list[list[Block]]:
    """Join neighbours until the limit is kept, never across a segment."""
    together = 2
    while sum(math.ceil(len(run) / together) for run in runs) > max(limit, len(runs)):
        together += 1
    return [[_join(run[i : i + together]) for i in range(0, len(run), together)] for run in runs]


def _join(blocks: Sequence[Block]) -> Block:
    first, last = blocks[0].label, blocks[-1].label
    label = first if first == last else f"{first} – {_tail(first, last)}"
    return Block(label, tuple(layer for block in blocks for layer in block.layers), blocks[0].tier)


def _tail(first: str, last: str) -> str:
    """What a name adds to one before it: ``7`` for ``layers.7`` after ``layers.3``."""
    one, other = first.split("."), last.split(".")
    shared = next((i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), 0)
    return ".".join(other[shared:])


def _flat(runs: list[list[Block]]) -> list[Block]:
    """One list; a label that was used before says that it goes on."""
    seen: set[str] = set()
    blocks = []
    for block in itertools.chain.from_iterable(runs):
        label = f"{block.label} (cont.)" if block.label in seen else block.label
        seen.add(block.label)
        blocks.append(Block(label, block.layers, block.tier))
    return blocks


def _place(blocks: Sequence[Block], edges: set[tuple[int, int]]) -> list[Block]:
    """Rows by longest path within the tier, at most :data:`WIDTH` a row; columns near the blocks they read."""
    parents: dict[int, list[int]] = {index: [] for index in range(len(blocks))}
    for source, target in edges:
        parents[target].append(source)
    row_of: dict[int, int] = {}
    filled: dict[tuple[int, int], list[int]] = {}
    for index, block in enumerate(blocks):
        row = max((row_of[p] + 1 for p in parents[index] if blocks[p].tier == block.tier), default=0)
        while len(filled.get((block.tier, row), ())) == WIDTH:
            row += 1
        row_of[index] = row
        filled.setdefault((block.tier, row), []).append(index)
    x: dict[int, float] = {}
    column: dict[int, tuple[int, int]] = {}
    for _, inside in sorted(filled.items()):
        centre = {i: sum(x[p] for p in parents[i]) / len(parents[i]) if parents[i] else 0.5 for i in inside}
        for place, index in enumerate(sorted(inside, key=lambda i: (centre[i], i))):
            column[index] = (place, len(inside))
            x[index] = (place + 0.5) / len(inside)
    return [
        Block(block.label, block.layers, block.tier, row_of[index], *column[index])
        for index, block in enumerate(blocks)
    ]
