"""The learned router: its contract, its models, and that it is honest about what it has learnt from."""

from dataclasses import replace

import numpy as np
import pytest

from edgepart.dispatch.base import Setting, Strategy
from edgepart.dispatch.embedding_space import EmbeddingSpace
from edgepart.dispatch.layout import Layout, walk
from edgepart.dispatch.learned_router import LearnedRouter, cheaper_tiers
from edgepart.dispatch.options import construct
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError, MissingExtra, UnknownName
from edgepart.evaluation import selection
from edgepart.evaluation.costs.base import Costs
from edgepart.evaluation.replay import rehearse, replay, sweep
from edgepart.testing.strategies import StrategyContract, example_costs
from edgepart.testing.traces import synthetic_trace

MODELS = ("logistic", "neighbours", "boosting")
#: mobile 6, edge 8.5, cloud 17.14 when entered at
COSTS = np.array([[6.0, 14.5, 31.64], [np.inf, 8.5, 25.64], [np.inf, np.inf, 17.14]])


class TestLogistic(StrategyContract):
    def strategy(self) -> Strategy:
        return LearnedRouter()


class TestNeighbours(StrategyContract):
    def strategy(self) -> Strategy:
        return LearnedRouter("neighbours", target="right", embedding="whitened", nearest=7)


class TestBoosting(StrategyContract):
    def strategy(self) -> Strategy:
        return LearnedRouter("boosting", embedding="none", trees=3)


def ten_samples() -> Trace:
    """At x = 0 … 9: mobile agrees with the final exit up to 3, the edge up to 6; the final exit is wrong at 9 only."""
    place = np.arange(10)
    right = np.stack([place <= 3, place <= 6, place <= 8], axis=1)
    return Trace(
        logits=np.stack([right, ~right], axis=2).astype(np.float32),
        labels=np.zeros(10, np.int64),
        embeddings=place[:, None].astype(np.float32),
        exits=("m", "n", "final"),
        exit_tiers=("mobile", "edge", "cloud"),
        tiers=("mobile", "edge", "cloud"),
        classes=("a", "b"),
    )


def fitted(strategy: LearnedRouter, trace: Trace, costs: np.ndarray | None = None) -> LearnedRouter:
    strategy.fit(trace, example_costs(trace) if costs is None else costs)
    return strategy


def at(threshold: float) -> Setting:
    return Setting("", (("probability", threshold),))


def test_paths_and_costs_by_hand() -> None:
    """Of the three nearest, agreeing on mobile: 1 1 1 2/3 1/3 0 0 0 0 and, as 9 agrees in being wrong, 1/3 1/3.

    At 8 and 9 the three nearest are 7, 8 and 9, of which mobile and edge agree with the final exit at 9 alone.
    """
    trace = ten_samples()
    strategy = fitted(LearnedRouter("neighbours", embedding="none", nearest=3), trace, COSTS)
    every = {
        0.3: [0, 0, 0, 0, 0, 1, 1, 1, 0, 0],
        0.6: [0, 0, 0, 0, 1, 1, 1, 2, 2, 2],
        0.9: [0, 0, 0, 1, 1, 1, 2, 2, 2, 2],
        1.1: [2] * 10,
    }
    table = Costs(COSTS, full_model=17.14, router=0.25)
    for threshold, entry in every.items():
        policy = strategy.policy(at(threshold))
        decisions = policy.decide(trace)
        assert decisions.entry.tolist() == decisions.exit.tolist() == entry
        assert walk(strategy.policy(at(threshold)), trace).entry.tolist() == entry
        paid = np.diag(COSTS)[entry].mean() + 0.25
        assert replay(trace, policy, table).cost == pytest.approx(paid)


def test_the_target_is_to_agree_or_to_be_right() -> None:
    """At 9 all exits are wrong alike: mobile agrees there, but is not right."""
    trace = ten_samples()
    chosen = {}
    for target in ("agree", "right"):
        strategy = fitted(LearnedRouter("neighbours", target, "none", nearest=1), trace, COSTS)  # type: ignore[arg-type]
        chosen[target] = strategy.policy(at(1.0)).decide(trace).entry.tolist()
    assert chosen["agree"] == [0, 0, 0, 0, 1, 1, 1, 2, 2, 0]
    assert chosen["right"] == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_rehearsal_asks_models_that_have_not_seen_the_sample() -> None:
    """Embeddings say nothing, each is its own nearest neighbour: on those it learnt, the router seems to know all."""
    noise = synthetic_trace(400, clustered=0.0, seed=2)
    strategy = fitted(LearnedRouter("neighbours", nearest=1), noise)
    agrees = noise.logits[:, 0].argmax(axis=1) == noise.logits[:, -1].argmax(axis=1)
    flattered = strategy.policy(at(1.0)).decide(noise).entry == 0
    honest = strategy.rehearse(at(1.0), noise).entry == 0
    assert np.array_equal(flattered, agrees)
    assert agrees[honest].mean() == pytest.approx(agrees.mean(), abs=0.06)


@pytest.mark.parametrize("model", MODELS)
def test_rehearsal_equals_fitting_by_hand_without_each_fold(model: str) -> None:
    trace = synthetic_trace(120, seed=4)
    strategy = fitted(LearnedRouter(model, folds=3, seed=5), trace)  # type: ignore[arg-type]
    rehearsed = strategy.rehearse(at(0.8), trace).entry
    for fold in np.array_split(np.random.default_rng(5).permutation(120), 3):
        others = np.setdiff1d(np.arange(120), fold)
        alone = fitted(LearnedRouter(model, folds=3, seed=5), trace.select(others))  # type: ignore[arg-type]
        assert np.array_equal(rehearsed[fold], alone.policy(at(0.8)).decide(trace.select(fold)).entry)


def test_settings_are_chosen_on_the_rehearsal() -> None:
    noise, test = synthetic_trace(300, clustered=0.0, seed=2), synthetic_trace(300, clustered=0.0, seed=3)
    costs = Costs(example_costs(noise), full_model=3.0)
    curve = selection.evaluate_strategy(LearnedRouter("neighbours", nearest=1), noise, test, costs, (0.5, 1.0))
    flattered = sweep(noise, curve.strategy, costs, (0.5, 1.0))
    assert list(curve.validation) == rehearse(noise, curve.strategy, costs, (0.5, 1.0))
    assert curve.validation[1].accuracy < flattered[1].accuracy - 0.03
    assert curve.validation[1].accuracy == pytest.approx(curve.test[1].accuracy, abs=0.06)


@pytest.mark.parametrize("model", MODELS)
def test_it_learns_where_embeddings_tell(model: str) -> None:
    """At the same share of samples kept on mobile, mobile is right more often than on a random share."""
    trace, test = synthetic_trace(600, clustered=3.0, seed=6), synthetic_trace(600, clustered=3.0, seed=6)
    strategy = fitted(LearnedRouter(model), trace)  # type: ignore[arg-type]
    agrees = test.logits[:, 0].argmax(axis=1) == test.logits[:, -1].argmax(axis=1)
    kept = strategy.rehearse(at(float(np.quantile(strategy._held_out[:, 0], 0.5))), test).entry == 0
    assert 0.3 < kept.mean() < 0.7
    assert agrees[kept].mean() > agrees.mean() + 0.05


def test_the_cheapest_tier_is_asked_first_and_dearer_ones_never() -> None:
    layout = Layout(("mobile", "edge", "cloud"), (0, 1, 2))
    assert cheaper_tiers(layout, COSTS) == (0, 1)
    assert cheaper_tiers(layout, np.diag([9.0, 8.5, 17.14])) == (1, 0)
    assert cheaper_tiers(layout, np.diag([9.0, 9.0, 17.14])) == (0, 1)
    assert cheaper_tiers(layout, np.diag([9.0, 2.0, 3.0])) == (1,)
    assert cheaper_tiers(layout, np.diag([3.0, 3.0, 3.0])) == ()


def test_a_free_cloud_gets_all_and_it_is_told() -> None:
    trace = ten_samples()
    strategy = fitted(LearnedRouter(), trace, np.diag([6.0, 8.5, 3.0]))
    assert strategy.warnings == ["no tier costs less than the last one, so every sample goes there"]
    assert strategy.policy(at(0.0)).decide(trace).entry.tolist() == [2] * 10
    strategy.fit(trace, COSTS)
    assert strategy.warnings == []


@pytest.mark.parametrize("model", MODELS)
def test_few_samples_and_events_without_exception(model: str) -> None:
    """None at all, one sample, all alike, one that stands alone: the rate after Laplace, and never a crash."""
    trace = ten_samples()
    for rows in ([], [0], [0, 1, 2], [0, 7], [3, 4, 4, 4, 4, 4], list(range(10))):
        few = trace.select(np.array(rows, np.int64))
        strategy = fitted(LearnedRouter(model), few, COSTS)  # type: ignore[arg-type]
        for setting in strategy.settings([0.0, 0.6, 1.0]):
            assert len(strategy.policy(setting).decide(trace).entry) == 10
            assert len(strategy.rehearse(setting, few).entry) == len(rows)
            assert len(strategy.policy(setting).decide(trace.select(np.array([], np.int64))).entry) == 0
    one = fitted(LearnedRouter("logistic"), trace.select(np.array([0])), COSTS)
    # seen once, and it agreed: (1 + 1) / (1 + 2); without it nothing was seen: 1 / 2
    assert one.policy(at(0.66)).decide(trace).entry.tolist() == [0] * 10
    assert one.policy(at(0.67)).decide(trace).entry.tolist() == [2] * 10
    assert one.rehearse(at(0.5), trace.select(np.array([0]))).entry.tolist() == [0]
    assert one.rehearse(at(0.51), trace.select(np.array([0]))).entry.tolist() == [2]


@pytest.mark.parametrize("model", MODELS)
def test_repeated_and_far_embeddings(model: str) -> None:
    """Ties among neighbours and embeddings of ±1e30 give the same answer alone and in company."""
    trace = ten_samples()
    odd = replace(trace, embeddings=np.repeat([[1.0], [-1e30], [1e30], [1.0], [5.0]], 2, axis=0).astype(np.float32))
    for embedding in ("none", "standardised", "whitened"):
        strategy = fitted(LearnedRouter(model, embedding=embedding, nearest=3), odd, COSTS)  # type: ignore[arg-type]
        for threshold in (0.3, 0.5, 0.7):
            whole = strategy.policy(at(threshold)).decide(odd).entry
            assert np.array_equal(whole, walk(strategy.policy(at(threshold)), odd).entry)
            assert np.array_equal(whole[0:2], whole[6:8])


@pytest.mark.parametrize("embedding", ["none", "standardised", "whitened"])
def test_wide_embeddings_row_by_row(embedding: str) -> None:
    """Probabilities equal to the last bit, with as many dimensions as a language model's embeddings have."""
    trace = synthetic_trace(300, dimension=384, seed=1)
    for model in MODELS:
        strategy = fitted(LearnedRouter(model, embedding=embedding, folds=2, trees=2), trace)  # type: ignore[arg-type]
        ask = strategy._predictor.probabilities
        whole = ask(trace.embeddings)
        alone = np.concatenate([ask(row[None]) for row in trace.embeddings[:40]])
        assert np.array_equal(whole[:40], alone)
        assert np.array_equal(whole[7:50], ask(np.asfortranarray(trace.embeddings)[7:50]))
        assert len(np.unique(whole[:, 0])) > 1


def test_whitening_gives_uncorrelated_directions_and_drops_empty_ones() -> None:
    random = np.random.default_rng(0)
    mixed = random.normal(size=(2000, 3)) @ np.array([[5.0, 1.0, 0.0, 0.0], [0.0, 0.1, 2.0, 0.0], [1.0, 1.0, 1.0, 0.0]])
    space = EmbeddingSpace.of(mixed.astype(np.float32), "whitened")
    points = space.points(mixed)
    assert points.shape == (2000, 3)
    assert points.T @ points / 2000 == pytest.approx(np.eye(3), abs=1e-4)
    still = np.ones((5, 2), np.float32)
    assert EmbeddingSpace.of(still, "whitened").points(still).tolist() == [[0.0, 0.0]] * 5


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_embeddings_without_a_number_are_refused(model: str, odd: float) -> None:
    trace = ten_samples()
    strategy = fitted(LearnedRouter(model), trace, COSTS)  # type: ignore[arg-type]
    bad = trace.embeddings.copy()
    bad[3] = odd
    with pytest.raises(DispatchError, match="router embedding 3 holds a NaN or an infinite number"):
        strategy.policy(at(0.5)).decide(replace(trace, embeddings=bad))
    with pytest.raises(DispatchError, match="router embedding 3 holds"):
        strategy.fit(replace(trace, embeddings=bad), COSTS)


def test_it_is_repeated_exactly() -> None:
    trace = synthetic_trace(200, seed=8)
    for model in MODELS:
        first, again = (fitted(LearnedRouter(model), trace) for _ in range(2))  # type: ignore[arg-type]
        assert np.array_equal(first._held_out, again._held_out)
        asked = synthetic_trace(50, seed=9).embeddings
        assert np.array_equal(first._predictor.probabilities(asked), again._predictor.probabilities(asked))


def test_what_is_kept_of_an_array_is_not_kept_of_a_changed_one() -> None:
    trace = synthetic_trace(50, seed=8)
    ask = fitted(LearnedRouter("neighbours", nearest=3), trace)._predictor.probabilities
    asked = trace.embeddings.copy()
    first = ask(asked)
    asked[:] = asked[::-1].copy()
    assert np.array_equal(ask(asked), first[::-1])


def test_options_from_the_command_line() -> None:
    made = construct("strategy", "router:model=neighbours,target=right,embedding=whitened,nearest=9,seed=3")
    assert (made.model, made.target, made.embedding, made.seed) == ("neighbours", "right", "whitened", 3)
    with pytest.raises(UnknownName, match="forest"):
        construct("strategy", "router:model=forest")
    with pytest.raises(DispatchError, match="folds of the router is 1, expected at least 2"):
        LearnedRouter(folds=1)
    with pytest.raises(DispatchError, match="strength and a rate above 0"):
        LearnedRouter(strength=0)


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = ten_samples()
    blind = replace(trace, embeddings=np.zeros((10, 0), np.float32))
    with pytest.raises(DispatchError, match="no router embeddings, which the router needs"):
        LearnedRouter().fit(blind, COSTS)
    strategy = fitted(LearnedRouter(), trace, COSTS)
    with pytest.raises(DispatchError, match="fitted on another trace"):
        strategy.rehearse(at(0.5), trace.select(np.arange(5)))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'edgepart\[router\]'"):
        LearnedRouter().fit(trace, COSTS)
