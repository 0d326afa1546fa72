"""Timing several things in turn, until their medians are known well enough."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from edgepart.hardware import Measurement

#: standard error of the median of n values over their interquartile range / sqrt(n), for a normal distribution
_ERROR_OF_MEDIAN = 0.93

#: runs until caches and branch predictors are a call's own: at least, at most, and in between for so many seconds. The
#: first takes up to half longer; of a short call the fourth still a tenth, while a long one holds more than caches do
_LEAST_SETTLING, _MOST_SETTLING, _SETTLING_S = 3, 10, 0.03


@dataclass(frozen=True)
class Effort:
    """When to stop.

    ``runs`` are made in any case. Then it goes on until the standard errors of the medians sum to less than
    ``precision`` of the sum of the medians, or ``budget_s`` seconds are spent, or ``most_runs`` made.

    ``in_a_row`` above 1: a call is left to :func:`settle` and then timed so many times before the next one's turn, with
    caches as it leaves them itself: as a part that is alone in its process.
    """

    runs: int = 10
    most_runs: int = 300
    precision: float = 0.005
    budget_s: float = 20.0
    warm_up: int = 3
    in_a_row: int = 1

    def calls(self, call_s: float, runs: int | None = None) -> int:
        """How often a call of so many seconds is run, timed or not; None: at least."""
        turns = -(-(runs or self.runs) // self.in_a_row)
        return self.warm_up + turns * (self.in_a_row + (settling(call_s) if self.in_a_row > 1 else 0))

    def at_most(self, runs: int) -> Effort:
        """The same with fewer runs at most, though never below the least number."""
        return replace(self, most_runs=max(self.runs, min(self.most_runs, runs)))


def settling(call_s: float) -> int:
    """How often a call of so many seconds is run until caches are its own."""
    wanted = math.ceil(_SETTLING_S / max(call_s, 1e-9))
    return min(_MOST_SETTLING, max(_LEAST_SETTLING, wanted))


def settle(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> None:
    """Run a call until caches are its own: :func:`settling` times, about."""
    start = clock()
    for run in range(_MOST_SETTLING):
        if run >= _LEAST_SETTLING and clock() - start >= _SETTLING_S:
            break
        call()


#: for a first impression
QUICK = Effort(precision=0.05, budget_s=1.0, warm_up=2)


def time_in_turn(
    calls: Sequence[Callable[[], object]],
    effort: Effort,
    progress: Callable[[float], None] = lambda done: None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Measurement]:
    """Time every call once, then all of them again, and so on.

    What comes after one another in the network runs after one another here, so that caches are in the state in which
    the network leaves them (unless ``effort.in_a_row``), and drift (heat, other load) hits all alike. Garbage is not
    collected meanwhile.

    Args:
        progress: told which share of the work is done
        clock: seconds, rising; for tests
    """
    times: list[list[float]] = [[] for _ in calls]
    with _no_garbage_collection():
        for call in list(calls) * effort.warm_up:
            call()
        start = clock()
        while not _enough(times, effort, clock() - start):
            for call, taken in zip(calls, times, strict=True):
                if effort.in_a_row > 1:
                    settle(call, clock)
                for _ in range(effort.in_a_row):
                    before = clock()
                    call()
                    taken.append(clock() - before)
            progress(_share_done(len(times[0]) / effort.runs, (clock() - start) / effort.budget_s))
    progress(1.0)
    return [summarise(taken) for taken in times]


def summarise(times: Sequence[float]) -> Measurement:
    """Median and interquartile range of at least one time."""
    spread = 0.0
    if len(times) > 1:
        quarter, _, three_quarters = statistics.quantiles(times, n=4, method="inclusive")
        spread = three_quarters - quarter
    return Measurement(median_s=statistics.median(times), spread_s=spread, runs=len(times))


def _share_done(runs: float, budget: float) -> float:
    """Both the least number of runs and, at worst, the budget have to be used up; each is half of the way."""
    return (min(1.0, runs) + min(1.0, budget)) / 2


def _enough(times: Sequence[Sequence[float]], effort: Effort, spent_s: float) -> bool:
    runs = len(times[0]) if times else effort.most_runs
    if runs < effort.runs:
        return False
    if runs >= effort.most_runs or spent_s >= effort.budget_s:
        return True
    found = [summarise(taken) for taken in times]
    error = sum(_ERROR_OF_MEDIAN * one.spread_s / math.sqrt(one.runs) for one in found)
    return error <= effort.precision * sum(one.median_s for one in found)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
