"""What the trials of a study have shown: the best of them, and of everything that was scored beside them.

With the exits of a trial, all placements of the pool are scored at once, and all thresholds where that is not too much.
All of it follows from the variables of the trials, so that everyone who reads a storage finds the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgepart.partitioning.plan import Proof
from edgepart.partitioning.problem import Placement
from edgepart.search.archive import Archive
from edgepart.search.choices import Choices
from edgepart.search.front import Point, minimised
from edgepart.search.listing import scores
from edgepart.search.moves import CUTS
from edgepart.search.space import METHOD, Heads

#: thresholds times placements that are scored with a trial
_MOST_BESIDE = 200_000


class Findings:
    """The trials so far, by their numbers."""

    def __init__(self, choices: Choices) -> None:
        self._choices, self._space, self._pool = choices, choices.space, choices.pool
        self._chosen: dict[int, dict[str, Any]] = {}
        self._tried: set[tuple[object, ...]] = set()
        #: named by trial, placement of the pool and thresholds; -1: the trial's own placement; no more exits
        self._archive = Archive(len(self._space.objectives), 2 + self._space.most_in_all)

    @property
    def empty(self) -> bool:
        """Whether there are no trials."""
        return not self._chosen

    def note(self, number: int, chosen: Mapping[str, Any], values: Sequence[float] | None) -> None:
        """Take in a trial, once; ``values`` are those of its own placement, None if that is not allowed."""
        if number in self._chosen:
            return
        self._chosen[number] = dict(chosen)
        if values is not None:
            self._archive.add(minimised([values], self._space.objectives), self._names(1, number, -1))
        tried = self._tries(chosen)
        if self._pool is not None and tried not in self._tried:
            heads, levels = self._heads(number), self._choices.decoded(chosen)[1]
            found = None if self._all_thresholds(heads) else self._choices.one(heads, levels)
            for costs, rows, at in scores(self._space, self._pool.tables, heads, found):
                names = self._names(len(costs), number, rows)
                names[:, 2 : 2 + at.shape[1]] = at
                self._archive.add(costs, names)
        self._tried.add(tried)

    def has(self, chosen: Mapping[str, Any]) -> bool:
        """Whether everything that a trial would show is known."""
        return self._tries(chosen) in self._tried

    def pick(self, random: np.random.Generator) -> dict[str, Any] | None:
        """The variables of one of the best, by chance, with the placement and thresholds that are best for it."""
        _, names = self._archive.best()
        if not len(names):
            return None
        number, row, *levels = names[int(random.integers(len(names)))].tolist()
        found = dict(self._chosen[number])
        if row < 0 or self._pool is None:
            return found
        ends = self._pool.ends[row] if "placement" in found else None
        if ends is not None:
            found |= {"placement": CUTS, **{f"cut {hop}": end for hop, end in enumerate(ends)}}
        places = [place for place, head in enumerate(self._heads(number)) if head is not None]
        for place, level in zip(places, levels, strict=False):
            found[f"threshold {place}" if self._space.separate else "threshold"] = level
        return found

    def points(self, score: Callable[[Mapping[str, Any]], Point | None]) -> list[Point]:
        """The best; ``score`` gives the point of a trial."""
        _, names = self._archive.best()
        found = [self._point(number, row, levels, score) for number, row, *levels in names.tolist()]
        return [point for point in found if point is not None]

    def _point(
        self, number: int, row: int, levels: Sequence[int], score: Callable[[Mapping[str, Any]], Point | None]
    ) -> Point | None:
        if row < 0 or self._pool is None:
            return score(self._chosen[number])
        exits = self._space.exits(self._heads(number), tuple(level for level in levels if level >= 0))
        placement = Placement(self._pool.tables.placements[row], Proof(status="rule", method=METHOD))
        return self._space.point(exits, placement)

    def _heads(self, number: int) -> Heads:
        """The exits that a trial was scored with beside its own placement."""
        heads = self._choices.heads(self._chosen[number])
        return heads if self._all_thresholds(heads) else self._choices.decoded(self._chosen[number])[0]

    def _all_thresholds(self, heads: Heads) -> bool:
        if self._pool is None:
            return False
        exits = sum(head is not None for head in heads)
        ways: int = len(self._space.bank.levels) ** (exits if self._space.separate else min(exits, 1))
        return ways * len(self._pool.tables.placements) <= _MOST_BESIDE

    def _tries(self, chosen: Mapping[str, Any]) -> tuple[object, ...]:
        """What a trial shows, as far as another one would not."""
        heads = self._choices.heads(chosen)
        if self._all_thresholds(heads):
            return (heads,)
        heads, levels, tier_of = self._choices.decoded(chosen)
        if self._pool is not None:
            return heads, levels
        return heads, levels, chosen.get("placement") if tier_of is None else tuple(tier_of.values())

    def _names(self, count: int, number: int, rows: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
        names = np.full((count, 2 + self._space.most_in_all), -1, np.int64)
        names[:, 0], names[:, 1] = number, rows
        return names
