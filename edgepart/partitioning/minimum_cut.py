"""The exact optimum of a quantity that adds up, as a minimum cut.

The nodes, rules and terms of :mod:`edgepart.partitioning.formulation` are a flow network: what is below lies on the
source's side and what is above on the sink's; a rule is an arc of infinite capacity, a term one arc to an auxiliary
node with infinite arcs to its nodes above. A cut then costs exactly what the placement is charged, exits included.

Exact because every transfer over several hops pays each of them. Where the start of a tier is no term, cuts bound it
from below: it is free, paid, or the tier is closed (branch and bound, mostly two or three cuts). SciPy's flow has
32-bit capacities: costs are scaled so that the best known placement is 2**30, which leaves a rounding error below
``terms / 2**30`` of it; that error is reported as the gap. Some milliseconds for a thousand layers
(``benchmarks/planner.py``).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from edgepart.errors import InfeasiblePlan, PlanError
from edgepart.partitioning.charges import Charges, additive
from edgepart.partitioning.formulation import (
    ABOVE,
    BELOW,
    Ints,
    Nodes,
    Terms,
    paid_start,
    rules,
    terms,
    undecided_starts,
    use_is_a_term,
)
from edgepart.partitioning.limits import ROUNDING, exceeded
from edgepart.partitioning.pins import windows
from edgepart.partitioning.plan import Proof
from edgepart.partitioning.problem import Placement, Problem
from edgepart.partitioning.quantities import quantity
from edgepart.partitioning.shares import check_exits

METHOD = "minimum-cut"
INFINITE = 2**30 - 1
#: for every node, whether it is above
IsAbove = NDArray[np.bool_]


class MinimumCut:
    """The best placement under ``split`` for a quantity that adds up; what does not is left to the integer program.

    That is: money and the period, and limits that bind.
    """

    def __init__(self, time_limit_s: float = 60.0) -> None:
        self.time_limit_s = time_limit_s

    def solve(self, problem: Problem) -> Placement:
        """The best placement; among equally good ones, layers as low as possible.

        Raises:
            PlanError: the deployment is ``nested``.
            InfeasiblePlan: pins or limits cannot be met; says which and by how much.
        """
        if problem.deployment == "nested":
            raise PlanError(
                "a nested deployment is not a placement that minimum-cut can choose: give the boundaries by hand "
                "(--split-after TIER=MODULE) or use a rule (--method memory-share or latency-match)"
            )
        check_exits(problem)
        window = windows(problem)
        charges = additive(problem, quantity(problem.objective, problem.tier_names))
        if charges is not None and (use_is_a_term(problem) or not charges.use.any()):
            nodes = Nodes(problem)
            sides = Sides(nodes, *rules(problem, nodes, window))
            if not sides.feasible:
                from edgepart.partitioning.conflicts import explain

                raise InfeasiblePlan(explain(problem, self.time_limit_s))
            placement = _Search(problem, sides, charges).run()
            if not exceeded(problem, placement.tier_of):
                return placement
        from edgepart.partitioning.milp import solve_within_limits

        return solve_within_limits(problem, window, self.time_limit_s)


class Sides:
    """Which sides the nodes may be on, given the rules."""

    def __init__(self, nodes: Nodes, below: Ints, above: Ints) -> None:
        self.nodes, self.below, self.above = nodes, below, above
        self.raises = csr_array((np.ones(len(below), np.int8), (above, below)), shape=(nodes.count, nodes.count))
        self.feasible = bool(self.least(np.zeros(nodes.count, np.bool_)) is not None)

    def least(self, wanted: IsAbove) -> IsAbove | None:
        """The fewest nodes above, so that the wanted ones are and every rule is kept; None: not possible."""
        starts = np.flatnonzero(wanted | (np.arange(len(wanted)) == ABOVE))
        # one more node, from which all that are wanted can be reached
        size, root = self.nodes.count + 1, self.nodes.count
        indptr = np.concatenate([self.raises.indptr, [self.raises.indptr[-1] + len(starts)]])
        indices = np.concatenate([self.raises.indices, starts])
        raised = csr_array((np.ones(len(indices), np.int8), indices, indptr), shape=(size, size))
        found = np.zeros(size, np.bool_)
        found[breadth_first_order(raised, root, return_predecessors=False)] = True
        return None if found[BELOW] else found[:-1]

    def uniform(self) -> list[IsAbove]:
        """Everything on one tier, or as near to it as the rules allow, from the lowest tier to the highest."""
        most = self.most()
        found = [self.least(self.nodes.sides(np.full(self.nodes.layers, tier)) & most) for tier in self._tiers()]
        return [each for each in found if each is not None]

    def most(self) -> IsAbove:
        """The nodes that are not below in any case."""
        lowers = csr_array(self.raises.T)
        found = np.ones(self.nodes.count, np.bool_)
        found[breadth_first_order(lowers, BELOW, return_predecessors=False)] = False
        return found

    def closed(self, tiers: Iterable[int]) -> Sides:
        """With tiers that may not hold any layer."""
        nodes, layers = self.nodes, np.arange(self.nodes.layers)
        below = [nodes.node(layers, tier + 1) for tier in tiers]
        above = [nodes.node(layers, tier) for tier in tiers]
        return Sides(nodes, np.concatenate([self.below, *below]), np.concatenate([self.above, *above]))

    def _tiers(self) -> range:
        return range(self.nodes.hops + 1)


class _Search:
    """The optimum without limits.

    A branch of the search has tiers of which the start is paid, and tiers that are closed; for the others it is free,
    which bounds the branch from below. If its best placement uses one of these, they are closed and paid in turn.
    """

    def __init__(self, problem: Problem, sides: Sides, charges: Charges) -> None:
        self.problem, self.sides, self.nodes = problem, sides, sides.nodes
        self.charged = terms(problem, self.nodes, charges)
        self.starts = {tier: paid_start(self.nodes, charges, tier) for tier in undecided_starts(self.nodes, charges)}
        remaining = self.nodes.going_on[-1] if charges.expected and len(self.nodes.going_on) else 1.0
        #: tier → the least that its start costs a placement which uses it
        self.least = {tier: float(charges.start[tier] * remaining) for tier in self.starts}
        self.known = [(self._cost(each), each) for each in sides.uniform()]
        self.best, self.bound = min(cost for cost, _ in self.known), np.inf
        #: of rounding, where no start is decided upon
        self.error = 0.0

    def run(self) -> Placement:
        """The best placement; within the rounding error, all on one tier (the lower the better) rather than a split."""
        self._branch(frozenset(), frozenset(), 0.0)
        cost, chosen = next(pair for pair in self.known if pair[0] <= self.best + self.error)
        bound = max(0.0, self.bound)
        gap = (cost - bound) / cost if cost else 0.0
        tiers = self.nodes.tiers(chosen)
        tier_of = {layer.name: int(tier) for layer, tier in zip(self.problem.graph.layers, tiers, strict=True)}
        return Placement(tier_of, Proof(status="optimal", method=METHOD, bound=bound, gap=gap))

    def _branch(self, paid: frozenset[int], closed: frozenset[int], floor: float, error: float = 0.0) -> None:
        """Find the best placement of a branch; none costs less than ``floor``, within a rounding error."""
        if paid | closed and floor >= self.best * (1 - ROUNDING):
            self.bound = min(self.bound, floor - error)
            return
        sides = self.sides.closed(closed) if closed else self.sides
        candidates = [each for _, each in self.known if not closed & self._used(each)] or sides.uniform()
        if not candidates:
            return
        cost, found, error = self._cut(sides, self.charged.with_terms([self.starts[tier] for tier in paid]), candidates)
        if not paid | closed:
            self.error = error
        undecided = sorted((self._used(found) & self.starts.keys()) - paid)
        if not undecided or cost >= self.best * (1 - ROUNDING):
            self.bound = min(self.bound, cost - error)
            return
        self._branch(paid | {*undecided}, closed, cost + sum(self.least[tier] for tier in undecided), error)
        for tier in undecided:
            self._branch(paid, closed | {tier}, cost, error)
            paid, cost = paid | {tier}, cost + self.least[tier]

    def _cut(self, sides: Sides, charged: Terms, candidates: list[IsAbove]) -> tuple[float, IsAbove, float]:
        """The least that terms cost, a placement, and the rounding error."""
        least, found = min(((charged.paid(each), each) for each in candidates), key=lambda pair: pair[0])
        network, error = _Network(sides, charged), 0.0
        # the scale follows the best known placement, so one far below it is worth a second, finer look
        while self.nodes.hops and least > 0:
            before = least
            cut, error = network.cut(least)
            cost = charged.paid(cut)
            if cost < least:
                least, found = cost, cut
            self.known.append((self._cost(cut), cut))
            if cost > before / 2:
                break
        self.best = min(cost for cost, _ in self.known)
        return least, found, error

    def _cost(self, is_above: IsAbove) -> float:
        """What a placement really costs."""
        used = self._used(is_above)
        starts = (start.paid(is_above) for tier, start in self.starts.items() if tier in used)
        return self.charged.paid(is_above) + sum(starts)

    def _used(self, is_above: IsAbove) -> frozenset[int]:
        """The tiers that hold a layer."""
        return frozenset(self.nodes.tiers(is_above).tolist())


class _Network:
    """The flow network of rules and terms."""

    def __init__(self, sides: Sides, charged: Terms) -> None:
        self._charged, self._size = charged, sides.nodes.count
        several = np.diff(charged.first) > 1
        auxiliary = np.cumsum(several) - 1 + self._size
        # to the auxiliary node where there is one, else to the node itself
        heads = np.where(several, auxiliary, charged.above[charged.first[:-1]])
        readers = np.repeat(several, np.diff(charged.first))
        self._tails = np.concatenate(
            [charged.below, sides.below, np.repeat(auxiliary, np.diff(charged.first))[readers]]
        )
        self._heads = np.concatenate([heads, sides.above, charged.above[readers]])
        self._infinite = np.full(len(self._tails) - len(charged.cost), INFINITE, np.int64)
        self._nodes = self._size + int(several.sum())

    def cut(self, known: float) -> tuple[IsAbove, float]:
        """The fewest nodes above in a minimum cut, and the rounding error of its cost, in the unit of the costs."""
        scale = (INFINITE - len(self._charged.cost)) / known
        capacity = np.concatenate([np.minimum(np.rint(self._charged.cost * scale), INFINITE), self._infinite])
        network = csr_array(
            coo_array((capacity.astype(np.int64), (self._tails, self._heads)), shape=(self._nodes, self._nodes))
        )
        network.sum_duplicates()
        network.setdiag(0)
        network.eliminate_zeros()
        network.data = np.minimum(network.data, INFINITE).astype(np.int32)
        residual = network - maximum_flow(network, BELOW, ABOVE).flow
        backwards = csr_array((residual > 0).T)
        is_above = np.zeros(self._nodes, np.bool_)
        is_above[breadth_first_order(backwards, ABOVE, return_predecessors=False)] = True
        return is_above[: self._size], len(self._charged.cost) / scale
