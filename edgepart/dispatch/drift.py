"""Noticing that a stream has changed, from one number a sample."""

from __future__ import annotations

import math
from typing import Literal

from edgepart.errors import DispatchError

#: detectors that adaptive strategies offer
Drift = Literal["none", "page-hinkley"]

#: below this no spread is believed: many exits are all but certain of their first hundred samples
_LEAST_VARIANCE = 0.01


class PageHinkley:
    """The Page-Hinkley test, in both directions, on numbers no further than 1 from their mean.

    It adds up by how much the numbers exceed their running mean and ``tolerance``, starts again whenever that sum is
    below 0, and gives the alarm once it reaches a height that follows from ``run_length``: with the mean μ and
    variance σ² of a stationary stream, E exp(s (x - μ - tolerance)) ≤ 1 for the s with
    tolerance · s = σ² (e^s - 1 - s) (Bennett's inequality), so that a height of log(2 · run_length) / s is reached
    after ``run_length`` samples or more on average (Lorden 1971). Mean and variance are those of all samples since
    the last alarm, so the promise holds as far as ``warm_up`` samples tell them.

    Args:
        tolerance: change of the mean that is none yet, above 0
        run_length: how many samples pass between two false alarms on average, at least
        warm_up: samples before the first alarm, and after each

    Attributes:
        alarms: how many samples there had been at each alarm, that one included

    Raises:
        DispatchError: an argument is out of its range.
    """

    def __init__(self, tolerance: float = 0.05, run_length: float = 100_000, warm_up: int = 100) -> None:
        if not tolerance > 0 or not run_length >= 1 or not warm_up >= 2:
            raise DispatchError(
                f"a drift detector has tolerance {tolerance:g}, run length {run_length:g} and warm-up {warm_up}, "
                "expected above 0, at least 1 and at least 2"
            )
        self.tolerance, self.run_length, self.warm_up = tolerance, run_length, warm_up
        self.alarms: list[int] = []
        self._earlier = self._count = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything but when the alarms were."""
        self._earlier += self._count
        self._count, self._mean, self._squares = 0, 0.0, 0.0
        self._above, self._below = 0.0, 0.0
        self._height, self._review = math.inf, self.warm_up

    @property
    def delay(self) -> float:
        """Samples after which a mean that has moved by twice the tolerance is noticed, about; inf in the warm-up."""
        return self._height / self.tolerance

    def update(self, value: float) -> bool:
        """Whether the stream has changed, by this sample; after an alarm everything before is forgotten."""
        self._count += 1
        apart = value - self._mean
        self._mean += apart / self._count
        self._squares += apart * (value - self._mean)
        if self._count <= self.warm_up:
            if self._count == self.warm_up:
                self._set_height()
            return False
        # apart is the distance from the mean of the samples before, in which this one has no part
        self._above = max(self._above + apart - self.tolerance, 0.0)
        self._below = max(self._below - apart - self.tolerance, 0.0)
        if self._above >= self._height or self._below >= self._height:
            self.alarms.append(self._earlier + self._count)
            self.reset()
            return True
        if self._count >= self._review:
            self._set_height()
        return False

    def _set_height(self) -> None:
        """From the variance so far; again whenever the samples have doubled."""
        self._review = 2 * self._count
        variance = max(self._squares / self._count, _LEAST_VARIANCE)
        self._height = math.log(2 * self.run_length) / bennett_rate(self.tolerance, variance)


def bennett_rate(tolerance: float, variance: float) -> float:
    """The s > 0 with tolerance · s = variance · (e^s - 1 - s)."""
    low, high = 0.0, 1.0
    while variance * (math.expm1(high) - high) < tolerance * high:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        if variance * (math.expm1(middle) - middle) < tolerance * middle:
            low = middle
        else:
            high = middle
    return low


def detector(drift: Drift, tolerance: float, run_length: float) -> PageHinkley | None:
    """A fresh detector by name; None for ``none``."""
    return PageHinkley(tolerance, run_length) if drift == "page-hinkley" else None
