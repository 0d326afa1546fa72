"""Replay: by hand, and the fast sweep against the plain loop."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepart.dispatch.base import Strategy
from edgepart.dispatch.cartography import Cartography
from edgepart.dispatch.confidence import Confidence
from edgepart.dispatch.entropy import Entropy
from edgepart.dispatch.fixed_tier import FixedTier
from edgepart.dispatch.random import Random
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError
from edgepart.evaluation.costs import Costs
from edgepart.evaluation.replay import full_model, leaving_counts, replay, sweep
from edgepart.testing.strategies import example_costs
from edgepart.testing.traces import synthetic_trace

TABLE = np.array([[1.0, 4.0, 10.0], [np.inf, 3.0, 9.0], [np.inf, np.inf, 8.0]])
COSTS = Costs(table=TABLE, full_model=8.0, router=0.5, unit="λ")


def trace_by_hand() -> Trace:
    """Confidences .9 .6 .7 / .5 .8 .9 / .5 .6 .7 / .5 .6 .95; right: 1 0 1 / 1 1 1 / 0 0 0 / 0 1 1."""
    confidence = np.array([[0.9, 0.6, 0.7], [0.55, 0.8, 0.9], [0.55, 0.6, 0.7], [0.55, 0.6, 0.95]])
    right = np.array([[1, 0, 1], [1, 1, 1], [0, 0, 0], [0, 1, 1]], dtype=bool)
    first = np.where(right, confidence, 1 - confidence)
    return Trace(
        logits=np.log(np.stack([first, 1 - first], axis=2)),
        labels=np.zeros(4, np.int64),
        embeddings=np.zeros((4, 1), np.float32),
        exits=("m", "n", "final"),
        exit_tiers=("mobile", "edge", "cloud"),
        tiers=("mobile", "edge", "cloud"),
        classes=("a", "b"),
    )


def test_a_cascade_by_hand() -> None:
    trace, strategy = trace_by_hand(), Confidence()
    strategy.fit(trace, TABLE)
    (setting,) = strategy.settings([0.75])
    result = replay(trace, strategy.policy(setting), COSTS, setting, keep_decisions=True)
    assert result.decisions is not None
    assert result.decisions.exit.tolist() == [0, 1, 2, 2]
    assert result.accuracy == 0.75
    assert result.cost == (1 + 4 + 10 + 10) / 4
    assert result.saving == 1 - 6.25 / 8
    assert result.tier_share == {"mobile": 0.25, "edge": 0.25, "cloud": 0.5}
    assert result.exit_share == {"m": 0.25, "n": 0.25, "final": 0.5}
    assert (result.samples, result.setting) == (4, setting)


def test_routing_costs_what_entering_there_costs() -> None:
    trace, strategy = trace_by_hand(), FixedTier()
    strategy.fit(trace, TABLE)
    found = sweep(trace, strategy, COSTS, [])
    assert [(result.cost, result.accuracy) for result in found] == [(1.0, 0.5), (3.0, 0.5), (8.0, 0.75)]


def test_only_strategies_that_look_at_embeddings_pay_the_router() -> None:
    trace = synthetic_trace(50)
    for strategy, paid in ((Cartography(lambdas=(0.1,)), 0.5), (Random(), 0.0)):
        strategy.fit(trace, TABLE)
        policy = strategy.policy(strategy.settings([])[0])
        with_router, without = replay(trace, policy, COSTS), None
        policy = strategy.policy(strategy.settings([])[0])
        without = replay(trace, policy, replace(COSTS, router=0.0))
        assert with_router.cost - without.cost == pytest.approx(paid)


def test_the_full_model() -> None:
    found = full_model(trace_by_hand(), COSTS)
    assert (found.accuracy, found.cost, found.saving) == (0.75, 8.0, 0.0)
    assert found.tier_share == {"mobile": 0.0, "edge": 0.0, "cloud": 1.0}
    assert found.exit_share == {"m": 0.0, "n": 0.0, "final": 1.0}
    assert found.setting is None


def test_nothing_is_saved_where_everything_is_free() -> None:
    free = Costs(np.where(np.isinf(TABLE), np.inf, 0.0), full_model=0.0)
    assert full_model(trace_by_hand(), free).saving == 0.0


def counts_one_by_one(certainty: np.ndarray, correct: np.ndarray, thresholds: np.ndarray) -> tuple[list, list]:
    leaving, right = [], []
    for threshold in thresholds:
        row, hits = [0] * correct.shape[1], 0
        for sample in range(len(correct)):
            exits = [k for k in range(certainty.shape[1]) if certainty[sample, k] >= threshold]
            left = exits[0] if exits else correct.shape[1] - 1
            row[left] += 1
            hits += bool(correct[sample, left])
        leaving.append(row)
        right.append(hits)
    return leaving, right


VALUES = st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 0.3, 0.5, 0.5000000000000001, 0.9, 1.0])


@given(data=st.data(), samples=st.integers(0, 8), exits=st.integers(1, 5), settings=st.integers(0, 6))
def test_counting_all_thresholds_at_once_is_exact(data: st.DataObject, samples: int, exits: int, settings: int) -> None:
    size = samples * (exits - 1)
    certainty = np.array(data.draw(st.lists(VALUES, min_size=size, max_size=size)), np.float64)
    correct = data.draw(st.lists(st.booleans(), min_size=samples * exits, max_size=samples * exits))
    thresholds = np.array(data.draw(st.lists(VALUES, min_size=settings, max_size=settings)), np.float64)
    certainty = certainty.reshape(samples, exits - 1)
    right = np.array(correct, bool).reshape(samples, exits)
    leaving, hits = leaving_counts(certainty, right, thresholds)
    expected = counts_one_by_one(certainty, right, thresholds)
    assert (leaving.tolist(), hits.tolist()) == expected


@pytest.mark.parametrize("strategy", [Confidence(), Entropy()])
@pytest.mark.parametrize(
    "exit_tiers", [("mobile", "mobile", "edge", "edge", "cloud", "cloud"), ("edge", "cloud"), ("cloud",)]
)
def test_the_sweep_equals_replay_to_the_last_bit(strategy: Strategy, exit_tiers: tuple[str, ...]) -> None:
    trace = synthetic_trace(500, exit_tiers, classes=3)
    table = example_costs(trace) ** 1.37
    costs = Costs(table, full_model=3.3)
    strategy.fit(trace, table)
    grid = [1.0, 0.0, *np.random.default_rng(0).random(40).tolist(), 0.5, 0.5]
    fast = sweep(trace, strategy, costs, grid)
    plain = [replay(trace, strategy.policy(s), costs, s) for s in strategy.settings(grid)]
    assert fast == plain


def test_what_does_not_belong_together_is_refused() -> None:
    trace, strategy = synthetic_trace(5, ("mobile", "cloud")), Confidence()
    strategy.fit(trace, example_costs(trace))
    for attempt in (
        lambda: sweep(trace, strategy, COSTS, [0.5]),
        lambda: replay(trace, strategy.policy(strategy.settings([0.5])[0]), COSTS),
        lambda: full_model(trace, COSTS),
    ):
        with pytest.raises(DispatchError, match="3 tiers and 3 exits, the trace has 3 and 2"):
            attempt()
    empty = trace_by_hand().select(np.array([], dtype=np.int64))
    with pytest.raises(DispatchError, match="holds no samples"):
        full_model(empty, COSTS)
