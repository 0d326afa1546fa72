"""Placement within limits, and for what does not add up: chains by dynamic programming, all else as an integer program.

The integer program (:mod:`edgepart.partitioning.integer_program`) is solved by HiGHS, which keeps rows to about a
millionth only. So a placement that oversteps a limit, or is worth more than its rows said, is excluded by a row of its
own, which leaves the bound on all others valid, and the next one is looked for.
"""

from __future__ import annotations

import math
import time

from edgepart.errors import InfeasiblePlan, UndecidedPlan
from edgepart.partitioning import chains
from edgepart.partitioning.conflicts import explain
from edgepart.partitioning.formulation import Nodes, rules
from edgepart.partitioning.integer_program import IntegerProgram
from edgepart.partitioning.limits import all_limits, exceeded
from edgepart.partitioning.linear_program import Expression
from edgepart.partitioning.minimum_cut import IsAbove, Sides
from edgepart.partitioning.pins import Windows
from edgepart.partitioning.plan import Proof
from edgepart.partitioning.problem import Placement, Problem
from edgepart.partitioning.quantities import quantity
from edgepart.partitioning.values import value

METHOD = "integer program"
#: after so many excluded placements, others are looked for that are below the limits by a share of them
MOST_EXCLUDED = 10
MARGIN = 1e-5
#: relative gap below which a solution is called optimal: the tolerance of the solver
OPTIMAL_GAP = 1e-6
#: the optimum is about that much in the program, for the solver's tolerances
SCALE = 1000.0


def solve_within_limits(problem: Problem, window: Windows, time_limit_s: float) -> Placement:
    """The best placement that keeps to all limits, with a lower bound as proof.

    Raises:
        InfeasiblePlan: none does; names a smallest set of constraints that conflict, and by how much a limit is missed.
        UndecidedPlan: none was found in time, nor shown not to exist.
        PlanError: a device does not state what is asked for.
    """
    nodes = Nodes(problem)
    sides = Sides(nodes, *rules(problem, nodes, window))
    if not sides.feasible:
        raise InfeasiblePlan(explain(problem, time_limit_s))
    if chains.applies(problem, sides):
        placement = chains.solve(problem, sides)
        if placement is None:
            raise InfeasiblePlan(explain(problem, time_limit_s))
        return placement
    return Search(problem, sides, time_limit_s).run()


class Search:
    """Looks for better placements of a problem whose rules agree, until the bound says that there is none."""

    def __init__(self, problem: Problem, sides: Sides, time_limit_s: float) -> None:
        self.problem, self.sides, self.time_limit_s = problem, sides, time_limit_s
        self.end = time.monotonic() + time_limit_s
        starts = [self._tier_of(each) for each in sides.uniform()]
        values = [_value(problem, each) for each in starts]
        self.fits = [(cost, each) for cost, each in zip(values, starts, strict=True) if self._allowed(cost, each)]
        known = [cost for cost in values if 0 < cost < math.inf]
        self.unit = (min(values) or max(known, default=SCALE)) / SCALE if known else 1.0
        self.found: tuple[float, dict[str, int]] | None = None
        self.bound, self.shown_infeasible = 0.0, False

    def run(self) -> Placement:
        """The best placement; raises as :func:`solve_within_limits`."""
        self._search(*self._program(0.0), most=MOST_EXCLUDED)
        if self.found is None and not self.shown_infeasible:
            self._search(*self._program(MARGIN), most=1, is_bound=False)
        if self.shown_infeasible and not self.fits:
            raise InfeasiblePlan(explain(self.problem, self.time_limit_s))
        best = min([*self.fits, *([self.found] if self.found else [])], key=lambda pair: pair[0], default=None)
        if best is None:
            raise UndecidedPlan(
                f"no placement within the limits was found in {self.time_limit_s:g} s, nor shown not to exist: "
                "raise a limit, or pin layers to narrow the search"
            )
        return _proven(*best, self.bound)

    def _program(self, margin: float) -> tuple[IntegerProgram, Expression]:
        program = IntegerProgram(self.problem, self.sides)
        objective = program.expression(quantity(self.problem.objective, self.problem.tier_names), self.unit)
        for name, most in all_limits(self.problem).items():
            whole = quantity(name, self.problem.tier_names).kind == "exits"
            program.limit(name, most if whole else most * (1 - margin))
        return program, objective

    def _search(self, program: IntegerProgram, objective: Expression, most: int, is_bound: bool = True) -> None:
        """Solve, and exclude what the solver's tolerances let through; at most so many times."""
        for _ in range(most):
            is_above, solution = program.solve(objective, self.end - time.monotonic())
            best = self.found[0] if self.found else math.inf
            if is_bound:
                self.bound = max(self.bound, min(solution.bound * self.unit, best))
            if is_above is None:
                self.shown_infeasible = is_bound and solution.infeasible and self.found is None
                return
            tier_of = self._tier_of(is_above)
            cost = _value(self.problem, tier_of)
            if self._allowed(cost, tier_of) and cost < best:
                self.found, best = (cost, tier_of), cost
            if not solution.finished or (self.found and best - self.bound <= OPTIMAL_GAP * best):
                return
            program.exclude(is_above)

    def _tier_of(self, is_above: IsAbove) -> dict[str, int]:
        tiers = self.sides.nodes.tiers(is_above)
        return {layer.name: int(tier) for layer, tier in zip(self.problem.graph.layers, tiers, strict=True)}

    def _allowed(self, cost: float, tier_of: dict[str, int]) -> bool:
        return cost < math.inf and not exceeded(self.problem, tier_of)


def _value(problem: Problem, tier_of: dict[str, int]) -> float:
    try:
        return value(problem, tier_of, problem.objective)
    except InfeasiblePlan:  # no size on offer holds a part
        return math.inf


def _proven(cost: float, tier_of: dict[str, int], bound: float) -> Placement:
    bound = min(max(bound, 0.0), cost) if bound < math.inf else 0.0
    gap = (cost - bound) / cost if cost else 0.0
    status = "optimal" if gap <= OPTIMAL_GAP else "bound"
    return Placement(tier_of, Proof(status=status, method=METHOD, bound=bound, gap=gap))
