"""Boundaries given by hand, as modules after which a tier hands over."""

from __future__ import annotations

from collections.abc import Mapping

from edgepart.errors import PlanError, UnknownName
from edgepart.partitioning.plan import Proof
from edgepart.partitioning.problem import Placement, Problem


class ByHand:
    """Every tier but the last holds what is up to and including its module, less what lower tiers hold."""

    def __init__(self, split_after: Mapping[str, str]) -> None:
        self.split_after = split_after

    def solve(self, problem: Problem) -> Placement:
        """Cut after the modules (:meth:`Graph.after`).

        Raises:
            UnknownName: no such tier, module or layer.
            PlanError: a tier lacks its module, the last one has one, or the boundaries do not nest.
        """
        graph, names = problem.graph, [tier.name for tier in problem.tiers]
        for tier in self.split_after:
            if tier not in names:
                raise UnknownName("tier", tier, names)
        if names[-1] in self.split_after:
            raise PlanError(
                f"split after {self.split_after[names[-1]]}: the last tier '{names[-1]}' holds what is left"
            )
        held: frozenset[str] = frozenset()
        tier_of = dict.fromkeys(graph.position, len(names) - 1)
        for index, tier in enumerate(names[:-1]):
            if tier not in self.split_after:
                raise PlanError(f"no boundary is given for tier '{tier}': add --split-after {tier}=MODULE")
            boundary = graph.after(self.split_after[tier])
            if not held <= boundary.layers:
                missing = graph.in_order(held - boundary.layers)[0]
                raise PlanError(
                    f"tier '{tier}' is to end after '{self.split_after[tier]}', before '{missing}', which a lower "
                    "tier holds already: give the boundaries in the order of the tiers"
                )
            tier_of |= dict.fromkeys(boundary.layers - held, index)
            held = boundary.layers
        return Placement(tier_of, Proof(status="by hand", method="by hand"))
