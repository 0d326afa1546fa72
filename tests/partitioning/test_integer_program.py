"""The integer program against exhaustive search, for every objective and limit, and its invariances."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from limited_problems import assert_best, limited_problems, tight_problem

from edgepart.errors import InfeasiblePlan
from edgepart.graph import Graph
from edgepart.partitioning import milp
from edgepart.partitioning.milp import solve_within_limits
from edgepart.partitioning.minimum_cut import MinimumCut
from edgepart.partitioning.pins import windows
from edgepart.partitioning.problem import Placement, Problem, Tier
from edgepart.partitioning.values import value
from edgepart.testing.graphs import make_graph
from edgepart.testing.hardware import example_device, example_link

slowly = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


class IntegerProgram:
    """Never the minimum cut."""

    def solve(self, problem: Problem) -> Placement:
        return solve_within_limits(problem, windows(problem), 60.0)


@settings(max_examples=200, suppress_health_check=slowly)
@given(limited_problems(most_layers=5))
def test_the_integer_program_equals_exhaustive_search(problem: Problem) -> None:
    assert_best(problem, IntegerProgram())


def test_it_equals_exhaustive_search_where_limits_bind(monkeypatch: pytest.MonkeyPatch) -> None:
    # the rows are exact: no placement needs to be excluded
    monkeypatch.setattr(milp, "MOST_EXCLUDED", 1)
    for seed in range(600):
        assert_best(tight_problem(seed), IntegerProgram())


def test_every_objective_within_limits_equals_exhaustive_search() -> None:
    for seed in range(600, 900):
        assert_best(tight_problem(seed), MinimumCut())


@pytest.mark.slow
@settings(max_examples=5000, suppress_health_check=slowly)
@given(limited_problems(most_layers=9, most=3))
def test_the_integer_program_equals_exhaustive_search_on_many(problem: Problem) -> None:
    assert_best(problem, IntegerProgram())


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 6000, 500))
def test_it_equals_exhaustive_search_where_limits_bind_on_many(first: int) -> None:
    for seed in range(first, first + 500):
        assert_best(tight_problem(seed, most_layers=9), IntegerProgram())


def optimum(problem: Problem) -> float:
    try:
        return value(problem, MinimumCut().solve(problem).tier_of, problem.objective)
    except InfeasiblePlan:
        return float("inf")


def test_a_looser_limit_never_hurts() -> None:
    for seed in range(1000, 1100):
        problem, factor = tight_problem(seed, most_layers=9), 1.0 + seed % 3
        looser = replace(problem, limits={name: most * factor + 1.0 for name, most in problem.limits.items()})
        assert optimum(looser) <= optimum(problem) * (1 + 1e-6) + 1e-6


def test_a_layer_and_a_half_that_costs_nothing_are_one_layer() -> None:
    for seed in range(1100, 1200):
        problem = tight_problem(seed, most_layers=8)
        halved = in_two(problem, seed % len(problem.graph.layers))
        assert optimum(halved) == pytest.approx(optimum(problem), rel=1e-6, abs=1e-6)


def in_two(problem: Problem, split: int) -> Problem:
    """With a second half of a layer that reads what the first one makes, and makes, holds and takes nothing."""
    text = problem.graph.model_dump()
    first = text["layers"][split]
    half = first | {"name": "half", "inputs": first["outputs"][:1], "outputs": (), "parameters": ()}
    text["layers"] = [*text["layers"][: split + 1], half | {"activation_bytes": 0}, *text["layers"][split + 1 :]]
    for tensor in text["tensors"]:
        if tensor["name"] in half["inputs"]:
            tensor["consumers"] = ["half", *tensor["consumers"]]
    return replace(
        problem,
        graph=Graph.model_validate(text),
        tiers=tuple(replace(tier, latency_s={**tier.latency_s, "half": 0.0}) for tier in problem.tiers),
        # the halves of a layer that must stay with others stay together
        together=(*problem.together, frozenset([first["name"], "half"])),
        exits=tuple(replace(point, depth=point.depth + (point.depth > split)) for point in problem.exits),
    )


def test_names_change_nothing_within_limits() -> None:
    for seed in range(1200, 1280):
        problem = tight_problem(seed, most_layers=8)
        assert optimum(with_other_names(problem)) == pytest.approx(optimum(problem), rel=1e-6, abs=1e-6)


def with_other_names(problem: Problem) -> Problem:
    renamed = {layer.name: f"other {number}" for number, layer in enumerate(reversed(problem.graph.layers))}
    text = problem.graph.model_dump()
    for layer in text["layers"]:
        layer["name"] = renamed[layer["name"]]
    for tensor in text["tensors"]:
        tensor["producer"] = renamed.get(tensor["producer"])
        tensor["consumers"] = [renamed[name] for name in tensor["consumers"]]
    return replace(
        problem,
        graph=Graph.model_validate(text),
        tiers=tuple(
            replace(tier, latency_s={renamed[name]: seconds for name, seconds in tier.latency_s.items()})
            for tier in problem.tiers
        ),
        pins={renamed[name]: tier for name, tier in problem.pins.items()},
        forbidden={renamed[name]: tiers for name, tiers in problem.forbidden.items()},
        together=tuple(frozenset(renamed[name] for name in group) for group in problem.together),
    )


def test_a_limit_just_below_what_is_possible_is_refused() -> None:
    """HiGHS ends such a program with an error after it has simplified it; it is then solved as it stands."""
    graph = make_graph([("l0", [], {"a": 0}), ("l1", ["x"], {"b": 0}), ("l2", ["x"], {"c": 0})], {"x": 1})
    device = example_device().model_copy(update={"power_w": 2.0})
    link = example_link(1.0, 0.0).model_copy(update={"energy_j_per_byte": 0.5})
    tiers = (
        Tier("mobile", device, {"l0": 0.0, "l1": 0.0, "l2": 1.0}),
        Tier("edge", device, dict.fromkeys(graph.position, 0.0)),
    )
    problem = Problem(graph, tiers, (link,), limits={"mobile.energy": 0.5 * (1 - 1e-6)})
    with pytest.raises(InfeasiblePlan, match=r"mobile\.energy"):
        MinimumCut().solve(problem)
