"""A policy for a bundle: chosen on its validation data as in a report, kept, and shown by the command."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from report_samples import chain, plan_for, trace_for
from test_evaluate import write_bundle

from edgepart.bundle import ChosenPolicy, open_bundle
from edgepart.cli.main import main
from edgepart.dispatch.options import strategy
from edgepart.dispatch.temperature import calibration_error, temperatures
from edgepart.errors import DispatchError
from edgepart.evaluation import selection
from edgepart.evaluation.choosing import choose_policy
from edgepart.evaluation.costs import Facts, cost_model, tabulate
from edgepart.evaluation.evaluate import costs_of, evaluate, router_seconds
from edgepart.evaluation.evaluate_traces import THRESHOLDS, question
from edgepart.evaluation.replay import full_model, replay
from edgepart.units import percent, seconds

PLAN = plan_for(chain(9), (3, 6), [("mobile-1", "mobile", 3), ("edge-1", "edge", 2)])
VALIDATION, TEST = trace_for(PLAN, seed=1), trace_for(PLAN, seed=2)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", PLAN, VALIDATION)


@pytest.mark.parametrize("hot", [False, True])
@pytest.mark.parametrize("name", ["confidence", "entropy", "budgeted", "tuned"])
def test_it_is_what_a_report_chooses(bundle: Path, name: str, hot: bool) -> None:
    chosen = choose_policy(bundle, name, drop=0.01, temperature=hot)
    report = evaluate(bundle, trace=TEST, strategies=[name], temperature=hot)
    (reported,) = report.chosen(0.01)
    assert (chosen.strategy, chosen.setting, chosen.values) == (name, reported.setting, reported.values)
    learnt = temperatures(VALIDATION)
    assert chosen.temperatures == (dict(zip(VALIDATION.exits, learnt.tolist(), strict=True)) if hot else {})
    # what it gives on the test samples is what the report says
    decided = chosen.policy(open_bundle(bundle)).decide(TEST)
    assert TEST.correct[np.arange(len(TEST)), decided.exit].mean() == pytest.approx(reported.accuracy)
    assert np.mean(decided.exit == 0) == pytest.approx(reported.exit_share["mobile-1"])


def test_the_order_in_which_thresholds_are_given_is_no_matter(bundle: Path) -> None:
    chosen = choose_policy(bundle, grid=THRESHOLDS, drop=1.0)
    assert chosen == choose_policy(bundle, grid=(*sorted(THRESHOLDS, reverse=True), 0.5), drop=1.0)
    with pytest.raises(DispatchError, match=r"the accuracy drops are \[5\], expected shares from 0 to 1"):
        choose_policy(bundle, drop=5)


def test_one_threshold_is_taken_as_it_is(bundle: Path) -> None:
    assert choose_policy(bundle, grid=(0.42,)).values == {"threshold": 0.42}


def test_it_is_chosen_under_the_costs_that_are_named(bundle: Path) -> None:
    opened = open_bundle(bundle)
    facts = Facts(opened.graph, router_seconds(opened.plan, opened.graph))
    dear = choose_policy(opened, cost="dimec", gamma=30.0)
    costs = tabulate(question(cost="dimec", gamma=30.0).cost, opened.plan, facts)
    assert np.array_equal(dear.table(opened), costs.table)
    made = strategy("confidence")
    curve = selection.evaluate_strategy(made, VALIDATION, VALIDATION, costs, THRESHOLDS, (0.005,))
    assert dear.setting == curve.settings[curve.choices[0].index or 0].label


def test_a_promise_is_not_kept_by_temperatures_of_its_own_samples(bundle: Path) -> None:
    with pytest.raises(DispatchError, match="promises of 'controlled' would not hold"):
        choose_policy(bundle, "controlled", temperature=True)


def test_the_command_keeps_and_shows_it(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["choose", str(bundle), "--temperature", "--drop", "1"]) == 0
    printed = capsys.readouterr().out
    kept = ChosenPolicy.load(bundle / "policy.json")
    assert kept == choose_policy(bundle, drop=0.01, temperature=True)
    assert printed.startswith(f"confidence at {kept.setting}\n")
    assert f"written to {bundle / 'policy.json'}" in printed
    lines = [line.split() for line in printed.splitlines()]
    before, after = calibration_error(VALIDATION), calibration_error(VALIDATION.scaled(temperatures(VALIDATION)))
    for index, name in enumerate(VALIDATION.exits):
        (shown,) = [line for line in lines if line[:1] == [name]]
        figures = [f"{kept.temperatures[name]:.3g}", *f"{percent(before[index])} {percent(after[index])}".split()]
        assert shown[1:] == figures
    opened = open_bundle(bundle)
    costs = costs_of(opened, cost_model("latency"))
    seen, full = replay(VALIDATION, kept.policy(opened), costs), full_model(VALIDATION, costs)
    assert f"on validation: accuracy {percent(seen.accuracy)} (full model {percent(full.accuracy)}), " in printed
    assert f"full model {seconds(full.cost)}, {percent(1 - seen.cost / full.cost)} saved)" in printed
    # without temperatures, another strategy, as JSON
    assert main(["choose", str(bundle), "--strategy", "margin", "--thresholds", ".25", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["strategy"], printed["values"], printed["temperatures"]) == ("margin", {"threshold": 0.25}, {})
    assert ChosenPolicy.load(bundle / "policy.json").strategy == "margin"
    assert main(["choose", str(bundle)]) == 0
    assert "temperatures" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--strategy oracle", "'oracle' knows the labels of its samples"),
        ("--strategy confidense", "unknown strategy 'confidense'"),
        ("--strategy controlled --temperature", "the promises of 'controlled' would not hold"),
        ("--cost dimec", "gamma"),
        ("--thresholds high", "--thresholds high is not a list of numbers"),
        ("--thresholds nan", "the thresholds are [nan], expected at least one finite number"),
        ("--thresholds ,", "the thresholds are [], expected at least one finite number"),
        ("--thresholds .01 --strategy patience:x=1", "option of the strategy 'patience'"),
    ],
)
def test_mistakes_are_one_sentence_and_nothing_is_kept(
    bundle: Path, options: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["choose", str(bundle), *shlex.split(options)]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert not (bundle / "policy.json").exists()
