"""A mixed-integer linear program that grows row by row, solved by HiGHS through SciPy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
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
        self._rows: list[tuple[Expression, float, float]] = []

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
        self.row(combine([(variable, 1.0), (expression, -1.0)]), 0.0, 0.0)
        return variable

    def maximum(self, ways: Iterable[Expression]) -> Expression:
        """A variable from zero that is no less than any of the (nonnegative) expressions."""
        found = [way for way in ways if way]
        if len(found) < 2:
            return found[0] if found else {}
        variable = self.variable(upper=max(map(self.most, found)))
        for way in found:
            self.at_least(variable, way)
        return variable

    def solve(self, objective: Expression, time_limit_s: float) -> Solution:
        """Minimise."""
        costs = np.zeros(len(self._lower))
        costs[list(objective)] = list(objective.values())
        answer = self._solved(costs, time_limit_s)
        if answer.status == FAILED:  # HiGHS lost its way in what it had simplified
            answer = self._solved(costs, time_limit_s, presolve=False)
        # without integers there is no bound but the optimum
        bound = answer.fun if answer.status == OPTIMAL and answer.mip_dual_bound is None else answer.mip_dual_bound
        known = -np.inf if bound is None or np.isnan(bound) else float(bound)
        infeasible = answer.status == INFEASIBLE
        return Solution(answer.x, np.inf if infeasible else known, infeasible, answer.status in (OPTIMAL, INFEASIBLE))

    def _solved(self, costs: NDArray[np.float64], time_limit_s: float, presolve: bool = True) -> Any:
        with silence():  # HiGHS sometimes prints a line that is meant for its authors
            return milp(
                costs,
                integrality=np.array(self._integral),
                bounds=Bounds(np.array(self._lower), np.array(self._upper)),
                constraints=self._constraints(),
                options={"time_limit": time_limit_s, "mip_rel_gap": 0.0, "presolve": presolve},
            )

    def _constraints(self) -> list[LinearConstraint]:
        if not self._rows:
            return []
        counts = [len(expression) for expression, _, _ in self._rows]
        variables = np.fromiter((v for expression, _, _ in self._rows for v in expression), np.int64, sum(counts))
        factors = np.fromiter((c for e, _, _ in self._rows for c in e.values()), np.float64, sum(counts))
        starts = np.concatenate([[0], np.cumsum(counts)])
        matrix = csr_array((factors, variables, starts), shape=(len(self._rows), len(self._lower)))
        return [LinearConstraint(matrix, [row[1] for row in self._rows], [row[2] for row in self._rows])]


def combine(terms: Iterable[tuple[Expression, float]]) -> Expression:
    """The sum of expressions, each times a factor."""
    total: Expression = defaultdict(float)
    for expression, factor in terms:
        for variable, coefficient in expression.items():
            total[variable] += factor * coefficient
    # what rounding leaves of a difference is nothing
    return {variable: coefficient for variable, coefficient in total.items() if abs(coefficient) > NOTHING}
