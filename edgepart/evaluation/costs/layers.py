"""How many encoder layers (blocks) of a network have run, as DIMEC-DC counts them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass

from edgepart.errors import DispatchError
from edgepart.graph import Graph
from edgepart.partitioning.plan import Plan


@dataclass(frozen=True)
class LayerCounts:
    """Encoder layers from the input of the network to every exit (K numbers) and to the end of every tier (T)."""

    exits: tuple[int, ...]
    tiers: tuple[int, ...]


def given(plan: Plan, layers: tuple[int, ...]) -> LayerCounts:
    """Counts as in the paper, m/n/l: by the end of every tier, the last one being the whole network.

    Raises:
        DispatchError: another number of tiers, falling counts, or an exit inside a tier.
    """
    if len(layers) != len(plan.tiers) or list(layers) != sorted(layers) or layers[0] < 0:
        raise DispatchError(
            f"layers={'/'.join(map(str, layers))} does not fit the plan: expected {len(plan.tiers)} numbers that do "
            f"not fall, the encoder layers by the end of {', '.join(plan.tier_names)}"
        )
    for point in plan.exits:
        held = len(plan.tiers[plan.tier_names.index(point.tier)].layers)
        if point.depth != held:
            raise DispatchError(
                f"the exit '{point.name}' lies inside tier '{point.tier}', so the count by the tier's end does not "
                "tell its layers: leave 'layers' out to have a network's numbered blocks counted, or use the cost "
                "model latency or price"
            )
    by_tier = dict(zip(plan.tier_names, layers, strict=True))
    return LayerCounts(tuple(by_tier[name] for name in plan.exit_tiers), layers)


def counted(plan: Plan, graph: Graph) -> LayerCounts:
    """Counts of the network's blocks: the largest family of numbered modules, as ``encoder.layer.0`` … ``.11``.

    A block counts once all of it has run. Numbers within a block do not count.

    Raises:
        DispatchError: no module of the network is numbered.
    """
    blocks = _blocks(graph)
    exits = [_inside(blocks, plan.exit_boundary(graph, point).layers) for point in plan.exits]
    tiers = [_inside(blocks, plan.tier_boundary(graph, tier.name).layers) for tier in plan.tiers]
    return LayerCounts((*exits, len(blocks)), tuple(tiers))


def _blocks(graph: Graph) -> list[set[str]]:
    members: defaultdict[str, set[str]] = defaultdict(set)
    for layer in graph.layers:
        pieces = layer.module.split(".")
        number = next((place for place, piece in enumerate(pieces) if piece.isdigit()), None)
        if number is not None:
            members[".".join(pieces[: number + 1])].add(layer.name)
    if not members:
        raise DispatchError(
            f"the network '{graph.name}' has no numbered blocks to count as encoder layers: give their number by the "
            "end of every tier, as --cost dimec:layers=4/6/12"
        )
    family = {block: re.sub(r"\d+", "#", block) for block in members}
    largest = Counter(family.values()).most_common(1)[0][0]
    return [layers for block, layers in members.items() if family[block] == largest]


def _inside(blocks: list[set[str]], layers: frozenset[str]) -> int:
    return sum(block <= layers for block in blocks)
