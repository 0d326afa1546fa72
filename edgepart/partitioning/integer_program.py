"""A Problem as an integer program: rules as rows, and every quantity as an expression to minimise or to limit.

An expression is no less than its quantity, and equal to it where it is minimised or a limit binds: costs are not
negative, so each variable of a term or a maximum settles at the least that its rows allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgepart.partitioning import charges as charged
from edgepart.partitioning.billing_rows import BillingRows
from edgepart.partitioning.charges import Charges
from edgepart.partitioning.formulation import terms, undecided_starts, use_is_a_term
from edgepart.partitioning.linear_program import ONE, Expression, LinearProgram, Solution, combine
from edgepart.partitioning.memory_rows import MemoryRows
from edgepart.partitioning.minimum_cut import IsAbove, Sides
from edgepart.partitioning.node_variables import NodeVariables
from edgepart.partitioning.problem import Problem
from edgepart.partitioning.quantities import Quantity, quantity
from edgepart.partitioning.shares import exit_layer


class IntegerProgram:
    """The variables and rows of a Problem whose rules do not contradict each other; limits are added one by one."""

    def __init__(self, problem: Problem, sides: Sides) -> None:
        self.problem, self.nodes = problem, sides.nodes
        self.program = LinearProgram()
        self.variables = NodeVariables(self.program, sides)
        self._use_is_a_term = use_is_a_term(problem)

    def limit(self, name: str, most: float) -> None:
        """Keep a quantity to its limit, which becomes the unit of its rows."""
        unit = most or 1.0
        self.program.row(self.expression(quantity(name, self.problem.tier_names), unit), upper=most / unit)

    def excess(self, limits: Mapping[str, float], unit: float) -> Expression:
        """By how much quantities exceed their limits together, in multiples of ``unit``."""
        found = []
        for name, most in limits.items():
            over = self.program.variable()
            own = most or unit
            needed = self.expression(quantity(name, self.problem.tier_names), own)
            self.program.at_least(combine([(over, 1.0), ({ONE: most / own}, 1.0)]), needed)
            found.append((over, own / unit))
        return combine(found)

    def expression(self, asked: Quantity, unit: float) -> Expression:
        """A quantity, in multiples of ``unit``."""
        tiers = range(len(self.problem.tiers)) if asked.index is None else (asked.index,)
        if asked.kind == "period":
            return self._period(unit)
        if asked.kind == "memory":
            return MemoryRows(self.problem, self.variables, tiers[0], unit).peak()
        if asked.kind == "exits":
            position = self.problem.graph.position
            layers = [position[exit_layer(self.problem.graph, point)] for point in self.problem.exits]
            return combine((self.variables.on(layer, tiers[0]), 1 / unit) for layer in layers)
        if asked.kind == "money":
            return combine((self._money(tier, unit), 1.0) for tier in tiers)
        adds_up = charged.additive(self.problem, asked)
        assert adds_up is not None, f"{asked.kind} adds up"
        return self._additive(adds_up, unit)

    def solve(self, objective: Expression, time_limit_s: float) -> tuple[IsAbove | None, Solution]:
        """The sides of all nodes in the best placement found, and what the solver says."""
        solution = self.program.solve(objective, max(0.0, time_limit_s))
        return None if solution.x is None else self.variables.placed(solution.x), solution

    def exclude(self, is_above: IsAbove) -> None:
        """Forbid this very placement."""
        differs, least = self.variables.differs(is_above)
        self.program.row(differs, lower=least)

    def _additive(self, charges: Charges, unit: float) -> Expression:
        starts = [
            (self._arriving(tier, charges.expected), float(charges.start[tier]) / unit)
            for tier in undecided_starts(self.nodes, charges)
        ]
        if self._use_is_a_term or not charges.use.any():
            return combine([(self.variables.total(terms(self.problem, self.nodes, charges), unit), 1.0), *starts])
        without = replace(charges, use=np.zeros_like(charges.use))
        total = [(self.variables.total(terms(self.problem, self.nodes, without), unit), 1.0), *starts]
        for hop in range(1, self.nodes.hops + 1):
            used = self.program.maximum(self._crossings(hop))
            total.append((self.crossing(used, hop, charges.expected), float(charges.use[hop - 1]) / unit))
        return combine(total)

    def _arriving(self, tier: int, expected: bool) -> Expression:
        """The share of the samples that come to a tier's part; 0 where it holds nothing."""
        depths, shares = [self.nodes.layers], [1.0]
        if expected and len(self.nodes.going_on):
            # who leaves at an exit has come if one of the layers before it is there
            depths = [*depths, *self.nodes.exit_depth.tolist()]
            shares = [float(self.nodes.going_on[-1]), *(self.nodes.reaching - self.nodes.going_on).tolist()]
        pairs = zip(depths, shares, strict=True)
        return combine((self.variables.any_on(range(depth), tier), share) for depth, share in pairs if share)

    def _crossings(self, hop: int) -> list[Expression]:
        """For every tensor that takes bytes, 1 where it crosses a hop."""
        nodes, at, first, found = self.nodes, self.variables.at, 0, []
        for producer, count in zip(nodes.producer.tolist(), nodes.reader_count.tolist(), strict=True):
            readers = nodes.readers[first : first + count].tolist()
            found.append(self.variables.term(at(producer, hop), [at(reader, hop) for reader in readers]))
            first += count
        return found

    def crossing(self, used: Expression, hop: int, expected: bool = True) -> Expression:
        """The share of the samples that go on past the last exit below a hop, where ``used`` is 1, else 0."""
        if not expected or not len(self.nodes.going_on):
            return used
        parts = [(used, float(self.nodes.going_on[-1]))]
        for layer, leaving in zip(self.nodes.exit_layer, self.nodes.reaching - self.nodes.going_on, strict=True):
            if leaving:
                above = self.variables.node(self.variables.at(int(layer), hop))
                both = self.program.variable(upper=1.0)
                self.program.at_least(both, combine([(used, 1.0), (above, 1.0), ({ONE: 1.0}, -1.0)]))
                parts.append((both, float(leaving)))
        return combine(parts)

    def _period(self, unit: float) -> Expression:
        busy = [charged.computing(self.problem, tier) for tier in range(len(self.problem.tiers))]
        busy += [charged.sending(self.problem, hop) for hop in range(len(self.problem.links))]
        return self.program.maximum(self._additive(each, unit) for each in busy)

    def _money(self, tier: int, unit: float) -> Expression:
        price = self.problem.tiers[tier].price
        if price is None:
            return {}
        egress = self._additive(charged.egress(self.problem, tier, price), unit)
        bill = BillingRows(self.problem, self.variables, tier, price, unit)
        fee = self.crossing(bill.held, tier)
        return combine([(egress, 1.0), (fee, price.usd_per_request / unit), (bill.work(), 1.0)])
