"""The confidence at which samples leave while a bundle is measured."""

from __future__ import annotations

from collections.abc import Mapping

from edgepart.dispatch.threshold import DEFAULT_STRATEGY
from edgepart.errors import MeasurementError
from edgepart.partitioning.plan import Plan


def by_exit(plan: Plan, threshold: float | Mapping[str, float] | None) -> dict[str, float] | None:
    """Exit → its threshold, of one for all or of one for each; None: nobody leaves early.

    Raises:
        MeasurementError: an exit has none, there is no such exit, or a threshold is no confidence.
    """
    if threshold is None:
        return None
    names = [point.name for point in plan.exits]
    found = dict(threshold) if isinstance(threshold, Mapping) else dict.fromkeys(names, threshold)
    if set(found) != set(names):
        raise MeasurementError(
            f"thresholds were given for the exits {', '.join(found) or 'none'}, the bundle has "
            f"{', '.join(names) or 'none'}: give one for each"
        )
    given = found.values() if isinstance(threshold, Mapping) else [threshold]
    for value in given:
        if not 0 <= value <= 1:
            raise MeasurementError(f"a threshold of confidence lies between 0 and 1, not at {value:g}")
    return found


def plan_thresholds(plan: Plan) -> dict[str, float]:
    """Those that the plan was chosen with.

    Raises:
        MeasurementError: it was chosen with none, or with those of a strategy other than confidence.
    """
    if not plan.thresholds:
        raise MeasurementError(
            "the plan of the bundle has no thresholds (partition --pareto chooses them): name one with --thresholds"
        )
    if plan.strategy not in ("", DEFAULT_STRATEGY):
        raise MeasurementError(
            f"the thresholds of the plan are those of the strategy '{plan.strategy}', and a measurement goes by "
            "confidence: name one with --thresholds"
        )
    return plan.thresholds
