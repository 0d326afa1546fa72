"""Learned and ensemble: fits against their definitions, ten samples by hand, and cross-fitting."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logsumexp
from ten_samples import COSTS, TEN

from edgepart.dispatch.base import Strategy
from edgepart.dispatch.confidence import Confidence
from edgepart.dispatch.crossfit import CrossFitted
from edgepart.dispatch.ensemble import Ensemble, Weighed
from edgepart.dispatch.learned import Learned, Logistic
from edgepart.dispatch.options import strategy as made_of
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError
from edgepart.evaluation.costs import Costs
from edgepart.evaluation.replay import rehearse, replay, sweep
from edgepart.testing.strategies import example_costs
from edgepart.testing.traces import synthetic_trace

PRICES = Costs(table=COSTS, full_model=10.0)
#: so strong that nothing is learnt but what it draws towards
FIRM = 1e9


def decided(strategy: Strategy, threshold: float, trace: Trace = TEN) -> list[int]:
    strategy.fit(trace, COSTS)
    return strategy.policy(strategy.settings([threshold])[0]).decide(trace).exit.tolist()


def test_the_logistic_model_finds_what_its_samples_were_made_with() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.normal(2, 3, 40_000), generator.uniform(0, 1, 40_000)
    right = generator.random(40_000) < expit(-1 + 0.7 * first - 2 * second)
    found = Logistic.of((first, second), right, ridge=1.0)
    assert (found.intercept, *found.weights) == pytest.approx((-1, 0.7, -2), abs=0.1)


def test_the_logistic_model_is_at_its_least_loss() -> None:
    generator = np.random.default_rng(1)
    features = generator.normal(0, 1, (2, 200))
    features = (features - features.mean(axis=1, keepdims=True)) / features.std(axis=1, keepdims=True)
    right = generator.random(200) < expit(features[0])
    hits = right.sum()
    wanted = np.where(right, (hits + 1) / (hits + 2), 1 / (200 - hits + 2))

    def loss(intercept: float, weights: np.ndarray) -> float:
        chance = expit(intercept + weights @ features)
        entropy = -(wanted * np.log(chance) + (1 - wanted) * np.log(1 - chance)).sum()
        return float(entropy + 3.0 / 2 * (weights**2).sum())

    found = Logistic.of(tuple(features), right, ridge=3.0)
    least = loss(found.intercept, np.array(found.weights))
    for step in generator.normal(0, 0.05, (50, 3)):
        assert loss(found.intercept + step[0], np.array(found.weights) + step[1:]) > least


@pytest.mark.parametrize(("right", "chance"), [([True] * 8, 9 / 10), ([False] * 8, 1 / 10)])
def test_an_exit_that_is_always_right_or_wrong_stays_finite(right: list[bool], chance: float) -> None:
    feature = np.linspace(0, 1, 8)
    found = Logistic.of((feature,), np.array(right), ridge=1.0)
    assert found.probability((feature,)) == pytest.approx(chance, abs=1e-3)


def test_learned_by_hand() -> None:
    """Held to a constant: exits x0 and x1 are right on 5 of 10 (.5), x2 on 8 (8 · 9/10 + 2 · 1/4 = 7.7 of 10)."""
    strategy = Learned(regularisation=FIRM)
    strategy.fit(TEN, COSTS)
    assert strategy.certainties(TEN) == pytest.approx(np.tile([0.5, 0.5, 0.77], (10, 1)), abs=1e-4)
    assert [decided(strategy, t) for t in (0.49, 0.7, 0.8)] == [[0] * 10, [2] * 10, [3] * 10]
    result = replay(TEN, strategy.policy(strategy.settings([0.7])[0]), PRICES)
    assert (result.cost, result.accuracy) == (4.0, 0.8)


def test_a_shared_model_pools_the_exits() -> None:
    """18 of 30 right: (18 · 19/20 + 12 · 1/14) / 30."""
    strategy = Learned("shared", regularisation=FIRM)
    strategy.fit(TEN, COSTS)
    assert strategy.certainties(TEN) == pytest.approx((18 * 19 / 20 + 12 / 14) / 30, abs=1e-4)


def test_an_exit_that_is_sure_and_wrong_is_not_trusted() -> None:
    generator = np.random.default_rng(2)
    labels = generator.integers(0, 2, 2000)
    told = np.stack([generator.integers(0, 2, 2000), np.where(generator.random(2000) < 0.95, labels, 1 - labels)], 1)
    logits = np.zeros((2000, 3, 2))
    logits[np.arange(2000)[:, None], [[0, 1]], told] = generator.uniform(4, 8, (2000, 2))
    trace = Trace(
        logits, labels, np.zeros((2000, 1), np.float32), ("x0", "x1", "final"), ("m", "e", "c"), ("m", "e", "c"),
        ("a", "b"),
    )  # fmt: skip
    assert set(decided(Confidence(), 0.8, trace)) == {0}
    assert set(decided(Learned(), 0.8, trace)) == {1}


def test_what_was_learnt_says_how_often_the_exit_is_right() -> None:
    seen, new = (synthetic_trace(4000, seed=seed) for seed in (0, 1))
    strategy = Learned()
    strategy.fit(seen, example_costs(seen))
    certainty = strategy.certainties(new)
    for index in range(2):
        for tenth in np.array_split(np.argsort(certainty[:, index]), 10):
            rate, said = new.correct[tenth, index].mean(), certainty[tenth, index].mean()
            assert rate == pytest.approx(said, abs=0.08), index


def test_the_ensemble_multiplies_powers() -> None:
    first, second = np.array([0.7, 0.2, 0.1]), np.array([0.3, 0.6, 0.1])
    both = Weighed(np.array([0.5, 2.0]), np.log([1.0, 1.0, 3.0]))
    wanted = np.array([1, 1, 3]) * first**0.5 * second**2
    assert both.probabilities(np.log([first, second])) == pytest.approx(wanted / wanted.sum())


def test_the_ensemble_is_at_its_least_loss() -> None:
    generator = np.random.default_rng(3)
    trace = synthetic_trace(300, classes=3, seed=3)
    logs = trace.log_probabilities[:, :2].astype(np.float64)

    def loss(weights: np.ndarray, factors: np.ndarray) -> float:
        scores = factors + (weights[:, None] * logs).sum(axis=1)
        picked = scores[np.arange(300), trace.labels]
        departures = (weights[0] ** 2 + (weights[1] - 1) ** 2) + (factors**2).sum()
        return float((logsumexp(scores, axis=1) - picked).sum() + 2.0 / 2 * departures)

    found = Weighed.of(logs, trace.labels, ridge=2.0)
    least = loss(found.weights, found.log_factors)
    assert (found.weights >= 0).all()
    for step in generator.normal(0, 0.03, (50, 5)):
        assert loss(np.maximum(found.weights + step[:2], 0), found.log_factors + step[2:]) > least


def test_an_exit_that_says_the_opposite_gets_no_weight() -> None:
    trace = synthetic_trace(500, seed=4)
    opposite = replace(trace, logits=np.stack([-trace.logits[:, 2], *[trace.logits[:, 2] / 4] * 2], axis=1))
    found = Weighed.of(opposite.log_probabilities[:, :2].astype(np.float64), trace.labels, ridge=1.0)
    assert found.weights[0] == 0 < found.weights[1]


def test_an_ensemble_held_to_the_exit_alone_is_confidence() -> None:
    for of in ("largest", "answer"):
        for threshold in (0.0, 0.47, 0.72, 0.93, 1.1):
            assert decided(Ensemble(of, FIRM), threshold) == decided(Confidence(), threshold)  # type: ignore[arg-type]
    strategy = Ensemble(regularisation=FIRM)
    strategy.fit(TEN, COSTS)
    result = replay(TEN, strategy.policy(strategy.settings([0.72])[0]), PRICES)
    # s0 and s6 leave at x0, s4 at x1, s1 and s7 at x2, the other five at the end
    assert (result.cost, result.accuracy) == (pytest.approx((2 * 1 + 2 + 2 * 4 + 5 * 10) / 10), 0.8)


def test_the_ensembles_own_answer_may_be_another_than_the_exits() -> None:
    trace = synthetic_trace(500, seed=5)
    largest, answer = Ensemble("largest"), Ensemble("answer")
    for strategy in (largest, answer):
        strategy.fit(trace, example_costs(trace))
    gap = largest.certainties(trace) - answer.certainties(trace)
    assert (gap >= 0).all()
    assert (gap > 0).any()


@pytest.mark.parametrize("text", ["learned", "learned:model=shared", "ensemble", "ensemble:of=answer"])
def test_no_sample_is_rehearsed_with_a_model_that_has_seen_its_label(text: str) -> None:
    trace = synthetic_trace(40, classes=3, seed=6)
    other = replace(trace, labels=np.concatenate([(trace.labels[:1] + 1) % 3, trace.labels[1:]]))
    first, second = made_of(text), made_of(text)
    assert isinstance(first, CrossFitted)
    assert isinstance(second, CrossFitted)
    first.fit(trace, example_costs(trace))
    second.fit(other, example_costs(trace))
    assert np.array_equal(first.rehearsed(trace)[0], second.rehearsed(other)[0])
    assert not np.array_equal(first.rehearsed(trace)[1:], second.rehearsed(other)[1:])
    assert not np.array_equal(first.certainties(trace)[0], second.certainties(other)[0])


@pytest.mark.parametrize("text", ["learned", "ensemble"])
def test_settings_are_chosen_by_what_was_rehearsed(text: str) -> None:
    trace = synthetic_trace(60, seed=7)
    costs = Costs(table=example_costs(trace), full_model=4.0)
    strategy = made_of(text)
    assert isinstance(strategy, CrossFitted)
    strategy.fit(trace, costs.table)
    grid = np.linspace(0.5, 1, 26).tolist()
    rehearsed = rehearse(trace, strategy, costs, grid)
    for setting, result in zip(strategy.settings(grid), rehearsed, strict=True):
        left = strategy.rehearse(setting, trace).exit
        assert result.accuracy == trace.correct[np.arange(60), left].mean()
    assert [one.cost for one in rehearsed] != [one.cost for one in sweep(trace, strategy, costs, grid)]


def test_a_model_flatters_itself_on_few_samples_and_cross_fitting_does_not() -> None:
    """Labels by lot, and what the certainties lose on the model's own samples, as rehearsed, and on new samples."""

    def by_lot(samples: int, seed: int) -> Trace:
        return replace(
            synthetic_trace(samples, seed=seed), labels=np.random.default_rng(seed + 1000).integers(0, 2, samples)
        )

    def loss(certainty: np.ndarray, trace: Trace) -> float:
        return -float(np.log(np.where(trace.correct[:, :-1], certainty, 1 - certainty)).mean())

    new = by_lot(2000, seed=99)
    losses = []
    for seed in range(30):
        trace, strategy = by_lot(40, seed), Learned(regularisation=0.1)
        strategy.fit(trace, example_costs(trace))
        losses.append([loss(strategy.certainties(trace), trace), loss(strategy.rehearsed(trace), trace),
                       loss(strategy.certainties(new), new)])  # fmt: skip
    own, rehearsed, really = np.mean(losses, axis=0)
    assert own < really - 0.05
    assert abs(rehearsed - really) < 0.025


@pytest.mark.parametrize("name", ["learned", "ensemble"])
def test_what_cannot_be_rehearsed_is_said(name: str) -> None:
    strategy = made_of(f"{name}:folds=1")
    assert isinstance(strategy, CrossFitted)
    strategy.fit(TEN, COSTS)
    assert "which look better than new ones" in strategy.warnings[0]
    assert np.array_equal(strategy.rehearsed(TEN), strategy.certainties(TEN))
    with pytest.raises(DispatchError, match="on another trace"):
        strategy.rehearsed(TEN.select(np.arange(10)))
    with pytest.raises(DispatchError, match="holds no samples"):
        strategy.fit(TEN.select(np.zeros(0, np.int64)), COSTS)


@pytest.mark.parametrize(
    "given", ["learned:folds=0", "learned:regularisation=0", "ensemble:regularisation=nan", "ensemble:floor=1"]
)
def test_other_numbers_are_refused(given: str) -> None:
    with pytest.raises(DispatchError, match="expected"):
        made_of(given)
