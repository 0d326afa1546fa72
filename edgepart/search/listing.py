"""Small spaces: every choice is tried, so that the front is proven."""

from __future__ import annotations

from collections.abc import Iterator

from edgepart.errors import InfeasiblePlan, PlanError
from edgepart.progress import progress
from edgepart.search.front import Point, minimised, nondominated
from edgepart.search.space import Heads, Space, TierOf

#: points kept before those that others beat are dropped
_BATCH = 4096


def tried(space: Space, most: int) -> tuple[int, list[TierOf] | None] | None:
    """How many choices there are, and the placements among them (None: the best one follows from the exits).

    None where there are more than ``most``.
    """
    choices = space.count()
    if choices > most:
        return None
    if len(space.costs) == 1:
        return choices, None
    placements = space.placements(most // choices)
    return None if placements is None else (choices * len(placements), placements)


def enumerate_all(space: Space, placements: list[TierOf] | None) -> tuple[list[Point], bool]:
    """The points that none beats, best in the first objective first, and whether every placement is proven the best.

    Raises:
        InfeasiblePlan: no placement keeps to the limits.
    """
    choices = list(space.head_choices())
    kept: list[Point] = []
    exact = True
    with progress("choices of exits", len(choices)) as advance:
        for heads in choices:
            for point in _points(space, heads, placements):
                exact &= point is not None and (placements is not None or point.placement.proof.status == "optimal")
                kept += [] if point is None else [point]
                if len(kept) >= 2 * _BATCH:
                    kept = best_of(space, kept)
            advance(1)
    if not kept:
        space.best(space.exits((None,) * len(space.bank.places), ()), space.costs[0])
        raise InfeasiblePlan("no placement satisfies the limits")
    return best_of(space, kept), exact


def best_of(space: Space, points: list[Point]) -> list[Point]:
    """The points that none beats, best in the first objective first."""
    costs = minimised([point.values for point in points], space.objectives)
    return [points[index] for index in nondominated(costs)]


def _points(space: Space, heads: Heads, placements: list[TierOf] | None) -> Iterator[Point | None]:
    """The points of a choice of exits; None for one whose placement was not found in time."""
    if placements is not None:
        yield from space.all_placed(heads, placements)
        return
    for exits in space.worthwhile(heads):
        try:
            yield space.best(exits, space.costs[0])
        except InfeasiblePlan:
            continue
        except PlanError:
            yield None
