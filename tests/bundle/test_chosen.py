"""The policy that a bundle keeps: written and read back for every strategy, and refused where it does not fit."""

import json
import shutil

import numpy as np
import pytest
from small_networks import images

from edgepart import plugins
from edgepart.bundle import ChosenPolicy, open_bundle
from edgepart.bundle.bundle import POLICY
from edgepart.bundle.inference import infer
from edgepart.dispatch.base import Setting
from edgepart.dispatch.confidence import Confidence
from edgepart.dispatch.options import strategy
from edgepart.dispatch.temperature import temperatures
from edgepart.errors import BundleError, FileError, UnknownName
from edgepart.evaluation.record import record
from edgepart.testing.strategies import GRID, example_costs

DATA = images(40, seed=7)
OPTIONS = ("cartography:objective=routed", "entropy:scale=nats", "tuned:thresholds=each", "controlled:base=budgeted")


@pytest.fixture
def own(bundle, tmp_path):
    """A copy of the bundle, which may be written to."""
    shutil.copytree(bundle.path, tmp_path / "own")
    return open_bundle(tmp_path / "own")


def chosen_of(bundle, name, hot=True, place=-2):
    """(chosen, fitted strategy, setting, temperatures or None)"""
    found = temperatures(bundle.validation) if hot else None
    made, costs = strategy(name), example_costs(bundle.validation)
    made.fit(bundle.validation.scaled(found) if hot else bundle.validation, costs)
    setting = made.settings(GRID)[place:][0]
    return ChosenPolicy.of(bundle, made, setting, costs, found), made, setting, found


@pytest.mark.parametrize("hot", [False, True])
@pytest.mark.parametrize("name", [*sorted(set(plugins.names("strategy")) - {"oracle"}), *OPTIONS])
def test_what_is_read_back_decides_as_what_was_chosen(own, name, hot):
    chosen, made, setting, found = chosen_of(own, name, hot)
    own.keep(chosen)
    trace = record(own, DATA)
    decided = made.policy(setting).decide(trace.scaled(found) if hot else trace)
    opened = open_bundle(own.path)
    assert opened.chosen == chosen == ChosenPolicy.load(own.path / POLICY)
    assert np.array_equal(opened.chosen.table(opened), example_costs(own.validation))
    again = opened.policy.decide(trace)
    assert np.array_equal(again.entry, decided.entry)
    assert np.array_equal(again.exit, decided.exit)


def test_a_strategy_with_a_threshold_for_each_exit(own):
    made = Confidence()
    made.fit(own.validation, example_costs(own.validation))
    setting = made.each(dict(zip(own.exits[:-1], (0.9, 0.5, 0.7), strict=True)))
    own.keep(ChosenPolicy.of(own, made, setting, example_costs(own.validation)))
    trace = record(own, DATA)
    assert np.array_equal(open_bundle(own.path).policy.decide(trace).exit, made.policy(setting).decide(trace).exit)


def test_a_policy_that_adapts_goes_on_learning_while_the_bundle_is_open(own):
    own.keep(chosen_of(own, "adaee")[0])
    for start in range(0, 40, 8):
        infer(own, DATA.batch(range(start, start + 8)))
        assert own.policy.policy.bandit.rounds == start + 8
    assert open_bundle(own.path).policy.policy.bandit.rounds == 0


def test_a_policy_that_adapts_is_told_the_costs_that_it_was_chosen_with(own, monkeypatch):
    told = []
    own.keep(chosen_of(own, "adaee")[0])
    monkeypatch.setattr(type(own.policy.policy), "observe", lambda policy, outcome: told.append(outcome))
    answers = infer(own, DATA.batch(range(8)))
    table = example_costs(own.validation)
    assert [one.cost for one in told] == table[answers.entry, answers.exit].tolist()


def test_another_policy_takes_its_place(own):
    own.keep(chosen_of(own, "confidence", place=-1)[0])
    first = infer(own, DATA.batch(range(40)))
    own.keep(chosen_of(own, "confidence", place=0)[0])
    assert infer(own, DATA.batch(range(40))).exit.tolist() == [0] * 40 != first.exit.tolist()
    assert sorted(path.name for path in own.path.iterdir() if POLICY in path.name) == [POLICY]


def test_a_bundle_without_a_policy_says_so(own):
    with pytest.raises(BundleError, match="keeps no policy: give one, or choose one with 'edgepart choose'"):
        infer(own, DATA.batch(range(3)))


def test_a_policy_of_another_bundle_is_refused(own):
    chosen, _, _, found = chosen_of(own, "confidence")
    for change in (
        {"validation": "0" * 64},
        {"temperatures": dict(zip(reversed(own.exits), found.tolist(), strict=True))},
        {"temperatures": {"early": 1.0}},
        {"costs": {"mobile": {}}},
        {"costs": {tier: {"none": 1.0} for tier in own.plan.tier_names}},
    ):
        other = chosen.model_copy(update=change)
        with pytest.raises(BundleError, match=r"'confidence' at .* was chosen on another bundle"):
            own.keep(other)
        other.save(own.path / POLICY)
        with pytest.raises(BundleError, match="was chosen on another bundle"):
            infer(open_bundle(own.path), DATA.batch(range(3)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "has format version 2, this edgepart reads version 1"),
        ({"kind": "edgepart.plan"}, "holds edgepart.plan, expected edgepart.policy"),
        ({"temperatures": {"early": 0}}, "not a valid policy: field 'temperatures.early'"),
        ({"validation": "abc"}, "not a valid policy: field 'validation'"),
        ({"thresholds": 1}, "not a valid policy: field 'thresholds'"),
    ],
)
def test_a_damaged_file_is_one_sentence(own, change, message):
    own.keep(chosen_of(own, "confidence")[0])
    path = own.path / POLICY
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BundleError, match=message):
        infer(open_bundle(own.path), DATA.batch(range(3)))
    path.write_text(path.read_text()[:50])
    with pytest.raises(BundleError, match="not valid JSON"):
        infer(open_bundle(own.path), DATA.batch(range(3)))


@pytest.mark.parametrize(
    ("name", "values"),
    [("confidence", {"certainty": 0.5}), ("confidence", {"threshold": "high"}), ("fixed-tier", {"tier": "moon"})],
)
def test_a_setting_that_the_strategy_does_not_have(own, name, values):
    chosen = chosen_of(own, name)[0].model_copy(update={"values": values})
    with pytest.raises(BundleError, match=f"'{name}' has no setting with the values"):
        chosen.policy(own)


def test_what_no_name_makes_again_is_not_kept(own):
    made = Confidence()
    made.name = "mine"
    made.fit(own.validation, example_costs(own.validation))
    with pytest.raises(UnknownName, match="unknown strategy 'mine'"):
        ChosenPolicy.of(own, made, Setting("1", (("threshold", 1.0),)), example_costs(own.validation))


def test_what_cannot_be_written_is_a_sentence(own):
    chosen = chosen_of(own, "confidence")[0]
    shutil.rmtree(own.path)
    with pytest.raises(FileError, match="cannot write"):
        own.keep(chosen)
