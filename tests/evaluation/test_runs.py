"""Several runs compared: figures by hand, exact ties, clear winners, intervals that hold, nothing dropped silently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgepart.dispatch.base import CostTable, Setting
from edgepart.dispatch.confidence import Confidence
from edgepart.dispatch.fixed_tier import FixedTier
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError
from edgepart.evaluation import metrics
from edgepart.evaluation.costs import Costs, tabulate
from edgepart.evaluation.evaluate_traces import question, report_on
from edgepart.evaluation.resampling import intervals
from edgepart.evaluation.runs import Run, compare_runs
from edgepart.evaluation.runs_assembly import members
from edgepart.evaluation.runs_report import Outcome, RunsReport, Spread
from edgepart.testing.cost_models import example_plan
from edgepart.testing.traces import synthetic_trace

PLAN = example_plan("nested")
GRID = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
COSTS = {"time": "latency", "λ": "dimec:gamma=20,layers=2/4/6"}
NAMES = ("confidence", "entropy", "cartography", "router", "fixed-tier", "oracle")


def recorded(seed: int, samples: int, run: int = 0, noise: float = 0.5) -> Trace:
    """The same samples for the same seed; every run has noise of its own in its logits."""
    made = synthetic_trace(samples, seed=seed, epochs=2, dimension=4)
    drawn = np.random.default_rng([seed, run]).normal(0, noise, made.logits.shape)
    return replace(made, logits=(made.logits + drawn).astype(np.float32), exits=PLAN.exit_names)


def run_of(seed: int, task: str = "made up", samples: int = 300) -> Run:
    return Run(task, seed, PLAN, recorded(1, 400, seed), recorded(2, samples, seed))


RUNS = [run_of(seed) for seed in (0, 1, 2)]


def found(report: RunsReport, strategy: str, drop: float = 0.005, cost: int = 0) -> Outcome:
    outcome = report.tasks[0].costs[cost].outcome(strategy, drop)
    assert outcome is not None
    return outcome


@pytest.fixture(scope="module")
def report() -> RunsReport:
    return compare_runs(RUNS, NAMES, COSTS, grid=GRID, resamples=300)


def content(report: RunsReport) -> dict[str, Any]:
    return report.model_dump(exclude={"provenance"})


def test_figures_are_those_of_the_reports_of_each_run(report: RunsReport) -> None:
    for index, model in enumerate(COSTS.values()):
        for number, run in enumerate(RUNS):
            asked = question(NAMES, model, GRID)
            costs = tabulate(asked.cost, PLAN)
            single = report_on(PLAN, run.validation, run.test, asked, costs, source="test", command="test")
            for one in single.strategies:
                outcome = found(report, one.name, one.allowed_drop, index)
                if one.validation_cost > single.full_model.cost:
                    assert outcome.settings[number] is None
                    continue
                assert outcome.settings[number] == one.setting
                assert outcome.accuracy.seeds[number] == pytest.approx(one.accuracy, rel=1e-5)
                assert outcome.cost.seeds[number] == pytest.approx(one.cost, rel=1e-5)
                assert outcome.saving.seeds[number] == pytest.approx(one.saving, abs=1e-5)
                assert outcome.change.seeds[number] == pytest.approx(
                    one.accuracy - single.full_model.accuracy, abs=1e-5
                )
                assert outcome.validation_accuracy.seeds[number] == pytest.approx(one.validation_accuracy, rel=1e-5)
                for spreads, expected in ((outcome.tier_share, one.tier_share), (outcome.measures, one.measures)):
                    shown = {name: spread.seeds[number] for name, spread in spreads.items()}
                    assert shown == pytest.approx(expected, rel=1e-5)
            full = report.tasks[0].costs[index].full_model
            assert full.cost.seeds[number] == pytest.approx(single.full_model.cost, rel=1e-5)
            f1 = metrics.f1(run.test.logits[:, -1].argmax(-1), run.test.labels)
            assert full.measures["f1"].seeds[number] == pytest.approx(f1, rel=1e-5)


def test_means_and_spreads_by_hand() -> None:
    assert (Spread(seeds=(1.0, 2.0, 6.0)).mean, Spread(seeds=(1.0, 2.0, 6.0)).std) == (3.0, pytest.approx(7**0.5))
    assert Spread(seeds=(4.0,)).std == 0.0


def test_a_record_is_read_back_as_it_was(report: RunsReport, tmp_path: Path) -> None:
    report.save(tmp_path / "runs.json")
    assert RunsReport.load(tmp_path / "runs.json") == report


def test_the_order_of_the_runs_changes_nothing(report: RunsReport) -> None:
    turned = compare_runs([RUNS[2], RUNS[0], RUNS[1]], NAMES, COSTS, grid=GRID, resamples=300)
    assert content(turned) == content(report)
    assert report.tasks[0].seeds == (0, 1, 2)


def test_tasks_are_independent_of_each_other(report: RunsReport) -> None:
    other = run_of(7, "another", samples=120)
    both = compare_runs([other, *RUNS], NAMES, COSTS, grid=GRID, resamples=300)
    assert [task.task for task in both.tasks] == ["another", "made up"]
    assert both.tasks[1] == report.tasks[0]
    assert both.tasks[0].samples == 120


class Twin(Confidence):
    """Confidence under another name."""

    name = "twin"


def test_a_strategy_like_the_reference_differs_by_exactly_nothing() -> None:
    report = compare_runs(RUNS, [Confidence(), Twin(), FixedTier()], COSTS, grid=GRID, resamples=200)
    for index in range(len(COSTS)):
        against = found(report, "twin", cost=index).against["confidence"]
        for difference in (against.accuracy, against.saving):
            assert (difference.seeds, difference.interval) == ((0.0, 0.0, 0.0), (0.0, 0.0))
            assert difference.verdict == "no difference shown"
        gaps = {(one.strategy, one.baseline): one.difference for one in report.tasks[0].costs[index].at_equal_cost}
        equal = gaps["twin", "confidence"]
        assert equal is not None
        assert (equal.mean, equal.interval) == (pytest.approx(0, abs=1e-12), (0.0, 0.0))
        assert ("confidence", "confidence") not in gaps
        assert gaps["twin", "fixed-tier"] == gaps["confidence", "fixed-tier"]


def test_a_strategy_that_dominates_is_found(report: RunsReport) -> None:
    for index in range(len(COSTS)):
        against = found(report, "oracle", cost=index).against["confidence"]
        assert (against.accuracy.verdict, against.saving.verdict) == ("better", "better")
        for name, own in found(report, "confidence", cost=index).against.items():
            assert name == "best of ours" or own.accuracy.interval[0] <= own.accuracy.mean <= own.accuracy.interval[1]


class OnlyFirst(FixedTier):
    """All samples leave at the first tier, whatever that costs in accuracy."""

    name = "only-first"

    def settings(self, grid: Sequence[float]) -> list[Setting]:
        return super().settings(grid)[:1]


class OnlySecond(FixedTier):
    """All samples leave at the second tier."""

    name = "only-second"

    def settings(self, grid: Sequence[float]) -> list[Setting]:
        return super().settings(grid)[1:2]


def test_at_equal_cost_by_hand() -> None:
    """What one tier costs, another strategy has by leaving some samples at the first tier, the rest to all layers."""
    run = RUNS[0]
    names = [OnlyFirst(), OnlySecond()]
    report = compare_runs([run], names, reference="only-first", grid=GRID, resamples=20)
    first, second, full = tabulate(question(None, "latency").cost, PLAN).table.min(axis=0)
    right = run.test.correct.mean(axis=0)
    by_lot = (second - first) / (full - first)
    assert 0 < by_lot < 1
    gap = right[1] - ((1 - by_lot) * right[0] + by_lot * right[2])
    (equal,) = report.tasks[0].costs[0].at_equal_cost
    assert equal.difference is not None
    assert equal.difference.mean == pytest.approx(gap, rel=1e-5)


def test_a_strategy_with_nothing_beside_the_full_model_gains_nothing_at_equal_cost() -> None:
    run = replace(RUNS[0], validation=replace(RUNS[0].validation, labels=RUNS[0].validation.logits[:, -1].argmax(-1)))
    costs = {"λ": "dimec:gamma=0,layers=2/4/6"}
    (equal,) = (
        compare_runs([run], ["confidence", "fixed-tier"], costs, resamples=20).tasks[0].costs[0].at_equal_cost[:1]
    )
    assert equal.difference is not None
    assert (equal.baseline, equal.difference.mean) == ("fixed-tier", 0.0)


def test_without_a_setting_the_full_model_answers_and_the_seed_still_counts() -> None:
    good = replace(RUNS[1], validation=flattened(RUNS[1].validation), test=flattened(RUNS[1].test))
    report = compare_runs([RUNS[0], good], [Confidence(), OnlyFirst()], grid=GRID, resamples=200)
    outcome = found(report, "only-first")
    assert outcome.settings == (None, "mobile")
    assert outcome.fallbacks == 1
    assert outcome.saving.seeds[0] == 0.0
    assert outcome.saving.seeds[1] > 0.5
    assert outcome.change.seeds[0] == 0.0
    assert outcome.accuracy.seeds[0] == report.tasks[0].costs[0].full_model.accuracy.seeds[0]
    assert outcome.tier_share["cloud"].seeds == (1.0, 0.0)
    assert outcome.saving.mean == pytest.approx(outcome.saving.seeds[1] / 2)


def flattened(trace: Trace) -> Trace:
    """Every exit answers like the last."""
    return replace(trace, logits=np.repeat(trace.logits[:, -1:], trace.logits.shape[1], axis=1))


def test_the_best_of_a_group_is_picked_on_validation_for_every_run() -> None:
    groups = {"mine": ("confidence", "entropy", "router"), "nobody": ("unheard-of",)}
    report = compare_runs(RUNS, NAMES, COSTS, grid=GRID, groups=groups, resamples=50)
    for cost in range(len(COSTS)):
        best = found(report, "mine", cost=cost)
        for number in range(len(RUNS)):
            savings = {
                name: found(report, name, cost=cost).validation_saving.seeds[number]
                for name in groups["mine"]
                if found(report, name, cost=cost).settings[number] is not None
            }
            picked = best.picked[number]
            assert picked is not None
            assert savings[picked] == max(savings.values()) == best.validation_saving.seeds[number]
            assert best.accuracy.seeds[number] == found(report, picked, cost=cost).accuracy.seeds[number]
    assert report.tasks[0].costs[0].outcome("nobody", 0.005) is None
    assert set(found(report, "oracle").against) == {"confidence", "mine"}


def test_a_setting_that_costs_more_than_the_full_model_is_none() -> None:
    """With a cloud that is nearly free, a cascade that keeps the accuracy costs more than the cloud at once."""
    costs = {"λ": "dimec:gamma=0.5,layers=2/4/6"}
    own = [replace(run, validation=weak(run.validation)) for run in RUNS]
    report = compare_runs(own, ["confidence"], costs, grid=(0.99,), groups={"all": ["confidence"]}, resamples=20)
    confidence, best = found(report, "confidence", 0.01), found(report, "all", 0.01)
    for outcome in (confidence, best):
        assert (outcome.settings, outcome.saving.mean, outcome.change.mean) == ((None, None, None), 0.0, 0.0)
        assert outcome.validation_saving.mean == 0.0
    assert best.picked == ()
    assert best.against["confidence"].saving.interval == (0.0, 0.0)


def weak(trace: Trace) -> Trace:
    """Unsure at every exit but the last, so that hardly anybody leaves."""
    scaled = trace.logits.copy()
    scaled[:, :-1] *= 1e-3
    return replace(trace, logits=scaled)


def test_members_of_a_group_may_have_options() -> None:
    names = ("cartography:objective=routed", "cartography-adaptive", "random=3", "router")
    assert members(names, ("cartography", "random")) == [names[0], names[2]]
    assert members(names, ("cartography:objective=routed",)) == [names[0]]


class Costless(Confidence):
    """Remembers the first table that it is fitted with, as no strategy should."""

    name = "costless"

    def fit(self, validation: Trace, costs: CostTable) -> None:
        assert not hasattr(self, "seen"), "fitted twice"
        self.seen = costs
        super().fit(validation, costs)


def test_strategies_are_fitted_afresh_and_the_users_objects_stay_untouched() -> None:
    given = Costless()
    compare_runs(RUNS[:2], [Confidence(), given], COSTS, grid=GRID, resamples=20)
    assert not hasattr(given, "seen")


def test_strategies_that_cannot_learn_are_left_out_aloud_or_refused() -> None:
    bare = [replace(run, validation=replace(run.validation, dynamics=None)) for run in RUNS[:2]]
    report = compare_runs([*bare, RUNS[2]], grid=(0.6, 0.9), resamples=20)
    assert report.tasks[0].costs[0].outcome("cartography", 0.005) is None
    assert report.tasks[0].costs[0].outcome("patience", 0.005) is not None
    (told,) = (line for line in report.tasks[0].warnings if "cartography is left out" in line)
    assert told.startswith("seeds 0, 1: ")
    with pytest.raises(DispatchError, match="dynamics"):
        compare_runs(bare, ["confidence", "cartography"])


def test_nothing_is_saved_where_the_full_model_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    free = Costs(np.array([[1.0, 2, 3], [np.inf, 1, 2], [np.inf, np.inf, 0]]), full_model=0.0)
    monkeypatch.setattr("edgepart.evaluation.runs.tabulate", lambda *known: free)
    report = compare_runs(RUNS[:1], ["confidence"], grid=GRID, resamples=20)
    assert (found(report, "confidence").saving.seeds, found(report, "confidence").validation_saving.mean) == ((0.0,), 0)


def spoilt(run: Run, **changes: Any) -> Run:
    return replace(run, test=replace(run.test, **changes))


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([], "no runs to compare: give at least one"),
        ([RUNS[0], RUNS[1], replace(RUNS[2], seed=0)], "two runs of made up have the seed 0"),
        ([RUNS[0], spoilt(RUNS[1], labels=1 - RUNS[1].test.labels)], "seeds 0 and 1 were recorded on different test"),
        ([RUNS[0], run_of(1, samples=200)], "different test samples: record the same data in the same order"),
        ([spoilt(RUNS[0], exits=("a", "b", "final"))], "test trace of made up, seed 0, has other exits or tiers"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(runs: list[Run], message: str) -> None:
    with pytest.raises(DispatchError, match=message) as caught:
        compare_runs(runs, ["confidence"])
    assert "\n" not in str(caught.value)


def test_runs_of_other_plans_are_refused() -> None:
    split = example_plan("split")
    traces = [replace(synthetic_trace(n, split.exit_tiers, seed=2), exits=split.exit_names) for n in (100, 300)]
    other = Run("made up", 1, split, *traces)
    with pytest.raises(DispatchError, match="have other exits or tiers: compare them as two tasks"):
        compare_runs([RUNS[0], spoilt(other, labels=RUNS[0].test.labels)], ["confidence"])


@pytest.mark.parametrize(("given", "missing"), [({"costs": {}}, "no costs"), ({"drops": ()}, "no accuracy drops")])
def test_costs_and_drops_must_be_given(given: dict[str, Any], missing: str) -> None:
    with pytest.raises(DispatchError, match=f"{missing} were given: give at least one"):
        compare_runs(RUNS, ["confidence"], **given)


def test_the_reference_must_be_there() -> None:
    with pytest.raises(DispatchError, match="the reference 'confidence' is not among the strategies entropy, oracle"):
        compare_runs(RUNS, ["entropy", "oracle"])


def coverage(values: NDArray[np.float64], truth: float) -> float:
    low, high = intervals(values, resamples=600).T
    return float(((low <= truth) & (truth <= high)).mean())


@pytest.mark.parametrize("probability", [0.5, 0.85])
def test_intervals_of_one_run_cover_the_truth_as_often_as_they_say(probability: float) -> None:
    """400 data sets of 300 differences, -1, 0 or 1, as between the right answers of two strategies."""
    random = np.random.default_rng(0)
    drawn = random.random((400, 1, 300))
    values = (drawn < 0.06).astype(float) - (drawn > probability)
    assert 0.92 <= coverage(values, 0.06 - (1 - probability)) <= 0.98


@pytest.mark.parametrize("between", [0.0, 0.05])
def test_intervals_of_three_runs_cover_the_truth_at_least_so_often(between: float) -> None:
    """Samples that are hard for all runs, noise of each run, and runs that differ as much as the samples explain."""
    random = np.random.default_rng(1)
    values = (
        random.normal(0, 1, (400, 1, 300))
        + random.normal(0, 0.5, (400, 3, 300))
        + random.normal(0, between, (400, 3, 1))
    )
    assert 0.92 <= coverage(values, 0.0) <= 0.99


def test_runs_that_differ_widen_the_interval() -> None:
    values = np.random.default_rng(2).normal(0, 1, (1, 1, 500)) + np.zeros((1, 3, 1))
    same = intervals(values)[0]
    apart = intervals(values + np.array([-0.5, 0.0, 0.5])[None, :, None])[0]
    assert same[1] - same[0] < 0.25
    # to about the means of the worst and the best run, at least
    assert apart[0] < values.mean() - 0.4
    assert apart[1] > values.mean() + 0.4


def test_intervals_are_exact_where_nothing_varies_and_do_not_depend_on_each_other() -> None:
    values = np.random.default_rng(3).normal(0, 1, (3, 2, 50))
    values[1] = 1 / 3
    together = intervals(values)
    assert together[1] == pytest.approx([1 / 3, 1 / 3], abs=1e-11)
    assert (intervals(values[2:])[0] == together[2]).all()
    assert (intervals(values) == together).all()
