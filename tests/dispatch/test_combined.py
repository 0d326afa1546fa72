"""Route first, then leave by a threshold."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from edgepart.dispatch.base import Setting, State, Strategy
from edgepart.dispatch.cartography import AdaptiveCartography, Cartography
from edgepart.dispatch.combined import Combined, Tally, undominated
from edgepart.dispatch.confidence import Confidence
from edgepart.dispatch.entropy import Entropy
from edgepart.dispatch.layout import walk
from edgepart.dispatch.learned_router import LearnedRouter
from edgepart.dispatch.margin import Margin
from edgepart.dispatch.options import construct
from edgepart.dispatch.threshold import ThresholdStrategy
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError
from edgepart.evaluation.costs.base import Costs
from edgepart.evaluation.replay import rehearse, replay
from edgepart.testing.strategies import StrategyContract, example_costs
from edgepart.testing.traces import synthetic_trace

#: mobile 6, edge 8.5, cloud 17.14 when entered at; more for those that come from below
COSTS = np.array([[6.0, 14.5, 31.64], [np.inf, 8.5, 25.64], [np.inf, np.inf, 17.14]])


class TestRouterThenConfidence(StrategyContract):
    def strategy(self) -> Strategy:
        return Combined()


class TestNeighboursThenEntropy(StrategyContract):
    def strategy(self) -> Strategy:
        return Combined(base="entropy", model="neighbours", target="right", embedding="whitened")


class TestCartographyThenConfidence(StrategyContract):
    def strategy(self) -> Strategy:
        return Combined("cartography", embedding="none")


def ten_samples() -> Trace:
    """At x = 0 … 9; class a is the label, and p(a) at the three exits stands below."""
    chances = np.array(
        [
            [0.99, 0.99, 0.99],
            [0.95, 0.97, 0.99],
            [0.85, 0.91, 0.99],
            [0.60, 0.91, 0.99],
            [0.40, 0.95, 0.99],  # from here on mobile is wrong where the final exit is right
            [0.05, 0.92, 0.99],
            [0.30, 0.60, 0.99],
            [0.30, 0.40, 0.99],
            [0.02, 0.20, 0.99],
            [0.02, 0.05, 0.10],  # all are wrong alike
        ]
    )
    return Trace(
        logits=np.log(np.stack([chances, 1 - chances], axis=2)),
        labels=np.zeros(10, np.int64),
        embeddings=np.arange(10)[:, None].astype(np.float32),
        exits=("m", "n", "final"),
        exit_tiers=("mobile", "edge", "cloud"),
        tiers=("mobile", "edge", "cloud"),
        classes=("a", "b"),
    )


def at(probability: float, threshold: float) -> Setting:
    return Setting("", (("router probability", probability), ("exits threshold", threshold)))


def by_nearest() -> Combined:
    """Routes the samples it has learnt from to the first tier that agrees with the final exit: itself is nearest."""
    strategy = Combined(LearnedRouter("neighbours", embedding="none", nearest=1))
    strategy.fit(ten_samples(), COSTS)
    return strategy


@pytest.mark.parametrize(
    ("threshold", "left"),
    [
        # all leave at the first exit met
        (0.0, [0, 0, 0, 0, 1, 1, 1, 2, 2, 0]),
        # 2 and 3 are not sure enough on mobile and are on the edge; 6 goes on from the edge to the cloud
        (0.9, [0, 0, 1, 1, 1, 1, 2, 2, 2, 0]),
        # of those on the edge none is sure enough; 5, which mobile would have let go wrongly, was never there
        (0.96, [0, 1, 2, 2, 2, 2, 2, 2, 2, 0]),
        (1.1, [2] * 10),
    ],
)
def test_paths_and_costs_by_hand(threshold: float, left: list[int]) -> None:
    trace, strategy = ten_samples(), by_nearest()
    entry = [0, 0, 0, 0, 1, 1, 1, 2, 2, 0]
    policy = strategy.policy(at(1.0, threshold))
    decisions = policy.decide(trace)
    assert decisions.entry.tolist() == entry
    assert decisions.exit.tolist() == left
    assert walk(strategy.policy(at(1.0, threshold)), trace).exit.tolist() == left
    table = Costs(COSTS, full_model=17.14, router=0.25)
    assert replay(trace, policy, table).cost == pytest.approx(COSTS[entry, left].mean() + 0.25)


def test_a_threshold_for_each_exit_of_the_base_is_kept() -> None:
    """Entropy's values are its own: in nats, negated."""
    trace = ten_samples()
    strategy = Combined(LearnedRouter("neighbours", embedding="none", nearest=1), base=Entropy("nats"))
    strategy.fit(trace, COSTS)
    setting = Setting("", (("router probability", 1.0), ("exits entropy_nats", 0.33)))
    # H(.9) = .325, so as confidence ≥ .9 above
    assert strategy.policy(setting).decide(trace).exit.tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 2, 0]


def test_an_exit_is_asked_without_the_earlier_ones() -> None:
    policy = by_nearest().policy(at(1.0, 0.9))
    assert policy.admit(np.array([6.0], np.float32), State()) == 1
    assert [policy.at_exit(1, np.array([p, 1 - p]), State()) for p in (0.89, 0.9, 0.91)] == [False, True, True]


def test_the_settings_are_the_front_of_all_pairs() -> None:
    """Against every pair rehearsed one by one."""
    trace = synthetic_trace(300, ("mobile", "mobile", "edge", "cloud"), seed=4)
    costs = Costs(example_costs(trace), full_model=4.0)
    grid = (0.3, 0.6, 0.8, 0.9, 0.97)
    strategy = Combined(folds=1)
    strategy.fit(trace, costs.table)
    pairs = {}
    for probability, threshold in itertools.product(grid, grid):
        decisions = strategy.rehearse(at(probability, threshold), trace)
        cost = costs.table[decisions.entry, decisions.exit].mean()
        pairs[probability, threshold] = (cost, trace.correct[np.arange(300), decisions.exit].mean())
    results = rehearse(trace, strategy, costs, grid)
    found = [(result.cost, result.accuracy) for result in results]
    assert found == sorted(found)
    assert 1 < len(found) < len(pairs)
    for cost, accuracy in found:
        rivals = [rival for rival in pairs.values() if rival[0] <= cost + 1e-9 and rival[1] >= accuracy]
        assert rivals
        assert all(rival == pytest.approx((cost, accuracy)) for rival in rivals)
    for cost, accuracy in pairs.values():
        assert any(c <= cost + 1e-9 and a >= accuracy for c, a in found)
    own = [(setting["router probability"], setting["exits threshold"]) for setting in strategy.settings(grid)]
    assert np.array([pairs[pair] for pair in own]) == pytest.approx(np.array(found))


def test_a_pair_is_rehearsed_by_those_that_do_as_well_without_the_sample() -> None:
    """Two routes with two thresholds on two parts of five samples each."""
    cost = np.array([[[5.0, 4.0], [3.0, 2.0]], [[5.0, 4.0], [3.0, 2.0]]])
    right = np.array([[[5.0, 4.0], [4.0, 2.0]], [[5.0, 5.0], [3.0, 2.0]]])
    found = Tally(cost, right, np.array([5, 5]), np.array([5, 5])).front()
    assert [pair for pair, _ in found] == [(1, 1), (1, 0), (0, 1), (0, 0)]
    assert found[0] == ((1, 1), [(1, 1), (1, 1)])  # six of ten lost: three of five may be, and three are on either part
    assert found[1] == ((1, 0), [(0, 1), (1, 0)])  # three: 1.5 of five; the second part loses 2 there, the first 1
    assert found[2] == ((0, 1), [(0, 1), (0, 0)])  # one: .5 of five; the first part loses 1 there
    assert found[3] == ((0, 0), [(0, 1), (0, 0)])  # none, which the second part has at (0, 1), too
    whole = Tally(cost.sum(axis=0)[None], right.sum(axis=0)[None], np.array([10]), np.array([10]))
    assert all(stand_ins == [pair] for pair, stand_ins in whole.front())


def test_rehearsed_pairs_look_no_better_than_they_are() -> None:
    """Of many pairs, the cheapest that seems to lose nothing: what it seems to be worth, and is, over 200 draws."""
    optimism: dict[int, list[float]] = {1: [], 5: []}
    for seed in range(200):
        random = np.random.default_rng(seed)
        price = random.random((12, 12))
        chance = 0.8 + 0.1 * price
        answers = random.random((300, 12, 12)) < chance
        final = random.random(300) < 0.9
        for folds, found in optimism.items():
            parts = np.array_split(np.arange(300), folds)
            right = np.array([answers[part].sum(axis=0) for part in parts], np.float64)
            samples = np.array([len(part) for part in parts])
            tally = Tally(
                price * samples[:, None, None], right, np.array([final[part].sum() for part in parts]), samples
            )
            # chosen by what is seen: the hits that the stand-ins have on their own parts
            seen = [
                (sum(right[part][pair] for part, pair in enumerate(stand_ins)) / 300, price[pair], pair)
                for pair, stand_ins in tally.front()
            ]
            keeping = [(cost, accuracy, pair) for accuracy, cost, pair in seen if accuracy >= final.mean() - 0.01]
            if keeping:
                _, accuracy, pair = min(keeping)
                found.append(accuracy - chance[pair])
    assert np.mean(optimism[1]) > 0.02
    assert np.mean(optimism[5]) < 0.6 * np.mean(optimism[1])


def test_settings_of_two_grids_are_kept_apart() -> None:
    strategy = by_nearest()
    assert strategy.settings([0.5]) == strategy.settings([0.5]) != strategy.settings([0.99])


def test_undominated_by_hand() -> None:
    cost = np.array([[3.0, 1.0, 2.0], [2.0, 1.0, 5.0]])
    right = np.array([[7.0, 4.0, 6.0], [5.0, 4.0, 7.0]])
    assert undominated(cost, right) == [(0, 1), (0, 2), (0, 0)]
    nearly = np.array([[1.0 + 1e-16, 1.0]])
    assert undominated(nearly, np.array([[4.0, 5.0]])) == [(0, 1)]
    assert undominated(np.zeros((1, 2)), np.array([[4.0, 4.0]])) == [(0, 0)]


def test_routed_by_cartography_it_enters_where_that_does() -> None:
    trace = synthetic_trace(200, seed=5)
    costs = example_costs(trace)
    alone, combined = (
        Cartography(embedding="standardised", lambdas=(0.05, 0.1)),
        Combined(Cartography(embedding="standardised", lambdas=(0.05, 0.1))),
    )
    alone.fit(trace, costs)
    combined.fit(trace, costs)
    entries = [alone.policy(setting).decide(trace).entry.tolist() for setting in alone.settings([])]
    settings = combined.settings([0.5, 0.9])
    assert settings
    assert all(combined.policy(setting).decide(trace).entry.tolist() in entries for setting in settings)
    assert combined.warnings == alone.warnings


class Steady(ThresholdStrategy):
    """Looks at the exits before."""

    name = "steady"

    def certainty_so_far(self, met: NDArray[np.float64]) -> NDArray[np.float64]:
        result: NDArray[np.float64] = met.min(axis=(-2, -1))
        return result


def test_rules_with_a_history_and_moving_routers_are_refused() -> None:
    with pytest.raises(DispatchError, match="base 'steady', whose rule needs the exits before"):
        Combined(base=Steady())
    with pytest.raises(DispatchError, match="base 'margin', whose rule needs the exits before"):
        Combined(base=Margin(decay=0.1))
    with pytest.raises(DispatchError, match="base 'oracle', which is no threshold strategy"):
        Combined(base="oracle")
    with pytest.raises(DispatchError, match="give cartography"):
        Combined(AdaptiveCartography())


def test_options_from_the_command_line() -> None:
    made = construct("strategy", "combined:router=cartography,base=entropy,embedding=whitened")
    assert isinstance(made.router, Cartography)
    assert (made.router.embedding, made.base.name) == ("whitened", "entropy")
    made = construct("strategy", "combined:model=boosting,target=right")
    assert (made.router.model, made.router.target, made.base.name) == ("boosting", "right", "confidence")
    assert isinstance(Combined(base=Confidence()).base, Confidence)
    assert isinstance(Combined(base="margin").base, Margin)


@pytest.mark.parametrize("rows", [[], [0], [0, 1, 2], [7, 7, 7]])
def test_few_samples(rows: list[int]) -> None:
    few = ten_samples().select(np.array(rows, np.int64))
    strategy = Combined()
    strategy.fit(few, COSTS)
    for setting in strategy.settings([0.0, 0.5, 1.0]):
        assert len(strategy.policy(setting).decide(ten_samples()).exit) == 10
        assert len(strategy.policy(setting).decide(few.select(np.array([], np.int64))).exit) == 0
