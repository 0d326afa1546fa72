"""The routes of a Problem whose tiers are joined in more than one way, and the best placement over all of them.

A sample takes one route: tiers in ascending order, from the first one, each joined to the next by a link. What goes on
travels from part to part along it; the tiers that are not on it hold nothing and send nothing. So every route is an
ordinary problem over fewer tiers, which any :class:`~edgepart.partitioning.problem.Partitioner` solves, and the best of
all placements is the best of the routes' best ones. Upper tiers of a route may hold nothing as well, so that the routes
which end where no link leads on have all the others among them. There are few of them: two for three tiers with a
direct link, at most 2**(N - 2) for N tiers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from edgepart.errors import InfeasiblePlan, UndecidedPlan, UnknownName
from edgepart.partitioning.plan import Proof
from edgepart.partitioning.problem import Partitioner, Placement, Problem
from edgepart.partitioning.quantities import quantity
from edgepart.partitioning.values import value

#: another route is taken if it is better by more than this share: values round
BETTER = 1e-9
#: a placement is called optimal if the bounds of all routes are no further below it
OPTIMAL_GAP = 1e-6
#: what is minimised over a route on which the objective is 0 in any case
_INSTEAD = "latency"
_CLAIM_NOTHING = ("rule", "by hand")


@dataclass(frozen=True, eq=False)
class Route:
    """A way up.

    Attributes:
        whole: the problem with all tiers
        tiers: indices of those on the route, ascending
    """

    whole: Problem
    tiers: tuple[int, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the tiers on the route."""
        return tuple(self.whole.tiers[index].name for index in self.tiers)

    @cached_property
    def problem(self) -> Problem:
        """The ordinary problem over the tiers of the route.

        Limits of tiers and links that are not on it are left out, for there they hold; where the objective is of such a
        one, latency stands in its place.
        """
        whole, names = self.whole, self.names
        if whole.joined is None and len(names) == len(whole.tiers):
            return whole
        links = dict(zip(whole.hops, whole.links, strict=True)) if whole.joined is None else whole.joined
        return replace(
            whole,
            tiers=tuple(whole.tiers[index] for index in self.tiers),
            links=tuple(links[hop] for hop in itertools.pairwise(names)),
            joined=None,
            objective=whole.objective if self.has(whole.objective) else _INSTEAD,
            limits={name: most for name, most in whole.limits.items() if self.has(name)},
            pins={layer: tier for layer, tier in whole.pins.items() if tier in names},
            forbidden={layer: tiers.intersection(names) for layer, tiers in whole.forbidden.items()},
        )

    @property
    def barred(self) -> str:
        """Why nothing can be placed on the route, if a pin says so, in a clause; else empty."""
        for layer, tier in self.whole.pins.items():
            if tier not in self.names:
                return f"layer '{layer}' is pinned to '{tier}', which is not on it"
        return ""

    def has(self, name: str) -> bool:
        """Whether a quantity is counted on the route, rather than 0 because its tier or link is not on it."""
        try:
            quantity(name, self.names)
        except UnknownName:
            return False
        return True

    def value(self, tier_of: Mapping[str, int], name: str) -> float:
        """What a placement on the route makes of a quantity of the whole, in its unit.

        Raises:
            PlanError: as :func:`edgepart.partitioning.values.value`.
        """
        return value(self.problem, tier_of, name) if self.has(name) else 0.0


@dataclass(frozen=True)
class Chosen:
    """A placement by the indices of all tiers, and those of its route; equal ones are worth the same everywhere.

    Where there are several routes, ``tiers`` end with the last one that holds layers.
    """

    tiers: tuple[int, ...]
    tier_of: Mapping[str, int]

    def value(self, problem: Problem, name: str) -> float:
        """What the placement makes of a quantity of a problem with these tiers and links, in its unit.

        Raises:
            PlanError: as :func:`edgepart.partitioning.values.value`.
        """
        return Route(problem, self.tiers).value(self.on_route, name)

    @property
    def on_route(self) -> dict[str, int]:
        """Layer → which of the route's tiers it is on."""
        place = {tier: index for index, tier in enumerate(self.tiers)}
        return {layer: place[tier] for layer, tier in self.tier_of.items()}


@dataclass(frozen=True, eq=False)
class Routed:
    """A placement on a route: ``placement`` by the indices of the route's tiers, its proof over all routes."""

    route: Route
    placement: Placement

    @property
    def chosen(self) -> Chosen:
        """The placement alone."""
        tiers = self.route.tiers
        tier_of = {layer: tiers[tier] for layer, tier in self.placement.tier_of.items()}
        if self.route.whole.joined is not None:
            tiers = tiers[: 1 + max(self.placement.tier_of.values())]
        return Chosen(tiers, tier_of)


def routes(problem: Problem) -> tuple[Route, ...]:
    """The routes that no other one goes on from, those with most tiers first."""
    names, hops = problem.tier_names, problem.hops
    above = {name: [index for index, upper in enumerate(names) if (name, upper) in hops] for name in names}

    def extend(taken: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        onwards = above[names[taken[-1]]]
        if not onwards:
            yield taken
        for index in onwards:
            yield from extend((*taken, index))

    found = sorted(extend((0,)), key=lambda tiers: (-len(tiers), tiers))
    return tuple(Route(problem, tiers) for tiers in found)


def whole_route(problem: Problem) -> Route:
    """The one route of a problem whose tiers are each joined to the next."""
    return Route(problem, tuple(range(len(problem.tiers))))


def routes_by_hand(problem: Problem, named: Iterable[str]) -> tuple[Route, ...]:
    """The routes on which the tiers below the last are the named ones; if there is none, that with most tiers."""
    every, lower = routes(problem), set(named)
    return tuple(each for each in every if set(each.names[:-1]) == lower) or every[:1]


def without(problem: Problem, hop: tuple[str, str]) -> Problem:
    """The problem in which nothing can be sent over the link between two tiers."""
    if problem.joined is not None:
        return replace(problem, joined={each: link for each, link in problem.joined.items() if each != hop})
    above = frozenset(problem.tier_names[problem.tier_names.index(hop[1]) :])
    forbidden = {layer.name: above | problem.forbidden.get(layer.name, frozenset()) for layer in problem.graph.layers}
    return replace(problem, forbidden=forbidden)


def best(problem: Problem, solver: Partitioner, over: Sequence[Route] | None = None) -> Routed:
    """The best placement over all routes, with a proof that is for all of them.

    Of equally good ones that on the route with most tiers. A rule claims nothing of its cost and knows nothing of
    links: its placement is that on the first route, unless routes to choose from are given.

    Args:
        over: the routes to choose from; None: all

    Raises:
        InfeasiblePlan: there is no placement on any route; says why.
        UndecidedPlan: none was found in time, nor shown not to exist.
        PlanError: as the solver says.
    """
    if problem.joined is None:
        return Routed(whole_route(problem), solver.solve(problem))
    found: list[_Solved] = []
    refused: dict[Route, str] = {}
    undecided: UndecidedPlan | None = None
    tried = routes(problem) if over is None else over
    for route in tried:
        if route.barred:
            refused[route] = route.barred
            continue
        try:
            placement = solver.solve(route.problem)
        except InfeasiblePlan as error:
            refused[route] = str(error)
        except UndecidedPlan as error:
            undecided = error
        else:
            if placement.proof.status in _CLAIM_NOTHING and (over is None or len(over) == 1):
                return Routed(route, placement)
            found.append(_Solved.of(route, placement))
    if not found:
        raise undecided or InfeasiblePlan(_why(problem, refused))
    chosen = found[0]
    for each in found:
        if each.cost < chosen.cost * (1 - BETTER):
            chosen = each
    if chosen.placement.proof.status in _CLAIM_NOTHING:
        return Routed(chosen.route, chosen.placement)
    proof = _proof(chosen, found, undecided is not None, len(tried))
    return Routed(chosen.route, Placement(chosen.placement.tier_of, proof))


@dataclass(frozen=True)
class _Solved:
    """The best that was found on a route, and a lower bound on what can be."""

    route: Route
    placement: Placement
    cost: float
    bound: float

    @classmethod
    def of(cls, route: Route, placement: Placement) -> _Solved:
        cost = route.value(placement.tier_of, route.whole.objective)
        stated, claimed = placement.proof.bound, cost if placement.proof.status == "optimal" else 0.0
        return cls(route, placement, cost, min(cost, claimed if stated is None or not cost else stated))


def _proof(chosen: _Solved, found: Sequence[_Solved], undecided: bool, count: int) -> Proof:
    """That of the least bound of all routes."""
    bound = 0.0 if undecided else min(each.bound for each in found)
    gap = (chosen.cost - bound) / chosen.cost if chosen.cost else 0.0
    proven = not undecided and all(
        each.placement.proof.status == "optimal" or each.bound >= chosen.cost * (1 - OPTIMAL_GAP) for each in found
    )
    method = chosen.placement.proof.method
    return Proof(
        status="optimal" if proven or not chosen.cost else "bound",
        method=f"{method} over {count} routes" if count > 1 else method,
        bound=bound,
        gap=gap,
    )


def _why(problem: Problem, refused: Mapping[Route, str]) -> str:
    """One sentence that is true for all routes."""
    reasons = set(refused.values())
    if len(reasons) == 1 and not any(route.barred for route in refused):
        return reasons.pop()
    from edgepart.partitioning.conflicts import MOST_S, explain

    return explain(problem, MOST_S)
