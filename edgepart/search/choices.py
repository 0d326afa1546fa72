"""What the variables of a trial stand for.

One variable for each place (no exit, or which head), one for the threshold or for that of each place. Where several
costs trade off against each other, the placement is one as well: the least of one of the costs, found exactly for the
exits at hand, or by hops, each of which cuts the topological order at a place of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepart.errors import InfeasiblePlan, PlanError
from edgepart.partitioning.charges import additive
from edgepart.partitioning.plan import Proof
from edgepart.partitioning.prefixes import cut_at
from edgepart.partitioning.problem import Placement
from edgepart.partitioning.quantities import quantity
from edgepart.search.front import Point
from edgepart.search.moves import CUTS
from edgepart.search.pool import Pool
from edgepart.search.space import METHOD, Heads, Levels, Space, TierOf
from edgepart.search.sweep import Sweep

if TYPE_CHECKING:
    import optuna


class Choices:
    """The variables of a space, and the points that their values give."""

    def __init__(self, space: Space, pool: Pool | None) -> None:
        self.space, self.pool = space, pool
        self._known: dict[tuple[object, ...], Point | None] = {}

    def variables(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """Every variable by its name."""
        from optuna.distributions import CategoricalDistribution, IntDistribution

        space = self.space
        level = IntDistribution(0, len(space.bank.levels) - 1)
        found: dict[str, optuna.distributions.BaseDistribution] = {} if space.separate else {"threshold": level}
        for place, heads in enumerate(space.bank.places):
            found[f"exit {place}"] = CategoricalDistribution(tuple(range(len(heads) + 1)))
            if space.separate:
                found[f"threshold {place}"] = level
        if len(space.costs) > 1:
            found["placement"] = CategoricalDistribution((*_solvable(space), CUTS))
            for hop in range(len(space.problem.links)):
                found[f"cut {hop}"] = IntDistribution(0, len(space.problem.graph.layers))
        return found

    def point(self, chosen: Mapping[str, Any]) -> Point | None:
        """The point of a choice; None where it is not allowed."""
        heads, levels, tier_of = self.decoded(chosen)
        placement = chosen.get("placement", self.space.costs[0])
        key = (heads, levels, placement if tier_of is None else tuple(tier_of.values()))
        if key not in self._known:
            try:
                self._known[key] = (
                    self._best(heads, levels, placement)
                    if tier_of is None
                    else self.space.placed(self.space.exits(heads, levels), tier_of)
                )
            except PlanError:  # nothing keeps to the limits, or nothing was found in time
                self._known[key] = None
        return self._known[key]

    def decoded(self, chosen: Mapping[str, Any]) -> tuple[Heads, Levels, TierOf | None]:
        """Exits, thresholds and, where the trial says so, where the topological order is cut.

        Exits that a tier has no room for, or at which nobody leaves, are left out, so that no choice is wasted.
        """
        tier_of = None
        if chosen.get("placement") == CUTS:
            ends = sorted(chosen[f"cut {hop}"] for hop in range(len(self.space.problem.links)))
            tier_of = cut_at(self.space.problem, ends)
        heads = self._with_room(self.heads(chosen), tier_of)
        names = [
            f"threshold {place}" if self.space.separate else "threshold"
            for place, head in enumerate(heads)
            if head is not None
        ]
        heads, levels = self._needed(heads, tuple(chosen[name] for name in names))
        return heads, levels, tier_of

    def heads(self, chosen: Mapping[str, Any]) -> Heads:
        """The exits, as many as all tiers together have room for."""
        found: list[int | None] = []
        for place in range(len(self.space.bank.places)):
            full = sum(head is not None for head in found) == self.space.most_in_all
            number = chosen[f"exit {place}"]
            found.append(number - 1 if number and not full else None)
        return tuple(found)

    def one(self, heads: Heads, levels: Levels) -> Sweep:
        """A single choice of thresholds."""
        exits = self.space.exits(heads, levels)
        passed = np.array([1.0, *(share.going_on for share in exits.shares), 0.0])
        at = np.array([levels], np.int64).reshape(1, len(levels))
        return Sweep(at, (passed[:-1] - passed[1:])[None], np.array([exits.accuracy]))

    def _best(self, heads: Heads, levels: Levels, cost: str) -> Point:
        """The placement of least cost for these exits, from the pool if that has all."""
        exits = self.space.exits(heads, levels)
        if self.pool is None or not self.pool.whole:
            return self.space.best(exits, cost)
        rows = self.pool.tables.allowed(heads)
        place = self.space.objectives.index(cost)
        costs = self.pool.tables.minimised(heads, self.one(heads, levels), rows)[0, :, place]
        if not np.isfinite(costs).any():
            raise InfeasiblePlan("no placement satisfies the limits")
        least = int(costs.argmin())
        proof = Proof(status="optimal", method=METHOD, bound=float(costs[least]), gap=0.0)
        return self.space.point(exits, Placement(self.pool.tables.placements[rows[least]], proof))

    def _with_room(self, heads: Heads, tier_of: TierOf | None) -> Heads:
        if tier_of is None:
            return heads
        layers = self.space.problem.graph.layers
        room = dict.fromkeys(range(len(self.space.problem.tiers)), self.space.most_exits)
        found: list[int | None] = []
        for head, here in zip(heads, self.space.bank.places, strict=True):
            tier = tier_of[layers[here[0].depth - 1].name]
            found.append(head if room[tier] else None)
            room[tier] -= found[-1] is not None
        return tuple(found)

    def _needed(self, heads: Heads, levels: Levels) -> tuple[Heads, Levels]:
        """Without the exits at which nobody leaves: no quantity is lower with them than without."""
        shares = self.space.exits(heads, levels).shares
        before = [1.0, *(share.going_on for share in shares)]
        used = [share.going_on < came for share, came in zip(shares, before, strict=False)]
        places = [place for place, head in enumerate(heads) if head is not None]
        kept = {place for place, on in zip(places, used, strict=True) if on}
        return (
            tuple(head if place in kept else None for place, head in enumerate(heads)),
            tuple(level for level, on in zip(levels, used, strict=True) if on),
        )


def _solvable(space: Space) -> tuple[str, ...]:
    """The costs whose best placement is found quickly."""
    names = space.problem.tier_names
    return tuple(name for name in space.costs if additive(space.problem, quantity(name, names)) is not None)
