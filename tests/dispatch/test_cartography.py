"""DIMEC-DC: pools, reward and routing on examples computed by hand."""

from dataclasses import replace

import numpy as np
import pytest

from edgepart.dispatch.base import Outcome, State
from edgepart.dispatch.cartography import ALPHAS, BETAS, AdaptiveCartography, Cartography, Thresholds, pool_tiers
from edgepart.dispatch.data_map import DataMap
from edgepart.dispatch.layout import Layout, walk
from edgepart.dispatch.pools import Router, nearest, pools
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError
from edgepart.testing.strategies import example_costs
from edgepart.testing.traces import synthetic_trace

#: p(true label) after each of two epochs, and what follows: (mean, variance)
EPOCHS = {
    "easy": (0.9, 0.8),  # 0.85, 0.0025
    "medium": (1.0, 0.3),  # 0.65, 0.1225
    "hard": (0.2, 0.4),  # 0.30, 0.01
}
PLACES = {"easy": (0.0, 0.0), "medium": (4.0, 0.0), "hard": (0.0, 3.0)}
COSTS = np.array([[6.0, 14.5, 20.0], [np.inf, 8.5, 17.0], [np.inf, np.inf, 17.14]])


def by_hand(kinds: list[str], places: list[tuple[float, float]] | None = None) -> Trace:
    """Exits answer with confidence .7 on mobile, .8 on the edge and .9 in the cloud, whatever the sample."""
    chances = np.array([0.7, 0.8, 0.9])
    logits = np.log(np.stack([chances, 1 - chances], axis=1))
    history = np.array([[EPOCHS[kind][epoch] for kind in kinds] for epoch in range(2)])
    return Trace(
        logits=np.tile(logits, (len(kinds), 1, 1)),
        labels=np.zeros(len(kinds), np.int64),
        embeddings=np.array(places or [PLACES[kind] for kind in kinds], np.float32),
        exits=("m", "n", "final"),
        exit_tiers=("mobile", "edge", "cloud"),
        tiers=("mobile", "edge", "cloud"),
        classes=("a", "b"),
        # the map must be made at the mobile exit: the others would put every sample in the hard pool
        dynamics=np.stack([history, np.zeros_like(history), np.zeros_like(history)], axis=2),
    )


def test_the_data_map_holds_mean_variance_and_deviation() -> None:
    found = DataMap.of(by_hand(["easy", "medium", "hard"]), 0)
    assert found.confidence == pytest.approx([0.85, 0.65, 0.3])
    assert found.variance == pytest.approx([0.0025, 0.1225, 0.01])
    assert found.variability == pytest.approx([0.05, 0.35, 0.1])


def test_pools_follow_equation_5_and_not_algorithm_1() -> None:
    found = DataMap.of(by_hand(["easy", "medium", "hard"]), 0)
    assert pools(found, 0.6, 0.05).tolist() == [0, 1, 2]
    assert pools(found, 0.2, 0.05).tolist() == [0, 1, 0]
    assert pools(found, 0.9, 0.001).tolist() == [2, 2, 2]
    on_the_line = DataMap(np.array([0.6]), np.array([0.05]), np.array([0.05**0.5]))
    assert pools(on_the_line, 0.6, 0.05).tolist() == [0]


def test_the_variance_cannot_exceed_what_the_mean_allows() -> None:
    """Why large α with large β leave the medium pool empty: σ̂ ≤ μ̂ (1 - μ̂)."""
    found = DataMap.of(synthetic_trace(2000), 0)
    assert (found.variance <= found.confidence * (1 - found.confidence) + 1e-12).all()
    assert not (pools(found, 0.8, 0.17) == 1).any()


def test_the_reward_by_hand() -> None:
    """Two easy, one medium, one hard, λ = .01: means of C less λ times the cost of the pool's tier."""
    trace = by_hand(["easy", "easy", "medium", "hard"])
    strategy = Cartography(lambdas=(0.01,))
    strategy.fit(trace, COSTS)
    (setting,) = strategy.settings([])
    # All pairs up to α .65 give the same pools here; the medium sample's mean of .65 is hard for greater ones.
    kept = (2 * (0.7 - 0.06) + (0.8 - 0.085) + (0.9 - 0.1714)) / 4
    given_up = (2 * (0.7 - 0.06) + 2 * (0.9 - 0.1714)) / 4
    merged = (3 * (0.7 - 0.06) + (0.9 - 0.1714)) / 4
    assert max(kept, given_up, merged) == given_up
    assert setting["reward_oracle"] == pytest.approx(given_up)
    assert (setting["alpha"], setting["beta"]) == (0.7, 0.05)


def test_lambda_decides_between_accuracy_and_cost() -> None:
    trace = by_hand(["easy", "easy", "medium", "hard"])
    strategy = Cartography(lambdas=(0.0, 0.02, 1.0))
    strategy.fit(trace, COSTS)
    chosen = [(setting["lambda"], setting["alpha"], setting["beta"]) for setting in strategy.settings([])]
    # λ = 0: as many as possible to the cloud. λ = .02: mobile .58, edge .63, cloud .557. λ = 1: mobile is cheapest.
    assert chosen == [(0.0, 0.7, 0.05), (0.02, 0.55, 0.05), (1.0, 0.55, 0.14)]


def test_the_routed_objective_counts_where_samples_really_go() -> None:
    """The hard samples lie on the easy centroid's side: pools say cloud, the nearest centroid says mobile."""
    kinds = ["easy", "easy", "hard", "hard", "hard"]
    places = [(0.0, 0.0), (0.2, 0.0), (0.1, 0.0), (0.0, 0.1), (9.0, 0.0)]
    trace = by_hand(kinds, places)
    strategy = Cartography(lambdas=(0.01,))
    strategy.fit(trace, COSTS)
    (setting,) = strategy.settings([])
    mobile, cloud = 0.7 - 0.06, 0.9 - 0.1714
    assert setting["reward_oracle"] == pytest.approx((2 * mobile + 3 * cloud) / 5)
    assert setting["reward_routed"] == pytest.approx((4 * mobile + cloud) / 5)
    assert strategy.policy(setting).decide(trace).entry.tolist() == [0, 0, 0, 0, 2]


def test_each_objective_is_maximised_over_the_whole_grid() -> None:
    trace = synthetic_trace(300, seed=3)
    costs = example_costs(trace)
    for objective in ("oracle", "routed"):
        strategy = Cartography(objective=objective, lambdas=(0.05,))  # type: ignore[arg-type]
        strategy.fit(trace, costs)
        (setting,) = strategy.settings([])
        best = -np.inf
        for alpha in ALPHAS:
            for beta in BETAS:
                pool = pools(strategy.data_map, alpha, beta)
                if objective == "routed":
                    pool = strategy.router(Thresholds(alpha, beta)).pools(trace.embeddings)
                reward = (
                    trace.confidence[np.arange(len(trace)), pool]
                    - 0.05 * np.array([costs[0, 0], costs[1, 1], costs[2, 2]])[pool]
                )
                best = max(best, float(reward.mean()))
        assert setting[f"reward_{objective}"] == pytest.approx(best)


def test_the_objectives_choose_differently_where_pools_mislead() -> None:
    """Embeddings that say nothing of difficulty: what looks best over the pools is not what routing gets."""
    trace = synthetic_trace(400, clustered=0.0, seed=5)
    chosen = {}
    for objective in ("oracle", "routed"):
        strategy = Cartography(objective=objective, grid="quantile", lambdas=(0.1,))  # type: ignore[arg-type]
        strategy.fit(trace, example_costs(trace))
        (chosen[objective],) = strategy.settings([])
    assert float(chosen["routed"]["reward_routed"]) > float(chosen["oracle"]["reward_routed"]) + 0.001
    assert float(chosen["oracle"]["reward_oracle"]) > float(chosen["routed"]["reward_oracle"]) + 0.001


def test_an_empty_pool_is_infinitely_far_and_told() -> None:
    trace = by_hand(["easy", "easy", "hard"], [(0.0, 0.0), (1.0, 0.0), (50.0, 50.0)])
    strategy = Cartography(lambdas=(0.01,))
    strategy.fit(trace, COSTS)
    (setting,) = strategy.settings([])
    assert strategy.warnings == [
        "25 of 25 pairs of α and β put no validation sample into one of the pools easy, medium or hard; a pool without "
        "samples has no centroid, so none is ever sent there",
        "of its 1 settings, at 1 every sample counts as easy or hard",
    ]
    far = by_hand(["easy"] * 3, [(4.0, 0.0), (-1e6, 0.0), (1e6, 1e6)])
    assert strategy.policy(setting).decide(far).entry.tolist() == [0, 0, 2]


def test_only_a_chosen_empty_pool_is_told_by_name() -> None:
    trace = by_hand(["easy", "easy", "medium", "hard"])
    strategy = Cartography(lambdas=(0.02,))
    strategy.fit(trace, COSTS)
    # The medium pool holds the sample (.65, .1225) for α up to .65 and β up to .11; hard and easy always one.
    (told,) = strategy.warnings
    assert told.startswith("16 of 25 pairs of α and β put no validation sample into one of the pools")


def adaptive(stream: list[tuple[float, float]]) -> tuple[AdaptiveCartography, Trace]:
    """Centroids: easy (1, 0) of two samples, medium (10, 0) and hard (0, 20) of one each."""
    validation = by_hand(["easy", "easy", "medium", "hard"], [(0.0, 0.0), (2.0, 0.0), (10.0, 0.0), (0.0, 20.0)])
    strategy = AdaptiveCartography(lambdas=(0.02,))
    strategy.fit(validation, COSTS)
    return strategy, by_hand(["easy"] * len(stream), stream)


@pytest.mark.parametrize(
    ("stream", "entry"),
    [
        # 5 from easy, 4 from medium, which moves to (8, 0); then 4 and 3; medium moves to (7, 0); then 5 and 1
        ([(6.0, 0.0), (5.0, 0.0), (6.0, 0.0)], [1, 1, 1]),
        # 4 from easy, 5 from medium: easy moves to (7/3, 0), so that (6, 0) is 11/3 from easy, 4 from medium
        ([(5.0, 0.0), (6.0, 0.0)], [0, 0]),
        ([(6.0, 0.0)], [1]),
    ],
)
def test_adaptive_centroids_move_as_algorithm_2_says(stream: list[tuple[float, float]], entry: list[int]) -> None:
    strategy, trace = adaptive(stream)
    setting = strategy.settings([])[0]
    assert strategy.policy(setting).decide(trace).entry.tolist() == entry
    assert walk(strategy.policy(setting), trace).entry.tolist() == entry


def test_a_sample_moves_a_centroid_of_the_tier_it_was_sent_to() -> None:
    """Even if, in a busy system, others have moved the centroids between its admission and its answer."""
    strategy, _ = adaptive([])
    policy = strategy.policy(strategy.settings([])[0])
    sample = np.array([6.0, 0.0], np.float32)
    for _ in range(20):
        policy.observe(Outcome(sample, 0, 0, np.array([0.7, 0.3]), 6.0))
    # (2·1 + 20·6) / 22 = 5.545: nearer to (5.6, 0) than medium's (10, 0), which has not moved
    assert policy.admit(np.array([7.7, 0.0], np.float32), State()) == 0
    assert policy.admit(np.array([7.8, 0.0], np.float32), State()) == 1


def test_nearest_takes_the_earlier_of_two_equally_near() -> None:
    centroids = np.array([[0.0, 0.0], [2.0, 0.0], [np.nan, np.nan]])
    assert nearest(np.array([[1.0, 5.0], [1.1, 0.0], [-3.0, 0.0]]), centroids).tolist() == [0, 1, 0]


def test_standardised_embeddings_weigh_dimensions_alike() -> None:
    """Without it the first dimension, a hundred times wider, decides alone."""
    embeddings = np.array([[-100.0, 1.0], [100.0, 1.0], [-80.0, -1.0], [120.0, -1.0]], np.float32)
    pool = np.array([0, 0, 2, 2], np.int64)
    plain, scaled = Router.of(embeddings, pool, "none"), Router.of(embeddings, pool, "standardised")
    assert plain.pools(embeddings).tolist() == [0, 2, 0, 2]
    assert scaled.pools(embeddings).tolist() == [0, 0, 2, 2]
    constant = Router.of(np.ones((4, 2), np.float32), pool, "standardised")
    assert np.isfinite(constant.centroids[[0, 2]]).all()


def test_the_quantile_grid_follows_the_data() -> None:
    trace = synthetic_trace(500, seed=1)
    strategy = Cartography(grid="quantile")
    strategy.fit(trace, example_costs(trace))
    cells = strategy.candidates()
    assert len(cells) == 81
    shares = [(strategy.data_map.confidence >= cell.alpha).mean() for cell in cells[::9]]
    assert shares == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], abs=0.01)


@pytest.mark.parametrize(
    ("tiers", "exit_tiers", "expected"),
    [
        (("m", "e", "c"), ("m", "e", "c"), (0, 1, 2)),
        (("m", "e", "c"), ("m", "c"), (0, 2, 2)),
        (("m", "e", "c"), ("e", "c"), (1, 1, 2)),
        (("m", "e", "c"), ("m", "e"), (0, 1, 1)),
        (("m", "c"), ("m", "c"), (0, 1, 1)),
        (("c",), ("c",), (0, 0, 0)),
        (("a", "b", "c", "d"), ("a", "b", "c", "d"), (0, 2, 3)),
    ],
)
def test_pools_go_to_the_next_tier_that_can_answer(
    tiers: tuple[str, ...], exit_tiers: tuple[str, ...], expected: tuple[int, ...]
) -> None:
    layout = Layout(tiers, tuple(tiers.index(name) for name in exit_tiers))
    assert pool_tiers(layout) == expected


def test_what_is_missing_is_said() -> None:
    trace = synthetic_trace(20, epochs=0)
    with pytest.raises(DispatchError, match="build the bundle with training on"):
        Cartography().fit(trace, example_costs(trace))
    blind = replace(synthetic_trace(20), embeddings=np.zeros((20, 0), np.float32))
    with pytest.raises(DispatchError, match="no router embeddings"):
        Cartography().fit(blind, example_costs(blind))


def test_free_tiers_leave_one_setting() -> None:
    trace = by_hand(["easy", "hard"])
    strategy = Cartography()
    strategy.fit(trace, np.where(np.isinf(COSTS), np.inf, 0.0))
    assert [setting["lambda"] for setting in strategy.settings([])] == [0.0]
