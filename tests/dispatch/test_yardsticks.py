"""Random, fixed-tier and the oracle."""

import numpy as np
import pytest

from edgepart.dispatch.base import State
from edgepart.dispatch.fixed_tier import FixedTier
from edgepart.dispatch.oracle import Oracle
from edgepart.dispatch.random import Random
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError
from edgepart.testing.strategies import example_costs
from edgepart.testing.traces import synthetic_trace


def test_random_shares_are_what_was_asked_for() -> None:
    trace = synthetic_trace(40_000, dimension=1, epochs=0)
    strategy = Random(seed=1)
    strategy.fit(trace, example_costs(trace))
    setting = strategy.setting({"mobile": 5, "edge": 3, "cloud": 2})
    decisions = strategy.policy(setting).decide(trace)
    assert np.bincount(decisions.entry) / len(trace) == pytest.approx([0.5, 0.3, 0.2], abs=0.01)
    assert (decisions.exit == decisions.entry).all()
    assert setting.label == "mobile 50.0% edge 30.0% cloud 20.0%"


def test_random_is_repeated_by_its_seed_and_changed_by_another() -> None:
    trace = synthetic_trace(200)
    first, again, other = (Random(seed) for seed in (1, 1, 2))
    drawn = []
    for strategy in (first, again, other):
        strategy.fit(trace, example_costs(trace))
        drawn.append(strategy.policy(strategy.settings([])[0]).decide(trace).entry.tolist())
    assert drawn[0] == drawn[1] != drawn[2]


def test_random_curve_runs_from_the_first_tier_to_the_last() -> None:
    trace = synthetic_trace(5)
    strategy = Random()
    strategy.fit(trace, example_costs(trace))
    shares = [dict(setting.values) for setting in strategy.settings([])]
    assert shares[0] == pytest.approx({"mobile": 1 / 3, "edge": 1 / 3, "cloud": 1 / 3})
    assert (shares[1], shares[-1]) == ({"mobile": 1.0}, {"cloud": 1.0})
    assert len(shares) == 10


def test_a_share_of_a_tier_without_exit_goes_up() -> None:
    trace = synthetic_trace(1000, ("mobile", "cloud"))
    strategy = Random()
    strategy.fit(trace, example_costs(trace))
    decisions = strategy.policy(strategy.setting({"mobile": 1, "edge": 1})).decide(trace)
    assert set(decisions.entry.tolist()) == {0, 2}
    assert (decisions.exit == np.where(decisions.entry == 0, 0, 1)).all()


def test_fixed_tier_leaves_at_the_tiers_last_exit() -> None:
    trace = synthetic_trace(4, ("mobile", "mobile", "cloud", "cloud"))
    strategy = FixedTier()
    strategy.fit(trace, example_costs(trace))
    found = {s.label: strategy.policy(s).decide(trace) for s in strategy.settings([0.5])}
    assert {name: (d.entry[0], d.exit[0]) for name, d in found.items()} == {"mobile": (0, 1), "cloud": (2, 3)}
    policy = strategy.policy(strategy.settings([])[1])
    assert [policy.at_exit(k, np.array([0.5, 0.5]), State()) for k in range(3)] == [False, True, False]


def oracle_trace(correct: list[list[bool]]) -> Trace:
    right = np.array(correct)
    return Trace(
        logits=np.stack([right, ~right], axis=2).astype(np.float32),
        labels=np.zeros(len(right), np.int64),
        embeddings=np.zeros((len(right), 1), np.float32),
        exits=("m", "n", "final"),
        exit_tiers=("mobile", "edge", "cloud"),
        tiers=("mobile", "edge", "cloud"),
        classes=("a", "b"),
    )


ANSWERS = [[True, True, True], [False, True, True], [True, False, False], [False, False, True], [False, False, False]]


def test_the_oracle_takes_the_cheapest_right_exit_or_the_final_one() -> None:
    trace = oracle_trace(ANSWERS)
    costs = np.array([[6.0, 14.5, 31.64], [np.inf, 8.5, 25.64], [np.inf, np.inf, 17.14]])
    strategy = Oracle()
    strategy.fit(trace, costs)
    decisions = strategy.policy(strategy.settings([])[0]).decide(trace)
    assert decisions.exit.tolist() == [0, 1, 0, 2, 2]
    assert decisions.entry.tolist() == [0, 1, 0, 2, 2]


def test_the_oracle_goes_to_the_cloud_where_that_is_cheapest() -> None:
    trace = oracle_trace(ANSWERS)
    costs = np.array([[6.0, 14.5, 17.5], [np.inf, 8.5, 11.5], [np.inf, np.inf, 3.0]])
    strategy = Oracle()
    strategy.fit(trace, costs)
    assert strategy.policy(strategy.settings([])[0]).decide(trace).exit.tolist() == [2, 2, 0, 2, 2]


def test_the_oracle_does_not_serve() -> None:
    trace = oracle_trace(ANSWERS)
    strategy = Oracle()
    strategy.fit(trace, example_costs(trace))
    policy = strategy.policy(strategy.settings([])[0])
    assert not strategy.deployable
    with pytest.raises(DispatchError, match="needs the labels"):
        policy.admit(trace.embeddings[0], State())
    with pytest.raises(DispatchError, match="needs the labels"):
        policy.at_exit(0, np.array([0.5, 0.5]), State())
