"""What every dispatch strategy promises. Subclass :class:`StrategyContract` in a test and name your strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgepart.dispatch.base import CostTable, Decisions, Policy, Setting, State, Strategy
from edgepart.dispatch.layout import Layout, walk
from edgepart.dispatch.threshold import ThresholdStrategy
from edgepart.dispatch.trace import Trace
from edgepart.testing.traces import synthetic_trace

GRID = (0.0, 0.3, 0.6, 0.9, 1.0)

#: tiers of the exits, for plans of many shapes: several exits a tier, tiers without one, a single exit, a single tier
LAYOUTS = (
    (("mobile", "edge", "cloud"), ("mobile", "edge", "cloud")),
    (("mobile", "mobile", "edge", "edge", "cloud", "cloud"), ("mobile", "edge", "cloud")),
    (("mobile", "cloud"), ("mobile", "edge", "cloud")),
    (("edge", "cloud"), ("mobile", "edge", "cloud")),
    (("mobile", "edge"), ("mobile", "edge", "cloud")),
    (("edge", "edge", "cloud"), ("edge", "cloud")),
    (("cloud",), ("mobile", "edge", "cloud")),
    (("here",), ("here",)),
)


class StrategyContract:
    """Run by pytest once subclassed::

        class TestOdds(StrategyContract):
            def strategy(self):
                return Odds()

    Decisions are possible, the same one by one and for whole traces, and made without looking at labels.
    """

    #: whether a decision depends on the sample alone, not on those before it
    order_free = True

    def strategy(self) -> Strategy:
        """A fresh strategy."""
        raise NotImplementedError

    def test_it_has_a_name_and_settings(self) -> None:
        for trace, costs in _cases():
            strategy = self._fitted(trace, costs)
            settings = strategy.settings(GRID)
            assert strategy.name, "a strategy needs a name"
            assert settings, "a strategy needs at least one setting"
            labels = [setting.label for setting in settings]
            assert len(set(settings)) == len(settings), f"two settings are the same: {labels}"

    def test_decisions_are_possible(self) -> None:
        for trace, costs in _cases():
            for policy in self._policies(trace, costs):
                decisions = policy.decide(trace)
                _assert_possible(trace, decisions)

    def test_rehearsals_are_possible(self) -> None:
        for trace, costs in _cases():
            strategy = self._fitted(trace, costs)
            for setting in strategy.settings(GRID):
                _assert_possible(trace, strategy.rehearse(setting, trace))

    def test_whole_arrays_equal_one_by_one(self) -> None:
        for trace, costs in _cases():
            strategy = self._fitted(trace, costs)
            if not strategy.deployable:
                continue
            for setting in strategy.settings(GRID):
                whole = strategy.policy(setting).decide(trace)
                single = walk(strategy.policy(setting), trace, costs)
                _assert_equal(whole, single, f"{setting.label}: decide() differs from admit() and at_exit()")

    def test_several_at_run_time_equal_one_by_one(self) -> None:
        for trace, costs in _cases():
            strategy, few = self._fitted(trace, costs), trace.select(np.arange(12))
            if not strategy.deployable:
                continue
            for setting in strategy.settings(GRID):
                together, single = strategy.policy(setting), strategy.policy(setting)
                assert together.order_free == self.order_free, "order_free of the policy differs from the test's"
                _assert_same_in_batches(together, single, few, setting.label)

    def test_batches_change_nothing(self) -> None:
        for trace, costs in _cases():
            strategy = self._fitted(trace, costs)
            for setting in strategy.settings(GRID):
                whole, batched = strategy.policy(setting).decide(trace), strategy.policy(setting)
                pieces = [batched.decide(trace.select(rows)) for rows in np.array_split(np.arange(len(trace)), 7)]
                joined = Decisions(
                    np.concatenate([piece.entry for piece in pieces]), np.concatenate([piece.exit for piece in pieces])
                )
                _assert_equal(whole, joined, f"{setting.label}: decisions depend on how samples are batched")

    def test_decisions_follow_their_samples(self) -> None:
        if not self.order_free:
            return
        for trace, costs in _cases():
            order = np.random.default_rng(1).permutation(len(trace))
            strategy = self._fitted(trace, costs)
            for setting in strategy.settings(GRID):
                whole = strategy.policy(setting).decide(trace)
                shuffled = strategy.policy(setting).decide(trace.select(order))
                expected = Decisions(whole.entry[order], whole.exit[order])
                _assert_equal(expected, shuffled, f"{setting.label}: decisions depend on the order of the samples")

    def test_a_policy_starts_afresh(self) -> None:
        trace, costs = _cases()[0]
        strategy = self._fitted(trace, costs)
        for setting in strategy.settings(GRID):
            first, second = strategy.policy(setting).decide(trace), strategy.policy(setting).decide(trace)
            _assert_equal(first, second, f"{setting.label}: a policy remembers what another one saw")

    def test_labels_are_not_looked_at(self) -> None:
        for trace, costs in _cases():
            strategy = self._fitted(trace, costs)
            if not strategy.deployable:
                continue
            hidden = replace(trace, labels=(trace.labels + 1) % len(trace.classes), dynamics=None)
            for setting in strategy.settings(GRID):
                known, blind = strategy.policy(setting).decide(trace), strategy.policy(setting).decide(hidden)
                _assert_equal(known, blind, f"{setting.label}: a decision depends on the label of its sample")

    def test_a_threshold_for_each_exit(self) -> None:
        """Of a :class:`ThresholdStrategy`: one for each exit, where all are the same, decides as one for all does."""
        for trace, costs in _cases():
            strategy = self._fitted(trace, costs)
            if not isinstance(strategy, ThresholdStrategy):
                continue
            names = trace.exits[:-1]
            for value in GRID:
                setting = strategy.one(value)
                alike = strategy.policy(strategy.each(dict.fromkeys(names, value))).decide(trace)
                _assert_equal(strategy.policy(setting).decide(trace), alike, f"{setting.label}: differs at each exit")
            mixed = strategy.each({name: GRID[index % len(GRID)] for index, name in enumerate(names, start=1)})
            whole, single = strategy.policy(mixed).decide(trace), walk(strategy.policy(mixed), trace, costs)
            _assert_equal(whole, single, f"{mixed.label}: decide() differs from admit() and at_exit()")

    def test_extreme_logits(self) -> None:
        for trace, costs in _cases():
            extreme = replace(trace, logits=np.sign(trace.logits) * np.float32(1e4))
            for policy in self._policies(trace, costs):
                _assert_possible(extreme, policy.decide(extreme))

    def test_fitting_again_forgets(self) -> None:
        (trace, costs), (other, other_costs) = _cases()[:2]
        strategy = self._fitted(other, other_costs)
        strategy.fit(trace, costs)
        assert strategy.settings(GRID) == self._fitted(trace, costs).settings(GRID), "fit() keeps what it learnt before"

    def _fitted(self, trace: Trace, costs: CostTable) -> Strategy:
        strategy = self.strategy()
        strategy.fit(trace, costs)
        return strategy

    def _policies(self, trace: Trace, costs: CostTable) -> list[Policy]:
        strategy = self._fitted(trace, costs)
        settings: Sequence[Setting] = strategy.settings(GRID)
        return [strategy.policy(setting) for setting in settings]


def example_costs(trace: Trace) -> CostTable:
    """(T, K) costs that grow with the exit and, from the entry up, fall with the tier of entry."""
    layout = Layout.of(trace)
    table = np.full((len(layout.tiers), len(layout.exit_tier)), np.inf)
    for index, own in enumerate(layout.exit_tier):
        table[: own + 1, index] = 1.0 + index - 0.1 * np.arange(own + 1)
    return table


def _cases() -> list[tuple[Trace, CostTable]]:
    traces = [
        synthetic_trace(60, exit_tiers, tiers, classes=2 + 7 * (number % 2), dimension=5, seed=number)
        for number, (exit_tiers, tiers) in enumerate(LAYOUTS)
    ]
    return [(trace, example_costs(trace)) for trace in traces]


def _assert_possible(trace: Trace, decisions: Decisions) -> None:
    layout = Layout.of(trace)
    assert decisions.entry.shape == decisions.exit.shape == (len(trace),), "one decision per sample is expected"
    assert decisions.entry.dtype == decisions.exit.dtype == np.int64, "decisions are int64"
    assert ((decisions.entry >= 0) & (decisions.entry < len(layout.tiers))).all(), "a sample enters at no known tier"
    assert ((decisions.exit >= 0) & (decisions.exit <= layout.final)).all(), "a sample leaves at no known exit"
    leave = np.array(layout.exit_tier)[decisions.exit]
    assert (leave >= decisions.entry).all(), "a sample leaves at an exit below the tier it entered at"


def _assert_same_in_batches(together: Policy, single: Policy, trace: Trace, label: str) -> None:
    """Compare admit_batch() with admit(); at_exit_batch() and leaves() with at_exit(), for samples that enter so."""
    layout, probabilities = Layout.of(trace), trace.probabilities.astype(np.float64)
    embeddings = trace.embeddings.astype(np.float32)
    entry = together.admit_batch(embeddings, State())
    assert entry.tolist() == [single.admit(one, State()) for one in embeddings], (
        f"{label}: admit_batch() differs from admit()"
    )
    for first in {layout.first_exit(tier) for tier in entry.tolist()}:
        for index in range(first, layout.final):
            met = probabilities[:, first : index + 1]
            states = [State(earlier=tuple(one[:-1])) for one in met]
            leaves = [single.at_exit(index, one[-1], state) for one, state in zip(met, states, strict=True)]
            from_logits = [
                single.leaves(index, one, state) for one, state in zip(trace.logits[:, index], states, strict=True)
            ]
            assert from_logits == leaves, f"{label}: leaves() differs from at_exit()"
            assert together.at_exit_batch(index, met, State()).tolist() == leaves, (
                f"{label}: at_exit_batch() differs from at_exit()"
            )


def _assert_equal(first: Decisions, second: Decisions, what: str) -> None:
    assert np.array_equal(first.entry, second.entry), f"{what} (tiers of entry)"
    assert np.array_equal(first.exit, second.exit), f"{what} (exits)"
