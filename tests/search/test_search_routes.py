"""Where the tiers are joined in more than one way, the front is that of every choice on every route."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from banks import best_values, chain_problem, every_choice, random_bank, random_problem

from edgepart.errors import FileError, InfeasiblePlan, PlanError, UnknownName
from edgepart.partitioning.plan import Plan
from edgepart.search import search
from edgepart.search.study import Study
from edgepart.testing.hardware import example_link

WAYS = {("mobile", "edge", "cloud"): (0, 1, 2), ("mobile", "cloud"): (0, 2)}


def joined(problem, rate=200.0, round_trip=0.5):
    """Three tiers with a direct link."""
    direct = example_link(rate, round_trip, energy_j_per_byte=0.25)
    first, second = problem.links
    links = {("mobile", "edge"): first, ("mobile", "cloud"): direct, ("edge", "cloud"): second}
    return replace(problem, links=(), joined=links)


def three_tiers(seed):
    return next(each for each in map(random_problem, itertools.count(100 * seed)) if len(each.tiers) == 3)


def on_every_route(problem, bank, objectives, separate, most_exits):
    """Every choice on both routes; what is not on a route is 0."""
    for way, tiers in WAYS.items():
        hops = list(itertools.pairwise(way))

        def known(name, way=way, hops=hops):
            where = name.rpartition(".")[0]
            return not where or (tuple(where.split(":")) in hops if ":" in where else where in way)

        chain = replace(
            problem,
            tiers=tuple(problem.tiers[index] for index in tiers),
            links=tuple(problem.joined[hop] for hop in hops),
            joined=None,
            limits={name: most for name, most in problem.limits.items() if known(name)},
        )
        counted = [name for name in objectives if known(name)]
        for values in every_choice(chain, bank, counted, separate, most_exits):
            told = dict(zip(counted, values, strict=True))
            yield tuple(told.get(name, 0.0) for name in objectives)


def assert_front(problem, bank, objectives, separate=False, most_exits=2):
    front = search(problem, bank, objectives, separate=separate, exits_per_part=most_exits, most_listed=10**6)
    assert front.proven
    expected = best_values(on_every_route(problem, bank, objectives, separate, most_exits), objectives)
    found = sorted(point.values for point in front.points)
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-6)
    return front


OBJECTIVES = [
    ("accuracy", "latency"),
    ("accuracy", "latency", "mobile.energy", "mobile.memory"),
    ("accuracy", "edge.energy"),
    ("latency", "mobile:cloud.bytes"),
]


@pytest.mark.parametrize("objectives", OBJECTIVES)
@pytest.mark.parametrize("seed", range(4))
def test_the_front_is_that_of_every_choice_on_every_route(seed, objectives):
    problem = joined(three_tiers(seed), rate=[20.0, 200.0][seed % 2])
    assert_front(problem, random_bank(problem, seed), objectives, separate=bool(seed % 2))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4, 60))
def test_the_front_is_that_of_every_choice_on_every_route_many_times(seed):
    problem = joined(three_tiers(seed), rate=[4.0, 20.0, 200.0][seed % 3])
    assert_front(problem, random_bank(problem, seed), OBJECTIVES[seed % 4], bool(seed % 2), 1 + seed % 2)


def test_plans_of_both_routes_are_on_one_front():
    problem = joined(chain_problem(5, 3, seed=1))
    bank = random_bank(problem, 1)
    front = assert_front(problem, bank, ("accuracy", "latency", "mobile:cloud.bytes"))
    document = front.record()
    assert {point.route for point in document.points} == set(WAYS)
    assert document.units["mobile:cloud.bytes"] == "bytes"
    for number, point in enumerate(document.points, start=1):
        plan = front.plan(number)
        assert plan.tier_names == point.route
        assert {tier.name: len(tier.layers) for tier in plan.tiers}.items() <= point.layers.items()
        assert plan.predicted["latency"] == pytest.approx(point.values["latency"])
        assert sum(point.layers.values()) == 5
        assert Plan.model_validate_json(plan.model_dump_json()) == plan
    assert "mobile > cloud: all" in front.how


def test_trials_are_for_each_route():
    problem = joined(chain_problem(6, 3, seed=3))
    bank = random_bank(problem, 3, places=3)
    exact = search(problem, bank)
    found = search(problem, bank, most_listed=0, trials=64)
    assert not found.proven
    assert found.how.count("found by 64 trials") == 2
    best = min(point.values[1] for point in exact.points)
    assert min(point.values[1] for point in found.points) == pytest.approx(best)


def test_a_storage_that_is_lost_between_two_routes_leaves_the_points_of_the_first(monkeypatch):
    opened, make = [], Study.__init__

    def lost(self, *given):
        opened.append(given)
        if len(opened) == 2:
            raise FileError("cannot reach the storage")
        make(self, *given)

    monkeypatch.setattr(Study, "__init__", lost)
    problem = joined(chain_problem(6, 3, seed=3))
    front = search(problem, random_bank(problem, 3, places=3), most_listed=0, trials=9)
    assert str(front.stopped) == "cannot reach the storage"
    assert front.trials == 9
    assert len({point.route for point in front.points}) == 1


def test_what_nothing_keeps_to_and_what_is_unknown_is_said():
    problem = joined(chain_problem(4, 3))
    bank = random_bank(problem, 0)
    with pytest.raises(InfeasiblePlan, match="on any route satisfies latency"):
        search(replace(problem, limits={"latency": 1e-6}), bank)
    with pytest.raises(InfeasiblePlan, match="trials keeps to the limits"):
        search(replace(problem, limits={"latency": 1e-6}), bank, most_listed=0, trials=3)
    with pytest.raises(UnknownName, match="mobile:clod"):
        search(problem, bank, ("accuracy", "mobile:clod.bytes"))
    with pytest.raises(PlanError, match="no tier has a price"):
        search(problem, bank, ("accuracy", "money"))


def test_a_pin_leaves_only_the_routes_that_it_is_on():
    problem = replace(joined(chain_problem(4, 3)), pins={"l1": "edge"})
    front = search(problem, random_bank(problem, 0))
    assert front.proven
    assert {point.route for point in front.points} == {(0, 1, 2)}
    assert np.all([front.plan(number).tier_names == problem.tier_names for number in (1, len(front.points))])
