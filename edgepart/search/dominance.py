"""Which points of many none of the others equals or beats in all objectives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: values that agree in so many significant digits are one: sums round
_DIGITS = 10
#: rows that are compared with each other, after all before them were
_CHUNK = 256


def nondominated(costs: Floats) -> list[int]:
    """Rows of (points, objectives) that no other row equals or beats in all objectives; of equal ones the first.

    In lexicographic order, in which a row is beaten only by rows before it.
    """
    exact = rounded(costs)
    order = np.lexsort((np.arange(len(exact)), *exact.T[::-1]))
    ordered = exact[order]
    kept = _unbeaten_by_chunks(ordered) if 2 <= costs.shape[1] <= 3 else _unbeaten(ordered)
    return [int(index) for index in order[kept]]


def _unbeaten(ordered: Floats) -> NDArray[np.int64]:
    """Of rows in lexicographic order."""
    if len(ordered) <= _CHUNK:
        as_good = np.ones((len(ordered), len(ordered)), np.bool_)
        for column in ordered.T:
            as_good &= column[:, None] <= column
        return np.flatnonzero(~np.triu(as_good, 1).any(axis=0))
    # nothing beats a row of the least sum, which is likely to beat many others
    span = np.ptp(ordered, axis=0) if len(ordered) else np.ones(ordered.shape[1])
    total = (ordered / np.where(span > 0, span, 1.0)).sum(axis=1)
    left = np.argsort(total, kind="stable")
    columns = np.ascontiguousarray(ordered[left].T)
    kept: list[int] = []
    while len(left):
        kept.append(int(left[0]))
        better = (columns < columns[:, :1]).any(axis=0)
        left, columns = left[better], columns[:, better]
    return np.sort(np.array(kept, np.int64))


def _unbeaten_by_chunks(ordered: Floats) -> NDArray[np.int64]:
    """Of rows of two or three objectives in lexicographic order.

    All rows before a chunk are as good in the first objective. What they beat in the others lies behind the stairs of
    the second and the last, which are looked up.
    """
    kept = [np.empty(0, np.int64)]
    stairs = np.empty((0, 2))
    for start in range(0, len(ordered), _CHUNK):
        chunk = ordered[start : start + _CHUNK]
        last = chunk[:, [1, -1]]
        step = np.searchsorted(stairs[:, 0], last[:, 0], side="right")
        lowest = np.concatenate([[np.inf], stairs[:, 1]])[step]
        ahead = np.flatnonzero(last[:, 1] < lowest)
        found = ahead[_unbeaten(chunk[ahead])]
        kept.append(start + found)
        stairs = np.concatenate([stairs, last[found]])
        stairs = stairs[np.lexsort((stairs[:, 1], stairs[:, 0]))]
        below = np.minimum.accumulate(np.concatenate([[np.inf], stairs[:-1, 1]])) if len(stairs) else stairs[:, 1]
        stairs = stairs[stairs[:, 1] < below]
    return np.concatenate(kept)


def rounded(costs: Floats) -> Floats:
    """Values of which equal ones are equal."""
    size = np.where(costs == 0, 1.0, np.abs(costs))
    unit = np.power(10.0, np.floor(np.log10(size)) - _DIGITS + 1)
    result: Floats = np.rint(costs / unit) * unit
    return result
