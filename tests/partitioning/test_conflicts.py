"""What is said where no placement exists: a smallest set of constraints that conflict, and by how much."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from limited_problems import limited_problems, tight_problem

from edgepart.errors import InfeasiblePlan
from edgepart.partitioning.conflicts import Constraint, conflict, limit_constraints, only, rule_constraints
from edgepart.partitioning.exhaustive import placements
from edgepart.partitioning.limits import ROUNDING, all_limits, broken
from edgepart.partitioning.minimum_cut import MinimumCut
from edgepart.partitioning.pins import Windows, windows
from edgepart.partitioning.problem import Problem, Tier
from edgepart.partitioning.values import value
from edgepart.testing.graphs import make_graph
from edgepart.testing.hardware import example_device, example_link

slowly = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def kept_to(problem: Problem, constraint: Constraint, tier_of: dict[str, int]) -> bool:
    """Straight from the definitions."""
    if constraint.kind in ("limit", "sizes"):
        most = all_limits(problem).get(str(constraint.key), math.inf)
        try:
            return value(problem, tier_of, str(constraint.key)) <= most * (1 + ROUNDING)
        except InfeasiblePlan:
            return False
    return not broken(only(problem, [constraint], exits=False), tier_of)


def fewest(problem: Problem) -> int | None:
    """The size of the smallest set that no placement satisfies: first of rules, then with limits and exits as given."""
    count = len(problem.graph.layers)
    anywhere = Windows((0,) * count, (len(problem.tiers) - 1,) * count)
    everywhere = list(placements(problem, anywhere))
    rules = rule_constraints(problem)
    exits = [each for each in rules if each.kind == "exit"]
    local = [each for each in everywhere if all(kept_to(problem, point, each) for point in exits)]
    beside = [each for each in rules if each.kind != "exit"]
    for among, constraints in ((everywhere, rules), (local, [*limit_constraints(problem), *beside])):
        kept = [{each for each in constraints if kept_to(problem, each, tier_of)} for tier_of in among]
        for size in range(len(constraints) + 1):
            for chosen in itertools.combinations(constraints, size):
                if not any(each.issuperset(chosen) for each in kept):
                    return size
    return None


def assert_smallest(problem: Problem) -> None:
    found, proven = conflict(problem, 60.0)
    expected = fewest(problem)
    assert proven
    assert expected == (None if found is None else len(found))
    if found is not None:
        left = only(problem, found, exits=any(each.kind in ("limit", "sizes") for each in found))
        assert fewest(left) is not None or any(each.kind == "sizes" for each in found)


@settings(max_examples=250, suppress_health_check=slowly)
@given(limited_problems(most_layers=4, most=3))
def test_the_set_is_smallest(problem: Problem) -> None:
    assert_smallest(problem)


def test_the_set_is_smallest_where_limits_bind() -> None:
    for seed in range(400):
        problem = tight_problem(seed, most_layers=5)
        # half of what was just possible
        assert_smallest(replace(problem, limits={name: most / 2 for name, most in problem.limits.items()}))


@pytest.mark.slow
@settings(max_examples=2000, suppress_health_check=slowly)
@given(limited_problems(most_layers=6, most=4))
def test_the_set_is_smallest_on_many(problem: Problem) -> None:
    assert_smallest(problem)


def chain(**settings: object) -> Problem:
    """Three layers of 10, 10 and 10 s on mobile and of 1 s on edge; a byte takes a second."""
    sizes, parameters = [4, 2, 1], {f"l{i}": {f"l{i}.w": 100} for i in range(3)}
    layers = [(f"l{i}", [f"l{i - 1}" if i else "x"], {f"l{i}": size}) for i, size in enumerate(sizes)]
    graph = make_graph(layers, {"x": 8}, parameters=parameters)
    tiers = tuple(
        Tier(name, example_device(), {f"l{i}": seconds for i in range(3)})
        for name, seconds in (("mobile", 10.0), ("edge", 1.0))
    )
    return Problem(graph, tiers, (example_link(),), **settings)  # type: ignore[arg-type]


def sentence(problem: Problem) -> str:
    with pytest.raises(InfeasiblePlan) as caught:
        MinimumCut().solve(problem)
    said = str(caught.value)
    assert "\n" not in said
    return said


@pytest.mark.parametrize(
    ("problem", "says"),
    [
        (
            chain(pins={"l0": "mobile", "l2": "edge"}, limits={"latency": 12.0}),
            "no placement satisfies these together: latency <= 12 s (the least excess is 4 s) and pin l0=mobile; "
            "loosen one of them",
        ),
        (
            chain(limits={"latency": 5.0}),
            "no placement satisfies latency <= 5 s (the least excess is 6 s); loosen it",
        ),
        (
            chain(limits={"latency": 15.0, "mobile:edge.bytes": 3.0}),
            "no placement satisfies these together: latency <= 15 s (the least excess is 8 s) and mobile:edge.bytes "
            "<= 3 B (the least excess is 5 B); loosen one of them",
        ),
        (
            chain(kept=("x",), pins={"l0": "edge"}),
            "no placement satisfies these together: pin l0=edge and x kept where it is made; loosen one of them",
        ),
        (
            chain(forbidden={"l1": frozenset({"mobile", "edge"})}),
            "no placement satisfies l1 not on mobile or edge; loosen it",
        ),
        (
            chain(together=(frozenset({"l0", "l2"}),), pins={"l0": "mobile"}, forbidden={"l1": frozenset({"mobile"})}),
            "no placement satisfies these together: pin l0=mobile, l1 not on mobile and l0 and l2 together; loosen one "
            "of them",
        ),
        (
            chain(limits={"mobile.memory": 50.0}, pins={"l0": "mobile"}),
            "no placement fits the memory limits: even in the one that falls short least, 'mobile' needs 112 B, 62 B "
            "above its limit of 50 B; these conflict by themselves, loosen one of them: mobile.memory <= 50 B and pin "
            "l0=mobile",
        ),
        (
            chain(limits={"mobile.memory": 5.0, "latency": 100.0}),
            "no placement fits the memory limits: even in the one that falls short least, 'mobile' needs 8 B, 3 B "
            "above its limit of 5 B; raise the limit, unpin layers or add a tier",
        ),
    ],
)
def test_the_sentence(problem: Problem, says: str) -> None:
    assert sentence(problem) == says


def test_a_late_answer_names_what_is_left_and_says_so() -> None:
    problem = chain(pins={"l0": "mobile", "l2": "edge"}, limits={"latency": 12.0})
    found, proven = conflict(problem, 0.0)
    assert not proven
    assert found is not None
    assert {"latency", "l0"} <= {each.key for each in found}


def test_pins_that_contradict_each_other_are_found_without_the_others() -> None:
    problem = chain(pins={"l0": "edge", "l1": "edge", "l2": "mobile"})
    with pytest.raises(InfeasiblePlan, match="contradict each other"):
        windows(problem)
    found, proven = conflict(problem, 60.0)
    assert proven
    assert found is not None
    assert len(found) == 2
    assert "l2" in {each.key for each in found}
    assert conflict(replace(problem, pins={}), 60.0) == (None, True)
