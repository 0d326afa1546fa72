"""Every legal placement, tried one after the other: the oracle that the other methods are tested against."""

from __future__ import annotations

from collections.abc import Iterator

from edgepart.errors import InfeasiblePlan, PlanError
from edgepart.partitioning.pins import Windows, windows
from edgepart.partitioning.placement_cost import evaluate, excess
from edgepart.partitioning.plan import Proof
from edgepart.partitioning.problem import Placement, Problem


class Exhaustive:
    """Tries all placements: exact for any network and limit, exponential in the number of layers."""

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
        order = sorted(
            placements(problem, windows(problem)),
            key=lambda tier_of: (evaluate(problem, tier_of).latency_s, sum(tier_of.values())),
        )
        for tier_of in order:
            if not excess(problem, tier_of):
                latency = evaluate(problem, tier_of).latency_s
                return Placement(tier_of, Proof(status="optimal", method="exhaustive", bound_s=latency, gap=0.0))
        raise InfeasiblePlan("no placement satisfies the memory limits")


def placements(problem: Problem, window: Windows) -> Iterator[dict[str, int]]:
    """Every placement in which no layer lies below one that it reads from."""
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
