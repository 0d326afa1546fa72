"""The best single plan under a recorded bandwidth, and the best few plans to switch between.

A sample that comes at some moment is taken to find the bandwidth of that moment for as long as it is under way. With
its placement fixed, its latency is then a line a + b / bandwidth, and so is every quantity of which the mean over time
is asked here: the mean is the value at the mean of 1 / bandwidth.

The best k plans, the best of them chosen at each moment, are found exactly. Sorted by 1 / bandwidth, each of k lines is
least on one interval of the moments, and its share of the mean is what it is at the interval's own mean of
1 / bandwidth, so that no plan serves it better than the one of the lower envelope there. So k of the m plans of the
envelope suffice. Two neighbours of a set meet where their lines cross, whatever else is in the set, so what a set
costs is a sum over neighbours: a shortest path with k nodes, found in k m² steps.

In an outage nothing can be sent. The means are over the rest of the time; beside them stand the share of the time that
outages take, and the best plan that sends nothing over the link, which is what can be fallen back on then.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from edgepart.errors import InfeasiblePlan, PlanError
from edgepart.files import Record
from edgepart.hardware.bandwidth_trace import BandwidthTrace
from edgepart.partitioning.minimum_cut import MinimumCut
from edgepart.partitioning.parameter import Parameter, of_a_link
from edgepart.partitioning.parametric import Line
from edgepart.partitioning.problem import Partitioner, Problem
from edgepart.partitioning.quantities import quantity, spoken
from edgepart.partitioning.routes import Chosen, without
from edgepart.partitioning.what_if import Candidate, Search, candidate, is_estimated, is_parametric

Floats = NDArray[np.float64]
#: a placement and its objective over 1 / bandwidth
_Plan = Line[Chosen]
#: a larger set must be better by this share to be chosen
BETTER = 1e-9


class PlanSet(Record):
    """Plans to switch between, by the bandwidth from which each is used, lowest first.

    Attributes:
        plans: numbers of candidates
        thresholds: bit/s at which to switch, one between each plan and the next
        shares: of the time without outages, how much each plan is used
        mean: of the objective, outages left out
        saved: of the best single plan's mean
        above_oracle: share by which the mean is above that of the best plan at every moment
        switches: how often the trace crosses a threshold
    """

    plans: tuple[int, ...]
    thresholds: tuple[float, ...]
    shares: tuple[float, ...]
    mean: float
    saved: float
    above_oracle: float
    switches: int


class Outage(Record):
    """The time in which nothing can be sent, and the best plan that sends nothing over the link, if there is one."""

    share: float
    seconds: float
    plan: int | None = None
    value: float | None = None


class Switching(Record):
    """What switching between plans is worth under a trace.

    Attributes:
        seconds: of the trace, outages included
        timed: whether its file names times; otherwise each of its rows counts for a second
        mean_bits_per_s: the bandwidth at which the mean of the objective is reached: the harmonic mean of the trace's
        oracle: mean of the objective with the best of all plans at every moment, and ``oracle_plans`` how many that are
        sets: the best single plan, the best two, …, as long as one more is of use
        estimated, gap, solved: as in :class:`~edgepart.partitioning.what_if.WhatIf`
    """

    link: str
    trace: str
    source: str
    seconds: float
    timed: bool = True
    mean_bits_per_s: float
    low_bits_per_s: float
    high_bits_per_s: float
    objective: str
    objective_unit: str
    tiers: tuple[str, ...]
    estimated: bool
    outage: Outage
    oracle: float
    oracle_plans: int
    sets: tuple[PlanSet, ...]
    plans: tuple[Candidate, ...]
    gap: float | None
    solved: int


def under_trace(
    problem: Problem, link: str, trace: BandwidthTrace, most_plans: int = 3, solver: Partitioner | None = None
) -> Switching:
    """The best sets of up to ``most_plans`` plans while the bandwidth of a link (``LOWER:UPPER``) follows a trace.

    Raises:
        UnknownName: no such link.
        PlanError: the objective or a limit is not linear in 1 / bandwidth, or the trace is one single outage.
        InfeasiblePlan: nothing satisfies the constraints.
    """
    if most_plans < 1:
        raise PlanError(f"{most_plans} plans to switch between: expected 1 or more")
    rates, weights = _without_outages(trace)
    # a range needs two ends: a constant bandwidth is widened upwards, where no moment lies
    low, high = float(rates.min()), float(rates.max())
    varied = of_a_link(problem, link, "bandwidth", low, high if high > low else 2 * low)
    _require_parametric(problem, varied)
    search = Search(problem, varied, solver or MinimumCut())
    lines = [line for _, line in search.envelope()]
    moments = _Moments(1 / rates, weights)
    chosen = _sets(lines, moments, most_plans)
    # by bandwidth, ascending, as everything that is told
    plans = [line.what for line in reversed(lines)]
    outage = _outage(search, trace, plans)
    single, oracle = chosen[0][0], _cost(lines, moments)
    return Switching(
        link=link,
        trace=trace.name,
        source=trace.source,
        seconds=trace.total_s,
        timed=trace.timed,
        mean_bits_per_s=float(1 / np.average(1 / rates, weights=weights)),
        low_bits_per_s=low,
        high_bits_per_s=float(rates.max()),
        objective=problem.objective,
        objective_unit=quantity(problem.objective, problem.tier_names, problem.hops).unit,
        tiers=problem.tier_names,
        estimated=is_estimated(problem),
        outage=outage,
        oracle=oracle,
        oracle_plans=sum(share > 0 for share in _shares(lines, moments)),
        sets=tuple(_plan_set(lines, of, mean, single, oracle, moments, 1 / rates) for mean, of in chosen),
        plans=tuple(candidate(problem, chosen) for chosen in plans),
        gap=search.gap,
        solved=search.solved,
    )


def _without_outages(trace: BandwidthTrace) -> tuple[Floats, Floats]:
    """The rates above 0 that last, and their shares of that time."""
    up = (trace.bits_per_s > 0) & (trace.duration_s > 0)
    if not up.any():
        raise PlanError(f"the trace '{trace.name}' has no bandwidth above 0 at any time: there is nothing to plan for")
    return trace.bits_per_s[up], trace.duration_s[up] / trace.duration_s[up].sum()


def _require_parametric(problem: Problem, varied: Parameter) -> None:
    if not is_parametric(problem, varied):
        raise PlanError(
            f"'{spoken(problem.objective)}', or what it is limited by, is not linear in 1 / bandwidth, so its mean "
            "under a trace cannot be planned for: minimise latency or energy, and leave out limits on latency and "
            "throughput"
        )


class _Moments:
    """Values of 1 / bandwidth in ascending order, and running sums over them."""

    def __init__(self, x: Floats, weight: Floats) -> None:
        order = np.argsort(x, kind="stable")
        self.x, self.weight = x[order], weight[order]
        self._count = np.concatenate([[0.0], np.cumsum(self.weight)])
        self._beyond = np.concatenate([[0.0], np.cumsum(self.weight * (self.x - self.x[0]))])

    def total(self, line: _Plan, until: float = math.inf) -> float:
        """Sum of a line over the moments up to a place."""
        index = int(np.searchsorted(self.x, until, side="right"))
        return float(line.at(float(self.x[0])) * self._count[index] + line.slope * self._beyond[index])

    def share(self, start: float, stop: float) -> float:
        """Of the time, the moments after ``start`` up to ``stop``."""
        first, last = np.searchsorted(self.x, [start, stop], side="right")
        return float(self._count[last] - self._count[first])


def _sets(lines: list[_Plan], moments: _Moments, most: int) -> list[tuple[float, list[int]]]:
    """Mean and lines (ascending) of the best single one, the best two, …, as long as one more is of use."""
    count = len(lines)
    # what a line before a later one saves, up to where they cross
    saved = np.zeros((count, count))
    for first, second in itertools.combinations(range(count), 2):
        until = _meet(lines[first], lines[second])
        saved[first, second] = moments.total(lines[first], until) - moments.total(lines[second], until)
    best = np.array([moments.total(line) for line in lines])
    alone, paths = best.copy(), [[index] for index in range(count)]
    found = [(float(best.min()), paths[int(best.argmin())])]
    for _ in range(1, min(most, count)):
        # the cost without the last line's own, which the next one takes the place of
        reached = (best - alone)[:, None] + saved + alone[None, :]
        reached[np.tril_indices(count)] = math.inf
        before = reached.argmin(axis=0)
        best = reached.min(axis=0)
        paths = [[*paths[before[index]], index] for index in range(count)]
        last = int(best.argmin())
        if not best[last] < found[-1][0] * (1 - BETTER):
            break
        found.append((float(best[last]), paths[last]))
    return found


def _meet(left: _Plan, right: _Plan) -> float:
    """Where two lines of an envelope cross."""
    behind, ahead = right.at_low - left.at_low, left.at_high - right.at_high
    return left.low + (left.high - left.low) * (behind / (behind + ahead))


def _crossings(lines: list[_Plan]) -> list[float]:
    """Where the moments of each line start and stop."""
    return [-math.inf, *(_meet(left, right) for left, right in itertools.pairwise(lines)), math.inf]


def _shares(lines: list[_Plan], moments: _Moments) -> list[float]:
    return [moments.share(start, stop) for start, stop in itertools.pairwise(_crossings(lines))]


def _cost(lines: list[_Plan], moments: _Moments) -> float:
    """The mean with the best of some neighbouring lines at each moment."""
    return sum(
        moments.total(line, stop) - moments.total(line, start)
        for line, (start, stop) in zip(lines, itertools.pairwise(_crossings(lines)), strict=True)
    )


def _plan_set(
    lines: list[_Plan],
    chosen: list[int],
    mean: float,
    single: float,
    oracle: float,
    moments: _Moments,
    in_time: Floats,
) -> PlanSet:
    """From 1 / bandwidth, ascending, to bandwidths, ascending."""
    used = [lines[index] for index in chosen]
    bounds = _crossings(used)[1:-1]
    now = np.searchsorted(bounds, in_time)
    return PlanSet(
        plans=tuple(len(lines) - 1 - index for index in reversed(chosen)),
        thresholds=tuple(1 / x for x in reversed(bounds)),
        shares=tuple(_shares(used, moments)[::-1]),
        mean=mean,
        saved=1 - mean / single if single else 0.0,
        above_oracle=mean / oracle - 1 if oracle else 0.0,
        switches=int((now[1:] != now[:-1]).sum()),
    )


def _outage(search: Search, trace: BandwidthTrace, plans: list[Chosen]) -> Outage:
    """Everything stays below the link, or goes another way; the plan joins the others."""
    seconds = float(trace.duration_s[trace.bits_per_s == 0].sum())
    share = seconds / trace.total_s
    if not seconds:
        return Outage(share=0.0, seconds=0.0)
    problem = search.problem
    try:
        chosen = search.place(without(problem, problem.hops[search.varied.index]))
    except InfeasiblePlan:
        return Outage(share=share, seconds=seconds)
    if chosen not in plans:
        plans.append(chosen)
    worth = search.value(chosen, search.varied.high)
    return Outage(share=share, seconds=seconds, plan=plans.index(chosen), value=worth)
