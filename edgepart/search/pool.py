"""The placements that a search which cannot try everything scores with every choice of exits."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from edgepart.partitioning.limits import broken
from edgepart.partitioning.prefixes import cut_at
from edgepart.partitioning.problem import Problem
from edgepart.search.space import Space, TierOf
from edgepart.search.tables import Tables, can_tabulate, most_placements


@dataclass(frozen=True)
class Pool:
    """Tabulated placements.

    Attributes:
        whole: whether these are all that are allowed
        ends: of those that cut the topological order once for each hop, where (:func:`cut_at`); None for the others
    """

    tables: Tables
    whole: bool
    ends: tuple[tuple[int, ...] | None, ...]


def make_pool(space: Space, most: int | None = None) -> Pool | None:
    """All placements; or, where there are too many, those that cut the topological order where little crosses.

    None where a cost does not add up, or where one cost alone is better left to the minimum cut.
    """
    if not can_tabulate(space):
        return None
    most = most_placements(space) if most is None else most
    placements = space.placements(most)
    whole = placements is not None
    if placements is None:
        placements = [] if len(space.costs) == 1 else _cuts(space, most)
    if not placements:
        return None
    ends = tuple(_ends(space.problem, each) for each in placements)
    return Pool(Tables(space, placements), whole, ends)


def _cuts(space: Space, most: int) -> list[TierOf]:
    problem, hops = space.problem, len(space.problem.links)
    places = range(len(problem.graph.layers) + 1)
    count = len(places)
    while count > 2 and math.comb(count + hops - 1, hops) > most:
        count -= 1
    least = sorted(places, key=lambda end: (end not in (places[0], places[-1]), _crossing_bytes(problem, end)))
    chosen = itertools.combinations_with_replacement(sorted(least[:count]), hops)
    plain = space.without_exits
    return [tier_of for ends in chosen if not broken(plain, tier_of := cut_at(problem, ends))]


def _crossing_bytes(problem: Problem, end: int) -> int:
    """Of all tensors that are made within the first ``end`` layers and read after them."""
    position = problem.graph.position
    found = 0
    for tensor in problem.graph.tensors:
        made = -1 if tensor.producer is None else position[tensor.producer]
        if made < end and any(position[reader] >= end for reader in tensor.consumers):
            found += tensor.bytes
    return found


def _ends(problem: Problem, tier_of: TierOf) -> tuple[int, ...] | None:
    tiers = np.array([tier_of[layer.name] for layer in problem.graph.layers])
    ends = tuple(int((tiers <= hop).sum()) for hop in range(len(problem.links)))
    return ends if (np.diff(tiers) >= 0).all() else None
