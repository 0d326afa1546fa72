"""What the thresholds of a plan give: those that ``partition --pareto`` chose it with."""

from __future__ import annotations

from typing import Any

from edgepart.dispatch import options
from edgepart.dispatch.base import CostTable, Setting
from edgepart.dispatch.threshold import DEFAULT_STRATEGY, ThresholdStrategy
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError
from edgepart.evaluation.costs import Costs
from edgepart.evaluation.replay import Result, replay
from edgepart.evaluation.report import AsPlanned
from edgepart.partitioning.plan import Plan


def as_planned(plan: Plan, validation: Trace, test: Trace, costs: Costs) -> AsPlanned | None:
    """The plan's own thresholds on both traces; None for a plan without."""
    if not plan.thresholds:
        return None
    strategy, setting = planned_setting(plan, validation, costs.table)
    seen, found = (replay(trace, strategy.policy(setting), costs, setting) for trace in (validation, test))
    return AsPlanned(strategy=strategy.name, thresholds=plan.thresholds, **figures(found, seen))


def figures(found: Result, seen: Result) -> dict[str, Any]:
    """The fields of :class:`~edgepart.evaluation.report.Figures`, from the results on test and validation."""
    return {
        "accuracy": found.accuracy,
        "cost": found.cost,
        "saving": found.saving,
        "tier_share": found.tier_share,
        "exit_share": found.exit_share,
        "validation_accuracy": seen.accuracy,
        "validation_cost": seen.cost,
    }


def planned_setting(plan: Plan, validation: Trace, table: CostTable) -> tuple[ThresholdStrategy, Setting]:
    """The strategy that a plan was chosen with, fitted, and its setting with the plan's threshold at every exit.

    Raises:
        UnknownName: no such strategy.
        DispatchError: it has no threshold, or the plan none for it.
    """
    made = options.strategy(plan.strategy or DEFAULT_STRATEGY)
    if not isinstance(made, ThresholdStrategy):
        raise DispatchError(f"the strategy '{made.name}' of the plan does not leave by a threshold: plan again")
    made.fit(validation, table)
    return made, made.each(plan.thresholds)
