import importlib.util
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from report_samples import chain, plan_for, profile_for, trace_for

from edgepart.bundle.manifest import MANIFEST, Manifest, RouterRecord, survey
from edgepart.cli.evaluate import command
from edgepart.dispatch.base import Setting
from edgepart.dispatch.confidence import Confidence
from edgepart.dispatch.trace import Trace
from edgepart.errors import BundleError, DataError, DispatchError, EdgepartError, FileError, MissingExtra, UnknownName
from edgepart.evaluation import evaluate as evaluate_bundle
from edgepart.evaluation.cautions import seen_before
from edgepart.evaluation.costs import Costs, tabulate
from edgepart.evaluation.evaluate import router_seconds
from edgepart.evaluation.evaluate_traces import THRESHOLDS, question, report_on
from edgepart.evaluation.report import Report
from edgepart.partitioning.plan import Plan

GRAPH = chain(9)
PLAN = plan_for(GRAPH, (3, 6), [("mobile-1", "mobile", 3), ("edge-1", "edge", 2)])


def costs_of(plan: Plan) -> Costs:
    return tabulate(question().cost, plan)


def report_of(validation: Trace, test: Trace, *names: str, plan: Plan = PLAN) -> Report:
    asked = question(names or None, grid=(0.4, 0.6, 0.8, 0.9, 0.99))
    return report_on(plan, validation, test, asked, costs_of(plan), source="dev.tsv", command="test")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle without parts: enough to evaluate a trace recorded earlier."""
    return write_bundle(tmp_path / "bundle", PLAN, trace_for(PLAN, seed=1))


def write_bundle(folder: Path, plan: Plan, validation: Trace) -> Path:
    folder.mkdir()
    plan.save(folder / "plan.json")
    GRAPH.save(folder / "graph.json")
    profile_for(GRAPH).save(folder / "profile.json")
    validation.save(folder / "validation.trace.safetensors")
    manifest = Manifest(
        edgepart_version="0",
        network=plan.network,
        fingerprint=plan.fingerprint,
        framework="torch",
        framework_version="0",
        router=RouterRecord(file="router/embed.pt2", runtime="torch"),
        deployment=plan.deployment,
        tiers=plan.tier_names,
        exits=plan.exit_names,
        classes=validation.classes,
        files=survey(folder),
    )
    manifest.sealed().save(folder / MANIFEST)
    return folder


def run(*arguments: object) -> str:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_all_strategies_are_reported_at_both_drops() -> None:
    report = report_of(trace_for(PLAN, seed=1), trace_for(PLAN, seed=2))
    listed = {(entry.name, entry.allowed_drop) for entry in (*report.strategies, *report.unreached)}
    assert listed == set(itertools.product((curve.strategy for curve in report.curves), (0.005, 0.01)))
    assert {"confidence", "entropy", "cartography", "random", "fixed-tier", "oracle"} <= {name for name, _ in listed}
    assert [entry.name for entry in report.exits] == ["mobile-1", "edge-1", "final"]


def test_without_scikit_learn_all_other_strategies_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "sklearn" else known(name))
    report = report_of(trace_for(PLAN, seed=1), trace_for(PLAN, seed=2))
    names = {curve.strategy for curve in report.curves}
    assert {"confidence", "cartography"} <= names
    assert not {"router", "combined"} & names
    assert any("left out, since this needs the package 'scikit-learn'" in warning for warning in report.warnings)
    with pytest.raises(MissingExtra, match=r"edgepart\[router\]"):
        report_of(trace_for(PLAN, seed=1), trace_for(PLAN, seed=2), "router")


def test_settings_are_chosen_on_validation_and_reported_on_test() -> None:
    validation, test = trace_for(PLAN, seed=1), trace_for(PLAN, 500, seed=2)
    report = report_of(validation, test, "confidence")
    costs = costs_of(PLAN)
    floor = validation.correct[:, -1].mean() - 0.005
    cheapest: dict[float, float] = {}
    for threshold in (0.4, 0.6, 0.8, 0.9, 0.99):
        left = np.argmax(np.c_[validation.confidence[:, :-1] >= threshold, np.ones(len(validation), bool)], axis=1)
        if validation.correct[np.arange(len(validation)), left].mean() >= floor:
            cheapest[threshold] = costs.table[0, left].mean()
    wanted = min(cheapest, key=lambda threshold: cheapest[threshold])
    (entry,) = report.chosen(0.005)
    assert entry.values == {"threshold": wanted}
    assert entry.validation_cost == pytest.approx(cheapest[wanted])
    left = np.argmax(np.c_[test.confidence[:, :-1] >= wanted, np.ones(len(test), bool)], axis=1)
    assert entry.accuracy == test.correct[np.arange(len(test)), left].mean()
    assert entry.cost == pytest.approx(costs.table[0, left].mean())
    assert entry.saving == pytest.approx(1 - entry.cost / report.full_model.cost)
    assert entry.exit_share == {name: (left == index).mean() for index, name in enumerate(test.exits)}


def test_the_labels_of_the_test_data_change_no_setting() -> None:
    validation, test = trace_for(PLAN, seed=1), trace_for(PLAN, seed=2)
    other = trace_for(PLAN, seed=3)
    settings = [
        [(entry.name, entry.allowed_drop, entry.setting) for entry in report_of(validation, data).strategies]
        for data in (test, other)
    ]
    assert settings[0] == settings[1]


def test_the_full_model_and_the_exits_are_counted_on_the_test_data() -> None:
    validation, test = trace_for(PLAN, seed=1), trace_for(PLAN, seed=2)
    report = report_of(validation, test, "confidence")
    assert report.full_model.accuracy == test.correct[:, -1].mean()
    assert [entry.accuracy for entry in report.exits] == [test.correct[:, k].mean() for k in range(3)]
    assert report.full_model.interval[0] < report.full_model.accuracy < report.full_model.interval[1]


def test_comparisons_are_against_confidence_and_random_routing() -> None:
    report = report_of(trace_for(PLAN, seed=1), trace_for(PLAN, seed=2), "cartography", "confidence", "random")
    pairs = {(row.strategy, row.baseline) for row in report.comparisons}
    assert pairs == {("cartography", "confidence"), ("cartography", "random"), ("confidence", "random")}
    for row in report.comparisons:
        assert row.interval[0] <= row.difference <= row.interval[1]
        assert row.difference == pytest.approx(row.accuracy - row.baseline_accuracy)


def test_the_data_map_counts_every_validation_sample_once() -> None:
    report = report_of(trace_for(PLAN, 250, seed=1), trace_for(PLAN, seed=2), "cartography")
    assert report.data_map is not None
    assert sum(report.data_map.pools.values()) == 250
    assert report.data_map.exit == "mobile-1"


def test_a_strategy_that_cannot_learn_is_left_out_unless_it_was_asked_for() -> None:
    validation, test = trace_for(PLAN, epochs=0), trace_for(PLAN, epochs=0, seed=1)
    report = report_of(validation, test)
    assert "cartography" not in {curve.strategy for curve in report.curves}
    assert any("dynamics" in warning for warning in report.warnings)
    with pytest.raises(DispatchError, match="dynamics"):
        report_of(validation, test, "cartography")


def test_a_strategy_that_never_keeps_the_accuracy_is_said_to() -> None:
    class Hasty(Confidence):
        name = "hasty"

        def settings(self, grid: object) -> list[Setting]:
            return [Setting("at once", (("threshold", 0.0),))]

    asked = question([Hasty()])
    validation = trace_for(PLAN, seed=1)
    report = report_on(PLAN, validation, validation, asked, costs_of(PLAN), source="x", command="test")
    assert [(entry.name, entry.allowed_drop) for entry in report.unreached] == [("hasty", 0.005), ("hasty", 0.01)]
    assert report.unreached[0].validation_accuracy == validation.correct[:, 0].mean()
    assert report.strategies == ()


def test_reporting_on_the_validation_samples_is_warned_of() -> None:
    validation, test = trace_for(PLAN, 1000, seed=1), trace_for(PLAN, seed=2)
    shuffled = validation.select(np.random.default_rng(0).permutation(1000))
    for same in (validation, shuffled, replace(shuffled, logits=shuffled.logits + np.float32(1e-6))):
        assert "among those that the settings were chosen on" in report_of(validation, same, "confidence").warnings[0]
    assert report_of(validation, test, "confidence").warnings == ()


def test_test_samples_among_those_of_validation_are_counted() -> None:
    validation, test = trace_for(PLAN, 1000, seed=1), trace_for(PLAN, 300, seed=2)
    mixed = replace(
        test,
        logits=np.concatenate([test.logits[:200], validation.logits[:100]]),
        embeddings=np.concatenate([test.embeddings[:200], validation.embeddings[:100]]),
        labels=np.concatenate([test.labels[:200], validation.labels[:100]]),
    )
    (told,) = report_of(validation, mixed, "confidence").warnings
    assert told.startswith("at least 100 of the 300 test samples are among those that the settings were chosen on")


def test_samples_that_look_alike_are_not_taken_for_one_another() -> None:
    validation, test = trace_for(PLAN, 1000, seed=1), trace_for(PLAN, 300, seed=2)
    first = np.zeros(200, np.int64)  # a network that says the same of 200 test samples and of one of validation
    alike = validation.select(first)
    mixed = replace(
        test,
        logits=np.concatenate([test.logits[:100], alike.logits]),
        embeddings=np.concatenate([test.embeddings[:100], alike.embeddings]),
        labels=np.concatenate([test.labels[:100], alike.labels]),
    )
    assert seen_before(validation, mixed) == 1


def test_too_few_validation_samples_are_told_of() -> None:
    (told,) = report_of(trace_for(PLAN, 150, seed=1), trace_for(PLAN, seed=2), "confidence").warnings
    assert told == (
        "the settings were chosen on only 150 samples, where an accuracy drop of 0.5 % means 0.75 of them: chance "
        "decides much of it"
    )


def test_validation_samples_unlike_those_of_the_test_are_told_of() -> None:
    validation, test = trace_for(PLAN, 2000, seed=1), trace_for(PLAN, 1000, seed=2)
    easier = validation.select(validation.correct[:, 0] | (np.arange(2000) % 2 == 0))
    (told,) = report_of(easier, test, "confidence").warnings
    there, here = 100 * easier.correct[:, 0].mean(), 100 * test.correct[:, 0].mean()
    assert told == (
        "the samples that the settings were chosen on are easier than these: exit mobile-1 is right on "
        f"{there:.1f} % of them and on {here:.1f} % here, so the settings may not suit"
    )
    assert report_of(validation, test, "confidence").warnings == ()


def test_a_tier_that_is_faster_alone_is_told_of_where_latency_counts() -> None:
    validation, test = trace_for(PLAN, 1000, seed=1), trace_for(PLAN, seed=2)
    faster = PLAN.model_copy(update={"latency_s": 0.1, "unsplit_s": {"mobile": 0.005, "cloud": 0.1}})
    (told,) = report_of(validation, test, "confidence", plan=faster).warnings
    assert told.startswith("the whole network on mobile alone is predicted to take 5 ms (an estimate), in this plan")
    as_fast = faster.model_copy(update={"unsplit_s": {"cloud": 0.1}})
    assert report_of(validation, test, "confidence", plan=as_fast).warnings == ()


def test_what_two_strategies_warn_of_is_said_once() -> None:
    report = report_of(trace_for(PLAN, 1000, seed=1), trace_for(PLAN, seed=2), "cartography", "cartography-adaptive")
    assert len(report.warnings) == len({told.partition(": ")[2] for told in report.warnings})
    assert all(told.startswith("cartography, cartography-adaptive: ") for told in report.warnings)
    assert report.warnings


def test_exits_cost_less_where_a_router_sends_samples_straight_there() -> None:
    plan = plan_for(GRAPH, (3, 6), [("mobile-1", "mobile", 3), ("edge-1", "edge", 3)], "nested")
    report = report_of(trace_for(plan, seed=1), trace_for(plan, seed=2), "confidence", plan=plan)
    table = costs_of(plan).table
    assert [point.cost for point in report.exits] == table[0].tolist()
    assert [point.routed_cost for point in report.exits] == [table[0, 0], table[1, 1], table[2, 2]]
    assert table[1, 1] < table[0, 1]


def test_a_misspelt_strategy_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="confidence"):
        question(["confidense"])


@pytest.mark.parametrize(
    ("asking", "message"),
    [
        (lambda: question(["confidence", "confidence"]), "twice"),
        (lambda: question(grid=()), "at least one"),
        (lambda: question(grid=(float("nan"),)), "finite"),
        (lambda: question(cost="dimec"), "gamma"),
    ],
)
def test_questions_that_make_no_sense(asking: Callable[[], object], message: str) -> None:
    with pytest.raises(EdgepartError, match=message):
        asking()


def test_thresholds_hold_edgelesspart_s_and_finer_ones() -> None:
    assert {0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.999} <= set(THRESHOLDS)
    assert len(set(THRESHOLDS)) == len(THRESHOLDS)


def test_the_router_costs_the_layers_up_to_its_embedding() -> None:
    """It is charged whether or not the bundle holds a profile: the plan tells what its layers take."""
    timed = [tier.model_copy(update={"layer_s": (0.002, 0.003, 0.004)}) for tier in PLAN.tiers]
    assert router_seconds(PLAN.model_copy(update={"tiers": tuple(timed)}), GRAPH) == pytest.approx(0.002)
    assert router_seconds(PLAN, GRAPH) == 0.0
    started = [tier.model_copy(update={"start_s": 0.5}) for tier in timed]
    assert router_seconds(PLAN.model_copy(update={"tiers": tuple(started)}), GRAPH) == pytest.approx(0.502)


def test_a_router_whose_layers_lie_on_a_later_tier_takes_the_first_one_s_pace() -> None:
    plan = plan_for(GRAPH, (0,), tiers=("mobile", "cloud"))
    mobile, cloud = plan.tiers
    slow = mobile.model_copy(update={"device": mobile.device.model_copy(update={"macs_per_s": 1e8})})
    timed = cloud.model_copy(update={"layer_s": (0.001,) * 9})
    assert router_seconds(plan.model_copy(update={"tiers": (slow, timed)}), GRAPH) == pytest.approx(0.01)


def test_a_recorded_trace_is_replayed_from_the_bundle(bundle: Path, tmp_path: Path) -> None:
    test = trace_for(PLAN, seed=2)
    report = evaluate_bundle(bundle, trace=test, strategies=["confidence"], output=tmp_path / "report")
    assert Report.load(tmp_path / "report" / "report.json") == report
    again = evaluate_bundle(bundle, trace=tmp_path / "report" / "trace.safetensors", strategies=["confidence"])
    assert again.strategies == report.strategies


def test_a_trace_of_another_bundle_is_refused(bundle: Path) -> None:
    with pytest.raises(BundleError, match="classes"):
        evaluate_bundle(bundle, trace=trace_for(PLAN, classes=5))


def test_data_or_trace_not_both_and_not_neither(bundle: Path) -> None:
    with pytest.raises(DataError, match="either"):
        evaluate_bundle(bundle)


def test_nothing_but_a_report_is_replaced(bundle: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    test = trace_for(PLAN, seed=2)
    for wrong, message in (
        (precious, "no report"),
        (precious / "thesis.txt", "is a file"),
        (tmp_path / "a" / "b", "exist"),
    ):
        with pytest.raises(FileError, match=message):
            evaluate_bundle(bundle, trace=test, output=wrong)
    assert (precious / "thesis.txt").read_text() == "years of work"


def test_a_missing_extra_is_told_before_the_bundle_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"edgepart\[plots\]"):
        evaluate_bundle(tmp_path / "nothing", trace=tmp_path / "nothing", output=tmp_path / "report")


def test_the_command_prints_tables_and_where_the_page_is(bundle: Path, tmp_path: Path) -> None:
    trace_for(PLAN, seed=2).save(tmp_path / "trace.safetensors")
    out = tmp_path / "report"
    printed = run(bundle, "--trace", tmp_path / "trace.safetensors", "--strategy", "confidence", "-o", out)
    assert "full model: accuracy" in printed
    assert printed.count("confidence") >= 2
    assert printed.rstrip().endswith(f"report: {out / 'report.html'}")
    assert (out / "report.html").is_file()


def test_the_command_s_json_is_the_report(bundle: Path, tmp_path: Path) -> None:
    trace_for(PLAN, seed=2).save(tmp_path / "trace.safetensors")
    out = tmp_path / "report"
    options = ["--strategy", "confidence", "--thresholds", ".5,.9", "--cost", "price=google-cloud-functions"]
    value = json.loads(run(bundle, "--trace", tmp_path / "trace.safetensors", *options, "-o", out, "--json"))
    assert [point["setting"] for point in value["curves"][0]["points"]] == ["0.5", "0.9"]
    assert value["cost_unit"] == "USD"
    assert Report.model_validate(value) == Report.load(out / "report.json")


@pytest.mark.parametrize(
    ("options", "message"),
    [([], "either --data or --trace"), (["--trace", "t", "--thresholds", "a"], "--thresholds a")],
)
def test_the_command_s_mistakes(bundle: Path, options: list[str], message: str) -> None:
    result = CliRunner().invoke(command, [str(bundle), *options])
    assert isinstance(result.exception, EdgepartError)
    assert message in str(result.exception)


def test_what_lies_beside_an_earlier_report_is_not_lost(bundle: Path, tmp_path: Path) -> None:
    asking = {"trace": trace_for(PLAN, seed=2), "strategies": ["confidence"], "output": tmp_path / "report"}
    evaluate_bundle(bundle, **asking)  # type: ignore[arg-type]
    evaluate_bundle(bundle, **asking)  # type: ignore[arg-type]
    (tmp_path / "report" / "notes.txt").write_text("mine")
    with pytest.raises(FileError, match=r"holds notes.txt beside its report, .* move that, or give a new folder"):
        evaluate_bundle(bundle, **asking)  # type: ignore[arg-type]
    assert (tmp_path / "report" / "notes.txt").read_text() == "mine"


def test_a_trace_of_other_embeddings_or_of_nothing_is_refused(bundle: Path) -> None:
    test = trace_for(PLAN, 50, seed=2)
    with pytest.raises(BundleError, match="the trace has router embeddings of 3 numbers, the bundle's"):
        evaluate_bundle(bundle, trace=replace(test, embeddings=np.zeros((50, 3), np.float32)))
    with pytest.raises(DataError, match="a trace holds no samples: record data with at least one"):
        evaluate_bundle(bundle, trace=test.select(np.arange(0)))


def test_what_follows_is_read_before_anything_is_recorded(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("recorded")

    module = importlib.import_module("edgepart.evaluation.evaluate")
    monkeypatch.setattr(module.Bundle, "preprocessing", None)
    monkeypatch.setattr(module, "record", refuse)
    monkeypatch.setattr(module, "load_dataset", lambda source, *_, **__: _no_file(source))
    with pytest.raises(DataError, match=r"books\.tsv does not exist"):
        evaluate_bundle(bundle, "films.tsv", then="books.tsv")


def _no_file(source: str) -> SimpleNamespace:
    if source == "books.tsv":
        raise DataError(f"{source} does not exist")
    return SimpleNamespace(source=source)


def test_a_promise_is_shown_at_the_drop_that_is_asked_for(bundle: Path, tmp_path: Path) -> None:
    trace_for(PLAN, seed=2).save(tmp_path / "trace.safetensors")
    asked = [str(bundle), "--trace", str(tmp_path / "trace.safetensors"), "--strategy", "controlled:epsilon=0.3"]
    shown = CliRunner().invoke(command, [*asked, "--drop", "30", "-o", str(tmp_path / "at-30")], catch_exceptions=False)
    assert "accuracy drop of at most 30 % on validation" in shown.output
    assert "at most 30 % accuracy drop, promised with 90 % probability" in shown.output
    hidden = CliRunner().invoke(command, [*asked, "-o", str(tmp_path / "usual")], catch_exceptions=False)
    assert "no strategy keeps that within 1" in hidden.output
    usual, other = (Report.load(tmp_path / name / "report.json").allowed_drops for name in ("usual", "at-30"))
    assert (usual, other) == ((0.005, 0.01), (0.3,))


def test_drops_are_shares_and_one_name_is_one_strategy() -> None:
    assert [one.name for one in question("margin").strategies] == ["margin"]
    for drop in (-0.1, 5, float("nan")):
        with pytest.raises(DispatchError, match=r"the accuracy drops are .*, expected shares from 0 to 1"):
            question(["margin"], drops=[drop])
