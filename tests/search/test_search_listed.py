"""Small spaces: the front is that of every choice, tried one by one."""

from dataclasses import replace

import pytest
from banks import best_values, chain_problem, every_choice, random_bank, random_problem

from edgepart.errors import InfeasiblePlan
from edgepart.search import search

ONE_COST = ("accuracy", "latency")
SEVERAL = ("accuracy", "latency", "mobile.energy", "mobile.memory")


def assert_front(problem, bank, objectives, separate, most_exits):
    front = search(problem, bank, objectives, separate=separate, exits_per_part=most_exits, most_listed=10**6)
    assert front.proven
    expected = best_values(every_choice(problem, bank, objectives, separate, most_exits), objectives)
    found = sorted(point.values for point in front.points)
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-6)
    return front


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("objectives", [ONE_COST, ("latency", "accuracy"), ("accuracy", "energy"), SEVERAL])
def test_the_front_is_that_of_every_choice(seed, objectives):
    problem = random_problem(seed, most_layers=4)
    assert_front(problem, random_bank(problem, seed), objectives, separate=bool(seed % 2), most_exits=1 + seed % 3)


@pytest.mark.parametrize("seed", range(4))
def test_limits_hold_for_every_point(seed):
    problem = chain_problem(4, 2, seed)
    bank = random_bank(problem, seed)
    free = search(problem, bank, ("accuracy", "latency", "mobile.memory"))
    _, latency, memory = free.points[len(free.points) // 2].values
    tight = replace(problem, limits={"mobile.memory": memory, "latency": latency})
    for objectives in (ONE_COST, ("accuracy", "latency", "mobile.memory")):
        assert_front(tight, bank, objectives, separate=False, most_exits=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 250))
def test_the_front_is_that_of_every_choice_many_times(seed):
    problem = random_problem(seed, most_layers=5)
    objectives = (ONE_COST, SEVERAL, ("accuracy", "period"), ("latency", "mobile.memory", "accuracy"))[seed % 4]
    bank = random_bank(problem, seed, places=1 + seed % 3)
    assert_front(problem, bank, objectives, separate=bool(seed % 2), most_exits=1 + seed % 2)


def test_limits_that_nothing_keeps_to_are_named():
    problem = chain_problem(limits={"latency": 1e-6})
    with pytest.raises(InfeasiblePlan, match="latency"):
        search(problem, random_bank(problem, 0))
