"""Thresholds of several exits chosen together: every combination where they are few, else one exit after another."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

#: (N, K - 1) how many of the levels, which rise, a sample's certainty reaches at every exit but the last
Reaches = NDArray[np.int64]
#: (K - 1,) the level that each exit asks for
Levels = NDArray[np.int64]
#: price → sum, levels
Chooser = Callable[[float], tuple[float, Levels]]

#: combinations of levels that are counted out; beyond, exits are improved in turn
MOST_COMBINATIONS = 60_000
_MOST_ROUNDS = 50


def chooser(
    reaches: Reaches, correct: NDArray[np.bool_], cost: NDArray[np.float64], levels: int, common: bool = False
) -> Chooser:
    """What finds the levels that maximise right answers less price · cost, summed over the samples.

    Of combinations that are equally good it takes one with high levels, where fewer leave early. Exact where there
    are at most :data:`MOST_COMBINATIONS`. Otherwise each exit's level is improved in turn, the others held, until none
    is, from the best common level, from the one where nobody leaves and from what was found for the price before.

    Args:
        correct: (N, K)
        cost: (K,) of leaving at each exit
        levels: how many there are
        common: one level for all exits
    """
    if common:
        return _Common(reaches, correct, cost, levels)
    if levels ** reaches.shape[1] <= MOST_COMBINATIONS:
        return _Every(reaches, correct, cost, levels)
    return _InTurn(reaches, correct, cost, levels)


def left_at(reaches: Reaches, levels: Levels) -> NDArray[np.int64]:
    """(N,) the exit where each sample leaves."""
    leaves = np.ones((len(reaches), reaches.shape[1] + 1), np.bool_)
    leaves[:, :-1] = reaches > levels
    left: NDArray[np.int64] = leaves.argmax(axis=1)
    return left


class _Common:
    """One level for all exits: the right answers and the cost of each, counted once."""

    def __init__(self, reaches: Reaches, correct: NDArray[np.bool_], cost: NDArray[np.float64], levels: int) -> None:
        self._exits, rows = reaches.shape[1], np.arange(len(reaches))
        every = [left_at(reaches, np.full(self._exits, level)) for level in range(levels)]
        self._right = np.array([correct[rows, left].sum() for left in every], np.float64)
        self._cost = np.array([cost[left].sum() for left in every])

    def __call__(self, price: float) -> tuple[float, Levels]:
        worth = _rounded(self._right - price * self._cost)
        best = _last_best(worth)
        return float(worth[best]), np.full(self._exits, best)


class _Every:
    """The right answers and the cost of every combination, counted once."""

    def __init__(self, reaches: Reaches, correct: NDArray[np.bool_], cost: NDArray[np.float64], levels: int) -> None:
        self._right = totals(reaches, correct.astype(np.float64), levels)
        self._cost = totals(reaches, np.broadcast_to(cost, correct.shape), levels)

    def __call__(self, price: float) -> tuple[float, Levels]:
        worth = _rounded(self._right - price * self._cost)
        best = _last_best(worth.ravel())
        return float(worth.flat[best]), np.array(np.unravel_index(best, worth.shape), np.int64)


def totals(reaches: Reaches, values: NDArray[np.float64], levels: int) -> NDArray[np.float64]:
    """(L, …) sum over the samples of the value at the exit where they leave, for each combination of L levels.

    A histogram of the samples by what they reach, summed up along every axis: those in a cell up to a level pass it.

    Args:
        reaches: (N, K - 1)
        values: (N, K)
    """
    exits = reaches.shape[1]
    result = np.zeros((levels,) * exits)
    for index in range(exits + 1):
        met = min(index + 1, exits)
        wide = (levels + 1,) * met
        cells = np.ravel_multi_index(tuple(reaches[:, :met].T), wide) if met else np.zeros(len(values), np.int64)
        passing = np.bincount(cells, weights=values[:, index], minlength=int(np.prod(wide))).reshape(wide)
        for axis in range(met):
            passing = passing.cumsum(axis=axis)
        below = passing[(slice(levels),) * met]
        if index < exits:
            below = passing[(slice(levels),) * index][..., -1:] - below
        result += below[(..., *(None,) * (exits - met))]
    return result


class _InTurn:
    """Coordinate ascent."""

    def __init__(self, reaches: Reaches, correct: NDArray[np.bool_], cost: NDArray[np.float64], levels: int) -> None:
        self._reaches, self._correct, self._cost, self._levels = reaches, correct.astype(np.float64), cost, levels
        self._rows, self._common = np.arange(len(reaches)), _Common(reaches, correct, cost, levels)
        self._before: Levels | None = None

    def __call__(self, price: float) -> tuple[float, Levels]:
        reward = self._correct - price * self._cost
        starts = [self._common(price)[1], np.full(self._reaches.shape[1], self._levels - 1)]
        if self._before is not None:
            starts.append(self._before.copy())
        found = max((self._climb(reward, start) for start in starts), key=lambda one: one[0])
        self._before = found[1]
        return found

    def _climb(self, reward: NDArray[np.float64], levels: Levels) -> tuple[float, Levels]:
        worth = -np.inf
        for _ in range(_MOST_ROUNDS):
            for index in range(len(levels)):
                levels[index] = self._best_level(reward, levels, index)
            now = float(_rounded(reward[self._rows, left_at(self._reaches, levels)].sum()))
            if now <= worth:
                break
            worth = now
        return worth, levels

    def _best_level(self, reward: NDArray[np.float64], levels: Levels, index: int) -> int:
        """The level of one exit that is best beside the others': what leaving gains there, summed by level reached."""
        here = (self._reaches[:, :index] <= levels[:index]).all(axis=1)
        later = levels.copy()
        later[: index + 1] = self._levels  # that no sample reaches beyond
        going_on = reward[self._rows, left_at(self._reaches, later)]
        gain = np.bincount(
            self._reaches[here, index], weights=(reward[:, index] - going_on)[here], minlength=self._levels + 1
        )
        leaving = _rounded(gain[::-1].cumsum()[::-1])[1:]
        return _last_best(leaving)


def _last_best(worth: NDArray[np.float64]) -> int:
    return len(worth) - 1 - int(worth[::-1].argmax())


def _rounded(worth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of the same numbers in another order differ in their last bits, which must not decide."""
    result: NDArray[np.float64] = np.round(worth, 9)
    return result
