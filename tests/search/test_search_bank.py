"""Banks from real bundles: what they answer, what they refuse, and that the plan of a point can be built."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import click
import numpy as np
import pytest
from banks import on_tiers
from click.testing import CliRunner
from sample_profiles import make_profile
from small_networks import EXAMPLE, captured, images, network, plan_for

from edgepart.bundle import build
from edgepart.cli.main import main
from edgepart.cli.output import json_option
from edgepart.cli.search import answer
from edgepart.cli.search_options import options
from edgepart.errors import BundleError, DispatchError, EdgepartError, FileError, PlanError, SearchInterrupted
from edgepart.evaluation import evaluate
from edgepart.evaluation.as_planned import as_planned
from edgepart.evaluation.costs import cost_model, tabulate
from edgepart.evaluation.exit_shares import exit_shares
from edgepart.partitioning import Plan
from edgepart.partitioning.values import value
from edgepart.profiling.machine import this_device
from edgepart.search import Pareto, open_banks, search
from edgepart.search.plot import plot
from edgepart.search.study import Study
from edgepart.testing.traces import synthetic_trace
from edgepart.training import TrainingSettings

SETTINGS = TrainingSettings.for_mode("heads", epochs=1, batch_size=16)


def two_exits(graph):
    exits = (("early", "mobile", "stem"), ("late", "mobile", "first"))
    return plan_for(graph, (("mobile", "first"), ("cloud", None)), exits)


def built(model, plan, output, head=None, settings=SETTINGS):
    return build(
        model,
        plan,
        images(60),
        validation=images(60, seed=1),
        example=EXAMPLE,
        settings=settings,
        head=head,
        output=output,
    )


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def graph(model):
    return captured(model)


@pytest.fixture(scope="module")
def bundles(model, graph, tmp_path_factory):
    folder = tmp_path_factory.mktemp("banks")
    return [built(model, two_exits(graph), folder / head, head) for head in ("linear", "conv_pool")]


@pytest.fixture(scope="module")
def problem(graph):
    return on_tiers(graph, 2, np.random.default_rng(0))


def test_the_heads_of_all_bundles_stand_at_their_places(bundles, graph):
    bank = open_banks(bundles, graph)
    assert [{head.template for head in heads} for heads in bank.places] == 2 * [{"linear", "conv_pool"}]
    assert [heads[0].tensor for heads in bank.places] == [point.tensor for point in bundles[0].plan.exits]
    assert [len(heads) for heads in open_banks([bundles[0], bundles[0]], graph).places] == [1, 1]
    assert bank.cautions == ()


@pytest.mark.parametrize("strategy", ["confidence", "entropy"])
def test_what_goes_on_is_what_the_bundle_itself_says(bundles, graph, strategy):
    bank = open_banks(bundles[:1], graph, strategy)
    for level in bank.levels[:: max(1, len(bank.levels) // 5)]:
        accuracy, found = bank.replay([heads[0] for heads in bank.places], [level] * len(bank.places))
        known = exit_shares(bundles[0], strategy, level.value)
        assert [share.going_on for share in found] == pytest.approx([share.going_on for share in known])
        assert [replace(a, name="", going_on=0) for a in found] == [replace(b, name="", going_on=0) for b in known]
        assert 0 <= accuracy <= 1


@pytest.mark.slow
def test_the_plan_of_a_point_is_built_and_answers_as_the_front_said(bundles, model, problem, tmp_path):
    front = search(problem, bundles, runtime="torch")
    assert front.proven
    number = next(n for n, point in enumerate(front.points, start=1) if len(point.exits) == 1)
    point, plan = front.points[number - 1], front.plan(number)
    assert [exit_.threshold for exit_ in plan.exits] == list(point.thresholds)
    assert [exit_.head for exit_ in plan.exits] == [share.head for share in point.exits]
    assert plan.predicted["latency"] == point.values[1]
    plan.save(tmp_path / "plan.json")
    again = built(model, Plan.load(tmp_path / "plan.json"), tmp_path / "bundle")
    (name,) = again.plan.thresholds
    assert again.plan.thresholds == {name: point.thresholds[0]}
    shares = exit_shares(again)
    assert shares == exit_shares(again, threshold=point.thresholds[0])
    report = evaluate(again, images(40, seed=2), strategies=["confidence"], output=tmp_path / "report")
    assert report.planned.exit_share[name] + report.planned.exit_share["final"] == pytest.approx(1)
    (curve,) = report.curves
    assert any(each.validation_accuracy == report.planned.validation_accuracy for each in curve.points)
    assert "chosen with thresholds of confidence" in (tmp_path / "report" / "report.html").read_text()
    (share,) = shares
    assert share.tensor == point.exits[0].tensor
    assert share.going_on == pytest.approx(point.exits[0].going_on, abs=0.15)
    tier_of = point.placement.tier_of
    assert value(replace(problem, exits=shares), tier_of, "latency") == pytest.approx(point.values[1], rel=0.3)


def trace_of(point, plan, bundles):
    """What the heads of a point said of the validation samples, as its own bundle would have recorded it."""
    found = {str(bundle.path): bundle for bundle in bundles}
    first = bundles[0].validation
    columns = [
        found[where].validation.logits[:, [exit_.tensor for exit_ in found[where].plan.exits].index(share.tensor)]
        for where, share in zip(point.bundles, point.exits, strict=True)
    ]
    logits = np.stack([*columns, first.logits[:, -1]], axis=1)
    places = {"exits": plan.exit_names, "exit_tiers": plan.exit_tiers, "tiers": plan.tier_names}
    return replace(first, logits=logits, dynamics=None, **places)


@pytest.mark.parametrize("strategy", ["confidence", "entropy"])
def test_a_plan_evaluated_at_its_thresholds_gives_what_the_search_promised(bundles, problem, strategy):
    front = search(problem, bundles, strategy=strategy, separate=True, runtime="torch")
    assert any(len(set(point.thresholds)) > 1 for point in front.points)
    for number, point in enumerate(front.points, start=1):
        plan = Plan.model_validate_json(front.plan(number).model_dump_json())
        trace = trace_of(point, plan, bundles)
        found = as_planned(plan, trace, trace, tabulate(cost_model("latency"), plan))
        if not point.exits:
            assert found is None
            continue
        assert (found.strategy, tuple(found.thresholds.values())) == (strategy, point.thresholds)
        assert found.accuracy == found.validation_accuracy == pytest.approx(point.values[0])
        assert found.cost == pytest.approx(point.values[1])
        left = 1 - np.cumsum(list(found.exit_share.values()))[:-1]
        assert left == pytest.approx([share.going_on for share in point.exits])


def test_another_network_is_refused(bundles):
    other = captured(network(), EXAMPLE).model_copy(update={"outputs": ("x",)})
    with pytest.raises(BundleError, match="name a bundle of the same network"):
        open_banks(bundles, other)


def test_other_samples_are_refused(bundles, graph, monkeypatch):
    monkeypatch.setitem(bundles[1].__dict__, "validation", bundles[1].validation.select(np.arange(30)))
    with pytest.raises(BundleError, match=r"validated on other samples \(30\) than .* \(60\)"):
        open_banks(bundles, graph)


@pytest.mark.slow
def test_heads_trained_with_the_network_are_cautioned_and_not_mixed(bundles, model, graph, tmp_path):
    joint = TrainingSettings.for_mode("joint", epochs=2, batch_size=16, learning_rate=0.01)
    other = built(model, two_exits(graph), tmp_path / "joint", "linear", joint)
    (caution,) = open_banks([other], graph).cautions
    assert "trained together with the network" in caution
    with pytest.raises(BundleError, match="answer differently"):
        open_banks([bundles[0], other], graph)


def test_strategies_without_a_threshold_and_empty_banks_are_refused(bundles, graph, monkeypatch):
    with pytest.raises(DispatchError, match="use confidence or entropy"):
        open_banks(bundles, graph, "random")
    for strategy in ("patience", "ensemble", "margin:decay=0.1"):
        with pytest.raises(DispatchError, match="cannot be chosen one by one"):
            open_banks(bundles, graph, strategy)
    with pytest.raises(PlanError, match="--bank"):
        open_banks([], graph)
    bare = synthetic_trace(5, ("cloud",))
    monkeypatch.setitem(bundles[0].__dict__, "validation", bare)
    monkeypatch.setattr(bundles[0], "plan", bundles[0].plan.model_copy(update={"exits": ()}))
    with pytest.raises(PlanError, match="no exits to choose from"):
        open_banks(bundles[:1], graph)


@pytest.mark.parametrize(
    ("objectives", "given", "what"),
    [
        (("accuracy",), {}, "needs a cost"),
        (("latency", "latency"), {}, "given twice"),
        (("accuracy", "latensy"), {}, "did you mean latency"),
        (("acuracy", "latency"), {}, "did you mean accuracy"),
        (("accuracy", "money"), {}, "add --price"),
        (("accuracy", "latency"), {"exits_per_part": 0}, "expected 1 or more"),
        (("accuracy", "latency"), {"trials": 0}, "expected 1 or more"),
    ],
)
def test_what_cannot_be_searched_is_told(bundles, problem, objectives, given, what):
    with pytest.raises(EdgepartError, match=what):
        search(problem, bundles, objectives, **given)


def test_energy_that_a_device_does_not_state_is_told(bundles, problem):
    silent = replace(problem.tiers[1], device=problem.tiers[1].device.model_copy(update={"power_w": None}))
    with pytest.raises(PlanError, match="states no power_w"):
        search(replace(problem, tiers=(problem.tiers[0], silent)), bundles, ("accuracy", "energy"), most_listed=0)


def test_nested_deployments_are_refused(bundles, problem):
    with pytest.raises(PlanError, match="not of a nested one"):
        search(replace(problem, deployment="nested"), bundles)


@pytest.fixture
def command(problem, tmp_path):
    @click.command()
    @options
    @json_option
    def run(asked, as_json):
        answer(problem, "torch", asked, tmp_path / "plan.json", as_json=as_json)

    return lambda *given: CliRunner().invoke(run, given)


def test_the_command_prints_the_front_and_writes_what_was_picked(command, bundles, tmp_path):
    shown = command("--pareto", *(f"--bank={bundle.path}" for bundle in bundles), "--pick", "2")
    assert shown.exception is None
    for word in ("Pareto front of", "(proven)", "knee", "choices tried", "linear", "pareto.svg", "point 2"):
        assert word in shown.output
    front, plan = Pareto.load(tmp_path / "pareto.json"), Plan.load(tmp_path / "plan.json")
    assert front.proven
    assert [each.number for each in front.points] == list(range(1, len(front.points) + 1))
    assert [each.tensor for each in plan.exits] == [each.tensor for each in front.points[1].exits]
    assert [each.threshold for each in plan.exits] == [each.threshold for each in front.points[1].exits]
    drawn = (tmp_path / "pareto.svg").read_text()
    assert drawn.count("<title>point ") == len(front.points)
    assert "knee: point" in drawn


def test_an_earlier_picture_does_not_outlive_its_front(command, bundles, tmp_path):
    given = ("--pareto", f"--bank={bundles[0].path}", "--objectives")
    assert command(*given, "latency,accuracy").exception is None
    assert (tmp_path / "pareto.svg").exists()
    assert command(*given, "latency").exception is None
    assert not (tmp_path / "pareto.svg").exists()


def test_a_folder_in_the_plans_place_is_told_before_the_search(command, bundles, tmp_path):
    (tmp_path / "plan.json").mkdir()
    failed = command("--pareto", f"--bank={bundles[0].path}", "--pick", "1")
    assert isinstance(failed.exception, FileError)
    assert "is a folder: give a file for the plan" in str(failed.exception)
    assert not (tmp_path / "pareto.json").exists()


def test_a_large_search_keeps_its_trials_beside_the_plan(command, bundles, tmp_path, monkeypatch):
    monkeypatch.setattr("edgepart.search.joint.listing", lambda space, most: None)
    given = ("--pareto", f"--bank={bundles[0].path}", "--thresholds", "each", "--objectives")
    shown = command(*given, "latency,accuracy,mobile.memory", "--trials", "12")
    assert "Found by 12 trials, not proven." in shown.output
    assert (tmp_path / "pareto.journal").exists()
    first = (tmp_path / "pareto.json").read_bytes()
    command(*given, "latency,accuracy,mobile.memory", "--trials", "12", "--pick", "1")
    assert (tmp_path / "pareto.json").read_bytes() == first
    assert (tmp_path / "plan.json").exists()


SEVERAL = ("--thresholds", "each", "--objectives", "latency,accuracy,mobile.memory", "--trials", "12", "--pick", "1")


@pytest.mark.parametrize(("raised", "error"), [(KeyboardInterrupt, SearchInterrupted), (OSError, FileError)])
def test_a_search_that_is_stopped_shows_and_writes_what_it_found_and_fails(
    command, bundles, tmp_path, monkeypatch, raised, error
):
    monkeypatch.setattr("edgepart.search.joint.listing", lambda space, most: None)
    given, score, scored = ("--pareto", f"--bank={bundles[0].path}", *SEVERAL), Study._score, []

    def stopped(self, chosen):
        scored.append(chosen)
        if len(scored) == 7:
            raise raised("away")
        return score(self, chosen)

    monkeypatch.setattr(Study, "_score", stopped)
    shown = command(*given)
    assert type(shown.exception) is error
    assert "after 6 of 12 trials" in str(shown.exception)
    assert "Pareto front of" in shown.stdout
    assert Pareto.load(tmp_path / "pareto.json").how == "found by 6 trials, not proven"
    assert "did not write" in shown.stderr
    assert not (tmp_path / "plan.json").exists()
    assert command(*given).exception is None
    assert Pareto.load(tmp_path / "pareto.json").how == "found by 12 trials, not proven"
    assert (tmp_path / "plan.json").exists()


@pytest.mark.parametrize(("extra", "what"), [((), "Pareto front of"), (("--json",), '"knee"')])
def test_the_front_is_printed_where_the_disk_is_full(command, bundles, tmp_path, monkeypatch, extra, what):
    def full(self, path):
        raise FileError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(Pareto, "save", full)
    shown = command("--pareto", f"--bank={bundles[0].path}", *extra)
    assert "No space left" in str(shown.exception)
    assert what in shown.stdout


def test_a_storage_that_is_not_needed_is_told(command, bundles, tmp_path):
    storage = tmp_path / "trials.journal"
    shown = command("--pareto", f"--bank={bundles[0].path}", "--storage", str(storage))
    assert "no trials were needed: --storage was not used" in shown.stderr
    assert not storage.exists()
    assert "--storage" not in command("--pareto", f"--bank={bundles[0].path}").stderr


def test_a_storage_that_is_needed_is_not_told(command, bundles, tmp_path, monkeypatch):
    monkeypatch.setattr("edgepart.search.joint.listing", lambda space, most: None)
    shown = command("--pareto", f"--bank={bundles[0].path}", "--storage", str(tmp_path / "a.journal"), "--trials", "3")
    assert shown.exception is None
    assert "was not used" not in shown.stderr


def test_the_picture_numbers_the_knee_the_ends_and_what_was_picked(problem, bundles):
    front = search(problem, bundles, separate=True)
    last = len(front.points)
    picked = next(number for number in range(2, last) if number != front.knee)
    for given, numbers in [(None, {1, front.knee, last}), (picked, {1, front.knee, last, picked})]:
        drawn = ElementTree.fromstring(plot(front, given))
        texts = [text for text in drawn.iter("{http://www.w3.org/2000/svg}text") if "8.5px" in text.get("style", "")]
        assert {int(text.text) for text in texts} == numbers


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (["--pareto"], "--bank BUNDLE"),
        (["--bank", "here"], "--bank belongs to a search"),
        (["--pick", "3"], "--pick belongs to a search"),
        (["--pareto", "--bank", "/no/such/bundle"], "does not exist"),
        (["--pareto", "--bank", __file__], "is a file, expected a bundle's folder"),
    ],
)
def test_options_that_do_not_fit_are_told(command, given, what):
    assert what in str(command(*given).exception)


def test_a_point_that_the_front_does_not_have_is_told(command, bundles):
    assert "give 1 to" in str(command("--pareto", f"--bank={bundles[0].path}", "--pick", "999").exception)


@pytest.mark.parametrize(("threshold", "answer"), [("2", "with --threshold 2 no sample of"), ("0", None)])
def test_a_threshold_that_no_sample_reaches_is_refused(bundles, graph, threshold, answer, tmp_path, capsys):
    profile = make_profile(graph, {layer.name: 0.01 for layer in graph.layers}, this_device(1e9))
    profile.save(tmp_path / "profile.json")
    tiers = ["--tier", "mobile=raspberry-pi-4", "--tier", "cloud=this", "--link", "mobile:cloud=wifi"]
    options = ["--exits-of", str(bundles[0].path), "--threshold", threshold, "-o", str(tmp_path / "plan.json")]
    code = main(["partition", str(tmp_path / "profile.json"), *tiers, *options])
    told = capsys.readouterr().err
    assert code == (2 if answer else 0), told
    assert answer is None or answer in told
