"""The best of very many choices, kept as numbers: what each is worth, and which it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepart.search.dominance import nondominated, rounded

#: choices that wait until those that others beat are dropped
_BATCH = 200_000
#: choices that are first compared with the best so far
_FEW = 1000


class Archive:
    """Choices, each a row of objectives, less being better, and a row of whole numbers that says which it is."""

    def __init__(self, objectives: int, numbers: int) -> None:
        self._costs = np.empty((0, objectives))
        self._names = np.empty((0, numbers), np.int64)
        self._waiting: list[tuple[NDArray[np.float64], NDArray[np.int64]]] = []
        self._count = 0

    def add(self, costs: NDArray[np.float64], names: NDArray[np.int64]) -> None:
        """(N, objectives) and (N, numbers); infinite ones are not possible and are left out."""
        possible = np.isfinite(costs).all(axis=1)
        self._waiting.append((costs[possible], names[possible]))
        self._count += int(possible.sum())
        if self._count >= _BATCH:
            self._settle()

    def best(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Those that none beats, best in the first objective first; of equal ones the one that came first."""
        self._settle()
        return self._costs, self._names

    def _settle(self) -> None:
        if not self._count:
            return
        costs = np.concatenate([each for each, _ in self._waiting])
        names = np.concatenate([each for _, each in self._waiting])
        self._waiting, self._count = [], 0
        first = nondominated(costs)
        costs, names = costs[first], names[first]
        if len(costs) <= _FEW:
            # most choices are beaten by what is here, which then stays as it is
            ahead = ~_beaten(costs, self._costs)
            if not ahead.any():
                return
            costs, names = costs[ahead], names[ahead]
        costs, names = np.concatenate([self._costs, costs]), np.concatenate([self._names, names])
        kept = nondominated(costs)
        self._costs, self._names = costs[kept], names[kept]


def _beaten(costs: NDArray[np.float64], by: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,) whether one of ``by`` is as good in all objectives."""
    found = np.ones((len(costs), len(by)), np.bool_)
    for mine, theirs in zip(rounded(costs).T, rounded(by).T, strict=True):
        np.logical_and(found, theirs[None] <= mine[:, None], out=found)
    result: NDArray[np.bool_] = np.any(found, axis=1)
    return result
