"""Pools whose centroids move with every point that is sent to them (DIMEC-DC, Algorithm 2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.pools import Router, nearest, squares_of

#: points that are decided together; more no longer fit into the cache
BLOCK = 64


class MovingCentroids:
    """The means of a router's pools, and of the points taken in since.

    Each pool keeps the sum of its points, so that P ← (n·P + x) / (n + 1) is one addition and one division.

    Attributes:
        centroids: (3, R) as they stand now, NaN where a pool is empty
        sizes: (3,) points behind each
        filled: the pools that have any
    """

    def __init__(self, start: Router) -> None:
        self._start = start
        self.reset()

    def reset(self) -> None:
        """Back to where they were on validation."""
        self.centroids = self._start.centroids.copy()
        self._squares: list[float] | None = None
        self.sizes = self._start.sizes.astype(np.float64)
        self._sums = self.centroids * self.sizes[:, None]
        self.filled: list[int] = np.flatnonzero(self._start.sizes).tolist()

    @property
    def squares(self) -> Sequence[float]:
        """Of the centroids' lengths."""
        if self._squares is None:
            self._squares = squares_of(self.centroids)
        return self._squares

    def nearest_of(self, point: NDArray[np.float64], among: Sequence[int]) -> int:
        """The nearest to a point (R,) of some of the pools."""
        return among[int(nearest(point[None], self.centroids[list(among)])[0])]

    def take_one(self, point: NDArray[np.float64], pool: int) -> None:
        """Move by a point (R,): :meth:`take` without what one point can do without."""
        total = self._sums[pool]
        np.add(total, point, out=total)
        self.sizes[pool] += 1
        centroid = np.divide(total, self.sizes[pool], out=self.centroids[pool])
        if self._squares is not None:
            self._squares[pool] = float(centroid.dot(centroid))

    def take(self, points: NDArray[np.float64], pool: NDArray[np.int64]) -> None:
        """Move by n points (n, R), each of which belongs to a pool (n,)."""
        sums = list(self._sums)
        for point, index in zip(points, pool.tolist(), strict=True):
            np.add(sums[index], point, out=sums[index])
        taken = np.bincount(pool, minlength=len(sums))
        self.sizes += taken
        moved = taken > 0
        self.centroids[moved] = self._sums[moved] / self.sizes[moved, None]
        self._squares = None

    def in_turn(self, points: NDArray[np.float64]) -> NDArray[np.int64]:
        """(n,) the pool nearest to each of a few points (n, R), if every one is taken in before the next is asked.

        Whatever is guessed of the pools, the answers that follow from the guess are right up to the first wrong guess
        and one further. So guessing the answers again ends at the right ones after n rounds at most, and after two or
        three where the centroids hardly move. All arithmetic is that of :func:`nearest` on one point after another.
        """
        sums, sizes = self._sums[self.filled], self.sizes[self.filled, None]
        guess = ((sums / sizes) ** 2).sum(axis=1) - 2 * points @ (sums / sizes).T
        pool = np.array(self.filled)[guess.argmin(axis=1)]
        while True:
            found = self._after(points, pool)
            if np.array_equal(found, pool):
                return found
            pool = found

    def _after(self, points: NDArray[np.float64], pool: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) the pool nearest to each point where those before it went to these pools."""
        distance = np.full((len(self.centroids), len(points)), np.inf)
        for index in self.filled:
            mine = pool == index
            moved = _running(self._sums[index], points[mine])
            moved /= np.arange(self.sizes[index], self.sizes[index] + len(moved))[:, None]
            moved[0] = self.centroids[index]
            apart = moved[np.cumsum(mine) - mine]
            np.subtract(points, apart, out=apart)
            np.multiply(apart, apart, out=apart)
            np.add.reduce(apart, axis=1, out=distance[index])
        closest: NDArray[np.int64] = distance.argmin(axis=0)
        return closest


def _running(total: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n + 1, R) a sum (R,) before and after each of n points is added to it, in this order."""
    result = np.concatenate([total[None], points])
    # row by row: numpy's accumulate goes column by column, which takes eight times as long on wide embeddings
    before = result[0]
    for row in result[1:]:
        row += before
        before = row
    return result
