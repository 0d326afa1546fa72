"""Choosing on validation, comparing on test."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepart.dispatch.cartography import Cartography
from edgepart.dispatch.confidence import Confidence
from edgepart.dispatch.fixed_tier import FixedTier
from edgepart.dispatch.oracle import Oracle
from edgepart.dispatch.random import Random
from edgepart.evaluation.costs import Costs
from edgepart.evaluation.replay import Result, full_model
from edgepart.evaluation.selection import (
    Comparison,
    bootstrap,
    choose,
    compare_at_equal_cost,
    evaluate_strategy,
    hull,
)
from edgepart.testing.traces import synthetic_trace

TABLE = np.array([[1.0, 4.0, 10.0], [np.inf, 3.0, 9.0], [np.inf, np.inf, 8.0]])
COSTS = Costs(TABLE, full_model=8.0)
GRID = np.linspace(0, 1, 51).tolist()
VALIDATION, TEST = synthetic_trace(3000, seed=1), synthetic_trace(3000, seed=2)


def at(cost: float, accuracy: float, samples: int = 1000) -> Result:
    return Result(None, samples, accuracy, cost, 0.0, {}, {})


def test_the_cheapest_accurate_enough_setting_is_chosen() -> None:
    results = [at(9, 0.95), at(4, 0.90), at(5, 0.91), at(4, 0.905), at(1, 0.8)]
    assert choose(results, 0.90) == 3
    assert choose(results, 0.91) == 2
    assert choose(results, 0.5) == 4
    assert choose(results, 0.96) is None
    assert choose([], 0.0) is None


def test_a_drop_of_exactly_what_is_allowed_counts_as_allowed() -> None:
    """Shares of samples are not exact in binary; that must not cost the setting that keeps 2478 of 5000."""
    floor = 2503 / 5000 - 0.005
    assert floor > 2478 / 5000
    assert choose([at(1, 2478 / 5000, 5000), at(2, 2503 / 5000, 5000)], floor) == 0
    assert choose([at(1, 2477 / 5000, 5000), at(2, 2503 / 5000, 5000)], floor) == 1


def test_choices_are_made_on_validation_and_reported_on_test() -> None:
    curve = evaluate_strategy(Confidence(), VALIDATION, TEST, COSTS, GRID)
    floor = full_model(VALIDATION, COSTS).accuracy
    for choice in curve.choices:
        assert choice.index is not None
        accurate = [r for r in curve.validation if r.accuracy >= floor - choice.drop]
        assert curve.validation[choice.index].cost == min(r.cost for r in accurate)
    assert curve.test[10].setting == curve.validation[10].setting == curve.settings[10]
    assert curve.test[10].accuracy != curve.validation[10].accuracy


def test_test_labels_change_no_choice() -> None:
    spoilt = replace(TEST, labels=1 - TEST.labels)
    for strategy in (Confidence, Cartography, FixedTier):
        first = evaluate_strategy(strategy(), VALIDATION, TEST, COSTS, GRID)
        second = evaluate_strategy(strategy(), VALIDATION, spoilt, COSTS, GRID)
        assert (first.choices, first.settings, first.validation) == (second.choices, second.settings, second.validation)


def test_a_strategy_that_keeps_the_accuracy_nowhere_has_no_choice() -> None:
    curve = evaluate_strategy(FixedTier(), VALIDATION, TEST, COSTS, [], drops=(0.005, 1.0))
    assert [choice.index for choice in curve.choices] == [2, 0]
    # Nothing within half a point if the cloud is not on offer.
    assert choose(curve.validation[:2], full_model(VALIDATION, COSTS).accuracy - 0.005) is None


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=9))
def test_no_mixture_of_settings_beats_the_hull(points: list[tuple[int, int]]) -> None:
    results = [at(cost, accuracy / 10) for cost, accuracy in points]
    found = hull(results)
    costs, accuracies = [results[i].cost for i in found], [results[i].accuracy for i in found]
    assert costs == sorted(set(costs))
    assert accuracies == sorted(set(accuracies))
    assert costs[0] == min(cost for cost, _ in points)
    assert accuracies[-1] == max(accuracy for _, accuracy in points) / 10
    for result in results:
        assert result.accuracy <= np.interp(result.cost, costs, accuracies) + 1e-12
    for i in range(1, len(found) - 1):
        straight = np.interp(costs[i], [costs[i - 1], costs[i + 1]], [accuracies[i - 1], accuracies[i + 1]])
        assert accuracies[i] > straight - 1e-12


def overall(comparisons: list[Comparison]) -> Comparison:
    assert comparisons[-1].setting is None
    return comparisons[-1]


def test_a_strategy_does_not_differ_from_itself() -> None:
    curve = evaluate_strategy(Confidence(), VALIDATION, TEST, COSTS, GRID)
    for found in compare_at_equal_cost(curve, curve, TEST):
        assert (found.difference, found.interval, found.verdict) == (0.0, (0.0, 0.0), "no difference shown")
        assert found.accuracy == pytest.approx(found.baseline_accuracy)


def test_random_routing_does_not_differ_from_mixtures_of_fixed_tiers() -> None:
    random = evaluate_strategy(Random(seed=5), VALIDATION, TEST, COSTS, [])
    fixed = evaluate_strategy(FixedTier(), VALIDATION, TEST, COSTS, [])
    found = overall(compare_at_equal_cost(random, fixed, TEST))
    assert abs(found.difference) < 0.01


def test_the_oracle_is_better_and_the_comparison_by_hand_agrees() -> None:
    oracle = evaluate_strategy(Oracle(), VALIDATION, TEST, COSTS, [])
    fixed = evaluate_strategy(FixedTier(), VALIDATION, TEST, COSTS, [])
    found = compare_at_equal_cost(oracle, fixed, TEST)
    assert [one.setting for one in found] == [oracle.settings[0], None]
    cost = oracle.test[0].cost
    names = hull(fixed.validation)
    line = np.interp(cost, [fixed.test[i].cost for i in names], [fixed.test[i].accuracy for i in names])
    assert found[0].cost == cost
    assert found[0].baseline_accuracy == pytest.approx(line)
    assert found[0].difference == pytest.approx(oracle.test[0].accuracy - line)
    assert found[0].interval[0] < found[0].difference < found[0].interval[1]
    assert found[0].verdict == "better"
    # The other way round: mobile alone is cheaper than the oracle, so only dearer tiers are compared.
    back = compare_at_equal_cost(fixed, oracle, TEST)
    assert all(one.verdict == "worse" for one in back if one.cost < 8)


def test_points_cheaper_than_every_rival_are_left_out() -> None:
    fixed = evaluate_strategy(FixedTier(), VALIDATION, TEST, COSTS, [])
    dear = evaluate_strategy(FixedTier(), VALIDATION, TEST, replace(COSTS, table=TABLE + 100), [])
    assert compare_at_equal_cost(fixed, dear, TEST) == []
    found = compare_at_equal_cost(dear, fixed, TEST)
    best = fixed.test[2].accuracy
    assert [one.baseline_accuracy for one in found[:-1]] == pytest.approx([best] * (len(found) - 1))


def test_the_bootstrap_covers_the_mean_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    truth, covered, repeats = 0.1, 0, 300
    for repeat in range(repeats):
        values = random.choice([-1.0, 0.0, 1.0], size=200, p=[0.1, 0.7, 0.2])
        low, high = bootstrap(values, seed=repeat, resamples=500)
        covered += low <= truth <= high
    assert 0.91 <= covered / repeats <= 0.985


def test_the_bootstrap_equals_drawing_samples() -> None:
    values = np.random.default_rng(3).choice([-1.0, -0.25, 0.0, 1.0], size=400)
    drawn = np.random.default_rng(4).choice(values, size=(4000, 400)).mean(axis=1)
    assert bootstrap(values, seed=0, resamples=4000) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.008)
    assert bootstrap(values, 1, 100) == bootstrap(values, 1, 100)


def test_shares_that_sum_to_one_only_nearly_are_no_difference() -> None:
    assert (0.1 + 0.2) - 0.3 > 0
    assert bootstrap(np.full(50, (0.1 + 0.2) - 0.3), seed=0, resamples=100) == (0.0, 0.0)
