"""The space of a search: which exits, with which heads and thresholds, and which placement; and what a choice is worth.

The placement is a variable only where costs trade off against each other. With one cost the best placement for given
exits is found exactly (:class:`~edgepart.partitioning.minimum_cut.MinimumCut`), so it needs no search at all.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from edgepart.errors import InfeasiblePlan, PlanError, UnknownName
from edgepart.partitioning.charges import additive
from edgepart.partitioning.limits import broken, exceeded
from edgepart.partitioning.make_problem import ALIASES
from edgepart.partitioning.minimum_cut import MinimumCut
from edgepart.partitioning.pins import windows
from edgepart.partitioning.plan import Proof
from edgepart.partitioning.problem import ExitShare, Placement, Problem
from edgepart.partitioning.quantities import Kind, quantity
from edgepart.partitioning.values import value
from edgepart.search.bank import Bank, Head, Level
from edgepart.search.dominance import nondominated
from edgepart.search.front import ACCURACY, Point
from edgepart.search.sweep import Sweep, sweep

#: what a placement of a point is proven to be: nothing on its own, the front is
METHOD = "joint search"
#: placements of networks with more layers are not listed
_MOST_LAYERS = 300
#: quantities that do not depend on how many samples leave where
_UNSHARED: tuple[Kind, ...] = ("memory", "exits", "bytes", "full-latency")
#: choices of thresholds that are compared with each other
_MOST_COMPARED = 2000
#: for an integer program inside the search
_TIME_LIMIT_S = 20.0

#: number of the head at every place, None where no exit is; numbers of the thresholds of those that are
Heads = tuple[int | None, ...]
Levels = tuple[int, ...]
TierOf = dict[str, int]


@dataclass(frozen=True)
class Exits:
    """Exits that were chosen, and what the bank says of them."""

    accuracy: float
    shares: tuple[ExitShare, ...]
    thresholds: tuple[float, ...]
    bundles: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Space:
    """Everything that may be chosen.

    Attributes:
        problem: its objective is the first cost; its limits hold for every point
        objectives: ``accuracy`` and quantities
        separate: whether every exit has a threshold of its own, or all have the same
        most_exits: in one tier
    """

    problem: Problem
    bank: Bank
    objectives: tuple[str, ...]
    separate: bool = False
    most_exits: int = 3

    @property
    def costs(self) -> tuple[str, ...]:
        """The objectives that a placement makes a difference to."""
        return tuple(name for name in self.objectives if name != ACCURACY)

    @cached_property
    def bounded(self) -> Problem:
        """The problem with at most ``most_exits`` a tier."""
        most = {f"{name}.exits": float(self.most_exits) for name in self.problem.tier_names}
        return replace(self.problem, objective=self.costs[0], limits={**most, **self.problem.limits})

    @cached_property
    def without_exits(self) -> Problem:
        """The bounded problem before exits are chosen."""
        return replace(self.bounded, exits=())

    @property
    def most_in_all(self) -> int:
        """Exits that all tiers together may hold."""
        return min(len(self.bank.places), self.most_exits * len(self.problem.tiers))

    def count(self) -> int:
        """Choices of exits and thresholds, placements not counted."""
        ways = [1] + [0] * self.most_in_all
        for heads in self.bank.places:
            for number in range(self.most_in_all, 0, -1):
                ways[number] += ways[number - 1] * len(heads)
        levels = len(self.bank.levels)
        total = 1
        for number in range(1, self.most_in_all + 1):
            total += ways[number] * levels ** (number if self.separate else 1)
        return total

    def head_choices(self) -> Iterator[Heads]:
        """All choices of exits, those with few first."""
        places = range(len(self.bank.places))
        for number in range(self.most_in_all + 1):
            for chosen in itertools.combinations(places, number):
                for heads in itertools.product(*(range(len(self.bank.places[place])) for place in chosen)):
                    at = dict(zip(chosen, heads, strict=True))
                    yield tuple(at.get(place) for place in places)

    def exits(self, heads: Heads, levels: Levels) -> Exits:
        """The exits of a choice; ``levels`` one for each that is there."""
        return self._exits(heads, levels)

    @cached_property
    def _exits(self) -> Callable[[Heads, Levels], Exits]:
        @lru_cache(maxsize=4096)
        def replayed(heads: Heads, levels: Levels) -> Exits:
            chosen: list[Head] = [
                here[head] for here, head in zip(self.bank.places, heads, strict=True) if head is not None
            ]
            at: list[Level] = [self.bank.levels[level] for level in levels]
            accuracy, shares = self.bank.replay(chosen, at)
            return Exits(accuracy, shares, tuple(each.value for each in at), tuple(head.bundle for head in chosen))

        return replayed

    def sweep(self, heads: Heads) -> Sweep:
        """These exits with all thresholds that are worth a look."""
        chosen = [here[head] for here, head in zip(self.bank.places, heads, strict=True) if head is not None]
        return sweep(self.bank, chosen, self.separate, ACCURACY in self.objectives)

    def worthwhile(self, heads: Heads) -> list[Exits]:
        """These exits with all thresholds, without those that are no better than others in any way.

        Fewer samples that go on past an exit never cost more, whatever the placement; so a choice of thresholds that
        lets as many or more go on past every exit, for no more accuracy, is not needed.
        """
        found = self.sweep(heads)
        if len(found) <= _MOST_COMPARED:
            error = 1 - found.accuracy if ACCURACY in self.objectives else np.zeros(len(found))
            found = found.take(np.sort(nondominated(np.column_stack([error, found.going_on]))))
        return [self.exits(heads, tuple(map(int, levels))) for levels in found.levels]

    def best(self, exits: Exits, cost: str) -> Point:
        """The placement of least ``cost`` for these exits.

        Raises:
            InfeasiblePlan: none keeps to the limits.
        """
        problem = replace(self.bounded, objective=cost, exits=exits.shares)
        return self.point(exits, MinimumCut(_TIME_LIMIT_S).solve(problem))

    def placed(self, exits: Exits, tier_of: TierOf) -> Point | None:
        """These exits with a given placement; None where it is not allowed."""
        problem = replace(self.bounded, exits=exits.shares)
        if broken(problem, tier_of) or exceeded(problem, tier_of):
            return None
        return self.point(exits, Placement(tier_of, Proof(status="rule", method=METHOD)))

    def all_placed(self, heads: Heads, placements: Sequence[TierOf]) -> Iterator[Point]:
        """These exits with all worthwhile thresholds and all of the placements that are allowed."""
        every = self.worthwhile(heads)
        unshared, shared = self._limits
        static = replace(unshared, exits=every[0].shares)
        allowed = [each for each in placements if not broken(static, each) and not exceeded(static, each)]
        proof = Proof(status="rule", method=METHOD)
        for exits in every:
            moving = replace(shared, exits=exits.shares)
            for tier_of in allowed:
                if not moving.limits or not exceeded(moving, tier_of):
                    try:
                        yield self.point(exits, Placement(tier_of, proof))
                    except InfeasiblePlan:  # no size on offer holds a part
                        continue

    @cached_property
    def _limits(self) -> tuple[Problem, Problem]:
        """The problem with the limits that do not depend on the shares, and with the others."""
        names, limits = self.problem.tier_names, self.bounded.limits
        unshared = {name: most for name, most in limits.items() if quantity(name, names).kind in _UNSHARED}
        free = tuple(replace(tier, memory_limit_bytes=None) for tier in self.problem.tiers)
        rest = {name: most for name, most in limits.items() if name not in unshared}
        return replace(self.bounded, limits=unshared), replace(self.bounded, tiers=free, limits=rest)

    def point(self, exits: Exits, placement: Placement) -> Point:
        """What a choice is worth."""
        problem = replace(self.bounded, exits=exits.shares)
        values = tuple(
            exits.accuracy if name == ACCURACY else value(problem, placement.tier_of, name) for name in self.objectives
        )
        return Point(values, exits.shares, exits.thresholds, exits.bundles, placement)

    def placements(self, most: int) -> list[TierOf] | None:
        """Every allowed placement of the layers; None where there are more than ``most``."""
        from edgepart.partitioning.exhaustive import placements

        if len(self.problem.graph.layers) > _MOST_LAYERS:
            return None
        plain = self.without_exits
        found = list(itertools.islice(placements(plain, windows(plain)), most + 1))
        return None if len(found) > most else [each for each in found if not broken(plain, each)]


def make_space(
    problem: Problem, bank: Bank, objectives: Sequence[str], separate: bool = False, most_exits: int = 3
) -> Space:
    """A space whose objectives exist.

    Raises:
        UnknownName: no such quantity.
        PlanError: a nested deployment; no cost among the objectives, or one twice; or a device, link or tier does not
            state what one is counted from.
    """
    if problem.deployment == "nested":
        raise PlanError("a joint search places the parts of a split network, not of a nested one: drop --deployment")
    if len(set(objectives)) < len(objectives):
        raise PlanError(f"an objective is given twice in {', '.join(objectives)}: give each once")
    if most_exits < 1:
        raise PlanError(f"{most_exits} exits per part: expected 1 or more")
    space = Space(problem, bank, tuple(ALIASES.get(name, name) for name in objectives), separate, most_exits)
    if not space.costs:
        raise PlanError("a search needs a cost beside accuracy: add one, as --objectives accuracy,latency")
    for name in (*space.costs, *problem.limits):
        _require_stated(problem, name)
    return space


def _require_stated(problem: Problem, name: str) -> None:
    """Check that devices, links and prices say what a quantity is counted from, wherever the layers are."""
    try:
        asked = quantity(name, problem.tier_names, problem.hops)
    except UnknownName as error:
        known = error.known if "." in name else (*error.known, ACCURACY)
        raise UnknownName("objective", error.given, known) from None
    if asked.kind == "money" and all(tier.price is None for tier in problem.tiers):
        raise PlanError(f"no tier has a price to count '{name}' from: add --price TIER=NAME, as cloud=aws-lambda")
    if problem.joined is not None:  # looked at for every route on its own
        return
    additive(problem, asked)
    for tier in range(len(problem.tiers)):
        with contextlib.suppress(InfeasiblePlan):
            value(problem, dict.fromkeys(problem.graph.position, tier), asked)
