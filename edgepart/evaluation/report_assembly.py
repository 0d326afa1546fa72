"""A Report from what strategies did on the traces."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import psutil
from numpy.typing import NDArray

from edgepart.dispatch.base import Decisions, Promise
from edgepart.dispatch.cartography import Cartography
from edgepart.dispatch.data_map import DataMap
from edgepart.dispatch.layout import Layout
from edgepart.dispatch.pools import POOLS, pools
from edgepart.dispatch.risk import loss_table
from edgepart.dispatch.temperature import calibration_error
from edgepart.dispatch.trace import Trace
from edgepart.evaluation import metrics, selection
from edgepart.evaluation.as_planned import figures
from edgepart.evaluation.costs import Costs
from edgepart.evaluation.replay import full_model, replay
from edgepart.evaluation.report import (
    Comparison,
    Curve,
    CurvePoint,
    DataMapReport,
    ExitReport,
    FullModel,
    PromiseReport,
    Provenance,
    StrategyReport,
    TemperatureReport,
    Unreached,
    wilson,
)
from edgepart.evaluation.selection import Choice, StrategyCurve
from edgepart.partitioning.plan import Plan
from edgepart.profiling.machine import processor

#: baselines of the comparisons at equal cost, where they were evaluated
BASELINES = ("confidence", "fixed-tier", "random")
_PACKAGES = (
    *("numpy", "scipy", "torch", "transformers", "tensorflow", "keras", "onnx", "onnxruntime", "executorch"),
    *("ai-edge-litert", "matplotlib"),
)


def full_model_report(test: Trace, costs: Costs) -> FullModel:
    """The network without exits on the test data."""
    result = full_model(test, costs)
    last = np.full(len(test), len(test.exits) - 1, dtype=np.int64)
    return FullModel(
        accuracy=result.accuracy,
        interval=wilson(int(test.correct[:, -1].sum()), len(test)),
        cost=result.cost,
        measures=_measures(test, Decisions(np.zeros_like(last), last)),
    )


def exit_reports(plan: Plan, validation: Trace, test: Trace, costs: Costs) -> tuple[ExitReport, ...]:
    """Every exit if all samples left there."""
    reach = costs.table[Layout.of(test).first_tier]
    heads = [*(point.head for point in plan.exits), None]
    return tuple(
        ExitReport(
            name=name,
            tier=test.exit_tiers[index],
            head=heads[index],
            accuracy=float(test.correct[:, index].mean()),
            validation_accuracy=float(validation.correct[:, index].mean()),
            cost=float(reach[index]) if np.isfinite(reach[index]) else None,
            routed_cost=float(costs.table[:, index].min()),
        )
        for index, name in enumerate(test.exits)
    )


def temperature_reports(validation: Trace, test: Trace, learnt: NDArray[np.float64]) -> tuple[TemperatureReport, ...]:
    """What scaling every exit's logits by its temperature (K,) does to its calibration error on both traces."""
    before = [calibration_error(trace) for trace in (test, validation)]
    after = [calibration_error(trace.scaled(learnt)) for trace in (test, validation)]
    return tuple(
        TemperatureReport(
            exit=name,
            temperature=float(learnt[index]),
            error_before=float(before[0][index]),
            error_after=float(after[0][index]),
            validation_error_before=float(before[1][index]),
            validation_error_after=float(after[1][index]),
        )
        for index, name in enumerate(test.exits)
    )


def curve_report(curve: StrategyCurve) -> Curve:
    """All settings of a strategy on both traces."""
    return Curve(
        strategy=curve.name,
        points=tuple(
            CurvePoint(
                setting=setting.label,
                accuracy=test.accuracy,
                cost=test.cost,
                validation_accuracy=seen.accuracy,
                validation_cost=seen.cost,
            )
            for setting, seen, test in zip(curve.settings, curve.validation, curve.test, strict=True)
        ),
    )


def choice_report(curve: StrategyCurve, choice: Choice, test: Trace, costs: Costs) -> StrategyReport | Unreached:
    """A strategy at the setting chosen for one accuracy drop, on the test data."""
    if choice.index is None:
        best = max(seen.accuracy for seen in curve.validation)
        return Unreached(name=curve.name, allowed_drop=choice.drop, validation_accuracy=best)
    setting, seen = curve.settings[choice.index], curve.validation[choice.index]
    result = replay(test, curve.strategy.policy(setting), costs, setting, keep_decisions=True)
    return StrategyReport(
        name=curve.name,
        setting=setting.label,
        values=dict(setting.values),
        chosen_for=f"accuracy drop ≤ {100 * choice.drop:g} %",
        allowed_drop=choice.drop,
        deployable=curve.strategy.deployable,
        measures=_measures(test, result.decisions) if result.decisions else {},
        promise=_promise_report(curve.strategy.promise(setting), test, result.decisions) if result.decisions else None,
        **figures(result, seen),
    )


def _promise_report(promise: Promise | None, test: Trace, decisions: Decisions) -> PromiseReport | None:
    """A promise beside what the test data show of it."""
    if promise is None:
        return None
    losses = loss_table(test, promise.risk)[np.arange(len(test)), decisions.exit].astype(np.float64)
    return PromiseReport(
        risk=promise.risk,
        epsilon=promise.epsilon,
        delta=promise.delta,
        seen=float(losses.mean()),
        interval=selection.bootstrap(losses, seed=0, resamples=2000),
    )


def comparison_reports(curves: Sequence[StrategyCurve], test: Trace) -> tuple[Comparison, ...]:
    """Every deployable strategy against confidence and against tiers drawn at random, at equal cost."""
    by_name = {curve.name: curve for curve in curves}
    present = [name for name in BASELINES if name in by_name]
    if "fixed-tier" in present and "random" in present:
        # A mixture of fixed tiers is random routing without the noise of drawing.
        present.remove("random")
    compared = [curve for curve in curves if curve.strategy.deployable and curve.name not in ("fixed-tier", "random")]
    return tuple(
        Comparison(
            strategy=found.strategy,
            baseline=found.baseline,
            setting=found.setting.label if found.setting else None,
            cost=found.cost,
            accuracy=found.accuracy,
            baseline_accuracy=found.baseline_accuracy,
            difference=found.difference,
            interval=found.interval,
            verdict=found.verdict,
        )
        for curve in compared
        for name in present
        if curve.name != name
        for found in selection.compare_at_equal_cost(curve, by_name[name], test)
    )


def data_map_report(
    curves: Sequence[StrategyCurve], chosen: Sequence[StrategyReport], validation: Trace
) -> DataMapReport | None:
    """The pools of the first cartography strategy at the setting chosen first; None if there is none."""
    curve = next((curve for curve in curves if isinstance(curve.strategy, Cartography)), None)
    if curve is None or validation.dynamics is None:
        return None
    values = next((entry.values for entry in chosen if entry.name == curve.name), dict(curve.settings[0].values))
    alpha, beta = float(values["alpha"]), float(values["beta"])
    layout = Layout.of(validation)
    exit_index = layout.last_exit(layout.first_tier)
    pool = pools(DataMap.of(validation, exit_index), alpha, beta)
    return DataMapReport(
        exit=validation.exits[exit_index],
        epochs=len(validation.dynamics),
        alpha=alpha,
        beta=beta,
        pools={name: int((pool == index).sum()) for index, name in enumerate(POOLS)},
    )


def provenance(command: str) -> Provenance:
    """This program, its packages and this machine, now."""
    return Provenance(
        command=command,
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        edgepart=importlib.metadata.version("edgepart"),
        python=platform.python_version(),
        packages={name: version for name in _PACKAGES if (version := _version(name))},
        machine={
            "processor": processor(),
            "logical_cores": psutil.cpu_count() or 1,
            "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
            "system": f"{platform.system()} {platform.release()}",
        },
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _measures(test: Trace, decisions: Decisions) -> dict[str, float]:
    found = metrics.summary(test, decisions)
    return {name: value for name, value in found.items() if name != "accuracy"}
