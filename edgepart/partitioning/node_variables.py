"""The nodes of a problem as variables of an integer program: 1 above, 0 below.

Nodes that the rules force to one side are constants, and nodes that they force to the same side share a variable. A
term (paid when one node is below and any of others is above) mostly needs no variable of its own: a node that the rules
keep below another one never decides whether any of the two is above, and the side of a single node that is never below
the first one makes a difference of two variables. Only tensors read by branches that run beside each other are left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from graphlib import TopologicalSorter

import numpy as np
from scipy.sparse.csgraph import connected_components

from edgepart.partitioning.formulation import ABOVE, BELOW, Terms
from edgepart.partitioning.linear_program import ONE, Expression, LinearProgram, combine
from edgepart.partitioning.minimum_cut import IsAbove, Sides

#: a set of classes of nodes, a bit for each
Bits = int


class NodeVariables:
    """The variables of nodes, of terms, and of layers on tiers."""

    def __init__(self, program: LinearProgram, sides: Sides) -> None:
        self.program, self.nodes = program, sides.nodes
        never_below, never_above = sides.least(np.zeros(sides.nodes.count, np.bool_)), ~sides.most()
        assert never_below is not None, "rules that contradict each other are found before"
        _, found = connected_components(sides.raises, connection="strong")
        self._class = np.where(never_below, ABOVE, np.where(never_above, BELOW, found + 2)).tolist()
        self._raised = self._reach(sides)
        self._variable: dict[int, Expression] = {ABOVE: {ONE: 1.0}, BELOW: {}}
        for each in self._raised:
            self._variable[each] = program.variable(upper=1.0, integral=True)
        for each, direct in self._direct.items():
            for other in direct:
                program.at_least(self._variable[other], self._variable[each])
        self._terms: dict[tuple[int, frozenset[int]], Expression] = {}

    def _reach(self, sides: Sides) -> dict[int, Bits]:
        """For every class, those that are above whenever it is; keeps the rules that no others imply."""
        direct: dict[int, set[int]] = {each: set() for each in self._class if each not in (ABOVE, BELOW)}
        for below, above in zip(sides.below.tolist(), sides.above.tolist(), strict=True):
            raised, by = self._class[below], self._class[above]
            if by in direct and raised in direct and by != raised:
                direct[by].add(raised)
        reach: dict[int, Bits] = {}
        self._direct: dict[int, list[int]] = {}
        for each in TopologicalSorter(direct).static_order():
            beyond = 0
            for other in direct[each]:
                beyond |= reach[other] & ~(1 << other)
            self._direct[each] = [other for other in sorted(direct[each]) if not beyond >> other & 1]
            reach[each] = beyond | 1 << each | sum(1 << other for other in self._direct[each])
        return reach

    def node(self, number: int) -> Expression:
        """1 where the node is above."""
        return self._variable[self._class[number]]

    def at(self, layer: int, hop: int) -> int:
        """The number of the node of a layer (-1: an input of the network) at a hop."""
        if hop == 0:
            return ABOVE
        return BELOW if layer < 0 or hop > self.nodes.hops else 2 + (hop - 1) * self.nodes.layers + layer

    def on(self, layer: int, tier: int) -> Expression:
        """1 where the layer is on the tier."""
        return combine([(self.node(self.at(layer, tier)), 1.0), (self.node(self.at(layer, tier + 1)), -1.0)])

    def any_on(self, layers: Iterable[int], tier: int) -> Expression:
        """1 where any of the layers is on the tier."""
        places = list(layers)
        if tier == self.nodes.hops:
            return self.term(BELOW, [self.at(layer, tier) for layer in places])
        if tier == 0:
            places = self._lowest(places)
        return self.program.maximum(self.on(layer, tier) for layer in places)

    def _lowest(self, layers: Sequence[int]) -> list[int]:
        """Of layers, those that are not above the first hop whenever another one is below, one for each variable."""
        by_class = {self._class[self.at(layer, 1)]: layer for layer in layers}
        if BELOW in by_class:
            return [by_class[BELOW]]
        raised: Bits = 0
        for each in by_class:
            raised |= self._raised.get(each, 0) & ~(1 << each)
        return [layer for each, layer in by_class.items() if each != ABOVE and not raised >> each & 1]

    def term(self, below: int, above: Iterable[int]) -> Expression:
        """1 where the node ``below`` is below and any of ``above`` is above, if that is minimised."""
        lower = self._class[below]
        if lower == ABOVE:
            return {}
        uppers = self._deciding(lower, {self._class[each] for each in above})
        if len(uppers) == 1:
            (upper,) = uppers
            if lower == BELOW or upper == ABOVE or self._raised[lower] >> upper & 1:
                return combine([(self._variable[upper], 1.0), (self._variable[lower], -1.0)])
        if not uppers:
            return {}
        key = (lower, frozenset(uppers))
        if key not in self._terms:
            self._terms[key] = self.program.maximum(
                combine([(self._variable[upper], 1.0), (self._variable[lower], -1.0)]) for upper in sorted(uppers)
            )
        return self._terms[key]

    def _deciding(self, lower: int, uppers: set[int]) -> set[int]:
        """Of nodes, those that are not below whenever another one is; without those that raise the lower node."""
        if ABOVE in uppers:
            return {ABOVE}
        mask = sum(1 << each for each in uppers - {BELOW})
        return {
            each
            for each in uppers - {BELOW}
            if not self._raised[each] & mask & ~(1 << each) and not (lower != BELOW and self._raised[each] >> lower & 1)
        }

    def total(self, charged: Terms, unit: float) -> Expression:
        """What terms add up to, in multiples of ``unit``."""
        ends = charged.first.tolist()
        above = charged.above.tolist()
        terms = zip(charged.cost.tolist(), charged.below.tolist(), ends, ends[1:], strict=False)
        return combine((self.term(below, above[start:end]), cost / unit) for cost, below, start, end in terms)

    def differs(self, is_above: IsAbove) -> tuple[Expression, float]:
        """(expression, least) that every placement but this one keeps."""
        differs: Expression = {}
        same = 0
        for number, each in enumerate(self._class):
            if each in self._raised:
                (variable,) = self._variable[each]
                if variable not in differs:
                    differs[variable] = -1.0 if is_above[number] else 1.0
                    same += bool(is_above[number])
        return differs, 1.0 - same

    def placed(self, x: np.ndarray[tuple[int], np.dtype[np.float64]]) -> IsAbove:
        """The side of every node in a solution."""
        sides = {each: bool(x[next(iter(variable))] > 0.5) for each, variable in self._variable.items() if variable}
        return np.array([sides.get(each, False) for each in self._class])
