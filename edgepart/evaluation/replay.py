"""Replay: what a setting costs and how often it is right, from a trace alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.base import Decisions, Policy, Setting, Strategy
from edgepart.dispatch.layout import Layout
from edgepart.dispatch.threshold import ThresholdStrategy
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError
from edgepart.evaluation.costs.base import Costs
from edgepart.evaluation.metrics import shares


@dataclass(frozen=True)
class Result:
    """One setting on one trace.

    Attributes:
        setting: None for the full model and for policies replayed without naming their setting
        samples: N
        accuracy: share of right answers
        cost: mean per sample, in the unit of the costs, the router's included where the strategy needs one
        saving: 1 - cost / cost of the full model (negative where it costs more; 0 where the full model is free)
        tier_share, exit_share: share of the samples that leave at each tier and exit
        decisions: of every sample, where they were asked for
    """

    setting: Setting | None
    samples: int
    accuracy: float
    cost: float
    saving: float
    tier_share: dict[str, float]
    exit_share: dict[str, float]
    decisions: Decisions | None = None


def replay(
    trace: Trace, policy: Policy, costs: Costs, setting: Setting | None = None, keep_decisions: bool = False
) -> Result:
    """Let a policy decide about every sample of a trace.

    Raises:
        DispatchError: trace, policy and costs are not of the same plan, or the trace is empty.
    """
    _require(trace, costs)
    return _decided(trace, policy.decide(trace), costs, setting, policy.uses_embedding, keep_decisions)


def sweep(trace: Trace, strategy: Strategy, costs: Costs, grid: Sequence[float]) -> list[Result]:
    """All settings of a fitted strategy, in their order.

    For a :class:`ThresholdStrategy` with J settings: one sort of the thresholds and O(N·K·log J) instead of
    O(N·K·J), with results equal to :func:`replay` to the last bit.

    Raises:
        DispatchError: as :func:`replay`.
    """
    settings = strategy.settings(grid)
    if not isinstance(strategy, ThresholdStrategy):
        return [replay(trace, strategy.policy(setting), costs, setting) for setting in settings]
    return _swept(trace, strategy, costs, settings, strategy.certainties(trace))


def _swept(
    trace: Trace,
    strategy: ThresholdStrategy,
    costs: Costs,
    settings: Sequence[Setting],
    certainty: NDArray[np.float64],
) -> list[Result]:
    _require(trace, costs)
    thresholds = np.array([strategy.threshold(setting) for setting in settings], dtype=np.float64)
    leaving, right = leaving_counts(certainty, trace.correct, thresholds)
    entry = Layout.of(trace).first_tier
    results = []
    for setting, left, correct in zip(settings, leaving, right, strict=True):
        counts = np.zeros(costs.table.shape, dtype=np.int64)
        counts[entry] = left
        results.append(_result(trace, costs, setting, counts, int(correct), mean_cost(counts, costs)))
    return results


def rehearse(validation: Trace, strategy: Strategy, costs: Costs, grid: Sequence[float]) -> list[Result]:
    """All settings of a fitted strategy on the trace that it was fitted on, as :meth:`Strategy.rehearse` has it.

    Raises:
        DispatchError: as :func:`replay`.
    """
    if isinstance(strategy, ThresholdStrategy):
        return _swept(validation, strategy, costs, strategy.settings(grid), strategy.rehearsed(validation))
    _require(validation, costs)
    return [
        _decided(
            validation,
            strategy.rehearse(setting, validation),
            costs,
            setting,
            strategy.policy(setting).uses_embedding,
        )
        for setting in strategy.settings(grid)
    ]


def leaving_counts(
    certainty: NDArray[np.float64], correct: NDArray[np.bool_], thresholds: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many samples leave at every exit, and how many of all are right, for J thresholds at once.

    A sample leaves at the first exit whose certainty reaches the threshold τ, that is at exit k where
    M[k-1] < τ ≤ M[k] with M the running maximum of its certainties. So in the sorted list of thresholds it leaves at
    exit k for the positions from #{τ ≤ M[k-1]} up to #{τ ≤ M[k]}, and the counts are the running sums of what
    starts less what ends there.

    Args:
        certainty: (N, K - 1), at every exit but the last
        correct: (N, K)
        thresholds: (J,), in any order

    Returns:
        (J, K) counts by exit and (J,) counts of right answers
    """
    order = np.argsort(thresholds, kind="stable")
    sorted_thresholds, bins = thresholds[order], len(thresholds) + 1
    exits = correct.shape[1]
    leaving, right = np.zeros((bins, exits), np.int64), np.zeros(bins, np.int64)
    start = np.zeros(len(correct), dtype=np.int64)
    highest = np.full(len(correct), -np.inf)
    for index in range(exits):
        last = index == exits - 1
        if not last:
            np.maximum(highest, certainty[:, index], out=highest)
        stop = np.full_like(start, bins - 1) if last else np.searchsorted(sorted_thresholds, highest, side="right")
        # One pass counts both: even bins hold the samples that this exit gets wrong, odd ones those it gets right.
        answered = correct[:, index].astype(np.int64)
        begun = np.bincount(2 * start + answered, minlength=2 * bins).reshape(bins, 2)
        ended = np.bincount(2 * stop + answered, minlength=2 * bins).reshape(bins, 2)
        here = (begun - ended).cumsum(axis=0)
        leaving[:, index] = here.sum(axis=1)
        right += here[:, 1]
        start = stop
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return leaving[place], right[place]


def full_model(trace: Trace, costs: Costs) -> Result:
    """The network without exits: every sample leaves at its own classifier.

    Under ``split`` the sample runs through every part in turn, under ``nested`` it enters at the tier that holds all
    layers; either way no head is asked, so its cost is :attr:`Costs.full_model`, not an entry of the table.
    """
    _require(trace, costs)
    counts = np.zeros(costs.table.shape, dtype=np.int64)
    counts[-1, -1] = len(trace)
    return _result(trace, costs, None, counts, int(trace.correct[:, -1].sum()), costs.full_model)


def mean_cost(counts: NDArray[np.int64], costs: Costs) -> float:
    """Mean over samples of the cost table, from how many of them (T, K) entered and left where."""
    taken = counts > 0
    return float((counts[taken] * costs.table[taken]).sum() / counts.sum())


def _decided(
    trace: Trace,
    decisions: Decisions,
    costs: Costs,
    setting: Setting | None,
    uses_embedding: bool,
    keep_decisions: bool = False,
) -> Result:
    tiers, exits = costs.table.shape
    counts = np.bincount(decisions.entry * exits + decisions.exit, minlength=tiers * exits).reshape(tiers, exits)
    right = int(trace.correct[np.arange(len(trace)), decisions.exit].sum())
    cost = mean_cost(counts, costs) + (costs.router if uses_embedding else 0.0)
    return _result(trace, costs, setting, counts, right, cost, decisions if keep_decisions else None)


def _result(
    trace: Trace,
    costs: Costs,
    setting: Setting | None,
    counts: NDArray[np.int64],
    right: int,
    cost: float,
    decisions: Decisions | None = None,
) -> Result:
    by_exit = counts.sum(axis=0)
    by_tier = np.bincount(trace.exit_tier_index, weights=by_exit, minlength=len(trace.tiers)).astype(np.int64)
    return Result(
        setting=setting,
        samples=len(trace),
        accuracy=right / len(trace),
        cost=cost,
        saving=1 - cost / costs.full_model if costs.full_model > 0 else 0.0,
        tier_share=shares(trace.tiers, by_tier),
        exit_share=shares(trace.exits, by_exit),
        decisions=decisions,
    )


def _require(trace: Trace, costs: Costs) -> None:
    expected = (len(trace.tiers), len(trace.exits))
    if costs.table.shape != expected:
        raise DispatchError(
            f"the costs are of a plan with {costs.table.shape[0]} tiers and {costs.table.shape[1]} exits, the trace "
            f"has {expected[0]} and {expected[1]}: take both from the same bundle"
        )
    if not len(trace):
        raise DispatchError("the trace holds no samples: record it on data with at least one")
