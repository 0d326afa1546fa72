"""Temperatures: found where they are known, least likelihood, odd traces; answers never turn."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from ten_samples import TEN

from edgepart.dispatch.base import CostTable, Policy, Setting, State, Strategy
from edgepart.dispatch.options import strategy as strategy_named
from edgepart.dispatch.temperature import BOUNDS, ScaledPolicy, calibration_error, temperatures
from edgepart.dispatch.threshold import ThresholdStrategy
from edgepart.dispatch.trace import Trace
from edgepart.testing.strategies import GRID, StrategyContract, example_costs
from edgepart.testing.traces import synthetic_trace


def drawn(samples: int, sizes: tuple[float, ...], classes: int = 4, seed: int = 0) -> Trace:
    """Labels drawn from the softmax of logits that are then multiplied, exit by exit."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (samples, classes))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) < generator.random((samples, 1))).sum(axis=1)
    return Trace(
        logits=(logits[:, None] * np.array(sizes)[:, None]).astype(np.float32),
        labels=np.minimum(labels, classes - 1),
        embeddings=np.zeros((samples, 1), np.float32),
        exits=tuple(f"x{index}" for index in range(len(sizes))),
        exit_tiers=("m",) * len(sizes),
        tiers=("m",),
        classes=tuple(str(index) for index in range(classes)),
    )


def likelihood(trace: Trace, index: int, temperature: float) -> float:
    logits = trace.logits[:, index].astype(np.float64) / temperature
    logits -= logits.max(axis=1, keepdims=True)
    return float((np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(trace)), trace.labels]).sum())


def test_known_temperatures_are_found() -> None:
    trace = drawn(20_000, (0.4, 1.0, 3.0))
    assert temperatures(trace) == pytest.approx([0.4, 1.0, 3.0], rel=0.04)
    before, after = calibration_error(trace), calibration_error(trace.scaled(temperatures(trace)))
    assert (before[[0, 2]] > 0.1).all()
    assert (after < 0.02).all()


def test_no_other_temperature_is_likelier() -> None:
    trace = synthetic_trace(500, classes=5, seed=1)
    for index, found in enumerate(temperatures(trace, prior=1e-9)):
        least = likelihood(trace, index, found)
        assert all(likelihood(trace, index, other) >= least - 1e-6 for other in np.geomspace(*BOUNDS, 400))


def test_an_exit_that_is_always_right_keeps_a_temperature_that_its_samples_can_tell_of() -> None:
    generator = np.random.default_rng(2)
    logits = np.zeros((100, 1, 2))
    logits[:, 0, 1] = generator.uniform(1, 5, 100)
    right = replace(drawn(100, (1.0,), classes=2), logits=logits, labels=np.ones(100, np.int64))
    (found,) = temperatures(right)
    (wrong,) = temperatures(replace(right, labels=np.zeros(100, np.int64)))
    assert 2 * BOUNDS[0] < found < 1 < wrong <= BOUNDS[1]


def test_one_class_no_samples_and_equal_logits_are_left_alone() -> None:
    one = drawn(20, (1.0, 2.0), classes=1)
    level = replace(one, logits=np.zeros((20, 2, 3)), classes=("a", "b", "c"))
    for trace in (one, level, level.select(np.zeros(0, np.int64))):
        assert temperatures(trace).tolist() == [1.0, 1.0]
    assert calibration_error(level.select(np.zeros(0, np.int64))).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("size", [1e4, 3e38])
def test_extreme_logits_give_finite_temperatures(size: float) -> None:
    trace = synthetic_trace(50, seed=3)
    extreme = replace(trace, logits=(np.sign(trace.logits) * size).astype(np.float32))
    found = temperatures(extreme)
    assert ((found >= BOUNDS[0]) & (found <= BOUNDS[1])).all()
    scaled = extreme.scaled(found)
    assert np.isfinite(scaled.probabilities).all()
    assert np.array_equal(scaled.correct, extreme.correct)


def test_scaling_turns_no_answer() -> None:
    """Neighbours in float32, of which the second is larger, would become equal when divided in float32."""
    low = np.float32(1.0) + np.arange(64, dtype=np.float32) / 64
    logits = np.stack([low, np.nextafter(low, np.float32(3))], axis=1)[:, None, :]
    trace = replace(
        drawn(64, (1.0,), classes=2),
        logits=logits,
        labels=np.ones(64, np.int64),
    )
    collapsed = (logits / np.float32(3)).argmax(axis=-1)
    assert (collapsed == 0).any()
    assert trace.scaled(np.array([3.0])).correct.all()


def test_scaling_divides_every_exit_by_its_own() -> None:
    scaled = TEN.scaled(np.array([1.0, 2.0, 4.0, 0.5]))
    assert scaled.logits[:, 2] == pytest.approx(TEN.logits[:, 2] / 4)
    root = np.sqrt(np.array([0.95, 0.03, 0.02]))
    assert scaled.probabilities[0, 1] == pytest.approx(root / root.sum())
    assert np.array_equal(scaled.correct, TEN.correct)
    assert np.array_equal(scaled.labels, TEN.labels)


@pytest.mark.parametrize("given", [[1.0], [1.0, 1.0, 0.0, 1.0], [1.0, 1.0, np.nan, 1.0], [1.0, -1.0, 1.0, 1.0]])
def test_other_temperatures_are_refused(given: list[float]) -> None:
    with pytest.raises(ValueError, match="expected 4 finite ones above 0"):
        TEN.scaled(np.array(given))


def test_the_calibration_error_by_hand() -> None:
    """In tenths: .95 twice and right once, .62 and .68 right and wrong, .55 right."""
    best = np.array([0.95, 0.95, 0.62, 0.68, 0.55])
    logits = np.log(np.stack([best, 1 - best], axis=1))[:, None]
    trace = replace(drawn(5, (1.0,), classes=2), logits=logits, labels=np.array([0, 1, 0, 1, 0]))
    wanted = (abs(1.9 - 1) + abs(1.3 - 1) + abs(0.55 - 1)) / 5
    assert calibration_error(trace, bins=10).tolist() == pytest.approx([wanted])


class Warmed(Strategy):
    """A strategy on a trace that is scaled by temperatures, as a bundle answers by it."""

    def __init__(self, base: str) -> None:
        self.name, self._base = f"warmed {base}", strategy_named(base)

    def fit(self, validation: Trace, costs: CostTable) -> None:
        self._found = temperatures(validation)
        self._base.fit(validation.scaled(self._found), costs)

    def settings(self, grid: Sequence[float]) -> list[Setting]:
        return self._base.settings(grid)

    def policy(self, setting: Setting) -> Policy:
        return ScaledPolicy(self._base.policy(setting), self._found)


class TestScaledConfidence(StrategyContract):
    def strategy(self) -> Strategy:
        return Warmed("confidence")


class TestScaledEnsemble(StrategyContract):
    """Which looks at all exits so far, each with its own temperature."""

    def strategy(self) -> Strategy:
        return Warmed("ensemble")


class TestScaledSplitEE(StrategyContract):
    """Which is told what came of a sample."""

    order_free = False

    def strategy(self) -> Strategy:
        return Warmed("splitee-s")


class TestScaledCentroids(StrategyContract):
    order_free = False

    def strategy(self) -> Strategy:
        return Warmed("cartography-adaptive:drift=page-hinkley")


def test_a_scaled_policy_forwards_what_is_asked_of_a_policy() -> None:
    trace = synthetic_trace(300, classes=3, seed=4)
    made = strategy_named("cartography-adaptive:drift=page-hinkley")
    made.fit(trace, example_costs(trace))
    policy = made.policy(made.settings(GRID)[0])
    scaled = ScaledPolicy(policy, np.full(len(trace.exits), 2.0))
    assert (scaled.uses_embedding, scaled.order_free) == (policy.uses_embedding, policy.order_free) == (True, False)
    assert scaled.alarms is not None
    scaled.decide(trace)
    assert scaled.alarms == policy.alarms


def test_decisions_about_huge_logits_rest_on_the_logits() -> None:
    """In float32 the smaller class has a probability of 0 at every exit; of what is left, no temperature could tell."""
    logits = np.array([[[400.0, 0.0], [0.0, 0.0]], [[200.0, 0.0], [0.0, 0.0]]], np.float32)
    trace = replace(
        drawn(2, (1.0, 1.0), classes=2), logits=logits, labels=np.zeros(2, np.int64), embeddings=np.zeros((2, 1))
    )
    made = strategy_named("confidence")
    assert isinstance(made, ThresholdStrategy)
    made.fit(trace, example_costs(trace))
    policy = ScaledPolicy(made.policy(made.one(1 / (1 + np.exp(-15.0)))), np.array([20.0, 1.0]))
    assert policy.decide(trace).exit.tolist() == [0, 1]


@pytest.mark.parametrize("name", ["confidence", "ensemble", "patience"])
def test_asked_with_logits_it_decides_as_about_a_trace(name: str) -> None:
    trace = synthetic_trace(200, classes=4, seed=3)
    found = np.geomspace(0.3, 3.0, len(trace.exits))
    made = strategy_named(name)
    made.fit(trace.scaled(found), example_costs(trace))
    for setting in made.settings((0.35, 0.6, 0.85)):
        policy = ScaledPolicy(made.policy(setting), found)
        decided = policy.decide(trace).exit
        for sample in range(len(trace)):
            met = trace.probabilities[sample].astype(np.float64)
            asked = (
                policy.leaves(index, trace.logits[sample, index], State(earlier=tuple(met[:index])))
                for index in range(len(found) - 1)
            )
            assert next((index for index, leaves in enumerate(asked) if leaves), len(found) - 1) == decided[sample]
