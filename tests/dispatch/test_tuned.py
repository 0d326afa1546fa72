"""Tier of entry and thresholds chosen together: by hand, against brute force, and fairly on validation."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ten_samples import COSTS, TEN

from edgepart.dispatch.base import Setting, Strategy
from edgepart.dispatch.layout import walk
from edgepart.dispatch.options import strategy as strategy_named
from edgepart.dispatch.trace import Trace
from edgepart.dispatch.tuned import Tuned
from edgepart.dispatch.tuning import MOST_COMBINATIONS, chooser, left_at, totals
from edgepart.errors import DispatchError
from edgepart.evaluation.costs.base import Costs
from edgepart.evaluation.replay import full_model, replay
from edgepart.evaluation.selection import evaluate_strategy
from edgepart.testing.strategies import StrategyContract, example_costs
from edgepart.testing.traces import synthetic_trace

GRID = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


class TestTuned(StrategyContract):
    def strategy(self) -> Strategy:
        return Tuned()


class TestTunedAtEachExit(StrategyContract):
    def strategy(self) -> Strategy:
        return Tuned(thresholds="each", prices=(0.01, 0.1, 0.5))


class TestTunedEntropy(StrategyContract):
    def strategy(self) -> Strategy:
        return Tuned("entropy:scale=nats", "each", prices=(0.1,), folds=2)


class TestTunedLearned(StrategyContract):
    def strategy(self) -> Strategy:
        return Tuned("learned", prices=(0.01, 0.1))


def fitted(made: Tuned, trace: Trace = TEN, costs: np.ndarray = COSTS) -> Tuned:
    made.fit(trace, costs)
    return made


# Of the ten samples, by tier of entry: right answers and cost (in eighths, the cheapest way to the final exit) where
# all leave at the first exit, .65 is asked for, or nobody leaves: mobile 5 for 10, 8 for 49, 9 for 100; edge 8 for 30,
# 9 for 60 (0 1 2 7 8 leave), 9 for 90; cloud 9 for 80.
@pytest.mark.parametrize(
    ("price", "label", "entry", "left", "cost", "right"),
    [
        # 9 - .75 beats 9 - 1 in the cloud, 8 - .375 and 8 - .6125
        (0.1, "price 0.1: enter e, x2 0.65", 1, [2, 2, 2, 3, 3, 3, 3, 2, 2, 3], 60, 9),
        # 8 - 3.75 beats 5 - 1.25, 8 - 6.125 and 9 - 7.5
        (1.0, "price 1: enter e, x2 all", 1, [2] * 10, 30, 8),
        # 5 - 5 beats 8 - 15
        (4.0, "price 4: enter m, x0 to x2 all", 0, [0] * 10, 10, 5),
    ],
)
def test_what_a_price_chooses_by_hand(
    price: float, label: str, entry: int, left: list[int], cost: float, right: int
) -> None:
    made = fitted(Tuned(prices=(price,)))
    whole, setting = made.settings([0.65])
    assert setting.label.startswith(label)
    assert (whole.label, whole["enter"]) == ("whole network: enter c", "c")
    for decisions in (made.policy(setting).decide(TEN), walk(made.policy(setting), TEN), made.rehearse(setting, TEN)):
        assert decisions.entry.tolist() == [entry] * 10
        assert decisions.exit.tolist() == left
    found = replay(TEN, made.policy(setting), Costs(COSTS, full_model=8.0))
    assert found.cost == pytest.approx(cost / 10)
    assert found.accuracy == pytest.approx(right / 10)
    assert replay(TEN, made.policy(whole), Costs(COSTS, full_model=8.0)).saving == 0


def test_each_exit_has_its_own_threshold_by_hand() -> None:
    # Were it not for the second exit, which asks for .65, the first five samples would be right for less.
    easy = TEN.select(np.array([0, 1, 2, 3, 4]))
    flat = np.array([[1.0, 1.0, 1.0, 2.0], [np.inf, np.inf, 1.0, 2.0], [np.inf, np.inf, np.inf, 2.0]])
    made = fitted(Tuned(thresholds="each", prices=(0.4,), folds=1), easy, flat)
    _, setting = made.settings([0.65, 0.85])
    # the edge's exit is right for all five at half the whole network's cost, and none is cheaper
    assert setting["enter"] == "e"
    assert made.thresholds(setting)[2] == -1
    assert made.policy(setting).decide(easy).exit.tolist() == [2] * 5


def worth(reaches: np.ndarray, correct: np.ndarray, cost: np.ndarray, levels: np.ndarray, price: float) -> float:
    left = left_at(reaches, levels)
    return float(correct[np.arange(len(left)), left].sum() - price * cost[left].sum())


@st.composite
def cases(draw: st.DrawFn, most_exits: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, float]:
    samples, exits, levels = draw(st.integers(1, 25)), draw(st.integers(0, most_exits)), draw(st.integers(1, 5))
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    reaches = random.integers(0, levels + 1, (samples, exits))
    cost = np.sort(random.integers(1, 6, exits + 1)).astype(np.float64)
    price = draw(st.sampled_from([0.01, 0.1, 0.25, 1.0]))
    return reaches, random.random((samples, exits + 1)) < 0.6, cost, levels, price


@given(cases())
@settings(max_examples=60, deadline=None)
def test_few_exits_are_tuned_exactly(case: tuple[np.ndarray, np.ndarray, np.ndarray, int, float]) -> None:
    reaches, correct, cost, levels, price = case
    told, chosen = chooser(reaches, correct, cost, levels)(price)
    every = [np.array(each, int) for each in itertools.product(range(levels), repeat=reaches.shape[1])]
    best = max(worth(reaches, correct, cost, each, price) for each in every)
    assert told == pytest.approx(best)
    assert worth(reaches, correct, cost, chosen, price) == pytest.approx(best)


@given(cases())
@settings(max_examples=30, deadline=None)
def test_totals_are_those_of_following_each_sample(
    case: tuple[np.ndarray, np.ndarray, np.ndarray, int, float],
) -> None:
    reaches, correct, _, levels, _ = case
    values = correct.astype(np.float64)
    found = totals(reaches, values, levels)
    assert found.shape == (levels,) * reaches.shape[1]
    for each in itertools.product(range(levels), repeat=reaches.shape[1]):
        left = left_at(reaches, np.array(each, int))
        assert found[each] == pytest.approx(values[np.arange(len(left)), left].sum())


@pytest.mark.parametrize("seed", range(4))
def test_many_exits_are_tuned_until_no_exit_alone_can_be_improved(seed: int) -> None:
    random = np.random.default_rng(seed)
    levels, exits, price = 20, 5, 0.3
    assert levels**exits > MOST_COMBINATIONS
    reaches = random.integers(0, levels + 1, (300, exits))
    correct = random.random((300, exits + 1)) < np.linspace(0.5, 0.9, exits + 1)
    cost = np.linspace(0.2, 1.0, exits + 1)
    choose = chooser(reaches, correct, cost, levels)
    choose(1.0)
    told, chosen = choose(price)
    assert told == pytest.approx(worth(reaches, correct, cost, chosen, price))
    for index, level in itertools.product(range(exits), range(levels)):
        other = chosen.copy()
        other[index] = level
        assert worth(reaches, correct, cost, other, price) <= told + 1e-9
    assert chooser(reaches, correct, cost, levels, common=True)(price)[0] <= told + 1e-9


@given(cases(), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_one_more_exit_or_level_never_does_harm(
    case: tuple[np.ndarray, np.ndarray, np.ndarray, int, float], seed: int
) -> None:
    reaches, correct, cost, levels, price = case
    random = np.random.default_rng(seed)
    # one that nobody need leave at: no sample reaches the last level
    reaches = np.minimum(reaches, levels - 1)
    before, _ = chooser(reaches, correct, cost, levels)(price)
    place = int(random.integers(0, reaches.shape[1] + 1))
    wider = np.insert(reaches, place, random.integers(0, levels, len(reaches)), axis=1)
    others = np.insert(correct, place, random.random(len(reaches)) < 0.5, axis=1)
    with_exit, _ = chooser(wider, others, np.insert(cost, place, cost[place]), levels)(price)
    assert with_exit >= before - 1e-9
    # and one level between two others
    finer = np.where(reaches >= levels - 1, reaches + 1, reaches)
    assert chooser(finer, correct, cost, levels + 1)(price)[0] >= before - 1e-9


def test_samples_enter_where_tiers_that_start_afresh_cost_least() -> None:
    trace = synthetic_trace(400, seed=3)
    nested = np.array([[3.0, 9.5, 19.5], [np.inf, 6.5, 16.5], [np.inf, np.inf, 10.0]])
    made = fitted(Tuned(), trace, nested)
    tiers = {setting["enter"] for setting in made.settings(GRID)}
    assert tiers == {"mobile", "edge", "cloud"}
    full = full_model(trace, Costs(nested, 10.0))
    floor = min(replay(trace, made.policy(one), Costs(nested, 10.0)).saving for one in made.settings(GRID))
    assert floor == 0
    assert replay(trace, made.policy(made.settings(GRID)[0]), Costs(nested, 10.0)).accuracy == full.accuracy


def test_a_base_that_knows_each_exit_enters_first_or_last() -> None:
    trace = synthetic_trace(300, seed=3)
    nested = np.array([[3.0, 9.5, 19.5], [np.inf, 6.5, 16.5], [np.inf, np.inf, 10.0]])
    made = fitted(Tuned("learned"), trace, nested)
    assert {setting["enter"] for setting in made.settings(GRID)} == {"mobile", "cloud"}


def test_its_thresholds_are_those_of_a_plan() -> None:
    trace = synthetic_trace(400, ("a", "a", "b", "b"), ("a", "b"), seed=1)
    costs = np.array([[1.0, 2.0, 3.0, 4.0], [np.inf, np.inf, 3.0, 4.0]])
    made = fitted(Tuned("entropy", "each"), trace, costs)
    first = [one for one in made.settings((0.1, 0.3, 0.6)) if one["enter"] == "a"]
    assert first
    for setting in first:
        given_ = {name: float(setting[f"at {name}"]) for name in trace.exits[:-1]}
        planned = made.base.policy(made.base.each(given_)).decide(trace)
        assert np.array_equal(planned.exit, made.policy(setting).decide(trace).exit)


def test_a_held_out_sample_is_decided_about_without_its_label() -> None:
    trace = synthetic_trace(200, ("m", "m", "c"), ("m", "c"), seed=5)
    costs = np.array([[1.0, 2.0, 4.0], [np.inf, np.inf, 3.5]])
    held_out = np.random.default_rng(0).permutation(200) % 5 == 2
    labels = np.where(held_out, 1 - trace.labels, trace.labels)
    known, other = (replace(trace, labels=one) for one in (trace.labels, labels))
    before, after = fitted(Tuned(thresholds="each"), known, costs), fitted(Tuned(thresholds="each"), other, costs)
    differs = False
    for first, second in zip(before.settings(GRID), after.settings(GRID), strict=True):
        one, two = before.rehearse(first, known), after.rehearse(second, other)
        assert np.array_equal(one.exit[held_out], two.exit[held_out])
        differs |= not np.array_equal(one.exit, two.exit)
    assert differs, "labels of the others count"


def test_without_folds_it_rehearses_what_it_does() -> None:
    trace = synthetic_trace(200, seed=5)
    for made in (Tuned(), Tuned(thresholds="each", folds=1)):
        fitted(made, trace, example_costs(trace))
        for setting in made.settings(GRID):
            decided = made.policy(setting).decide(trace)
            assert np.array_equal(made.rehearse(setting, trace).exit, decided.exit)


def test_thresholds_of_each_exit_look_no_better_than_they_are() -> None:
    """On noise: what is seen on validation less what comes out on new samples, over forty draws."""
    exits = ("m",) * 6 + ("c",)
    gaps: dict[int, list[float]] = {1: [], 5: []}
    for seed in range(40):
        random = np.random.default_rng(seed)
        drawn = synthetic_trace(2100, exits, ("m", "c"), seed=seed)
        drawn = replace(drawn, logits=random.normal(0, 1, drawn.logits.shape).astype(np.float32))
        validation, new = drawn.select(np.arange(100)), drawn.select(np.arange(100, 2100))
        for folds, found in gaps.items():
            made = fitted(Tuned(thresholds="each", prices=(0.01,), folds=folds), validation, np.ones((2, 7)))
            setting = made.settings(GRID)[1]
            accuracy = [
                trace.correct[np.arange(len(trace)), left.exit].mean()
                for trace, left in (
                    (validation, made.rehearse(setting, validation)),
                    (new, made.policy(setting).decide(new)),
                )
            ]
            found.append(accuracy[0] - accuracy[1])
    assert np.mean(gaps[1]) > 0.05
    assert abs(np.mean(gaps[5])) < 3 * np.std(gaps[5]) / 40**0.5 + 0.005


def test_settings_rest_on_validation_alone() -> None:
    validation = synthetic_trace(300, seed=1)
    costs = Costs(example_costs(validation), full_model=2.5)
    tests = [synthetic_trace(200, seed=seed) for seed in (2, 3)]
    curves = [evaluate_strategy(Tuned(), validation, test, costs, GRID) for test in tests]
    assert curves[0].settings == curves[1].settings
    assert curves[0].choices == curves[1].choices
    assert all(choice.index is not None for choice in curves[0].choices)


@pytest.mark.parametrize("thresholds", ["common", "each"])
@pytest.mark.parametrize(
    "odd",
    [
        synthetic_trace(1, seed=1),
        synthetic_trace(20, classes=1, seed=1),
        replace(synthetic_trace(20, seed=1), logits=np.zeros((20, 3, 2), np.float32)),
        replace(synthetic_trace(20, seed=1), logits=np.sign(synthetic_trace(20, seed=1).logits) * np.float32(1e4)),
        synthetic_trace(20, ("cloud",), seed=1),
    ],
    ids=["one sample", "one class", "ties", "1e4", "one exit"],
)
def test_odd_traces(thresholds: str, odd: Trace) -> None:
    made = strategy_named(f"tuned:thresholds={thresholds}")
    made.fit(odd, example_costs(odd))
    for setting in made.settings(GRID):
        whole, single = made.policy(setting).decide(odd), walk(made.policy(setting), odd)
        assert np.array_equal(whole.exit, single.exit)
        assert np.array_equal(whole.entry, single.entry)
        assert made.rehearse(setting, odd).exit.shape == (len(odd),)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Tuned("oracle"), "the strategy 'oracle' has no threshold to tune"),
        (lambda: Tuned(prices=(0.0,)), "the prices are"),
        (lambda: Tuned(prices=()), "the prices are"),
        (lambda: Tuned(folds=0), "folds is 0"),
        (lambda: fitted(Tuned("patience")), "'patience', which takes no thresholds from a grid"),
        (lambda: fitted(Tuned(), TEN.select(np.arange(0))), "holds no samples, which 'tuned' learns from"),
        (lambda: fitted(Tuned()).rehearse(Setting("", ()), TEN), "give the same one"),
        (lambda: fitted(made := Tuned()).rehearse(made.settings(GRID)[1], TEN.select(np.arange(9))), "give the same"),
    ],
)
def test_what_cannot_be_tuned_is_said(make: Callable[[], object], message: str) -> None:
    with pytest.raises(DispatchError, match=message):
        make()
