"""The least of many lines over a range, found exactly by an oracle that knows which line is least at one place.

The oracle is asked at both ends of the range, and then wherever two lines that were found cross: either it knows a line
that is lower there, or the crossing is proven to be a breakpoint (Eisner and Severance, "Mathematical techniques for
efficient record segmentation in large shared databases", JACM 1976). So b breakpoints take at most 2 b + 3 questions,
however many lines there are. "Lower" is by more than a relative 1e-9, for values round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
#: values, and places, that differ by less than this share are the same
SAME = 1e-9


@dataclass(frozen=True)
class Line(Generic[T]):
    """A value that is linear between ``low`` and ``high``, and what it belongs to."""

    low: float
    high: float
    at_low: float
    at_high: float
    what: T

    def at(self, x: float) -> float:
        """The value there; exact at both ends, even where they are many orders of magnitude apart."""
        if x == self.high:
            return self.at_high
        return self.at_low + (self.at_high - self.at_low) * ((x - self.low) / (self.high - self.low))

    @property
    def slope(self) -> float:
        return (self.at_high - self.at_low) / (self.high - self.low)


def crossing(left: Line[T], right: Line[T]) -> float | None:
    """Where ``right``, higher at the low end, becomes the lower one; None: nowhere inside the range."""
    behind, ahead = right.at_low - left.at_low, left.at_high - right.at_high
    if behind < 0 or ahead <= 0:
        return None
    return left.low + (left.high - left.low) * (behind / (behind + ahead))


def lower_envelope(oracle: Callable[[float], Line[T]], low: float, high: float) -> list[tuple[float, Line[T]]]:
    """The pieces from ``low`` to ``high``: where each starts, and its line.

    Args:
        oracle: a line that is least at the given place
    """
    first, last = oracle(low), oracle(high)
    found, asked, pending = [first, last], [low, high], [(first, last)]
    while pending:
        left, right = pending.pop()
        x = crossing(left, right)
        if x is None or any(_same(x, place) for place in asked):
            continue
        asked.append(x)
        line = oracle(x)
        if line.at(x) < min(left.at(x), right.at(x)) * (1 - SAME):
            found.append(line)
            pending += [(left, line), (line, right)]
    return least_of(found)


def least_of(lines: Sequence[Line[T]]) -> list[tuple[float, Line[T]]]:
    """The pieces of the least of some lines; those too narrow to tell from a point are left out."""
    x, high = lines[0].low, lines[0].high
    least = min(line.at_low for line in lines)
    now = min((line for line in lines if line.at_low <= least * (1 + SAME)), key=lambda line: line.slope)
    pieces = [(x, now)]
    while True:
        ahead = [(crossing(now, line), line) for line in lines if line.slope < now.slope]
        reached = [(max(place, x), line) for place, line in ahead if place is not None]
        if not reached:
            return pieces
        x = min(place for place, _ in reached)
        if _same(x, high):
            return pieces
        now = min((line for place, line in reached if _same(place, x)), key=lambda line: line.slope)
        start = pieces.pop()[0] if _same(x, pieces[-1][0]) else x
        pieces.append((start, now))


def _same(x: float, other: float) -> bool:
    return abs(x - other) <= SAME * max(abs(x), abs(other))
