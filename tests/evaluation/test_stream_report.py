"""A stream that changes domain, in the report: by hand, by simulation, on the page and from the command line."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from report_samples import chain, plan_for, trace_for
from small_networks import EXAMPLE, captured, image_plan, images, network
from test_evaluate import PLAN, run, write_bundle

from edgepart.bundle import build
from edgepart.cli.evaluate import command
from edgepart.dispatch.adaee import AdaEE
from edgepart.dispatch.cartography import AdaptiveCartography
from edgepart.dispatch.drift import PageHinkley
from edgepart.dispatch.layout import walk
from edgepart.dispatch.trace import Trace
from edgepart.errors import DataError, EdgepartError
from edgepart.evaluation import evaluate as evaluate_bundle
from edgepart.evaluation.cautions import label_turns
from edgepart.evaluation.costs.base import Costs
from edgepart.evaluation.evaluate_traces import question, stream_strategies
from edgepart.evaluation.plots_stream import PANELS, along_the_stream, panels, undrawn
from edgepart.evaluation.record import record
from edgepart.evaluation.report import Report
from edgepart.evaluation.selection import Choice, StrategyCurve
from edgepart.evaluation.stream import changing, running
from edgepart.evaluation.stream_report import StreamReport, stream_report
from edgepart.testing.strategies import example_costs
from edgepart.testing.traces import synthetic_trace
from edgepart.training import TrainingSettings

SOURCES = ("films", "books")


def two_exits(sure: Sequence[float], right: Sequence[str]) -> Trace:
    """Two classes, a mobile exit that is so sure of itself, and the final one; ``right`` says which are: m, f, both."""
    confidence = np.array(sure)
    labels = np.arange(len(sure)) % 2
    logits = np.zeros((len(sure), 2, 2))
    for index, name in enumerate("mf"):
        answer = np.where([name in one for one in right], labels, 1 - labels)
        logits[np.arange(len(sure)), index, answer] = np.log(confidence / (1 - confidence))
    return Trace(
        logits=logits.astype(np.float32),
        labels=labels,
        embeddings=np.zeros((len(sure), 2), np.float32),
        exits=("mobile-1", "final"),
        exit_tiers=("mobile", "cloud"),
        tiers=("mobile", "cloud"),
        classes=("no", "yes"),
    )


def fitted(strategy: object, validation: Trace, costs: Costs, setting: int = 0) -> StrategyCurve:
    """A curve of which one setting was chosen for a drop of 1 %."""
    strategy.fit(validation, costs.table)  # type: ignore[attr-defined]
    settings = tuple(strategy.settings([0.8]))  # type: ignore[attr-defined]
    return StrategyCurve(strategy, settings, (), (), (Choice(0.01, setting),))  # type: ignore[arg-type]


def test_ten_samples_by_hand() -> None:
    """At .8 four of six films leave at the mobile exit, one of four books; that costs 1, going on 4, the whole 3."""
    films = two_exits([0.9, 0.9, 0.6, 0.9, 0.6, 0.9], ["mf", "f", "mf", "mf", "", "m"])
    books = two_exits([0.6, 0.7, 0.9, 0.6], ["f", "", "mf", "m"])
    costs = Costs(np.array([[1.0, 4.0], [np.inf, 3.0]]), 3.0)
    (strategy,) = question(["confidence"]).strategies
    stream, change = changing(films, books, SOURCES, window=4)
    found = stream_report([fitted(strategy, films, costs)], stream, change, costs)
    assert (found.sources, found.change, found.samples, found.window) == (SOURCES, 6, 10, 4)

    (entry,) = found.strategies
    assert [(one.start, one.stop) for one in entry.windows] == [(0, 4), (4, 6), (6, 10)]
    # right: film 0 (m), not 1 (m is wrong), 2 (f), 3 (m), not 4, 5 (m); book 0 (f), not 1, 2 (m), not 3 (f is wrong)
    assert [one.accuracy for one in entry.windows] == [3 / 4, 1 / 2, 2 / 4]
    assert [one.cost for one in entry.windows] == [(1 + 1 + 4 + 1) / 4, (4 + 1) / 2, (4 + 4 + 1 + 4) / 4]
    assert entry.first.accuracy == 4 / 6
    assert entry.first.cost == (4 * 1 + 2 * 4) / 6
    assert entry.first.saving == pytest.approx(1 - 2 / 3)
    assert entry.second.saving == pytest.approx(1 - 3.25 / 3)
    assert entry.after == entry.second
    assert (entry.alarms, entry.delay) == (None, None)

    full = found.full_model
    assert [one.accuracy for one in full.windows] == [4 / 4, 0 / 2, 2 / 4]
    assert (full.first.accuracy, full.second.accuracy) == (4 / 6, 2 / 4)
    assert (full.first.cost, full.second.saving) == (3.0, 0.0)


def test_windows_begin_anew_at_the_change() -> None:
    trace, costs = synthetic_trace(10), Costs(example_costs(synthetic_trace(10)), 3.0)
    (strategy,) = question(["confidence"]).strategies
    strategy.fit(trace, costs.table)
    policy = strategy.policy(strategy.settings([0.5])[0])
    found = running(trace, policy, costs, 3, change=4)
    assert [(one.start, one.stop) for one in found] == [(0, 3), (3, 4), (4, 7), (7, 10)]


def test_shuffling_stays_within_a_domain_and_the_change_where_it_is() -> None:
    first, second = synthetic_trace(30, seed=1), synthetic_trace(50, seed=2)
    stream, change = changing(first, second, SOURCES, shuffle=3)
    assert change.at == 30
    assert not np.array_equal(stream.logits[:30], first.logits)
    for part, whole in ((stream.logits[:30], first.logits), (stream.logits[30:], second.logits)):
        assert np.array_equal(np.sort(part, axis=0), np.sort(whole, axis=0))
    again, _ = changing(first, second, SOURCES, shuffle=3)
    assert np.array_equal(again.logits, stream.logits)


# Alarms


def test_a_detector_remembers_when_its_alarms_were() -> None:
    random, watch = np.random.default_rng(0), PageHinkley()
    values = [*random.normal(0.9, 0.05, 400), *random.normal(0.5, 0.05, 400), *random.normal(0.9, 0.05, 400)]
    given = [place for place, value in enumerate(values, start=1) if watch.update(value)]
    assert watch.alarms == given
    assert len(given) == 2
    assert 400 < given[0] < 500 < 800 < given[1] < 900


def harder(trace: Trace, fall: float) -> Trace:
    """The same samples with confidences lower by ``fall`` on average at the first exit."""
    scales = np.linspace(1, 0.01, 200)
    less_sure = [replace(trace, logits=trace.logits * np.float32(scale)) for scale in scales]
    falls = trace.confidence[:, 0].mean() - np.array([one.confidence[:, 0].mean() for one in less_sure])
    assert falls.max() > fall
    return less_sure[int(np.argmax(falls >= fall))]


@pytest.mark.parametrize("make", [AdaEE, AdaptiveCartography])
def test_a_fall_of_confidence_is_noticed_in_time_and_only_by_a_detector(make: Callable[..., object]) -> None:
    """docs/strategies.md: after 1,000 samples as usual, a fall by .2 is found within 100."""
    validation, before = synthetic_trace(1000, seed=1), synthetic_trace(1000, seed=2)
    costs = Costs(example_costs(before), 3.0)
    stream, change = changing(before, harder(synthetic_trace(1000, seed=3), 0.2), SOURCES)
    plain, watching = (make(), make(drift="page-hinkley"))
    watching.name = "watching"  # type: ignore[attr-defined]
    found = stream_report([fitted(one, validation, costs) for one in (plain, watching)], stream, change, costs)
    without, within = found.strategies
    assert (without.alarms, without.delay, without.false_alarms(change.at)) == (None, None, 0)
    assert within.alarms is not None
    assert within.false_alarms(change.at) == 0
    assert within.delay is not None
    assert within.delay <= 100
    assert within.alarms[0] == 1000 + within.delay
    # until then both do the same
    assert [one for one in within.windows if one.stop <= 1000] == [one for one in without.windows if one.stop <= 1000]
    calm, same = changing(before, synthetic_trace(1000, seed=3), SOURCES)
    (quiet,) = stream_report([fitted(make(drift="page-hinkley"), validation, costs)], calm, same, costs).strategies
    assert quiet.alarms == ()


def test_alarms_are_the_same_one_by_one() -> None:
    trace = synthetic_trace(600, seed=4)
    costs = Costs(example_costs(trace), 3.0)
    stream, _ = changing(trace, harder(trace, 0.2), SOURCES)
    for strategy in (AdaEE(drift="page-hinkley"), AdaptiveCartography(drift="page-hinkley")):
        strategy.fit(trace, costs.table)
        whole, single = (strategy.policy(strategy.settings([0.5])[0]) for _ in range(2))
        whole.decide(stream)
        walk(single, stream)
        assert whole.alarms
        assert whole.alarms == single.alarms


# What is asked


def test_a_stream_s_strategies_stand_with_and_without_a_detector() -> None:
    names = stream_strategies()
    for name in ("adaee", "splitee", "splitee-s", "i-splitee", "cartography-adaptive"):
        assert {name, f"{name}:drift=page-hinkley"} <= set(names)
    assert {"confidence", "cartography", "fixed-tier", "oracle"} <= set(names)
    asked = [one.name for one in question(stream=True).strategies]
    assert sorted(asked) == sorted(names)
    assert asked[-2:] == ["fixed-tier", "oracle"]
    assert asked.index("splitee:drift=page-hinkley") == asked.index("splitee") + 1
    assert [one.name for one in question(["adaee"], stream=True).strategies] == ["adaee"]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", PLAN, trace_for(PLAN, 1000, seed=1))


def second(samples: int = 400, seed: int = 3) -> Trace:
    """Another domain, in which every exit is less sure."""
    trace = trace_for(PLAN, samples, seed=seed)
    return replace(trace, logits=0.4 * trace.logits)


NAMES = ("confidence", "adaee", "adaee:drift=page-hinkley")


def test_settings_do_not_depend_on_what_follows(bundle: Path) -> None:
    first = trace_for(PLAN, 300, seed=2)
    reports = [
        evaluate_bundle(bundle, trace=first, then_trace=then, strategies=NAMES, drops=(0.01, 0.05))
        for then in (second(), second(seed=4), second(150, seed=5), trace_for(PLAN, seed=6))
    ]
    alone = evaluate_bundle(bundle, trace=first, strategies=NAMES, drops=(0.01, 0.05))
    chosen = [[(one.name, one.allowed_drop, one.setting) for one in report.strategies] for report in reports]
    assert chosen[0]
    assert all(one == chosen[0] for one in chosen)
    assert chosen[0] == [(one.name, one.allowed_drop, one.setting) for one in alone.strategies]
    # and what happens before the change is what happens without one
    for report in reports:
        assert report.stream is not None
        before = {(one.name, one.allowed_drop): one.first.accuracy for one in report.stream.strategies}
        assert before == {(one.name, one.allowed_drop): one.accuracy for one in alone.strategies}
        assert report.stream.full_model.first.accuracy == alone.full_model.accuracy


def test_the_report_is_of_the_whole_stream_and_tells_of_both_halves(bundle: Path) -> None:
    first, then = trace_for(PLAN, 300, seed=2), second()
    report = evaluate_bundle(bundle, trace=first, then_trace=then, window=50, strategies=NAMES)
    stream = report.stream
    assert stream is not None
    assert (report.data.samples, stream.change, stream.samples) == (700, 300, 700)
    for entry in report.strategies:
        (part,) = [one for one in stream.chosen(entry.allowed_drop) if one.name == entry.name]
        assert (part.first.stop, part.after.start, part.after.stop, part.second.stop) == (300, 300, 350, 700)
        whole = (300 * part.first.accuracy + 400 * part.second.accuracy) / 700
        assert whole == pytest.approx(entry.accuracy)
        assert (300 * part.first.cost + 400 * part.second.cost) / 700 == pytest.approx(entry.cost)
        assert len(part.windows) == 6 + 8
    assert stream.full_model.second.accuracy == then.correct[:, -1].mean()


def test_a_tenth_of_the_shorter_side_is_a_window(bundle: Path) -> None:
    report = evaluate_bundle(bundle, trace=second(250), then_trace=second(400), strategies=["confidence"])
    assert report.stream is not None
    assert report.stream.window == 25


def test_scaled_probabilities_are_scaled_along_the_stream(bundle: Path) -> None:
    given = {"trace": trace_for(PLAN, 300, seed=2), "then_trace": second(), "strategies": ["confidence"]}
    plain, scaled = (evaluate_bundle(bundle, **given, temperature=hot) for hot in (False, True))  # type: ignore[arg-type]
    assert plain.stream is not None
    assert scaled.stream is not None
    assert plain.stream.full_model == scaled.stream.full_model
    for entry in scaled.strategies:
        (part,) = [one for one in scaled.stream.chosen(entry.allowed_drop) if one.name == entry.name]
        assert (300 * part.first.cost + 400 * part.second.cost) / 700 == pytest.approx(entry.cost)


def test_data_of_both_domains_are_recorded(tmp_path: Path) -> None:
    first, then = images(30, seed=1), images(20, seed=2)
    model, settings = network(), TrainingSettings.for_mode("heads", epochs=1)
    plan = image_plan(captured(model), "split")
    built = build(model, plan, images(30), example=EXAMPLE, settings=settings, output=tmp_path / "bundle")
    out = tmp_path / "report"
    report = evaluate_bundle(built, first, then=then, strategies=["confidence"], drops=(1.0,), output=out)
    assert report.stream is not None
    assert (report.stream.change, report.stream.samples) == (30, 50)
    for name, data in (("trace", first), ("then.trace", then)):
        kept, expected = Trace.load(out / f"{name}.safetensors"), record(built, data)
        assert np.array_equal(kept.logits, expected.logits)
        assert np.array_equal(kept.labels, data.labels)
    with pytest.raises(DataError, match="read the data with the bundle's classes"):
        evaluate_bundle(built, first, then=images(20, classes=("a", "b", "c")), strategies=["confidence"])


# What the reader should know


def test_sorted_labels_are_told_of(bundle: Path) -> None:
    trace = trace_for(PLAN, 300, seed=2)
    in_order = trace.select(np.argsort(trace.labels, kind="stable"))
    told = "come in long runs of one class"
    warned = evaluate_bundle(bundle, trace=in_order, then_trace=second(), strategies=["confidence"])
    assert sum(told in warning for warning in warned.warnings) == 1
    for options in ({"trace": in_order, "shuffle": 0}, {"trace": trace}):
        calm = evaluate_bundle(bundle, **options, then_trace=second(), strategies=["confidence"])  # type: ignore[arg-type]
        assert not any(told in warning for warning in calm.warnings)


def test_turns_of_labels_in_random_order() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    drawn = [label_turns(random.permutation(labels))[0] for _ in range(400)]
    assert label_turns(labels) == (2, pytest.approx(100 * (1 - 0.25 - 0.09 - 0.04)))
    assert np.mean(drawn) == pytest.approx(label_turns(labels)[1], abs=1)
    assert label_turns(labels[:1]) == (0, 0.0)


@pytest.mark.parametrize(("samples", "told"), [(1, "only 1 sample comes after"), (60, "only 60 samples come after")])
def test_a_short_side_is_left_to_chance(bundle: Path, samples: int, told: str) -> None:
    report = evaluate_bundle(
        bundle, trace=trace_for(PLAN, 300, seed=2), then_trace=second(samples), strategies=NAMES, drops=(0.05,)
    )
    assert any(warning.startswith(told) for warning in report.warnings)
    assert report.stream is not None
    assert all(one.second.stop - one.second.start == samples for one in report.stream.strategies)


# Mistakes


@pytest.mark.parametrize(
    ("asking", "message"),
    [
        ({"then_trace": second(20), "window": 0}, "the window is 0, expected at least one sample"),
        ({"then_trace": second(20), "window": 21}, "the window is 21 samples, but a trace holds 20"),
        ({"then_trace": second(400), "window": 301}, "the window is 301 samples, but a trace holds 300"),
        ({"then": "books.tsv"}, "two data sets to record, or two traces"),
        ({"then": "books.tsv", "then_trace": second(20)}, "two data sets to record, or two traces"),
        ({"window": 5}, "are for a stream"),
        ({"shuffle": 5}, "are for a stream"),
        ({"then_trace": trace_for(PLAN, 20, classes=5)}, "the trace has the classes"),
        ({"then_trace": trace_for(plan_for(chain(9), (3,)), 20)}, "the trace has the exits"),
        ({"then_trace": second(20).select(np.arange(0))}, "a trace holds no samples"),
        ({"then_trace": replace(second(20), embeddings=np.zeros((20, 3), np.float32))}, "embeddings of 3 numbers"),
        ({"then_trace": second(20), "shuffle": -1}, "the seed to shuffle by is -1, expected a whole number from 0 on"),
    ],
)
def test_streams_that_make_no_sense(bundle: Path, asking: dict[str, object], message: str) -> None:
    with pytest.raises(EdgepartError, match=message) as caught:
        evaluate_bundle(bundle, trace=trace_for(PLAN, 300, seed=2), strategies=["confidence"], **asking)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "a.tsv", "--then-trace", "b.safetensors"], "what follows --data is given by --then"),
        (["--trace", "a.safetensors", "--then", "b.tsv"], "what follows --trace is given by --then-trace"),
        (["--then", "b.tsv"], "either --data or --trace"),
        (["--then-trace", "b.safetensors"], "either --data or --trace"),
        (["--trace", "a.safetensors", "--window", "5"], "give --then or --then-trace, too"),
        (["--data", "a.tsv", "--shuffle", "5"], "give --then or --then-trace, too"),
        (["--measure", "--then", "b.tsv"], "--then has no part in --measure"),
    ],
)
def test_options_that_do_not_go_together(bundle: Path, options: list[str], message: str) -> None:
    result = CliRunner().invoke(command, [str(bundle), *options])
    assert isinstance(result.exception, EdgepartError)
    assert message in str(result.exception)


# Page, file and terminal


def test_the_command_writes_both_traces_and_replays_them(bundle: Path, tmp_path: Path) -> None:
    trace_for(PLAN, 300, seed=2).save(tmp_path / "films.safetensors")
    second().save(tmp_path / "books.safetensors")
    out = tmp_path / "report"
    chosen = [word for name in NAMES for word in ("--strategy", name)]
    asked = ["--then-trace", tmp_path / "books.safetensors", "--shuffle", 1, "--window", 50, *chosen]
    printed = run(bundle, "--trace", tmp_path / "films.safetensors", *asked, "-o", out)
    report = Report.load(out / "report.json")
    stream = report.stream
    assert stream is not None
    assert f"then 400 of {tmp_path / 'books.safetensors'}" in printed
    assert "next 50" in printed
    assert f"{100 * stream.full_model.second.accuracy:.1f} %" in printed
    assert stream.shuffled == 1

    traces = ["--trace", out / "trace.safetensors", "--then-trace", out / "then.trace.safetensors"]
    again = json.loads(run(bundle, *traces, "--shuffle", 1, "--window", 50, *chosen, "-o", out, "--json"))
    read = StreamReport.model_validate(again["stream"])
    assert read.strategies == stream.strategies
    assert read.full_model == stream.full_model

    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Along the stream" in page
    assert "each shuffled (seed 1)" in page
    for entry in stream.strategies:
        assert f"{100 * entry.after.accuracy:.1f}\u00a0%" in page


def test_the_picture_marks_the_change_and_the_alarms(bundle: Path) -> None:
    names = [*NAMES, "fixed-tier", "oracle"]
    first, then = trace_for(PLAN, 1000, seed=2), replace(second(1000), logits=0.05 * second(1000).logits)
    report = evaluate_bundle(bundle, trace=first, then_trace=then, strategies=names, drops=(0.3,))
    stream = report.stream
    assert stream is not None
    (watching,) = [one for one in stream.strategies if one.name == "adaee:drift=page-hinkley"]
    assert watching.alarms
    drawn = along_the_stream(report, stream)
    assert f"adaee:drift=page-hinkley: alarm at sample {watching.alarms[0]:,}" in drawn
    for text in ("change", "adaee", "without options", "drift=page-hinkley", "confidence", "full model", "alarm"):
        assert f">{text}<" in drawn
    assert undrawn(report, stream) == ["fixed-tier", "oracle"]


def test_variants_share_a_panel_and_panels_are_few(bundle: Path) -> None:
    report = evaluate_bundle(
        bundle, trace=trace_for(PLAN, 200, seed=2), then_trace=second(200), strategies=NAMES, drops=(0.5,)
    )
    assert report.stream is not None
    entries = report.stream.strategies
    assert [len(variants) for variants in panels(entries).values()] == [2]
    many = [one.model_copy(update={"name": f"own{number}"}) for number in range(9) for one in entries[:1]]
    assert len(panels(many)) == PANELS
    assert list(panels(entries[:1])) == ["confidence"]


def test_a_stream_on_which_no_strategy_has_a_setting_is_drawn(bundle: Path, tmp_path: Path) -> None:
    report = evaluate_bundle(
        bundle,
        trace=trace_for(PLAN, 200, seed=2),
        then_trace=second(200),
        strategies=["adaee:mus=1e9"],
        drops=(0.0,),
        output=tmp_path / "report",
    )
    assert report.strategies == ()
    assert "Along the stream" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


def test_no_stream_no_section(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    report = evaluate_bundle(bundle, trace=trace_for(PLAN, 200, seed=2), strategies=["confidence"], output=out)
    assert report.stream is None
    assert "Along the stream" not in (out / "report.html").read_text(encoding="utf-8")
    assert not (out / "then.trace.safetensors").exists()
