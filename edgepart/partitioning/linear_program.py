"""A mixed-integer linear program that grows row by row, solved by HiGHS through SciPy.

HiGHS takes long for rows that decide nothing, its presolve above all. So some *ways* that a maximum may be reached are
left out at first, together with the variables that only they need. What is then solved asks for less than the whole
program, so its bound holds for it; its solution is one of the whole program if all variables that have been left out
can still be given values. If not, the ways that the solution oversteps are put in, and the program is solved again.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from edgepart.silence import silence

#: a linear expression: variable → coefficient
Expression = dict[int, float]
#: the variable that is always 1, for constants in expressions
ONE = 0
#: a coefficient that is left by rounding; rows are scaled so that their largest is about 1
NOTHING = 1e-14
#: an expression, its least and its most
Row = tuple[Expression, float, float]
#: by how much HiGHS oversteps rows
TOLERANCE = 1e-6
#: status of SciPy's milp
OPTIMAL, INFEASIBLE, FAILED = 0, 2, 4


@dataclass(frozen=True)
class Solution:
    """What the solver found: values of the variables (None: none), and a lower bound on the objective."""

    x: NDArray[np.float64] | None
    bound: float
    infeasible: bool
    #: whether the bound was reached, else time ran out
    finished: bool


class LinearProgram:
    """Variables and rows."""

    def __init__(self) -> None:
        self._lower, self._upper, self._integral = [1.0], [1.0], [False]
        self._rows: list[Row] = []
        #: variable → the rows that say how large it is, each by variables that are older
        self._defining: dict[int, list[Row]] = {}
        #: variable → ways that are left out
        self._left: dict[int, list[Expression]] = {}

    def variable(self, lower: float = 0.0, upper: float = np.inf, integral: bool = False) -> Expression:
        """A new variable."""
        self._lower.append(lower)
        self._upper.append(upper)
        self._integral.append(integral)
        return {len(self._lower) - 1: 1.0}

    def row(self, expression: Expression, lower: float = -np.inf, upper: float = np.inf) -> None:
        """Keep an expression between two numbers."""
        self._rows.append((expression, lower, upper))

    def at_least(self, larger: Expression, smaller: Expression) -> None:
        self.row(combine([(larger, 1.0), (smaller, -1.0)]), lower=0.0)

    def most(self, expression: Expression) -> float:
        """What an expression cannot exceed, by the bounds of its variables. Unbounded ones unsettle HiGHS (1.12)."""
        return sum(
            factor * (self._upper[variable] if factor > 0 else self._lower[variable])
            for variable, factor in expression.items()
        )

    def equal(self, expression: Expression) -> Expression:
        """A nonnegative variable that equals the expression, to keep rows short."""
        if len(expression) < 2:
            return expression
        variable = self.variable(upper=self.most(expression))
        self._define(variable, [expression], most=0.0)
        return variable

    def maximum(
        self, ways: Iterable[Expression], seldom: Iterable[Expression] = (), upper: float = np.inf
    ) -> Expression:
        """A variable from zero that is no less than any of the (nonnegative) expressions.

        Rows and the objective may keep it small; none may ask for more of it, for what is left out is looked for with
        every such variable at its least.

        Args:
            seldom: more of them, which rarely are the largest: left out of what is solved until they are missed.
            upper: what they cannot exceed.
        """
        usual, others = [way for way in ways if way], [way for way in seldom if way]
        if len(usual) + len(others) < 2:
            return [*usual, *others, {}][0]
        variable = self.variable(upper=min(upper, max(map(self.most, [*usual, *others]))))
        self._define(variable, usual)
        if others:
            (number,) = variable
            self._left[number] = others
        return variable

    def solve(self, objective: Expression, time_limit_s: float) -> Solution:
        """Minimise."""
        end, bound = time.monotonic() + time_limit_s, -np.inf
        while True:
            rows = self._needed(objective)
            solution = self._solution(objective, rows, max(0.0, end - time.monotonic()))
            bound = max(bound, solution.bound)
            if solution.x is None or not solution.finished:
                return replace(solution, bound=bound)
            missed = self._missed(solution.x, objective, rows)
            if not missed:
                return replace(solution, bound=bound)
            self._put_in(missed)

    def _define(self, variable: Expression, ways: Iterable[Expression], most: float = np.inf) -> None:
        """Rows that keep a variable above each of the ways, by ``most`` at most."""
        (number,) = variable
        rows = self._defining.setdefault(number, [])
        rows.extend((combine([(variable, 1.0), (way, -1.0)]), 0.0, most) for way in ways)

    def _put_in(self, missed: Mapping[int, Sequence[Expression]]) -> None:
        for number, ways in missed.items():
            self._define({number: 1.0}, ways)
            chosen = {id(way) for way in ways}
            self._left[number] = [way for way in self._left[number] if id(way) not in chosen]

    def _needed(self, objective: Expression) -> list[Row]:
        """The rows of the program, and those that define the variables in them and in the objective."""
        needed, reached = list(self._rows), {*objective, *(v for row, _, _ in self._rows for v in row)}
        seen: set[int] = set()
        while reached := (reached & self._defining.keys()) - seen:
            rows = [row for variable in sorted(reached) for row in self._defining[variable]]
            needed += rows
            seen |= reached
            reached = {variable for row, _, _ in rows for variable in row}
        return needed

    def _missed(
        self, x: NDArray[np.float64], objective: Expression, rows: Iterable[Row]
    ) -> dict[int, list[Expression]]:
        """Ways left out that a solution oversteps; none if it is one of the whole program, and as good there."""
        # every defined variable at its least, given all the ways that it has
        values: list[float] = np.where(self._integral, np.rint(x), x).tolist()
        missed: dict[int, list[Expression]] = {}
        for number, defining in self._defining.items():
            values[number] = 0.0
            least = max((-_value(row, values) for row, _, _ in defining), default=0.0)
            left = [(_value(way, values), way) for way in self._left.get(number, [])]
            values[number] = max([0.0, least, *(value for value, _ in left)])
            missed[number] = [way for value, way in left if value > max(least, x[number]) + TOLERANCE]
        fits = all(lower - TOLERANCE <= _value(row, values) <= upper + TOLERANCE for row, lower, upper in rows)
        if fits and _value(objective, values) <= _value(objective, x) + TOLERANCE:
            return {}
        return {number: ways for number, ways in missed.items() if ways}

    def _solution(self, objective: Expression, rows: Sequence[Row], time_limit_s: float) -> Solution:
        """Of a program of these rows only."""
        costs = np.zeros(len(self._lower))
        costs[list(objective)] = list(objective.values())
        answer = self._solved(costs, rows, time_limit_s)
        if answer.status == FAILED:  # HiGHS lost its way in what it had simplified
            answer = self._solved(costs, rows, time_limit_s, presolve=False)
        # without integers there is no bound but the optimum
        bound = answer.fun if answer.status == OPTIMAL and answer.mip_dual_bound is None else answer.mip_dual_bound
        known = -np.inf if bound is None or np.isnan(bound) else float(bound)
        infeasible = answer.status == INFEASIBLE
        return Solution(answer.x, np.inf if infeasible else known, infeasible, answer.status in (OPTIMAL, INFEASIBLE))

    def _solved(
        self, costs: NDArray[np.float64], rows: Sequence[Row], time_limit_s: float, presolve: bool = True
    ) -> Any:
        with silence():  # HiGHS sometimes prints a line that is meant for its authors
            return milp(
                costs,
                integrality=np.array(self._integral),
                bounds=Bounds(np.array(self._lower), np.array(self._upper)),
                constraints=_constraints(rows, len(costs)),
                options={"time_limit": time_limit_s, "mip_rel_gap": 0.0, "presolve": presolve},
            )


def _constraints(rows: Sequence[Row], variables: int) -> list[LinearConstraint]:
    if not rows:
        return []
    counts = [len(expression) for expression, _, _ in rows]
    columns = np.fromiter((v for expression, _, _ in rows for v in expression), np.int64, sum(counts))
    factors = np.fromiter((c for e, _, _ in rows for c in e.values()), np.float64, sum(counts))
    starts = np.concatenate([[0], np.cumsum(counts)])
    matrix = csr_array((factors, columns, starts), shape=(len(rows), variables))
    return [LinearConstraint(matrix, [row[1] for row in rows], [row[2] for row in rows])]


def _value(expression: Expression, values: Sequence[float] | NDArray[np.float64]) -> float:
    return sum(factor * values[variable] for variable, factor in expression.items())


def combine(terms: Iterable[tuple[Expression, float]]) -> Expression:
    """The sum of expressions, each times a factor."""
    total: Expression = defaultdict(float)
    for expression, factor in terms:
        for variable, coefficient in expression.items():
            total[variable] += factor * coefficient
    # what rounding leaves of a difference is nothing
    return {variable: coefficient for variable, coefficient in total.items() if abs(coefficient) > NOTHING}
