"""The period (throughput), and the dynamic program for chains, against exhaustive search and the integer program."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limited_problems import assert_best, chain_problems, tight_problem

from edgepart.errors import InfeasiblePlan
from edgepart.partitioning import chains
from edgepart.partitioning.formulation import Nodes, rules
from edgepart.partitioning.milp import Search
from edgepart.partitioning.minimum_cut import MinimumCut, Sides
from edgepart.partitioning.pins import windows
from edgepart.partitioning.problem import Partitioner, Placement, Problem, Tier
from edgepart.partitioning.values import value
from edgepart.testing.graphs import make_graph
from edgepart.testing.hardware import example_device, example_link

slowly = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def sides(problem: Problem) -> Sides:
    nodes = Nodes(problem)
    return Sides(nodes, *rules(problem, nodes, windows(problem)))


class Chain:
    """The dynamic program alone."""

    def solve(self, problem: Problem) -> Placement:
        found = sides(problem)
        if not found.feasible:
            raise InfeasiblePlan("the rules contradict each other")
        assert chains.applies(problem, found)
        placement = chains.solve(problem, found)
        if placement is None:
            raise InfeasiblePlan("no cut keeps to the limits")
        assert placement.proof.method == "dynamic programming"
        return placement


class IntegerProgram:
    """The integer program, though the graph is a chain."""

    def solve(self, problem: Problem) -> Placement:
        found = sides(problem)
        if not found.feasible:
            raise InfeasiblePlan("the rules contradict each other")
        return Search(problem, found, 60.0).run()


@settings(max_examples=200, suppress_health_check=slowly)
@given(chain_problems(most_layers=6))
def test_the_dynamic_program_equals_exhaustive_search(problem: Problem) -> None:
    assert_best(problem, Chain())


def test_it_equals_exhaustive_search_where_limits_of_a_chain_bind() -> None:
    for seed in range(600):
        assert_best(tight_problem(seed, chain=True), Chain())


@pytest.mark.slow
@settings(max_examples=2000, suppress_health_check=slowly)
@given(chain_problems(most_layers=9))
def test_the_dynamic_program_equals_exhaustive_search_on_many(problem: Problem) -> None:
    assert_best(problem, Chain())


@pytest.mark.slow
def test_it_equals_exhaustive_search_where_limits_of_a_chain_bind_on_many() -> None:
    for seed in range(1000, 6000):
        assert_best(tight_problem(seed, most_layers=9, chain=True), Chain())


def test_the_period_equals_exhaustive_search() -> None:
    for seed in range(6000, 6300):
        assert_best(replace(tight_problem(seed), objective="period"), MinimumCut())


def test_the_dynamic_program_equals_the_integer_program() -> None:
    for seed in range(60):
        problem = tight_problem(seed, most_layers=20, chain=True)
        assert optimum(problem, Chain()) == pytest.approx(optimum(problem, IntegerProgram()), rel=1e-6, abs=1e-6)


def optimum(problem: Problem, method: Partitioner) -> float:
    try:
        return value(problem, method.solve(problem).tier_of, problem.objective)
    except InfeasiblePlan:
        return float("inf")


def pipeline(**settings: object) -> Problem:
    """Four layers of 4 s on every tier; a byte takes a second, the tensors 9, 3, 3, 3 and 1 bytes."""
    sizes = [3, 3, 3, 1]
    layers = [(f"l{i}", [f"l{i - 1}" if i else "x"], {f"l{i}": size}) for i, size in enumerate(sizes)]
    tiers = tuple(Tier(name, example_device(), {f"l{i}": 4.0 for i in range(4)}) for name in ("mobile", "edge"))
    graph = make_graph(layers, {"x": 9})
    return Problem(graph, tiers, (example_link(),), objective="period", **settings)  # type: ignore[arg-type]


def test_work_is_shared_evenly_though_it_takes_longer() -> None:
    shared = MinimumCut().solve(pipeline())
    assert list(shared.tier_of.values()) == [0, 0, 1, 1]
    assert (shared.proof.bound, shared.proof.status, shared.proof.gap) == (8.0, "optimal", 0.0)
    alone = MinimumCut().solve(replace(pipeline(), objective="latency"))
    assert set(alone.tier_of.values()) == {0}


def test_a_slow_link_is_the_bottleneck() -> None:
    slow = replace(pipeline(), links=(example_link(1.0),))
    # 24 s for three bytes: no better than 16 s on one tier
    assert MinimumCut().solve(slow).proof.bound == 16.0


@settings(max_examples=60, suppress_health_check=slowly)
@given(chain_problems(most_layers=7), st.sampled_from([2.0, 10.0]))
def test_a_faster_link_never_lowers_the_throughput(problem: Problem, factor: float) -> None:
    free = replace(problem, limits={}, objective="period")
    links = tuple(link.model_copy(update={"up_bits_per_s": factor * link.up_bits_per_s}) for link in free.links)
    try:
        before = MinimumCut().solve(free).proof.bound
    except InfeasiblePlan:
        return
    after = MinimumCut().solve(replace(free, links=links)).proof.bound
    assert before is not None
    assert after is not None
    assert after <= before * (1 + 1e-9)
