"""What many placements cost for any exits, worked out once: a choice is then scored by adding up, for all at once.

What a sample costs depends on where it leaves, so an expected cost is the mean of those of the ways through the
network, weighted with the share of the samples that takes each. Of a way, the layers and hops are those of the
placement, and every head on it adds what it takes on the tier that it stands on. Both are asked of
:func:`edgepart.partitioning.values.value`, which stays the one definition. Money, which is billed in steps, and the
period, which is that of the busiest tier, do not add up so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgepart.partitioning.limits import ROUNDING, all_limits, broken
from edgepart.partitioning.problem import ExitShare
from edgepart.partitioning.quantities import Kind, quantity
from edgepart.partitioning.shares import exit_tier
from edgepart.partitioning.values import value
from edgepart.search.bank import Head
from edgepart.search.front import ACCURACY
from edgepart.search.space import Heads, Space, TierOf
from edgepart.search.sweep import Sweep

Floats = NDArray[np.float64]
_BY_SHARE: tuple[Kind, ...] = ("latency", "energy")
#: in all, and of the layers of all of them together
_MOST_PLACEMENTS, _MOST_LAYERS = 2000, 100_000
_WITHOUT: tuple[Kind, ...] = ("full-latency", "memory", "exits", "bytes")


class Ways(NamedTuple):
    """A quantity of P placements, T tiers: of the ways that end at each of D places and at the network's own end.

    ``way``: (P, D + 1), or (P, 1) where it does not depend on who leaves where; ``head``: for every place (heads, T),
    what a head adds there.
    """

    way: Floats
    head: tuple[Floats, ...]


class Tables:
    """P placements of a space.

    Attributes:
        placements: layer → tier, each
    """

    def __init__(self, space: Space, placements: Sequence[TierOf]) -> None:
        """Expects :func:`can_tabulate`."""
        self._space, self.placements = space, placements
        self._plain = space.without_exits
        points = [_point(heads[0]) for heads in space.bank.places]
        #: (P, D) tier of the exit at every place, and whether it may stand there
        self._tier = np.array([[exit_tier(self._plain, each, p) for p in points] for each in placements], np.int64)
        self._allowed = np.array(
            [[not broken(replace(self._plain, exits=(p,)), each) for p in points] for each in placements], np.bool_
        )
        self._limits = all_limits(space.bounded)
        names = dict.fromkeys((*space.costs, *self._limits))
        self._ways = {name: self._tabulated(name) for name in names}

    def allowed(self, heads: Heads) -> NDArray[np.int64]:
        """The placements that these exits may have, and that keep to the limits that do not depend on the shares."""
        places = _places(heads)
        fits = self._allowed[:, places].all(axis=1)
        for name, most in self._limits.items():
            if self._ways[name].way.shape[1] == 1:
                fits &= self._by_way(name, heads)[:, -1] <= most * (1 + ROUNDING)
        found: NDArray[np.int64] = np.flatnonzero(fits)
        return found

    def minimised(self, heads: Heads, found: Sweep, rows: NDArray[np.int64]) -> Floats:
        """(J, rows, objectives) of J choices of thresholds with some of the placements, less being better.

        Infinite where a limit is exceeded.
        """
        shape = len(found), len(rows)
        told = [
            np.broadcast_to(-found.accuracy[:, None], shape)
            if name == ACCURACY
            else self._expected(name, heads, found, rows)
            for name in self._space.objectives
        ]
        result = np.stack(told, axis=-1)
        for name, most in self._limits.items():
            if self._ways[name].way.shape[1] > 1:
                result[self._expected(name, heads, found, rows) > most * (1 + ROUNDING)] = np.inf
        return result

    def _expected(self, name: str, heads: Heads, found: Sweep, rows: NDArray[np.int64]) -> Floats:
        ways = self._by_way(name, heads)[rows]
        expected: Floats = (
            np.broadcast_to(ways[:, -1], (len(found), len(rows))) if ways.shape[1] == 1 else found.leaving @ ways.T
        )
        return expected

    def _by_way(self, name: str, heads: Heads) -> Floats:
        """(P, K + 1) what a sample costs that leaves at each of these exits or at the end; (P, 1) if all the same."""
        places, ways = _places(heads), self._ways[name]
        added = [ways.head[place][heads[place], self._tier[:, place]] for place in places]
        if ways.way.shape[1] == 1:
            return ways.way + sum(added, np.zeros(len(self.placements)))[:, None]
        asked = np.column_stack([*added, np.zeros(len(self.placements))]).cumsum(axis=1)
        result: Floats = ways.way[:, [*places, -1]] + asked
        return result

    def _tabulated(self, name: str) -> Ways:
        asked = quantity(name, self._plain.tier_names)
        bare = [replace(self._plain, exits=(_bare(heads[0]),)) for heads in self._space.bank.places]
        ends = [*bare, self._plain] if asked.kind in _BY_SHARE else [self._plain]
        way = np.array([[value(end, tier_of, asked) for end in ends] for tier_of in self.placements])
        added = []
        for place, heads in enumerate(self._space.bank.places):
            table = np.zeros((len(heads), len(self._plain.tiers)))
            # on each tier, with any placement that has the exit there
            for tier, row in zip(*np.unique(self._tier[:, place], return_index=True), strict=True):
                tier_of = self.placements[row]
                base = value(self._plain if asked.kind == "exits" else bare[place], tier_of, asked)
                for number, head in enumerate(heads):
                    table[number, tier] = value(replace(self._plain, exits=(_point(head),)), tier_of, asked) - base
            added.append(table)
        return Ways(way, tuple(added))


def most_placements(space: Space) -> int:
    """Placements that are tabulated within some seconds; valuing one takes the longer the more layers there are."""
    return min(_MOST_PLACEMENTS, _MOST_LAYERS // len(space.problem.graph.layers))


def can_tabulate(space: Space) -> bool:
    """Whether all costs and limits add up."""
    names = space.problem.tier_names
    asked = {quantity(name, names).kind for name in (*space.costs, *all_limits(space.bounded))}
    return asked <= {*_BY_SHARE, *_WITHOUT}


def _places(heads: Iterable[int | None]) -> list[int]:
    return [place for place, head in enumerate(heads) if head is not None]


def _point(head: Head) -> ExitShare:
    """An exit past which nobody goes on."""
    return ExitShare("", head.tensor, head.depth, 0.0, head_macs=head.macs, head_bytes=head.bytes)


def _bare(head: Head) -> ExitShare:
    return ExitShare("", head.tensor, head.depth, 0.0)
