"""What the time of a serverless tier is billed, exactly, as rows of an integer program.

A sample that leaves at an exit has run, of the tier's layers, those before that exit (all of them if the exit lies
higher, none if it lies lower), and has started if these are any, so every exit has one number of whole billing steps.
They are paid at the rate of the smallest size on offer that holds the part: one binary variable a size, and the
expected steps once for each size, of which all but the chosen one's are 0. Where a larger size is cheaper, the program
may take it although the part fits in a smaller one: then it states a lower bound.
"""

from __future__ import annotations

import math
from functools import cached_property

from edgepart.hardware import ServerlessPrice
from edgepart.partitioning.linear_program import Expression, combine
from edgepart.partitioning.memory_rows import MemoryRows, most_bytes
from edgepart.partitioning.node_variables import NodeVariables
from edgepart.partitioning.problem import Problem
from edgepart.partitioning.values import head_s

#: beyond so many steps a sample, a fraction of one is not worth an integer
MOST_STEPS = 1e6


class BillingRows:
    """The time of one tier, in multiples of ``unit`` USD."""

    def __init__(
        self, problem: Problem, variables: NodeVariables, tier: int, price: ServerlessPrice, unit: float
    ) -> None:
        self.problem, self.variables, self.tier, self.price, self.unit = problem, variables, tier, price, unit
        self.program, self.nodes = variables.program, variables.nodes
        #: 1 where the tier holds a layer
        self.held = variables.any_on(range(variables.nodes.layers), tier)

    def work(self) -> Expression:
        """The expected bill for time; no size fits: no placement."""
        steps, most = self._expected_steps()
        sizes = self._sizes()
        if len(sizes) == 1 and sizes[0][0] >= self._most_bytes:
            return combine([(steps, sizes[0][1])])
        at_sizes = [self.program.variable(upper=most) for _ in sizes]
        chosen = self._chosen([size for size, _ in sizes])
        for at_this_size, is_chosen in zip(at_sizes, chosen, strict=True):
            self.program.at_least(combine([(is_chosen, most)]), at_this_size)
        self.program.at_least(combine((each, 1.0) for each in at_sizes), steps)
        return combine((each, rate) for each, (_, rate) in zip(at_sizes, sizes, strict=True))

    def _sizes(self) -> list[tuple[int, float]]:
        """(bytes, what a step costs) of the sizes that may be the smallest which holds the part."""
        rates: dict[int, float] = {}
        for size, ghz in sorted(self.price.sizes):
            rates.setdefault(size, self.price.usd_per_s(size, ghz) * self.price.step_s / self.unit)
            if size >= self._most_bytes:
                break
        return list(rates.items())

    @cached_property
    def _most_bytes(self) -> float:
        return MemoryRows(self.problem, self.variables, self.tier, 1.0).most_with_layers()

    def _chosen(self, sizes: list[int]) -> list[Expression]:
        """For every size, 1 if it is taken: one that holds the part, or none if the tier has no layers."""
        chosen = [self.program.variable(upper=1.0, integral=True) for _ in sizes]
        # a tier without layers may still hold what passes through
        no_layers = self.program.variable(upper=1.0, integral=True)
        self.program.row(combine([(no_layers, 1.0), (self.held, 1.0)]), upper=1.0)
        self.program.row(combine((each, 1.0) for each in [*chosen, no_layers]), 1.0, 1.0)
        anything = most_bytes(self.problem)
        needed = MemoryRows(self.problem, self.variables, self.tier, anything).peak()
        enough = [*zip(chosen, sizes, strict=True), (no_layers, anything)]
        self.program.at_least(combine((each, size / anything) for each, size in enough), needed)
        return chosen

    def _expected_steps(self) -> tuple[Expression, float]:
        """The billed steps of a sample, and more than they can be."""
        going_on = [1.0, *self.nodes.going_on.tolist()]
        leaving = [*(self.nodes.reaching - self.nodes.going_on).tolist(), going_on[-1]]
        depths = [*self.nodes.exit_depth.tolist(), self.nodes.layers]
        parts, total = [], 0.0
        for number, (share, depth) in enumerate(zip(leaving, depths, strict=True)):
            if share:
                steps, most = self._steps(depth, number + 1)
                parts.append((steps, float(share)))
                total += share * most
        return combine(parts), total

    def _steps(self, depth: int, heads: int) -> tuple[Expression, int]:
        """Whole steps of the tier's layers among the first ``depth`` and its heads among the first ``heads``."""
        where = self.problem.tiers[self.tier]
        spent = [
            (position, where.latency_s[layer.name]) for position, layer in enumerate(self.problem.graph.layers[:depth])
        ]
        for layer, point in zip(self.nodes.exit_layer.tolist()[:heads], self.problem.exits[:heads], strict=True):
            spent.append((layer, head_s(where.device, point.head_macs)))
        most = math.ceil((where.start_s + sum(seconds for _, seconds in spent)) / self.price.step_s) + 1
        steps = self.program.variable(upper=most, integral=most < MOST_STEPS)
        exact = [(self.variables.on(layer, self.tier), seconds / self.price.step_s) for layer, seconds in spent]
        if where.start_s:
            exact.append((self.variables.any_on(range(depth), self.tier), where.start_s / self.price.step_s))
        self.program.at_least(steps, combine(exact))
        return steps, most
