"""What all thresholds of a choice of exits give, counted at once rather than replayed one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepart.evaluation.replay import leaving_counts
from edgepart.search.bank import Bank, Head

Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sweep:
    """J choices of thresholds for K exits.

    Attributes:
        levels: (J, K) numbers of the thresholds
        leaving: (J, K + 1) share of the samples that leave at each exit, the network's own last
        accuracy: (J,)
    """

    levels: Counts
    leaving: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.levels)

    @property
    def going_on(self) -> NDArray[np.float64]:
        """(J, K) share that goes on past each exit."""
        passed: NDArray[np.float64] = self.leaving[:, ::-1].cumsum(axis=1)[:, -2::-1]
        return passed

    def take(self, rows: Counts) -> Sweep:
        """Some of the choices."""
        return Sweep(self.levels[rows], self.leaving[rows], self.accuracy[rows])


def sweep(bank: Bank, heads: Sequence[Head], separate: bool, accuracy_counts: bool = True) -> Sweep:
    """The thresholds that are worth a look, one for all exits or, if ``separate``, one for each.

    The lower the thresholds, the fewer samples go on past any exit, and nothing costs more because fewer go on. So a
    choice is left out where one with thresholds that are all as low or lower is right as often; where accuracy does
    not count, all but the lowest are.
    """
    correct = np.column_stack([*(head.correct for head in heads), bank.final_correct])
    samples, levels = len(correct), len(bank.levels)
    if not heads:
        return Sweep(np.zeros((1, 0), np.int64), np.ones((1, 1)), np.array([correct[:, 0].mean()]))
    certainty = np.column_stack([head.certainty for head in heads])
    at = np.array([level.certainty for level in bank.levels])
    if not separate:
        leaving, right = leaving_counts(certainty, correct, at)
        kept = np.flatnonzero(_better(right)) if accuracy_counts else np.zeros(1, np.int64)
        chosen = np.repeat(kept[:, None], len(heads), axis=1)
        return Sweep(chosen, leaving[kept] / samples, right[kept] / samples)
    going_on, right = _every_combination(np.searchsorted(at, certainty, side="right"), correct, levels)
    kept = np.flatnonzero(_better(right)) if accuracy_counts else np.zeros(1, np.int64)
    passed = np.stack([each.ravel()[kept] for each in going_on], axis=1)
    reached = np.column_stack([np.full(len(kept), samples), passed])
    leaving = reached - np.column_stack([passed, np.zeros(len(kept), np.int64)])
    chosen = np.column_stack(np.unravel_index(kept, right.shape)).astype(np.int64)
    return Sweep(chosen, leaving / samples, right.ravel()[kept] / samples)


def _better(right: Counts) -> NDArray[np.bool_]:
    """(L, …) whether a choice is right more often than every one with thresholds that are all as low or lower."""
    best = right
    for axis in range(right.ndim):
        best = np.maximum.accumulate(best, axis=axis)
    below = np.full(right.shape, -1)
    for axis in range(right.ndim):
        here, lower = [slice(None)] * right.ndim, [slice(None)] * right.ndim
        here[axis], lower[axis] = slice(1, None), slice(None, -1)
        below[tuple(here)] = np.maximum(below[tuple(here)], best[tuple(lower)])
    result: NDArray[np.bool_] = right > below
    return result


def _every_combination(
    reaches: Counts, correct: NDArray[np.bool_], levels: int
) -> tuple[list[NDArray[np.int64]], Counts]:
    """How many samples go on past each of K exits, and are right, for L thresholds at each: K arrays (L, …), and one.

    A histogram of the samples by what they reach at every exit, summed up along each axis.

    Args:
        reaches: (N, K) how many of the thresholds, which rise, a sample's certainty reaches: below those it leaves
        correct: (N, K + 1)
    """
    exits = reaches.shape[1]
    shape = (levels,) * exits
    going_on: list[NDArray[np.int64]] = []
    right = np.zeros(shape, np.int64)
    for index in range(exits):
        wide = (levels + 1,) * (index + 1)
        cells = np.ravel_multi_index(tuple(reaches[:, : index + 1].T), wide)
        every, sure = (
            _summed(np.bincount(cells[rows], minlength=int(np.prod(wide))).reshape(wide), range(index + 1))
            for rows in (slice(None), correct[:, index])
        )
        spread = (..., *(None,) * (exits - index - 1))
        going_on.append(np.broadcast_to(_kept(every, levels)[spread], shape))
        # right here: all that come here and would be right, less those of them that go on
        here = _kept(sure[..., -1:], levels) - _kept(sure, levels)
        right = right + here[spread]
        if index == exits - 1:
            last = np.bincount(cells[correct[:, -1]], minlength=int(np.prod(wide))).reshape(wide)
            right = right + _kept(_summed(last, range(exits)), levels)
    return going_on, right


def _summed(counts: Counts, axes: range) -> Counts:
    for axis in axes:
        counts = counts.cumsum(axis=axis)
    return counts


def _kept(counts: Counts, levels: int) -> Counts:
    """Without the last of every axis: samples that reach all thresholds go on at none."""
    return counts[tuple(slice(None, levels) for _ in range(counts.ndim))]
