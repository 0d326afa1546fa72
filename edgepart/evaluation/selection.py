"""Choosing settings on validation data, and comparing strategies fairly on test data."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.base import Promise, Setting, Strategy
from edgepart.dispatch.trace import Trace
from edgepart.evaluation.costs.base import Costs
from edgepart.evaluation.replay import Result, full_model, rehearse, sweep

#: how much accuracy below the full model may be given up for savings
DROPS = (0.005, 0.01)

Correct = NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """A setting chosen on validation data.

    Attributes:
        drop: accuracy below the full model's that was allowed on validation
        index: of the chosen setting in the curve; None where none keeps that accuracy, or none is promised to
    """

    drop: float
    index: int | None


@dataclass(frozen=True)
class StrategyCurve:
    """A fitted strategy with all its settings on both traces; position i is the same setting in both lists."""

    strategy: Strategy
    settings: tuple[Setting, ...]
    validation: tuple[Result, ...]
    test: tuple[Result, ...]
    choices: tuple[Choice, ...]

    @property
    def name(self) -> str:
        return self.strategy.name


@dataclass(frozen=True)
class Comparison:
    """Two strategies on the same test samples at equal mean cost.

    Attributes:
        setting: of the first; None where it stands for the mean over all operating points of the first
        cost: mean cost of the first, on test
        accuracy, baseline_accuracy: of both at that cost
        difference, interval: accuracy of the first less that of the second, with its 95 % bootstrap interval
        verdict: ``better``, ``worse`` or ``no difference shown``, by whether the interval holds 0
    """

    strategy: str
    baseline: str
    setting: Setting | None
    cost: float
    accuracy: float
    baseline_accuracy: float
    difference: float
    interval: tuple[float, float]

    @property
    def verdict(self) -> str:
        return "better" if self.interval[0] > 0 else "worse" if self.interval[1] < 0 else "no difference shown"


def evaluate_strategy(
    strategy: Strategy,
    validation: Trace,
    test: Trace,
    costs: Costs,
    grid: Sequence[float],
    drops: Sequence[float] = DROPS,
) -> StrategyCurve:
    """Fit a strategy and choose its settings on validation, and replay all of them on test.

    Raises:
        DispatchError: the validation trace lacks what the strategy learns from, or the traces do not fit the costs.
    """
    strategy.fit(validation, costs.table)
    seen = rehearse(validation, strategy, costs, grid)
    settings = tuple(strategy.settings(grid))
    return StrategyCurve(
        strategy=strategy,
        settings=settings,
        validation=tuple(seen),
        test=tuple(sweep(test, strategy, costs, grid)),
        choices=choices(strategy, settings, seen, full_model(validation, costs), drops),
    )


def choices(
    strategy: Strategy, settings: Sequence[Setting], seen: Sequence[Result], full: Result, drops: Sequence[float]
) -> tuple[Choice, ...]:
    """The setting for each allowed drop, from what all settings and the full model gave on validation."""
    promises = [strategy.promise(setting) for setting in settings]
    return tuple(
        Choice(drop, promised(promises, drop) if any(promises) else choose(seen, full.accuracy - drop))
        for drop in drops
    )


def promised(promises: Sequence[Promise | None], drop: float) -> int | None:
    """Index of the setting with the greatest ε that is within the drop, whatever came out on validation.

    A choice among promises by what the same samples show would break them: the best looking of several is right less
    often than each of them is.
    """
    within = [(made.epsilon, index) for index, made in enumerate(promises) if made and made.epsilon <= drop + 1e-12]
    return max(within)[1] if within else None


def choose(results: Sequence[Result], floor: float) -> int | None:
    """Index of the cheapest result with at least that accuracy; of equally cheap ones the most accurate, then first.

    The floor is met within a millionth of a sample, since shares of samples are not exact in binary.
    """
    fitting = [index for index, result in enumerate(results) if result.accuracy >= floor - 1e-6 / result.samples]
    return min(fitting, key=lambda index: (results[index].cost, -results[index].accuracy), default=None)


def hull(results: Sequence[Result]) -> list[int]:
    """Indices of the upper concave hull over (cost, accuracy), cheapest first.

    Drawing between two settings at random reaches every point of the segment between them in expectation, so these
    settings are all that is worth using; accuracy rises from one to the next.
    """
    order = sorted(range(len(results)), key=lambda index: (results[index].cost, -results[index].accuracy))
    found: list[int] = []
    for index in order:
        if found and results[index].accuracy <= results[found[-1]].accuracy:
            continue
        while len(found) > 1 and not _turns_right(results[found[-2]], results[found[-1]], results[index]):
            found.pop()
        found.append(index)
    return found


def _turns_right(first: Result, second: Result, third: Result) -> bool:
    """Whether the middle point lies above the line through its neighbours."""
    rise, run = second.accuracy - first.accuracy, second.cost - first.cost
    return rise * (third.cost - first.cost) > (third.accuracy - first.accuracy) * run


def compare_at_equal_cost(
    curve: StrategyCurve, baseline: StrategyCurve, test: Trace, seed: int = 0, resamples: int = 2000
) -> list[Comparison]:
    """Whether one strategy is right more often than another at the same mean cost.

    The operating points of both are the settings on the hulls of their *validation* curves. At the test cost of each
    point of ``curve``, the baseline plays the random mixture of its two neighbouring points that costs as much on
    test (or its dearest point if that is still cheaper; points cheaper than all of the baseline's are left out: it
    has nothing to set against them). With ``fixed-tier`` as baseline this is the comparison with random routing,
    freed of the noise of drawing. Intervals are paired bootstraps over the test samples, costs held fixed.

    Returns:
        one comparison per operating point, cheapest first, then (``setting`` None) their mean; empty where none of
        them can be compared
    """
    own, rivals = (
        [Operating(each.test[index], _correct(each, index, test)) for index in hull(each.validation)]
        for each in (curve, baseline)
    )
    found = at_equal_cost(own, rivals)
    if not found:
        return []
    points = [_Point(x.result.setting, x.result.cost, x.result.accuracy, float(theirs.mean())) for x, theirs in found]
    gaps = [point.right - theirs for point, theirs in found]
    cost, accuracy, other = (float(np.mean([point[field] for point in points])) for field in (1, 2, 3))
    return [
        Comparison(
            strategy=curve.name,
            baseline=baseline.name,
            setting=point.setting,
            cost=point.cost,
            accuracy=point.accuracy,
            baseline_accuracy=point.baseline_accuracy,
            difference=float(gap.mean()),
            interval=bootstrap(gap, seed, resamples),
        )
        for point, gap in zip(
            [*points, _Point(None, cost, accuracy, other)], [*gaps, np.mean(gaps, axis=0)], strict=True
        )
    ]


class Operating(NamedTuple):
    """An operating point on test: what it gives, and (N,) 1 where the sample is answered with its label, else 0."""

    result: Result
    right: Correct


def at_equal_cost(own: Sequence[Operating], rivals: Sequence[Operating]) -> list[tuple[Operating, Correct]]:
    """The points that the rivals can match in cost, each with their (N,) expected right answers at that cost."""
    ordered = sorted((rival.result.cost, index) for index, rival in enumerate(rivals))
    found = []
    for point in own:
        mixture = _mixture(ordered, point.result.cost)
        if mixture is not None:
            nothing = np.zeros(len(point.right))
            found.append((point, sum((share * rivals[index].right for index, share in mixture), nothing)))
    return found


class _Point(NamedTuple):
    setting: Setting | None
    cost: float
    accuracy: float
    baseline_accuracy: float


def _mixture(rivals: Sequence[tuple[float, int]], cost: float) -> list[tuple[int, float]] | None:
    """(index, share) of the operating points that together cost that much."""
    if cost < rivals[0][0]:
        return None
    for (low, cheaper), (high, dearer) in itertools.pairwise(rivals):
        if low <= cost <= high and high > low:
            share = (cost - low) / (high - low)
            return [(cheaper, 1 - share), (dearer, share)]
    return [(rivals[-1][1], 1.0)]


def _correct(curve: StrategyCurve, index: int, test: Trace) -> Correct:
    """(N,) 1 where the setting answers the test sample with its label."""
    decisions = curve.strategy.policy(curve.settings[index]).decide(test)
    return test.correct[np.arange(len(test)), decisions.exit].astype(np.float64)


def bootstrap(values: Correct, seed: int, resamples: int) -> tuple[float, float]:
    """95 % percentile interval of the mean, drawn again from the samples with replacement.

    The values are few (differences of hits and misses), so it draws how often each value occurs instead of samples.
    """
    # Rounded, because shares that sum to 1 only nearly must not look like a difference.
    distinct, counts = np.unique(np.round(values, 12), return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(values), counts / len(values), size=resamples)
    low, high = np.quantile(drawn @ distinct / len(values), [0.025, 0.975])
    return float(low), float(high)
