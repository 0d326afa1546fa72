"""Batches through a bundle: every sample gets its own answer, at the exit where it would have left alone."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import CLASSES, EXAMPLE, captured, image_plan, images, network, plan_for, sentences
from torch import nn

from edgepart import plugins
from edgepart.bundle import BundlePart, ChosenPolicy, build, open_bundle
from edgepart.bundle.inference import batches_for, infer, infer_all
from edgepart.data import Dataset
from edgepart.dispatch.base import Outcome, Policy, State
from edgepart.dispatch.layout import Layout, walk
from edgepart.dispatch.options import strategy as strategy_named
from edgepart.dispatch.temperature import ScaledPolicy, temperatures
from edgepart.dispatch.tuned import TunedPolicy
from edgepart.errors import DataError, DispatchError, GraphError, TrainingError
from edgepart.evaluation.record import record
from edgepart.testing.strategies import GRID, example_costs
from edgepart.training import TrainingSettings

SETTINGS = TrainingSettings.for_mode("heads", epochs=1)
COUNT = 37
DATA = images(COUNT, seed=5)
ADAPTIVE = ("adaee", "cartography-adaptive", "i-splitee", "splitee", "splitee-s")
STEADY = sorted(set(plugins.names("strategy")) - {"oracle", *ADAPTIVE})


@pytest.fixture(scope="module", params=["split torch", "nested torch", "split onnxruntime", "nested onnxruntime"])
def served(request, tmp_path_factory):
    """A bundle and what its exits say of all of ``DATA``, sample by sample."""
    deployment, runtime = request.param.split()
    model = network()
    plan = image_plan(captured(model), deployment)
    output = tmp_path_factory.mktemp("served") / "bundle"
    made = build(
        model, plan, images(60), example=EXAMPLE, validation=images(30, 1), settings=SETTINGS, output=output,
        runtimes=dict.fromkeys(plan.tier_names, runtime),
    )  # fmt: skip
    return SimpleNamespace(bundle=made, trace=record(made, DATA, batch_size=1))


class Scripted(Policy):
    """Does with each sample what a script says of it; it knows samples by what the trace says of them."""

    uses_embedding = True

    def __init__(self, trace, entry, leaves):
        self._trace, self._entry, self._leaves = trace, entry, leaves
        self._layout = Layout.of(trace)

    def admit(self, embedding, state):
        return int(self._entry[nearest(self._trace.embeddings, embedding)])

    def at_exit(self, exit_index, probabilities, state):
        sample = nearest(self._trace.probabilities[:, exit_index], probabilities)
        first = self._layout.first_exit(self._entry[sample])
        met = self._trace.probabilities[sample, first:exit_index]
        assert len(state.earlier) == len(met)
        assert np.allclose(np.array(state.earlier).reshape(met.shape), met, atol=1e-5)
        return bool(self._leaves[sample, exit_index])

    def expected(self):
        """(N,) exits that the script leads to."""
        left = []
        for sample, tier in enumerate(self._entry):
            first = self._layout.first_exit(tier)
            left.append(next((k for k in range(first, self._layout.final) if self._leaves[sample, k]), 3))
        return np.array(left)


def fitted(name, validation):
    """A strategy and the last but one of its settings."""
    strategy = strategy_named(name)
    strategy.fit(validation, example_costs(validation))
    return strategy, strategy.settings(GRID)[-2:][0]


def in_batches(policy, trace, costs, size):
    """(entry, exit) of an adaptive policy that decides about a whole batch before it is told of it."""
    layout, entry, left = Layout.of(trace), [], []
    for start in range(0, len(trace), size):
        told = []
        for sample in range(start, min(start + size, len(trace))):
            said, embedding = trace.probabilities[sample].astype(np.float64), trace.embeddings[sample]
            tier = policy.admit(embedding, State())
            first = index = layout.first_exit(tier)
            while index < layout.final and not policy.at_exit(
                index, said[index], State(earlier=tuple(said[first:index]))
            ):
                index += 1
            told.append(Outcome(embedding, tier, index, said[index], costs[tier, index], tuple(said[first:index])))
        for outcome in told:
            policy.observe(outcome)
        entry += [outcome.entry for outcome in told]
        left += [outcome.exit for outcome in told]
    return np.array(entry), np.array(left)


def nearest(rows, row):
    distance = np.abs(rows - row).max(axis=1)
    assert distance.min() < 1e-4
    return int(distance.argmin())


def scripted(trace, entry=0, leaves=False):
    exits = len(trace.exits)
    return Scripted(trace, np.broadcast_to(entry, len(trace)), np.broadcast_to(leaves, (len(trace), exits)))


def assert_answers(answers, trace, entry, left, order=slice(None)):
    assert np.array_equal(answers.entry, entry[order])
    assert np.array_equal(answers.exit, left[order])
    own = trace.logits[np.arange(len(trace)), left][order]
    assert np.allclose(answers.logits, own, atol=1e-4)
    assert np.array_equal(answers.labels, own.argmax(1))


def expected_rows(bundle, entry, left):
    """tier → samples that each of its stages has to run on, counted from the definition of the deployment."""
    exits, tiers = list(bundle.exits), bundle.plan.tier_names
    found, before = {}, 0
    for tier, part in bundle.parts.items():
        counts = []
        for stage in part.manifest.stages:
            there = left >= before
            if bundle.plan.deployment == "nested":
                there &= entry <= tiers.index(tier)
            counts.append(int(there.sum()))
            before = before if stage.exit is None else exits.index(stage.exit) + 1
        found[tier] = tuple(counts)
    return found


@pytest.mark.parametrize("size", [1, 3, 8, 32])
@pytest.mark.parametrize("name", STEADY)
def test_strategies_decide_in_batches_as_replayed(served, name, size):
    strategy, setting = fitted(name, served.bundle.validation)
    decided = strategy.policy(setting).decide(served.trace)
    answers = infer_all(served.bundle, DATA, strategy.policy(setting), batch_size=size)
    assert_answers(answers, served.trace, decided.entry, decided.exit)
    right = served.trace.correct[np.arange(COUNT), decided.exit].mean()
    assert (answers.labels == DATA.labels).mean() == right


#: far from 1, to both sides, so that decisions change
TEMPERATURES = np.array([0.3, 3.0, 0.6, 2.0])


def assert_confident(answers, trace, left):
    """Confidences are those of the scaled trace; to the last bit where the logits are."""
    wanted = trace.scaled(TEMPERATURES).confidence[np.arange(len(trace)), left]
    assert np.allclose(answers.confidence, wanted, rtol=0, atol=1e-4)
    same = (answers.logits == trace.logits[np.arange(len(trace)), left]).all(axis=1)
    assert np.array_equal(answers.confidence[same], wanted[same])
    return same


@pytest.mark.parametrize("size", [1, 3, 8])
@pytest.mark.parametrize("name", STEADY)
def test_strategies_decide_by_temperatures_as_replayed(served, name, size):
    strategy, setting = fitted(name, served.bundle.validation.scaled(TEMPERATURES))
    policies = [ScaledPolicy(strategy.policy(setting), TEMPERATURES) for _ in range(2)]
    decided = strategy.policy(setting).decide(served.trace.scaled(TEMPERATURES))
    assert np.array_equal(policies[0].decide(served.trace).exit, decided.exit)
    answers = infer_all(served.bundle, DATA, policies[1], batch_size=size)
    assert_answers(answers, served.trace, decided.entry, decided.exit)
    same = assert_confident(answers, served.trace, decided.exit)
    assert same.all() or size > 1


@pytest.mark.parametrize("size", [1, 3, 8])
@pytest.mark.parametrize("name", ADAPTIVE)
def test_strategies_that_adapt_learn_by_temperatures(served, name, size):
    strategy, setting = fitted(name, served.bundle.validation.scaled(TEMPERATURES))
    costs = example_costs(served.trace)
    policy = ScaledPolicy(strategy.policy(setting), TEMPERATURES)
    answers = infer_all(served.bundle, DATA, policy, batch_size=size, costs=costs)
    entry, left = in_batches(strategy.policy(setting), served.trace.scaled(TEMPERATURES), costs, size)
    assert_answers(answers, served.trace, entry, left)
    assert_confident(answers, served.trace, left)


def test_temperatures_decide_to_the_last_bit(served):
    """Every sample's own confidence is a threshold in turn: it leaves at it, and above it goes on."""
    strategy, _ = fitted("confidence", served.bundle.validation)
    said = served.trace.scaled(TEMPERATURES).confidence[:, 0]
    changed = 0
    for sample in range(0, COUNT, 5):
        arrays = DATA.batch([sample])
        for threshold, leaves in ((said[sample], True), (np.nextafter(said[sample], 2), False)):
            plain = strategy.policy(strategy.one(threshold))
            answers = infer(served.bundle, arrays, ScaledPolicy(plain, TEMPERATURES))
            assert (answers.exit[0] == 0) == leaves
            changed += infer(served.bundle, arrays, plain).exit[0] != answers.exit[0]
    assert changed, "without temperatures the decisions are the same: nothing is shown"


def test_without_temperatures_answers_are_as_sure_as_their_exits(served):
    strategy, setting = fitted("confidence", served.bundle.validation)
    answers = infer_all(served.bundle, DATA, strategy.policy(setting), batch_size=1)
    assert answers.temperatures is None
    assert np.allclose(answers.probabilities.sum(axis=1), 1)
    assert np.array_equal(answers.confidence, served.trace.confidence[np.arange(COUNT), answers.exit])


@pytest.mark.parametrize("size", [1, 3, 8])
@pytest.mark.parametrize("name", ["confidence", "budgeted", "router", "combined"])
def test_a_bundle_answers_by_the_policy_that_it_keeps(served, name, size, tmp_path):
    """Chosen on validation, written, opened elsewhere: what it decides is what replaying with temperatures decides."""
    shutil.copytree(served.bundle.path, tmp_path / "kept")
    kept, costs = open_bundle(tmp_path / "kept"), example_costs(served.trace)
    found = temperatures(kept.validation)
    strategy, setting = fitted(name, kept.validation.scaled(found))
    kept.keep(ChosenPolicy.of(kept, strategy, setting, costs, found))
    decided = strategy.policy(setting).decide(served.trace.scaled(found))
    opened = open_bundle(tmp_path / "kept")
    answers = infer_all(opened, DATA, batch_size=size)
    assert_answers(answers, served.trace, decided.entry, decided.exit)
    assert np.array_equal(answers.temperatures, found)
    wanted = served.trace.scaled(found).confidence[np.arange(COUNT), decided.exit]
    assert np.allclose(answers.confidence, wanted, rtol=0, atol=1e-4)
    one = infer(opened, DATA.batch(range(size)))
    assert np.array_equal(one.exit, decided.exit[:size])


@pytest.mark.parametrize("size", [1, 8])
@pytest.mark.parametrize("name", ADAPTIVE)
def test_strategies_that_adapt_are_told_after_each_batch(served, name, size):
    strategy, setting = fitted(name, served.bundle.validation)
    costs = example_costs(served.trace)
    answers = infer_all(served.bundle, DATA, strategy.policy(setting), batch_size=size, costs=costs)
    decided = in_batches(strategy.policy(setting), served.trace, costs, size)
    assert_answers(answers, served.trace, *decided)
    if size == 1:
        walked = walk(strategy.policy(setting), served.trace, costs)
        assert_answers(answers, served.trace, walked.entry, walked.exit)


@pytest.mark.parametrize("size", [1, 8])
def test_only_a_policy_that_reads_probabilities_is_told_them(served, size, monkeypatch):
    for drift, told in (("none", 0), ("page-hinkley", len(CLASSES))):
        strategy, setting = fitted(f"cartography-adaptive:drift={drift}", served.bundle.validation)
        policy, outcomes = strategy.policy(setting), []
        monkeypatch.setattr(type(policy), "observe", lambda _, outcome, outcomes=outcomes: outcomes.append(outcome))
        infer(served.bundle, DATA.batch(range(size)), policy)
        assert [len(one.probabilities) for one in outcomes] == [told] * size


def test_a_policy_learns_from_one_batch_to_the_next(served):
    strategy, setting = fitted("adaee", served.bundle.validation)
    policy = strategy.policy(setting)
    for start in range(0, 32, 8):
        infer(served.bundle, DATA.batch(range(start, start + 8)), policy)
        assert policy.bandit.rounds == start + 8


@given(data=st.data())
@settings(max_examples=25)
def test_any_script_any_order_any_batch(served, data):
    """Whoever indexed the batch of those that go on, as published code does, would mix up the answers here."""
    tiers = st.sampled_from(sorted({0, *Layout.of(served.trace).answering_tiers}))
    entry = np.array(data.draw(st.lists(tiers, min_size=COUNT, max_size=COUNT)))
    leaves = np.array(data.draw(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=37, max_size=37)))
    order = np.array(data.draw(st.permutations(range(COUNT))))
    size = data.draw(st.integers(1, 40))
    policy = Scripted(served.trace, entry, leaves)
    left = policy.expected()
    assert_answers(infer_all(served.bundle, DATA, policy, batch_size=size), served.trace, entry, left)
    one = infer(served.bundle, DATA.batch(order), policy)
    assert_answers(one, served.trace, entry, left, order)
    assert one.computed == expected_rows(served.bundle, entry, left)


def test_who_leaves_second_gets_the_answer_of_its_own_position(served):
    """0 leaves first; 2, which is at 1 by then, next; 1 and 3, at 0 and 1 by then, last."""
    leaves = np.zeros((COUNT, 4), bool)
    leaves[0, 0] = leaves[2, 1] = True
    answers = infer(served.bundle, DATA.batch(range(4)), scripted(served.trace, leaves=leaves))
    assert answers.exit.tolist() == [0, 3, 1, 3]
    for sample, left in enumerate(answers.exit):
        assert np.allclose(answers.logits[sample], served.trace.logits[sample, left], atol=1e-4)
        others = np.delete(served.trace.logits[:4], sample, axis=0)
        assert np.abs(others - answers.logits[sample]).max(-1).min() > 1e-3, "samples answer alike: nothing is shown"


def test_only_those_that_go_on_are_computed(served, monkeypatch):
    calls, original = [], BundlePart.step

    def counted(part, number, known):
        (rows,) = {len(known[name]) for name in part.manifest.stages[number].inputs}
        calls.append((part.tier, number, rows))
        return original(part, number, known)

    monkeypatch.setattr(BundlePart, "step", counted)
    leaves = np.zeros((COUNT, 4), bool)
    leaves[:10, 0] = leaves[:16, 1] = leaves[:19, 2] = True
    answers = infer(served.bundle, DATA.batch(range(20)), scripted(served.trace, leaves=leaves))
    assert calls == [("mobile", 0, 20), ("mobile", 1, 10), ("edge", 0, 4), ("cloud", 0, 1)]
    assert answers.computed == {"mobile": (20, 10), "edge": (4,), "cloud": (1,)}


def test_nothing_runs_once_everybody_has_left(served):
    answers = infer(served.bundle, DATA.batch(range(9)), scripted(served.trace, leaves=True))
    assert answers.exit.tolist() == [0] * 9
    assert answers.computed == {"mobile": (9, 0), "edge": (0,), "cloud": (0,)}


def test_where_nobody_leaves_the_network_answers(served):
    answers = infer(served.bundle, DATA.batch(range(9)), scripted(served.trace))
    assert np.allclose(answers.logits, served.trace.logits[:9, -1], atol=1e-4)
    assert answers.computed == {"mobile": (9, 9), "edge": (9,), "cloud": (9,)}


def test_samples_enter_where_they_are_admitted(served):
    """Under nested they skip the tiers below; under split they pass them and are not asked, though they would leave."""
    entry = np.array([0, 2, 1, 2, 1] * 8)[:COUNT]
    answers = infer(served.bundle, DATA.batch(range(5)), scripted(served.trace, entry=entry, leaves=True))
    assert answers.entry.tolist() == [0, 2, 1, 2, 1]
    assert answers.exit.tolist() == [0, 3, 2, 3, 2]
    split = {"mobile": (5, 4), "edge": (4,), "cloud": (2,)}
    nested = {"mobile": (1, 0), "edge": (2,), "cloud": (2,)}
    assert answers.computed == {"split": split, "nested": nested}[served.bundle.plan.deployment]


@pytest.mark.parametrize("size", [1, 8])
@pytest.mark.parametrize("tier", [1, 2])
def test_a_cascade_that_all_samples_enter_above_is_not_asked_below(served, tier, size):
    strategy, _ = fitted("confidence", served.bundle.validation)
    thresholds = np.full(3, np.median(served.trace.confidence[:, 2]) + 1e-4)
    policy = TunedPolicy(
        Layout.of(served.trace), strategy.certainty_so_far, thresholds, strategy.alone, strategy.roughly, tier
    )
    decided = policy.decide(served.trace)
    assert len(set(decided.exit)) == 3 - tier
    answers = infer_all(served.bundle, DATA, policy, batch_size=size)
    assert_answers(answers, served.trace, decided.entry, decided.exit)


def test_texts_come_back_in_their_own_order(text_bundle):
    data = sentences(25, seed=4)
    trace = record(text_bundle, data, batch_size=1)
    threshold = float(np.median(trace.confidence[:, 0]))
    strategy = strategy_named("confidence")
    strategy.fit(text_bundle.validation, example_costs(text_bundle.validation))
    setting = strategy.one(threshold + 1e-4)
    decided = strategy.policy(setting).decide(trace)
    assert 5 < (decided.exit == 0).sum() < 20
    for size in (1, 4, 25):
        answers = infer_all(text_bundle, data, strategy.policy(setting), batch_size=size)
        assert_answers(answers, trace, decided.entry, decided.exit)


def test_the_order_is_kept_for_policies_to_which_it_matters(text_bundle):
    data = sentences(25, seed=4)
    validation = text_bundle.validation
    for name, ordered in (("confidence", False), ("random", True), ("adaee", True)):
        strategy, setting = fitted(name, validation)
        batches = batches_for(strategy.policy(setting), data, 10)
        assert [len(batch) for batch in batches] == [10, 10, 5]
        assert (np.concatenate(batches).tolist() == list(range(25))) == ordered


class Detour(nn.Module):
    """(batch, 4, 6) → (batch, 3); what crosses an exit has its batch in the middle, or twice: all, then all again."""

    def __init__(self, twice):
        super().__init__()
        self.twice = twice
        self.stem, self.first, self.second, self.third = nn.Linear(6, 8), *(nn.Linear(8, 8) for _ in range(3))
        self.classifier = nn.Linear(8, 3)

    def forward(self, rows):
        count = rows.shape[0]
        x = torch.relu(self.stem(rows))
        y = torch.tanh(self.first(torch.cat([x, 2 * x]) if self.twice else x.transpose(0, 1)))
        y = y[:count] - y[count:] if self.twice else y.transpose(0, 1)
        z = self.third(torch.relu(self.second(x)) + y)
        return self.classifier(torch.tanh(z).mean(1))


class StackRows:
    def __call__(self, samples):
        return {"rows": np.stack([sample["rows"] for sample in samples])}


def rows_of(count, seed):
    arrays = np.random.default_rng(seed).normal(size=(count, 4, 6)).astype(np.float32)
    labels = np.arange(count, dtype=np.int64) % 3
    return Dataset([{"rows": x} for x in arrays], labels, CLASSES, StackRows(), "rows")


@pytest.mark.parametrize("twice", [False, True])
def test_the_batch_may_lie_in_another_axis_or_be_there_twice(twice, tmp_path):
    """Samples are taken out of any axis; a tensor that holds each twice keeps the batch together while it is read."""
    torch.manual_seed(0)
    model, example = Detour(twice).eval(), torch.zeros(2, 4, 6)
    parts = (("mobile", "first"), ("edge", "second"), ("cloud", None))
    exits = (("early", "mobile", "stem"), ("middle", "edge", "second"), ("late", "cloud", "third"))
    data = {"validation": rows_of(12, 1), "example": example, "settings": SETTINGS, "output": tmp_path / "bundle"}
    bundle = build(model, plan_for(captured(model, example), parts, exits), rows_of(30, 0), **data)
    crossing = [bundle.graph.tensor(name).shape for name in bundle.parts["edge"].outputs]
    assert (("2*batch", 4, 8) if twice else (4, "batch", 8)) in crossing
    tested, leaves = rows_of(30, 2), np.random.default_rng(3).random((30, 4)) < 0.4
    trace = record(bundle, tested)
    policy = scripted(trace, leaves=leaves)
    answers = infer(bundle, tested.batch(range(30)), policy)
    assert_answers(answers, trace, np.zeros(30), policy.expected())
    first, second, third = (int((policy.expected() > index).sum()) for index in range(3))
    assert 0 < third < second < first < 30
    late = first if twice else second
    assert answers.computed == {"mobile": (30, first), "edge": (first,), "cloud": (late, third)}


@pytest.mark.parametrize(
    "arrays", [{}, {"image": np.zeros((2, 1, 7, 6), np.float32)}, {"image": np.zeros((0, 1, 6, 6), np.float32)}]
)
def test_inputs_that_do_not_fit_are_told(served, arrays):
    with pytest.raises(GraphError, match="the input 'image'"):
        infer(served.bundle, arrays, scripted(served.trace))


def test_a_logit_that_is_nan_names_exit_and_sample(served):
    data = images(12, 1)
    data.samples[7]["image"][:] = np.nan
    strategy, setting = fitted("confidence", served.bundle.validation)
    with pytest.raises(TrainingError, match="exit 'early' gives a NaN or infinite logit for sample 7"):
        infer_all(served.bundle, data, strategy.policy(setting), batch_size=5)


def test_what_cannot_be_answered_is_refused(served):
    policy = scripted(served.trace)
    with pytest.raises(DataError, match="the batch size is 0, expected at least one sample"):
        infer_all(served.bundle, DATA, policy, batch_size=0)
    with pytest.raises(DataError, match="read the data with the bundle's classes"):
        infer_all(served.bundle, images(12, classes=("a", "b", "c")), policy)
    with pytest.raises(DataError, match="holds no samples"):
        infer_all(served.bundle, DATA.subset([]), policy)
    oracle, setting = fitted("oracle", served.bundle.validation)
    with pytest.raises(DispatchError, match="the oracle needs the labels of its samples"):
        infer(served.bundle, DATA.batch(range(3)), oracle.policy(setting))
