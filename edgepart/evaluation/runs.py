"""Several runs (task × seed) of the same strategies, compared: mean, spread over seeds, and paired intervals."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np

from edgepart.bundle import Bundle, open_bundle
from edgepart.dispatch.base import Strategy
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError
from edgepart.evaluation import cautions, selection
from edgepart.evaluation.costs import CostModel, Facts, tabulate
from edgepart.evaluation.evaluate import router_seconds
from edgepart.evaluation.evaluate_traces import THRESHOLDS, question
from edgepart.evaluation.report_assembly import provenance
from edgepart.evaluation.runs_assembly import cost_report, spread
from edgepart.evaluation.runs_measured import Measured, measure
from edgepart.evaluation.runs_report import CostReport, ExitAccuracy, RunsReport, TaskReport
from edgepart.partitioning.plan import Plan
from edgepart.progress import progress

#: group → its strategies, by their names before any options
GROUPS = {
    "best of ours": ("router", "combined", "controlled", "tuned"),
    "best of the papers'": (
        *("cartography", "cartography-adaptive", "adaee", "splitee", "splitee-s", "i-splitee"),
        *("entropy", "margin", "patience", "learned", "ensemble", "budgeted"),
    ),
    "DIMEC-DC": ("cartography", "cartography-adaptive"),
}


@dataclass(frozen=True)
class Run:
    """One trained bundle, recorded on one task.

    Attributes:
        task: as tables name it, ``SST-2``
        seed: of its training
        plan: of the bundle
        validation: settings are chosen on it
        test: figures are of it; the same samples in the same order for all seeds of a task
        facts: what cost models need besides the plan
    """

    task: str
    seed: int
    plan: Plan
    validation: Trace
    test: Trace
    facts: Facts = field(default_factory=Facts)

    @classmethod
    def of_bundle(cls, bundle: Bundle | str | Path, test: Trace | str | Path, task: str, seed: int) -> Self:
        """The run of a bundle, opened or its folder, and a trace recorded with it, loaded or its file.

        Raises:
            BundleError: no bundle is there.
            FileError: the trace is missing or damaged.
        """
        opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
        return cls(
            task=task,
            seed=seed,
            plan=opened.plan,
            validation=opened.validation,
            test=test if isinstance(test, Trace) else Trace.load(test),
            facts=Facts(opened.graph, router_seconds(opened.plan, opened.graph)),
        )


def compare_runs(
    runs: Sequence[Run],
    strategies: Sequence[str | Strategy] | None = None,
    costs: Mapping[str, str | CostModel] | None = None,
    *,
    grid: Sequence[float] = THRESHOLDS,
    drops: Sequence[float] = selection.DROPS,
    reference: str = "confidence",
    groups: Mapping[str, Sequence[str]] = GROUPS,
    resamples: int = 2000,
    command: str = "edgepart.evaluation.runs.compare_runs",
) -> RunsReport:
    """Compare dispatch strategies over several runs; ``RunsReport.save`` and ``load`` keep the outcome as JSON.

    Settings are chosen on each run's validation trace; all figures are of its test trace. A strategy without a setting
    that keeps the accuracy on a seed's validation at no more than the full model's cost leaves that seed's samples to
    the full model and saves nothing there.

    Args:
        runs: of any number of tasks; those of a task differ in their seeds
        strategies: names, with options as ``edgepart evaluate --strategy`` takes them, or objects, which are copied
            and fitted afresh for every run and cost; all registered ones by default
        costs: label in tables → cost model by name or the model itself, as ``{"γ = 14.14λ": "dimec:gamma=14.14"}``;
            latency by default
        grid: thresholds to try
        drops: accuracy below the full model's that a setting may lose on validation
        reference: strategy that all others are compared with
        groups: name → strategies, by their full names or those before the options; the member that is cheapest on
            validation, picked for every run anew, stands in the report as a strategy, and all are compared with it
        resamples: of the bootstrap
        command: noted in the report

    Raises:
        DispatchError: no runs, two runs of a task with one seed, runs of a task on different test samples, exits or
            tiers, or strategies or costs that are not usable.
    """
    labelled = {"latency": "latency"} if costs is None else costs
    if not labelled or not drops:
        raise DispatchError(f"no {'accuracy drops' if labelled else 'costs'} were given: give at least one")
    for model in labelled.values():
        asked = question(copy.deepcopy(strategies), model, grid, drops)
    names = [strategy.name for strategy in asked.strategies]
    if reference not in names:
        raise DispatchError(f"the reference '{reference}' is not among the strategies {', '.join(names)}: name it, too")
    tasks = _by_task(runs)
    reports = []
    with progress("comparing runs", len(runs) * len(labelled)) as step:
        for own in tasks.values():
            found, told = [], list(_cautions(own, asked.drops))
            for label, model in labelled.items():
                measured = []
                for run in own:
                    # Fresh ones: whatever a strategy learnt in another run must not help it here.
                    fresh = question(copy.deepcopy(strategies), model, grid, drops)
                    known = tabulate(fresh.cost, run.plan, run.facts)
                    measured.append(measure(run.validation, run.test, known, fresh, reference))
                    step(1)
                told += _left_out(own, measured)
                found.append(cost_report(label, measured, reference, groups, resamples))
            reports.append(_task_report(own, found, told))
    return RunsReport(
        tasks=tuple(reports),
        drops=asked.drops,
        reference=reference,
        groups={group: tuple(members) for group, members in groups.items()},
        resamples=resamples,
        provenance=provenance(command),
    )


def _by_task(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of every task by their seeds, after checking that they can be compared."""
    tasks: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda one: one.seed):
        tasks.setdefault(run.task, []).append(run)
    if not tasks:
        raise DispatchError("there are no runs to compare: give at least one")
    for task, own in tasks.items():
        for run in own:
            _require_recorded(run)
        first = own[0]
        for run, before in zip(own[1:], own, strict=False):
            if run.seed == before.seed:
                raise DispatchError(f"two runs of {task} have the seed {run.seed}: give each its own")
            if not np.array_equal(run.test.labels, first.test.labels) or run.test.classes != first.test.classes:
                raise DispatchError(
                    f"the runs of {task} with the seeds {first.seed} and {run.seed} were recorded on different test "
                    "samples: record the same data in the same order"
                )
            if (run.test.exits, run.test.tiers) != (first.test.exits, first.test.tiers):
                raise DispatchError(
                    f"the runs of {task} with the seeds {first.seed} and {run.seed} have other exits or tiers: "
                    "compare them as two tasks"
                )
    # in the order they were given in
    return {task: tasks[task] for task in dict.fromkeys(run.task for run in runs)}


def _require_recorded(run: Run) -> None:
    for what, trace in (("validation", run.validation), ("test", run.test)):
        if (trace.exits, trace.tiers) != (tuple(run.plan.exit_names), tuple(run.plan.tier_names)):
            raise DispatchError(
                f"the {what} trace of {run.task}, seed {run.seed}, has other exits or tiers than the plan of the run: "
                "take all three from the same bundle"
            )


def _cautions(runs: Sequence[Run], drops: Sequence[float]) -> Iterator[str]:
    return _of_seeds((run.seed, cautions.about_data(run.validation, run.test, drops)) for run in runs)


def _left_out(runs: Sequence[Run], measured: Sequence[Measured]) -> Iterator[str]:
    return _of_seeds((run.seed, one.left_out) for run, one in zip(runs, measured, strict=True))


def _of_seeds(told: Iterable[tuple[int, Iterable[str]]]) -> Iterator[str]:
    """Sentences with the seeds that they are about."""
    seeds: dict[str, list[int]] = {}
    for seed, sentences in told:
        for sentence in sentences:
            seeds.setdefault(sentence, []).append(seed)
    for sentence, of in seeds.items():
        yield f"seed{'s' if len(of) > 1 else ''} {', '.join(map(str, of))}: {sentence}"


def _task_report(runs: Sequence[Run], costs: Sequence[CostReport], told: Sequence[str]) -> TaskReport:
    first = runs[0]
    right = np.stack([run.test.correct.mean(axis=0) for run in runs])
    return TaskReport(
        task=first.task,
        network=first.plan.network,
        seeds=tuple(run.seed for run in runs),
        samples=len(first.test),
        validation_samples=tuple(len(run.validation) for run in runs),
        classes=first.test.classes,
        deployment=first.plan.deployment,
        exits=tuple(
            ExitAccuracy(name=name, tier=first.test.exit_tiers[index], accuracy=spread(right[:, index]))
            for index, name in enumerate(first.test.exits)
        ),
        costs=tuple(costs),
        warnings=tuple(dict.fromkeys(told)),
    )
