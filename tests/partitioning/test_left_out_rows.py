"""Rows that are left out of what is solved change no optimum: against the whole program, and row by row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limited_problems import tight_problem
from scipy.optimize import OptimizeResult

from edgepart.errors import InfeasiblePlan
from edgepart.partitioning import linear_program
from edgepart.partitioning.limits import exceeded
from edgepart.partitioning.linear_program import ONE, Expression, LinearProgram, Solution, combine
from edgepart.partitioning.milp import solve_within_limits
from edgepart.partitioning.pins import windows
from edgepart.partitioning.problem import Problem
from edgepart.partitioning.values import memory_bytes, value


@pytest.fixture
def rows_of_solves(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each call of the solver has had."""
    counts, solve = [], linear_program.milp

    def counted(*args: Any, constraints: list[Any], **options: Any) -> Any:
        counts.append(sum(each.A.shape[0] for each in constraints))
        return solve(*args, constraints=constraints, **options)

    monkeypatch.setattr(linear_program, "milp", counted)
    return counts


def solved(program: LinearProgram, objective: Expression) -> Solution:
    return program.solve(objective, 60.0)


def test_only_the_ways_that_are_overstepped_are_put_in(rows_of_solves: list[int]) -> None:
    program = LinearProgram()
    x, y = (program.variable(upper=9.0, integral=True) for _ in range(2))
    program.row(combine([(x, 1.0), (y, 1.0)]), lower=6.0)
    # both terms are variables of their own, with two rows each, which only the last way needs
    terms = [program.maximum([x, combine([(y, 2.0)])]), program.maximum([y, combine([(x, 2.0)])])]
    peak = program.maximum([x, {ONE: 1.0}], seldom=[y, combine((term, 0.01) for term in terms)])
    assert solved(program, peak).bound == pytest.approx(3.0)
    assert rows_of_solves == [3, 4]
    program.row(y, upper=1.0)
    assert solved(program, peak).bound == pytest.approx(5.0)
    assert rows_of_solves == [3, 4, 5]


def test_a_limit_holds_for_ways_that_were_left_out(rows_of_solves: list[int]) -> None:
    program = LinearProgram()
    x, y = (program.variable(upper=4.0, integral=True) for _ in range(2))
    program.row(combine([(x, 1.0), (y, 1.0)]), lower=5.0)
    program.row(program.maximum([x], seldom=[y]), upper=2.0)
    assert solved(program, combine([(x, 2.0), (y, 1.0)])).infeasible
    assert len(rows_of_solves) == 2


def test_a_variable_that_can_still_be_raised_needs_no_second_look(rows_of_solves: list[int]) -> None:
    """That its value is below a way which was left out is no reason: the size that is paid for leaves it room."""
    program = LinearProgram()
    x, y, size = (program.variable(upper=4.0, integral=True) for _ in range(3))
    program.row(combine([(x, 1.0), (y, 1.0)]), lower=5.0)
    program.at_least(combine([(size, 8.0)]), program.maximum([x], seldom=[y]))
    solution = solved(program, combine([(x, 2.0), (y, 1.0), (size, 1.0)]))
    assert solution.x is not None
    assert solution.x[[*x, *y, *size]].tolist() == pytest.approx([1.0, 4.0, 1.0])
    assert len(rows_of_solves) == 1


def test_time_that_runs_out_at_the_second_look_keeps_the_bound_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    solve, calls = linear_program.milp, []

    def once(*args: Any, **options: Any) -> Any:
        calls.append(args)
        return solve(*args, **options) if len(calls) == 1 else OptimizeResult(x=None, status=1, mip_dual_bound=None)

    monkeypatch.setattr(linear_program, "milp", once)
    program = LinearProgram()
    x, y = (program.variable(upper=4.0, integral=True) for _ in range(2))
    program.row(combine([(x, 1.0), (y, 1.0)]), lower=5.0)
    peak = program.maximum([x], seldom=[y])
    solution = solved(program, peak)
    assert len(calls) == 2
    assert not solution.finished
    assert solution.bound == pytest.approx(1.0)


@settings(max_examples=200)
@given(st.integers(0, 10**9))
def test_seldom_or_not_the_optimum_is_the_same(seed: int) -> None:
    whole, reduced = (_random_program(seed, left_out) for left_out in (False, True))
    first, second = solved(*whole), solved(*reduced)
    assert first.infeasible == second.infeasible
    assert second.bound == pytest.approx(first.bound, rel=1e-6, abs=1e-6)


def _random_program(seed: int, left_out: bool) -> tuple[LinearProgram, Expression]:
    """Maxima of maxima and of sums, some in the objective and some limited."""
    random, program = Random(seed), LinearProgram()
    known = [program.variable(upper=float(random.randint(1, 4)), integral=True) for _ in range(4)]

    def way() -> Expression:
        return combine((each, float(random.randint(1, 3))) for each in random.sample(known, random.randint(1, 3)))

    for _ in range(3):
        program.row(way(), lower=float(random.randint(0, 8)))
    for _ in range(random.randint(1, 5)):
        if random.random() < 0.3:
            known.append(program.equal(way()))
            continue
        ways = [way() for _ in range(random.randint(1, 6))]
        usual = random.randint(0, len(ways))
        usual = usual if left_out else len(ways)
        known.append(program.maximum(ways[:usual], seldom=ways[usual:]))
    for each in random.sample(known[4:], random.randint(0, len(known) - 4)):
        program.row(each, upper=float(random.randint(2, 40)))
    return program, combine((each, float(random.randint(0, 3))) for each in known)


def limited_everywhere(seed: int) -> Problem:
    """Up to nine layers with memory limits that mostly bind, other limits, prices, pins, and a tensor that stays."""
    random, problem = Random(f"everywhere {seed}"), tight_problem(seed, most_layers=9)
    layers = [layer.name for layer in problem.graph.layers]
    cuts = sorted(random.randint(0, len(layers)) for _ in problem.links)
    near = {name: sum(index >= cut for cut in cuts) for index, name in enumerate(layers)}
    limits = {
        f"{tier.name}.memory": memory_bytes(problem, near)[index] + random.choice([-2, 0, 1])
        for index, tier in enumerate(problem.tiers)
        if random.random() < 0.7
    }
    objective = random.choice([problem.objective, "latency", "money", f"{problem.tiers[-1].name}.memory"])
    kept = tuple(random.sample([tensor.name for tensor in problem.graph.tensors], random.choice([0, 0, 1])))
    limits = {name: max(0.0, float(most)) for name, most in (problem.limits | limits).items()}
    return replace(problem, limits=limits, kept=kept, objective=objective)


def check_same_optimum(seeds: Iterable[int], rows_of_solves: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    together, again = LinearProgram.maximum, 0
    for seed in seeds:
        problem = limited_everywhere(seed)
        with monkeypatch.context() as patch:
            patch.setattr(
                LinearProgram,
                "maximum",
                lambda self, ways, seldom=(), upper=np.inf: together(self, [*ways, *seldom], upper=upper),
            )
            whole = optimum(problem)
        before = len(rows_of_solves)
        assert optimum(problem) == pytest.approx(whole, rel=1e-6, abs=1e-6), seed
        again += len(set(rows_of_solves[before:])) > 1
    assert again > 5


def optimum(problem: Problem) -> float:
    try:
        placement = solve_within_limits(problem, windows(problem), 60.0)
    except InfeasiblePlan:
        return np.inf
    assert placement.proof.status == "optimal"
    assert not exceeded(problem, placement.tier_of)
    return value(problem, placement.tier_of, problem.objective)


def test_memory_rows_left_out_change_no_placement(rows_of_solves: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    check_same_optimum(range(100), rows_of_solves, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(100, 1100, 250))
def test_memory_rows_left_out_change_none_of_many(
    first: int, rows_of_solves: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    check_same_optimum(range(first, first + 250), rows_of_solves, monkeypatch)
