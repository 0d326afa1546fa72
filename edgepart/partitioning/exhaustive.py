"""Every legal placement, tried one after the other: the oracle that the other methods are tested against."""

from __future__ import annotations

import math
from collections.abc import Iterator

from edgepart.errors import InfeasiblePlan, PlanError
from edgepart.partitioning.limits import broken, exceeded
from edgepart.partitioning.pins import Windows, windows
from edgepart.partitioning.plan import Proof
from edgepart.partitioning.problem import Placement, Problem
from edgepart.partitioning.shares import check_exits
from edgepart.partitioning.values import value


class Exhaustive:
    """Tries all placements: exact for any network, objective and limit, exponential in the number of layers."""

    def __init__(self, most_layers: int = 16) -> None:
        self.most_layers = most_layers

    def solve(self, problem: Problem) -> Placement:
        """The best placement.

        Raises:
            PlanError: the network has more than ``most_layers`` layers.
            InfeasiblePlan: nothing satisfies limits and pins.
        """
        if len(problem.graph.layers) > self.most_layers:
            raise PlanError(
                f"exhaustive search is for networks of at most {self.most_layers} layers, this one has "
                f"{len(problem.graph.layers)}: use minimum-cut"
            )
        check_exits(problem)
        legal = (each for each in placements(problem, windows(problem)) if not broken(problem, each))
        valued = [(_value(problem, each), sum(each.values()), each) for each in legal]
        for cost, _, tier_of in sorted(valued, key=lambda found: found[:2]):
            if math.isfinite(cost) and not exceeded(problem, tier_of):
                return Placement(tier_of, Proof(status="optimal", method="exhaustive", bound=cost, gap=0.0))
        raise InfeasiblePlan("no placement satisfies the limits")


def _value(problem: Problem, tier_of: dict[str, int]) -> float:
    try:
        return value(problem, tier_of, problem.objective)
    except InfeasiblePlan:  # no size on offer holds a part
        return math.inf


def placements(problem: Problem, window: Windows) -> Iterator[dict[str, int]]:
    """Every placement within the windows in which no layer lies below one that it reads from."""
    graph = problem.graph
    chosen: list[int] = []

    def extend(index: int) -> Iterator[dict[str, int]]:
        if index == len(graph.layers):
            yield {layer.name: tier for layer, tier in zip(graph.layers, chosen, strict=True)}
            return
        lowest = max([window.lowest[index], *(chosen[parent] for parent in graph.parents[index])])
        for tier in range(lowest, window.highest[index] + 1):
            chosen.append(tier)
            yield from extend(index + 1)
            chosen.pop()

    return extend(0)
