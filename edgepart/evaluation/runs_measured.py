"""What strategies do to the samples of one run under one cost model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.base import Decisions, Setting, Strategy
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError, MissingExtra
from edgepart.evaluation import metrics, selection
from edgepart.evaluation.costs import Costs
from edgepart.evaluation.evaluate_traces import Question
from edgepart.evaluation.replay import Result, full_model, rehearse, replay
from edgepart.evaluation.selection import Operating, at_equal_cost

#: baseline of the comparison at equal cost besides the reference: mixing its tiers by lot is routing at random
BY_LOT = "fixed-tier"


@dataclass(frozen=True)
class Chosen:
    """A strategy at the setting chosen for one drop on one run's validation data.

    Attributes:
        setting: None where there is none that keeps the accuracy and costs no more than the full model, which answers
        right: (N,) 1 where the test sample is answered with its label, else 0
        cost: (N,) of every test sample, the router's included
        measures: Matthews correlation and, for two classes, F1, on test
        tier_share: of the test samples, by the tier where they leave
        validation_accuracy, validation_cost: what the setting was chosen by
        picked: name of the strategy, where this is the choice of a group
    """

    setting: str | None
    right: NDArray[np.float64]
    cost: NDArray[np.float64]
    measures: dict[str, float]
    tier_share: dict[str, float]
    validation_accuracy: float
    validation_cost: float
    picked: str | None = None


@dataclass(frozen=True)
class Measured:
    """All strategies on one run under one cost model.

    Attributes:
        costs: of the run's plan
        full: the network without exits
        chosen: (strategy, allowed drop) → what came of it
        gaps: (strategy, baseline) → (N,) gap at equal cost, None where there is nothing to compare
        left_out: why strategies are missing, a sentence each
    """

    costs: Costs
    full: Chosen
    chosen: dict[tuple[str, float], Chosen]
    gaps: dict[tuple[str, str], NDArray[np.float64] | None]
    left_out: tuple[str, ...]

    def pick(self, members: Sequence[str], drop: float) -> Chosen:
        """The member that is cheapest on validation, the first of equals; the full model where none has a setting."""
        found = [(name, one) for name in members if (one := self.chosen[name, drop]).setting is not None]
        if not found:
            return self.full
        name, best = min(found, key=lambda each: each[1].validation_cost)
        return replace(best, picked=name)


def measure(validation: Trace, test: Trace, costs: Costs, asked: Question, reference: str) -> Measured:
    """Fit every strategy on a run's validation trace, choose its settings there, and replay them on test.

    Raises:
        DispatchError: a strategy that was asked for by name cannot learn from the validation trace.
    """
    seen, shown = full_model(validation, costs), full_model(test, costs)
    last = np.full(len(test), len(test.exits) - 1, dtype=np.int64)
    decisions = Decisions(np.zeros_like(last), last)
    cost = np.full(len(test), costs.full_model)
    full = Whole(seen, shown, _chosen(None, test, decisions, cost, seen))
    played: dict[str, Played] = {}
    left_out = []
    for strategy in asked.strategies:
        try:
            played[strategy.name] = _play(strategy, validation, test, costs, asked, full)
        except (DispatchError, MissingExtra) as error:
            if asked.required or strategy.name == reference:
                raise
            left_out.append(f"{strategy.name} is left out, since {error}")
    return Measured(
        costs=costs,
        full=full.chosen,
        chosen={(name, drop): one for name, own in played.items() for drop, one in own.chosen.items()},
        gaps={
            (name, baseline): _gap(own, played[baseline])
            for name, own in played.items()
            for baseline in (reference, BY_LOT)
            if baseline in played and baseline != name
        },
        left_out=tuple(left_out),
    )


class Whole(NamedTuple):
    """The full model on validation and on test, and as what is used where a strategy has no setting."""

    seen: Result
    shown: Result
    chosen: Chosen


class Played(NamedTuple):
    """A strategy: what was chosen by allowed drop, and its operating points, the full model among them."""

    chosen: dict[float, Chosen]
    points: list[Operating]


def _play(strategy: Strategy, validation: Trace, test: Trace, costs: Costs, asked: Question, full: Whole) -> Played:
    """Only settings that are chosen or worth using are replayed on test."""
    strategy.fit(validation, costs.table)
    settings = strategy.settings(asked.grid)
    seen = rehearse(validation, strategy, costs, asked.grid)

    @cache
    def shown(index: int) -> tuple[Result, Chosen]:
        policy = strategy.policy(settings[index])
        result = replay(test, policy, costs, settings[index], keep_decisions=True)
        assert result.decisions is not None
        extra = costs.router if policy.uses_embedding else 0.0
        cost = costs.table[result.decisions.entry, result.decisions.exit] + extra
        return result, _chosen(settings[index], test, result.decisions, cost, seen[index])

    chosen = {}
    for choice in selection.choices(strategy, settings, seen, full.seen, asked.drops):
        # a setting that costs more than the full model is one that nobody would use
        usable = choice.index is not None and seen[choice.index].cost <= costs.full_model * (1 + 1e-12)
        chosen[choice.drop] = shown(choice.index)[1] if usable and choice.index is not None else full.chosen
    points = []
    for index in selection.hull([*seen, full.seen]):
        result, one = shown(index) if index < len(settings) else (full.shown, full.chosen)
        points.append(Operating(result, one.right))
    return Played(chosen, points)


def _gap(own: Played, baseline: Played) -> NDArray[np.float64] | None:
    """(N,) right answers less the baseline's at equal cost, mean over the operating points besides the full model.

    None where the baseline has nothing to set against any of them; zeros where there are none.
    """
    points = [point for point in own.points if point.result.setting is not None]
    gaps = [point.right - theirs for point, theirs in at_equal_cost(points, baseline.points)]
    if points and not gaps:
        return None
    mean: NDArray[np.float64] = np.mean(gaps, axis=0) if gaps else np.zeros_like(own.points[0].right)
    return mean


def _chosen(
    setting: Setting | None, test: Trace, decisions: Decisions, cost: NDArray[np.float64], seen: Result
) -> Chosen:
    measures = metrics.summary(test, decisions)
    del measures["accuracy"]
    left = np.bincount(test.exit_tier_index[decisions.exit], minlength=len(test.tiers))
    return Chosen(
        setting=setting.label if setting else None,
        right=test.correct[np.arange(len(test)), decisions.exit].astype(np.float64),
        cost=cost,
        measures=measures,
        tier_share=metrics.shares(test.tiers, left),
        validation_accuracy=seen.accuracy,
        validation_cost=seen.cost,
    )
