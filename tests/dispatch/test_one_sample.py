"""One sample at a time: quick, and decided exactly as among others, at a tie, too."""

import math
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgepart import plugins
from edgepart.dispatch.base import Outcome, Policy, State
from edgepart.dispatch.cartography import AdaptiveCartography, CentroidPolicy
from edgepart.dispatch.confidence import Confidence
from edgepart.dispatch.embedding_space import EmbeddingSpace
from edgepart.dispatch.ensemble import Ensemble
from edgepart.dispatch.layout import Layout, walk
from edgepart.dispatch.learned import Learned
from edgepart.dispatch.learned_router import LearnedRouter, LearnedRouterPolicy
from edgepart.dispatch.margin import Margin
from edgepart.dispatch.one_sample import FEW, softmax
from edgepart.dispatch.options import strategy as strategy_named
from edgepart.dispatch.pools import Router, nearest, nearest_to, squares_of
from edgepart.dispatch.splitee import SplitEE
from edgepart.dispatch.threshold import ThresholdPolicy, ThresholdStrategy
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError
from edgepart.testing.strategies import example_costs
from edgepart.testing.traces import synthetic_trace

#: how a network that is all but certain, one that knows nothing and one with ties speak
SCALES = (1.0, 0.0, 1e-6, 5.0, 40.0, 1e4)
DEPLOYABLE = [name for name in plugins.names("strategy") if strategy_named(name).deployable]
RULES = ("confidence", "margin", "entropy", "ensemble", "learned", "learned:model=shared", "patience")


def spoken(classes: int, samples: int = 400, seed: int = 0) -> Trace:
    """Samples at four exits, of all scales, a third of them with equal logits among the others."""
    trace = synthetic_trace(samples, ("mobile", "mobile", "edge", "cloud"), classes=classes, dimension=6, seed=seed)
    scale = np.resize(np.array(SCALES, np.float32), samples)[:, None, None]
    logits = trace.logits * scale
    logits[::3] = np.round(logits[::3])
    return replace(trace, logits=logits)


@pytest.mark.parametrize("classes", [1, 2, 3, 9, FEW, FEW + 1, 1000])
def test_the_softmax_of_one_is_that_among_others_to_the_last_bit(classes: int) -> None:
    trace = spoken(classes, 60)
    for seen in (trace, trace.scaled(np.array([0.3, 1.0, 2.7, 1.0]))):
        for logits, expected in zip(seen.logits[:, 1], seen.probabilities[:, 1], strict=True):
            assert softmax(logits).dtype == np.float64
            assert np.array_equal(softmax(logits), expected.astype(np.float64))


@pytest.mark.parametrize("classes", [1, 2, 3, 10, FEW])
@pytest.mark.parametrize("name", RULES)
def test_a_rough_certainty_is_as_close_as_it_says(name: str, classes: int) -> None:
    strategy, trace = strategy_named(name), spoken(classes)
    assert isinstance(strategy, ThresholdStrategy)
    strategy.fit(trace, example_costs(trace))
    told = 0
    for seen in (trace, trace.scaled(np.array([0.2, 1.0, 3.0, 1.0]))):
        probabilities = seen.probabilities.astype(np.float64)
        for sample in range(len(seen)):
            for index in range(3):
                rough, off = strategy.roughly(seen.logits[sample, index], tuple(probabilities[sample, :index]))
                exact = float(strategy.certainty_so_far(probabilities[sample, : index + 1]))
                assert abs(rough - exact) <= off / 2, (sample, index)
                told += off < 1
    assert told > 0.5 * 6 * len(trace), "most samples are told of"


@pytest.mark.parametrize("classes", [2, 10, FEW + 1])
@pytest.mark.parametrize("name", RULES)
def test_at_the_very_certainty_of_a_sample_it_decides_as_among_others(name: str, classes: int) -> None:
    strategy, trace = strategy_named(name), spoken(classes, 90)
    assert isinstance(strategy, ThresholdStrategy)
    strategy.fit(trace, example_costs(trace))
    layout, probabilities = Layout.of(trace), trace.probabilities.astype(np.float64)
    certainty = strategy.certainties(trace)
    for sample in range(len(trace)):
        at = certainty[sample]
        for thresholds in (at, np.nextafter(at, -np.inf), np.nextafter(at, np.inf)):
            policy = ThresholdPolicy(layout, strategy.certainty_so_far, thresholds, strategy.alone, strategy.roughly)
            for index in range(3):
                state = State(earlier=tuple(probabilities[sample, :index]))
                among = policy.at_exit_batch(index, probabilities[:, : index + 1], State())
                assert among[sample] == (thresholds[index] <= at[index])
                assert policy.at_exit(index, probabilities[sample, index], state) == among[sample]
                assert policy.leaves(index, trace.logits[sample, index], state) == among[sample]


logits_of = st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=12)


@given(logits_of, st.integers(-3, 3))
@example([0.0, 0.0], 0)
@example([1e4, -1e4], 0)
@settings(max_examples=300, deadline=None)
def test_a_threshold_a_few_bits_from_the_confidence(values: list[float], steps: int) -> None:
    logits = np.array(values, np.float32)
    said = softmax(logits)
    threshold = float(said.max())
    for _ in range(abs(steps)):
        threshold = math.nextafter(threshold, math.copysign(math.inf, steps))
    layout = Layout(("a", "b"), (0, 1))
    confidence = Confidence()
    cascade = ThresholdPolicy(layout, confidence.certainty_so_far, np.array([threshold]), True, confidence.roughly)
    assert cascade.leaves(0, logits, State()) == cascade.at_exit(0, said, State()) == (steps <= 0)
    asks = SplitEE()
    asks._layout, asks._exits, asks._costs = layout, [0, 1], [1.0, 2.0]
    bandit = asks.policy(asks.settings([threshold])[0])
    assert bandit.leaves(0, logits, State()) == bandit.at_exit(0, said, State()) == (steps <= 0)


@pytest.mark.parametrize("name", DEPLOYABLE)
def test_no_strategy_does_a_softmax_where_it_is_plain_who_leaves(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    strategy, trace = strategy_named(name), synthetic_trace(60, classes=4, seed=3)
    strategy.fit(trace, example_costs(trace))
    # new ones: the threshold of a setting may be the very certainty of a sample that it was chosen on
    policy, new = strategy.policy(strategy.settings([0.7])[-1]), synthetic_trace(60, classes=4, seed=4)
    expected = [policy.at_exit(0, one, State()) for one in new.probabilities[:, 0].astype(np.float64)]

    def exact(*_: object) -> bool:
        raise AssertionError("asked for the exact certainty")

    monkeypatch.setattr(Policy, "leaves", exact)
    assert [policy.leaves(0, one, State()) for one in new.logits[:, 0]] == expected


def test_a_certainty_of_a_users_own_leaves_the_inherited_short_cut_behind() -> None:
    class Doubt(Confidence):
        def certainty(self, probabilities: np.ndarray) -> np.ndarray:
            return 1 - super().certainty(probabilities)

    class Twice(Confidence):
        def certainty_so_far(self, met: np.ndarray) -> np.ndarray:
            return 2 * met[..., -1, :].max(axis=-1)

    class Renamed(Confidence):
        name = "renamed"

    trace = synthetic_trace(50)
    for strategy in (Doubt(), Twice(), Renamed()):
        strategy.fit(trace, example_costs(trace))
        policy = strategy.policy(strategy.one(0.3))
        expected = [policy.at_exit(0, one, State()) for one in trace.probabilities[:, 0]]
        assert [policy.leaves(0, one, State()) for one in trace.logits[:, 0]] == expected
        assert 0 < sum(expected) < 50 or not isinstance(strategy, Doubt)
        assert math.isinf(strategy.roughly(trace.logits[0, 0], ())[1]) == (not isinstance(strategy, Renamed))


def test_options_without_a_short_cut_decide_as_among_others() -> None:
    trace = synthetic_trace(80, classes=3)
    for strategy in (Ensemble("answer"), Ensemble(floor=1e-30), Margin(decay=0.2), Learned(regularisation=1e-9)):
        strategy.fit(trace, example_costs(trace))
        assert math.isinf(strategy.roughly(trace.logits[0, 0], ())[1]) == (not isinstance(strategy, Learned))
        policy = strategy.policy(strategy.one(0.7))
        expected = [policy.at_exit(0, one, State()) for one in trace.probabilities[:, 0].astype(np.float64)]
        assert [policy.leaves(0, one, State()) for one in trace.logits[:, 0]] == expected


DRIFTING = [f"{name}:drift=page-hinkley,drift_run_length=10" for name in ("adaee", "splitee", "cartography-adaptive")]


@pytest.mark.parametrize("name", [*DEPLOYABLE, *DRIFTING])
def test_a_device_that_has_logits_only_decides_as_a_whole_trace(name: str) -> None:
    strategy = strategy_named(name)
    validation, trace = (
        synthetic_trace(300, ("mobile", "mobile", "edge", "cloud"), classes=3, dimension=5, seed=seed)
        for seed in (1, 2)
    )
    costs, layout = example_costs(validation), Layout.of(trace)
    strategy.fit(validation, costs)
    for setting in strategy.settings([0.6, 0.9])[:6]:
        policy, entry, left = strategy.policy(setting), [], []
        for embedding, logits in zip(trace.embeddings, trace.logits, strict=True):
            tier = policy.admit(embedding, State())
            index, earlier = layout.first_exit(tier), ()
            while index < layout.final and not policy.leaves(index, logits[index], State(earlier=earlier)):
                earlier, index = (*earlier, softmax(logits[index])), index + 1
            said = softmax(logits[index]) if policy.uses_probabilities else np.empty(0)
            policy.observe(Outcome(embedding, tier, index, said, float(costs[tier, index]), earlier))
            entry.append(tier)
            left.append(index)
        expected = strategy.policy(setting).decide(trace)
        assert (entry, left) == (expected.entry.tolist(), expected.exit.tolist()), setting.label


# where a sample enters


@given(
    st.lists(st.lists(st.floats(-9, 9, width=32), min_size=3, max_size=3), min_size=3, max_size=3),
    st.lists(st.floats(-99, 99, width=32), min_size=3, max_size=3),
    st.sampled_from([(), (0,), (1, 2), (0, 1, 2)]),
)
@settings(max_examples=200, deadline=None)
def test_the_nearest_centroid_of_one_is_that_among_others(
    places: list[list[float]], point: list[float], empty: tuple[int, ...]
) -> None:
    centroids, asked = np.array(places), np.array([point])
    centroids[list(empty)] = np.nan
    ways = [asked[0]]
    if not empty:
        # half way between two, where rounding decides, and a little off
        ways += [(centroids[0] + centroids[1]) / 2, (centroids[1] + centroids[2]) / 2 + 1e-15]
    for one in ways:
        assert nearest_to(one, centroids, squares_of(centroids)) == int(nearest(one[None], centroids)[0])


def test_far_from_all_centroids_rounding_does_not_choose() -> None:
    """Lengths of 1e8 squared are known to 2 only; the centroids differ by less."""
    centroids = np.array([[0.0, 0.5], [0.0, -0.5], [np.nan, np.nan]])
    for height in (1e-9, -1e-9):
        point = np.array([1e8, height])
        assert nearest_to(point, centroids, squares_of(centroids)) == int(nearest(point[None], centroids)[0])


@pytest.mark.parametrize("scaling", ["none", "standardised", "whitened"])
def test_the_point_of_one_is_that_among_others_to_the_last_bit(scaling: str) -> None:
    embeddings = synthetic_trace(30, dimension=7).embeddings
    space = EmbeddingSpace.of(embeddings, scaling)  # type: ignore[arg-type]
    for given_as in (embeddings, embeddings.astype(np.float64) + 1e-12, embeddings * np.float32(1e30)):
        for one, expected in zip(given_as, space.points(given_as), strict=True):
            assert np.array_equal(space.point(one), expected)


@pytest.mark.parametrize("name", ["router", "cartography", "cartography-adaptive", "combined"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_routers_refuse_what_is_no_number_and_warn_of_nothing(name: str, bad: float) -> None:
    strategy, trace = strategy_named(name), synthetic_trace(60, dimension=4, seed=2)
    strategy.fit(trace, example_costs(trace))
    policy = strategy.policy(strategy.settings([0.8])[0])
    broken = trace.embeddings[0].copy()
    broken[2] = bad
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DispatchError, match="holds a NaN or an infinite number"):
            policy.admit(broken, State())
        huge = np.full(4, 1e30, np.float32)
        assert policy.admit(huge, State()) == int(policy.admit_batch(huge[None], State())[0])


def test_the_learned_router_at_the_very_chance_of_a_sample() -> None:
    for option in ("logistic", "neighbours"):
        router, trace = LearnedRouter(option), synthetic_trace(120, dimension=9, seed=4)  # type: ignore[arg-type]
        router.fit(trace, example_costs(trace))
        chances = router._predictor.probabilities(trace.embeddings)
        for sample in range(0, 120, 7):
            for threshold in (chances[sample, 0], np.nextafter(chances[sample, 0], 1)):
                policy = LearnedRouterPolicy(router._layout, router._tiers, router._predictor, float(threshold))
                together = policy.admit_batch(trace.embeddings, State())
                assert [policy.admit(one, State()) for one in trace.embeddings] == together.tolist()


def test_the_adaptive_router_reads_probabilities_for_its_detector_only() -> None:
    trace = synthetic_trace(200, dimension=5, seed=6)
    costs = example_costs(trace)

    def learnt(policy: Policy, answer: Callable[[int], np.ndarray]) -> np.ndarray:
        for sample, embedding in enumerate(trace.embeddings):
            tier = policy.admit(embedding, State())
            policy.observe(Outcome(embedding, tier, tier, answer(sample), 1.0))
        assert isinstance(policy, CentroidPolicy)
        return policy.moving.centroids  # type: ignore[attr-defined,no-any-return]

    for drift in ("none", "page-hinkley"):
        strategy = AdaptiveCartography(drift=drift)  # type: ignore[arg-type]
        strategy.fit(trace, costs)
        (setting, *_) = strategy.settings(())
        assert strategy.policy(setting).uses_probabilities == (drift != "none")
    strategy = AdaptiveCartography()
    strategy.fit(trace, costs)
    (setting, *_) = strategy.settings(())
    known = learnt(strategy.policy(setting), lambda sample: trace.probabilities[sample, 0])
    assert np.array_equal(known, learnt(strategy.policy(setting), lambda sample: np.empty(0)), equal_nan=True)


def test_moving_centroids_know_their_lengths() -> None:
    trace = synthetic_trace(150, dimension=5, seed=8)
    strategy = AdaptiveCartography()
    strategy.fit(trace, example_costs(trace))
    one_by_one, together = (strategy.policy(strategy.settings(())[3]) for _ in range(2))
    # read, so that they are kept from here on
    start = squares_of(together.moving.centroids)  # type: ignore[attr-defined]
    assert np.array_equal(together.moving.squares, start, equal_nan=True)  # type: ignore[attr-defined]
    walk(one_by_one, trace)
    together.decide(trace)
    for policy in (one_by_one, together):
        moving = policy.moving  # type: ignore[attr-defined]
        assert np.array_equal(moving.squares, squares_of(moving.centroids), equal_nan=True)
        moving.reset()
        assert np.array_equal(moving.squares, squares_of(moving.centroids), equal_nan=True)


def test_a_router_is_asked_about_one_without_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = synthetic_trace(60, dimension=4, seed=2)
    for name in ("router", "cartography", "cartography-adaptive", "combined"):
        strategy = strategy_named(name)
        strategy.fit(trace, example_costs(trace))
        policy = strategy.policy(strategy.settings([0.8])[-1])
        expected = policy.admit_batch(trace.embeddings, State()).tolist()
        with monkeypatch.context() as patched:
            patched.setattr(EmbeddingSpace, "points", None)
            patched.setattr(Router, "pools", None)
            assert [policy.admit(one, State()) for one in trace.embeddings] == expected
