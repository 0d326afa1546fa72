"""From two traces of one plan to a report: settings are chosen on the first, reported on the second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgepart import plugins
from edgepart.dispatch import options
from edgepart.dispatch.base import Strategy
from edgepart.dispatch.controlled import Controlled
from edgepart.dispatch.temperature import temperatures
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError, MissingExtra
from edgepart.evaluation import cautions, report_assembly, selection
from edgepart.evaluation.as_planned import as_planned
from edgepart.evaluation.costs import CostModel, Costs, cost_model
from edgepart.evaluation.report import (
    DataReport,
    PartReport,
    PlanReport,
    Report,
    StrategyReport,
    TemperatureReport,
    Unreached,
)
from edgepart.evaluation.stream import Change
from edgepart.evaluation.stream_report import stream_report
from edgepart.partitioning.plan import Plan
from edgepart.progress import progress

#: EdgeLessPart's .3 … .9, a finer set towards 1 where confidence decides, and one towards 0 where entropy does
THRESHOLDS = (
    *(0.001, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25),
    *(0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    *(0.55, 0.65, 0.75, 0.85, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.993, 0.995, 0.997, 0.998, 0.999),
)
#: more of them next to 0 and 1, for exits that are surer than they are right: heads on a frozen network, or few samples
#: that a network has learnt by heart. Not the default: with as many, ``tuned`` is no longer exact at three exits.
FINE_THRESHOLDS = (*THRESHOLDS, 1e-5, 1e-4, 0.9995, 0.9998, 0.9999, 0.99995, 0.99999, 0.999999)

_YARDSTICKS = ("fixed-tier", "oracle", "random")
#: what strategies that adapt are held against on a stream that changes
_STILL = ("cartography", "confidence", "fixed-tier", "oracle")


@dataclass(frozen=True)
class Question:
    """What is to be found out: strategies under one cost model.

    Attributes:
        strategies: not yet fitted
        required: False where a strategy that cannot learn from this bundle is left out with a warning
        grid: thresholds
        drops: accuracy that settings may lose on validation
    """

    strategies: tuple[Strategy, ...]
    cost: CostModel
    grid: tuple[float, ...] = THRESHOLDS
    drops: tuple[float, ...] = selection.DROPS
    required: bool = True


def question(
    strategies: Sequence[str | Strategy] | None = None,
    cost: str | CostModel = "latency",
    grid: Sequence[float] = THRESHOLDS,
    drops: Sequence[float] = selection.DROPS,
    stream: bool = False,
    **cost_options: object,
) -> Question:
    """Strategies and cost model by name, with options as ``cartography:objective=routed`` or ``price=aws-lambda``.

    Where no strategies are named, all of them, or for a ``stream`` those that adapt to it (:func:`stream_strategies`).

    Raises:
        UnknownName: no such strategy or cost model; lists the nearest names.
        DispatchError: an option is wrong or missing, a strategy is named twice, a threshold is no finite number, or a
            drop no share.
    """
    named: Sequence[str | Strategy] = stream_strategies() if stream else plugins.names("strategy")
    if strategies is not None:
        named = [strategies] if isinstance(strategies, str) else strategies
    made = [options.strategy(one) if isinstance(one, str) else one for one in named]
    if strategies is None:
        # yardsticks last, wherever strategies are listed
        made.sort(key=lambda one: (one.name in _YARDSTICKS, not one.deployable, one.name.partition(":")))
    names = [one.name for one in made]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise DispatchError(f"the strategy '{double}' is named twice: name it once")
    tried = sorted_grid(grid, drops)
    model = cost_model(cost, **cost_options) if isinstance(cost, str) else cost
    return Question(tuple(made), model, tried, tuple(sorted(set(drops))), strategies is not None)


def sorted_grid(grid: Sequence[float], drops: Sequence[float]) -> tuple[float, ...]:
    """The thresholds to try, each once and in order, with drops of accuracy to allow.

    Raises:
        DispatchError: there is no threshold, one is no finite number, or a drop is no share.
    """
    if not grid or not all(-float("inf") < value < float("inf") for value in grid):
        raise DispatchError(f"the thresholds are {list(grid)}, expected at least one finite number")
    if not all(0 <= drop <= 1 for drop in drops):
        raise DispatchError(f"the accuracy drops are {list(drops)}, expected shares from 0 to 1, as .005")
    return tuple(sorted(set(grid)))


def stream_strategies() -> tuple[str, ...]:
    """What to try on a stream that changes: what may have a drift detector, with and without one, and a few others."""
    adaptive = [
        name for name in plugins.names("strategy") if "drift" in options.declared(plugins.load("strategy", name))
    ]
    return (*_STILL, *adaptive, *(f"{name}:drift=page-hinkley" for name in adaptive))


def require_learnable(asked: Question, validation: Trace, costs: Costs, temperature: bool = False) -> None:
    """Check that the strategies asked for by name can learn from the validation trace.

    Raises:
        DispatchError: one lacks what it learns from (training dynamics, for one), or cannot keep its promise.
    """
    if asked.required:
        for strategy in asked.strategies:
            require_promise_holds(strategy, temperature)
            strategy.fit(validation, costs.table)


def report_on(
    plan: Plan,
    validation: Trace,
    test: Trace,
    asked: Question,
    costs: Costs,
    *,
    source: str,
    command: str,
    parts: Sequence[PartReport] = (),
    temperature: bool = False,
    change: Change | None = None,
) -> Report:
    """The report on two traces of one plan; no bundle is needed, what is known of its ``parts`` is shown.

    Where ``test`` is a stream of two domains, ``change`` says where the second begins.

    With ``temperature`` the strategies see every exit's logits divided by its temperature, learnt on the validation
    trace; what the plan's own thresholds give is reported on the logits as they are.

    Raises:
        DispatchError: a strategy that was asked for by name cannot learn from the validation trace.
    """
    planned = as_planned(plan, validation, test, costs)
    scaling: tuple[TemperatureReport, ...] = ()
    if temperature:
        learnt = temperatures(validation)
        scaling = report_assembly.temperature_reports(validation, test, learnt)
        validation, test = validation.scaled(learnt), test.scaled(learnt)
    curves, warnings = _curves(validation, test, asked, costs, temperature)
    told = list(cautions.about_data(validation, test, asked.drops))
    told += cautions.about_stream(test, change) if change else []
    told += cautions.about_latency(plan) if asked.cost.name == "latency" else []
    told += cautions.about_runtimes(plan, parts)
    outcomes = [
        report_assembly.choice_report(curve, curve.choices[index], test, costs)
        for index in range(len(asked.drops))
        for curve in curves
    ]
    chosen = tuple(outcome for outcome in outcomes if isinstance(outcome, StrategyReport))
    return Report(
        title=f"edgepart: {plan.network} on {source}",
        cost_model=asked.cost.name,
        cost_unit=costs.unit,
        cost_description=costs.description,
        full_model=report_assembly.full_model_report(test, costs),
        exits=report_assembly.exit_reports(plan, validation, test, costs),
        temperatures=scaling,
        strategies=chosen,
        planned=planned,
        unreached=tuple(outcome for outcome in outcomes if isinstance(outcome, Unreached)),
        curves=tuple(report_assembly.curve_report(curve) for curve in curves),
        stream=stream_report(curves, test, change, costs) if change else None,
        comparisons=report_assembly.comparison_reports(curves, test),
        plan=PlanReport.of(plan),
        parts=tuple(parts),
        data=DataReport(source=source, samples=len(test), validation_samples=len(validation), classes=test.classes),
        data_map=report_assembly.data_map_report(curves, chosen, validation),
        warnings=(*told, *warnings),
        provenance=report_assembly.provenance(command),
    )


def _curves(
    validation: Trace, test: Trace, asked: Question, costs: Costs, temperature: bool
) -> tuple[list[selection.StrategyCurve], list[str]]:
    """Every strategy on both traces, and what the user should know."""
    curves: list[selection.StrategyCurve] = []
    left_out, told = [], []
    with progress("trying strategies", len(asked.strategies)) as step:
        for strategy in asked.strategies:
            try:
                require_promise_holds(strategy, temperature)
                curves.append(selection.evaluate_strategy(strategy, validation, test, costs, asked.grid, asked.drops))
            except (DispatchError, MissingExtra) as error:
                if asked.required:
                    raise
                left_out.append((strategy.name, [f"left out, since {error}"]))
                continue
            finally:
                step(1)
            told.append((strategy.name, strategy.warnings))
    return curves, cautions.merged([*left_out, *told])


def require_promise_holds(strategy: Strategy, temperature: bool) -> None:
    """Check that what a strategy promises is not undone by temperatures.

    Raises:
        DispatchError: it is, since they were learnt on the samples of the promise.
    """
    if temperature and isinstance(strategy, Controlled):
        raise DispatchError(
            f"the promises of '{strategy.name}' would not hold for temperatures learnt on the samples that it is "
            "calibrated on: evaluate it without temperature scaling"
        )
