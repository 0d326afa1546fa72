"""Confidence and entropy: formulas by hand, exact thresholds, extreme logits."""

import math
from dataclasses import replace

import numpy as np
import pytest

from edgepart.dispatch.base import State
from edgepart.dispatch.confidence import Confidence
from edgepart.dispatch.entropy import Entropy
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError
from edgepart.testing.traces import synthetic_trace


def trace_of(probabilities: list[list[list[float]]], exit_tiers: tuple[str, ...] = ("m", "e", "c")) -> Trace:
    logits = np.log(np.array(probabilities, dtype=np.float64))
    samples, exits, classes = logits.shape
    return Trace(
        logits=logits,
        labels=np.zeros(samples, np.int64),
        embeddings=np.zeros((samples, 1), np.float32),
        exits=tuple(f"x{number}" for number in range(exits)),
        exit_tiers=exit_tiers,
        tiers=("m", "e", "c"),
        classes=tuple(str(number) for number in range(classes)),
    )


BY_HAND = trace_of(
    [
        [[0.95, 0.05], [0.5, 0.5], [0.6, 0.4]],
        [[0.6, 0.4], [0.2, 0.8], [0.6, 0.4]],
        [[0.6, 0.4], [0.7, 0.3], [0.99, 0.01]],
    ]
)
COSTS = np.array([[1.0, 2.0, 3.0], [np.inf, 2.0, 3.0], [np.inf, np.inf, 3.0]])


@pytest.mark.parametrize(
    ("threshold", "exits"),
    [(0.0, [0, 0, 0]), (0.55, [0, 0, 0]), (0.7, [0, 1, 1]), (0.75, [0, 1, 2]), (0.9, [0, 2, 2]), (1.1, [2, 2, 2])],
)
def test_confidence_by_hand(threshold: float, exits: list[int]) -> None:
    strategy = Confidence()
    strategy.fit(BY_HAND, COSTS)
    (setting,) = strategy.settings([threshold])
    decisions = strategy.policy(setting).decide(BY_HAND)
    assert decisions.exit.tolist() == exits
    assert decisions.entry.tolist() == [0, 0, 0]
    assert setting.label == f"{threshold:g}"


def entropy_of(probability: float) -> float:
    return -probability * math.log(probability) - (1 - probability) * math.log(1 - probability)


def test_entropy_is_a_fraction_of_its_largest_value_or_in_nats() -> None:
    for scale, limit in (("fraction", entropy_of(0.8) / math.log(2)), ("nats", entropy_of(0.8))):
        strategy = Entropy(scale)  # type: ignore[arg-type]
        strategy.fit(BY_HAND, COSTS)
        below, above = strategy.settings([limit - 1e-9, limit + 1e-9])
        assert strategy.policy(below).decide(BY_HAND).exit.tolist() == [0, 2, 2]
        assert strategy.policy(above).decide(BY_HAND).exit.tolist() == [0, 1, 2]
        assert above["entropy_nats"] == pytest.approx(entropy_of(0.8))


def test_the_full_fraction_lets_every_sample_leave_at_once() -> None:
    even = trace_of([[[0.25] * 4, [0.25] * 4, [0.25] * 4]])
    strategy = Entropy()
    strategy.fit(even, COSTS)
    (setting,) = strategy.settings([1.0 + 1e-12])
    assert strategy.policy(setting).decide(even).exit.tolist() == [0]


@pytest.mark.parametrize("size", [120.0, 1e4, 3e38])
def test_the_surest_samples_leave_whatever_their_logits(size: float) -> None:
    """Entropy from raw logits is NaN here, so that the most confident samples never leave."""
    trace = replace(
        BY_HAND,
        logits=np.array([[[size, -size, 0.0]] * 3], np.float32),
        labels=np.zeros(1, np.int64),
        embeddings=np.zeros((1, 1), np.float32),
        classes=("0", "1", "2"),
    )
    with np.errstate(over="ignore"):
        for strategy, grid in ((Entropy(), 0.001), (Confidence(), 0.999)):
            strategy.fit(trace, COSTS)
            policy = strategy.policy(strategy.settings([grid])[0])
            assert policy.decide(trace).exit.tolist() == [0]
            assert policy.at_exit(0, np.array([1.0, 0.0, 0.0]), State())


def test_a_threshold_is_met_in_double_precision() -> None:
    """float32(0.9) is below 0.9: the array path must not round the threshold to the precision of the trace."""
    strategy = Confidence()
    strategy.fit(BY_HAND, COSTS)
    policy = strategy.policy(strategy.settings([0.9])[0])
    assert not policy.at_exit(0, np.array([np.float32(0.9), np.float32(0.1)]), State())
    assert policy.at_exit(0, np.array([0.9, 0.1]), State())


def test_a_cascade_enters_at_the_first_tier_with_an_exit() -> None:
    trace = trace_of([[[0.95, 0.05], [0.5, 0.5], [0.6, 0.4]]], exit_tiers=("e", "e", "c"))
    strategy = Confidence()
    strategy.fit(trace, COSTS)
    policy = strategy.policy(strategy.settings([0.9])[0])
    assert policy.admit(np.zeros(1, np.float32), State()) == 1
    assert policy.decide(trace).entry.tolist() == [1]


def test_a_single_exit_takes_every_sample() -> None:
    trace = synthetic_trace(10, ("cloud",))
    strategy = Confidence()
    strategy.fit(trace, np.ones((3, 1)))
    assert strategy.policy(strategy.settings([0.5])[0]).decide(trace).exit.tolist() == [0] * 10


def test_a_trace_of_another_plan_is_refused() -> None:
    strategy = Confidence()
    strategy.fit(BY_HAND, COSTS)
    policy = strategy.policy(strategy.settings([0.5])[0])
    with pytest.raises(DispatchError, match="fitted on exits in m, e, c, but this trace has exits in e, e, c"):
        policy.decide(trace_of([[[0.9, 0.1], [0.5, 0.5], [0.6, 0.4]]], exit_tiers=("e", "e", "c")))


def test_every_exit_may_have_a_threshold_of_its_own() -> None:
    for strategy, given in (
        (Confidence(), {"x0": 0.95, "x1": 0.7}),
        (Entropy("nats"), {"x0": entropy_of(0.95) + 1e-9, "x1": entropy_of(0.7) + 1e-9}),
    ):
        strategy.fit(BY_HAND, COSTS)
        setting = strategy.each(given)
        assert strategy.policy(setting).decide(BY_HAND).exit.tolist() == [0, 1, 1]
        assert list(setting.values) == [(f"at {name}", value) for name, value in given.items()]
    assert setting.label.startswith("x0 ")


@pytest.mark.parametrize("given", [{}, {"x0": 0.5}, {"x0": 0.5, "x1": 0.5, "x2": 0.5}, {"x0": 0.5, "final": 0.5}])
def test_thresholds_of_other_exits_are_refused(given: dict[str, float]) -> None:
    strategy = Confidence()
    strategy.fit(BY_HAND, COSTS)
    with pytest.raises(DispatchError, match="the network has x0, x1: give one for each"):
        strategy.each(given)
