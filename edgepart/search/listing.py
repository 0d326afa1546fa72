"""Small spaces: every choice is tried, so that the front is proven."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgepart.errors import InfeasiblePlan, PlanError
from edgepart.partitioning.plan import Proof
from edgepart.partitioning.problem import Placement
from edgepart.progress import progress
from edgepart.search.archive import Archive
from edgepart.search.dominance import nondominated
from edgepart.search.front import Point, minimised
from edgepart.search.space import METHOD, Heads, Space, TierOf
from edgepart.search.sweep import Sweep
from edgepart.search.tables import Tables, can_tabulate, most_placements

#: how many times as many choices are tried where they are scored from tables: placements not counted, and counted
_FASTER, _FASTER_PLACED = 50, 2500
#: scores held at once
_AT_ONCE = 500_000
#: points kept before those that others beat are dropped
_BATCH = 4096


@dataclass(frozen=True)
class Listing:
    """What there is to try: ``count`` choices.

    Attributes:
        placements: those among the choices; None: the best one follows from the exits
        tables: of all placements, where choices are scored from them
    """

    count: int
    placements: list[TierOf] | None = None
    tables: Tables | None = None


def listing(space: Space, most: int) -> Listing | None:
    """All choices of a space; None where there are too many.

    Args:
        most: choices that may be worked out one by one; from tables more are allowed
    """
    choices, one = space.count(), len(space.costs) == 1
    if can_tabulate(space) and choices <= most * (_FASTER if one else _FASTER_PLACED):
        allowed = most_placements(space)
        placements = space.placements(allowed if one else min(allowed, most * _FASTER_PLACED // choices))
        if placements:
            return Listing(choices * (1 if one else len(placements)), tables=Tables(space, placements))
    if choices > most:
        return None
    if one:
        return Listing(choices)
    placements = space.placements(most // choices)
    return None if placements is None else Listing(choices * len(placements), placements)


def enumerate_all(space: Space, what: Listing) -> tuple[list[Point], bool]:
    """The points that none beats, best in the first objective first, and whether every placement is proven the best.

    Raises:
        InfeasiblePlan: no placement keeps to the limits.
    """
    kept, exact = (
        (_scored(space, what.tables), True) if what.tables is not None else _one_by_one(space, what.placements)
    )
    if not kept:
        space.best(space.exits((None,) * len(space.bank.places), ()), space.costs[0])
        raise InfeasiblePlan("no placement satisfies the limits")
    return best_of(space, kept), exact


def best_of(space: Space, points: list[Point]) -> list[Point]:
    """The points that none beats, best in the first objective first."""
    costs = minimised([point.values for point in points], space.objectives)
    return [points[index] for index in nondominated(costs)]


def _scored(space: Space, tables: Tables) -> list[Point]:
    """The best choices, scored from tables."""
    choices = list(space.head_choices())
    archive = Archive(len(space.objectives), 2 + space.most_in_all)
    with progress("choices of exits", len(choices)) as advance:
        for number, heads in enumerate(choices):
            for costs, rows, levels in scores(space, tables, heads):
                names = np.full((len(costs), 2 + space.most_in_all), -1)
                names[:, 0], names[:, 1], names[:, 2 : 2 + levels.shape[1]] = number, rows, levels
                archive.add(costs, names)
            advance(1)
    _, best = archive.best()
    return [_point(space, tables, choices[number], row, levels) for number, row, *levels in best.tolist()]


def scores(
    space: Space, tables: Tables, heads: Heads, found: Sweep | None = None
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]]:
    """Choices of thresholds and placements for these exits: what they are worth, the placements and the thresholds.

    Args:
        found: the thresholds; by default all at which somebody leaves at every exit, since a choice without the others
            is no worse. With one cost, the best placement of each
    """
    rows = tables.allowed(heads)
    if not len(rows):
        return
    if found is None:
        every = space.sweep(heads)
        found = every.take(np.flatnonzero((every.leaving[:, :-1] > 0).all(axis=1)))
    step = max(1, _AT_ONCE // len(rows))
    for start in range(0, len(found), step):
        part = found.take(np.arange(start, min(start + step, len(found))))
        costs = tables.minimised(heads, part, rows)
        if len(space.costs) == 1:
            least = costs[:, :, space.objectives.index(space.costs[0])].argmin(axis=1)
            yield costs[np.arange(len(part)), least], rows[least], part.levels
        else:
            many = costs.reshape(-1, costs.shape[-1])
            yield many, np.tile(rows, len(part)), np.repeat(part.levels, len(rows), axis=0)


def _point(space: Space, tables: Tables, heads: Heads, row: int, levels: Sequence[int]) -> Point:
    exits = space.exits(heads, tuple(level for level in levels if level >= 0))
    rule = Proof(status="rule", method=METHOD)
    point = space.point(exits, Placement(tables.placements[row], rule))
    if len(space.costs) > 1:
        return point
    cost = point.values[space.objectives.index(space.costs[0])]
    proof = Proof(status="optimal", method=METHOD, bound=cost, gap=0.0)
    return replace(point, placement=replace(point.placement, proof=proof))


def _one_by_one(space: Space, placements: list[TierOf] | None) -> tuple[list[Point], bool]:
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
    return kept, exact


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
