"""A joint search where the tiers are joined in more than one way: one for each route, and the best of all points.

Exits, heads and thresholds are the same choices on every route, and every placement lies on one. So the front is what
no other point beats among those of all routes; it is proven if each of them is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from edgepart.errors import EdgepartError, FileError, InfeasiblePlan
from edgepart.partitioning.minimum_cut import MinimumCut
from edgepart.partitioning.problem import Problem
from edgepart.partitioning.quantities import quantity
from edgepart.partitioning.routes import Route, best, routes
from edgepart.search.dominance import nondominated
from edgepart.search.front import ACCURACY, Point, minimised

#: a cost for routes on which all others are 0
_INSTEAD = "latency"


@dataclass(frozen=True)
class Found:
    """What a search found: see :class:`~edgepart.search.front.Front`."""

    points: Sequence[Point]
    proven: bool
    how: str
    trials: int = 0
    stopped: EdgepartError | None = None


def over_routes(problem: Problem, objectives: Sequence[str], one: Callable[[Problem, Sequence[str]], Found]) -> Found:
    """The best points over all routes, best in the first objective first.

    Args:
        problem: with several routes
        objectives: checked; a quantity of a tier or link that is not on a route is 0 there
        one: searches an ordinary problem for objectives

    Raises:
        InfeasiblePlan: no placement keeps to the limits on any route.
        FileError: the storage cannot be reached, and nothing was found before.
    """
    points: list[Point] = []
    proven, how, trials = True, [], 0
    stopped: EdgepartError | None = None
    for route in routes(problem):
        if route.barred or stopped:
            continue
        counted = {name for name in (*objectives, *problem.limits) if _counts(route, name)}
        asked = [name for name in objectives if name == ACCURACY or name in counted]
        if asked in ([], [ACCURACY]):
            asked = [*asked, _INSTEAD]
        limits = {name: most for name, most in problem.limits.items() if name in counted}
        try:
            found = one(replace(route.problem, limits=limits), asked)
        except InfeasiblePlan:
            continue
        except FileError as error:
            if not points:
                raise
            stopped = error
            continue
        for point in found.points:
            values = dict(zip(asked, point.values, strict=True))
            told = tuple(values.get(name, 0.0) for name in objectives)
            points.append(replace(point, values=told, route=route.tiers))
        how.append(f"{' > '.join(route.names)}: {found.how}")
        proven, trials, stopped = proven and found.proven, trials + found.trials, found.stopped
    if not points and proven:
        best(problem, MinimumCut())
        raise InfeasiblePlan("no placement satisfies the limits")
    kept = nondominated(minimised([point.values for point in points], objectives)) if points else []
    return Found([points[index] for index in kept], proven and not stopped, "; ".join(how), trials, stopped)


def _counts(route: Route, name: str) -> bool:
    """Whether a quantity is counted on a route, rather than 0 wherever the layers are."""
    if name == ACCURACY or not route.has(name):
        return False
    of_money = quantity(name, route.names).kind == "money"
    return not of_money or any(tier.price is not None for tier in route.problem.tiers)
