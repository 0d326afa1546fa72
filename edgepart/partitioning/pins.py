"""Which tiers every layer may run on, given the pins and that tensors travel upwards only."""

from __future__ import annotations

from dataclasses import dataclass

from edgepart.errors import InfeasiblePlan, PlanError, UnknownName
from edgepart.graph import Graph
from edgepart.partitioning.problem import Problem


@dataclass(frozen=True)
class Windows:
    """Lowest and highest tier of every layer, by position in the topological order."""

    lowest: tuple[int, ...]
    highest: tuple[int, ...]


def windows(problem: Problem) -> Windows:
    """A layer lies no lower than any pinned layer before it and no higher than any pinned layer after it.

    Raises:
        PlanError: the tiers are joined in more than one way.
        UnknownName: a pin names an unknown layer or tier.
        InfeasiblePlan: two pins contradict each other; names both.
    """
    if problem.joined is not None:
        raise PlanError("the tiers are joined in more than one way: place by edgepart.partitioning.routes.best")
    graph, pins = problem.graph, _pins(problem)
    count, top = len(graph.layers), len(problem.tiers) - 1
    # beside the tier, the pinned layer that it comes from
    low = [(pins[i], i) if i in pins else (0, -1) for i in range(count)]
    high = [(pins[i], i) if i in pins else (top, -1) for i in range(count)]
    children = _children(graph)
    for index in range(count):
        low[index] = max([low[index], *(low[parent] for parent in graph.parents[index])], key=lambda pair: pair[0])
    for index in reversed(range(count)):
        high[index] = min([high[index], *(high[child] for child in children[index])], key=lambda pair: pair[0])
    for (lowest, above), (highest, below) in zip(low, high, strict=True):
        if lowest > highest:
            first, second = graph.layers[above].name, graph.layers[below].name
            raise InfeasiblePlan(
                f"the pins {first}={problem.tiers[lowest].name} and {second}={problem.tiers[highest].name} contradict "
                f"each other: '{second}' depends on '{first}', and tensors only travel from "
                f"'{problem.tiers[0].name}' upwards; move one of them"
            )
    return Windows(tuple(tier for tier, _ in low), tuple(tier for tier, _ in high))


def _pins(problem: Problem) -> dict[int, int]:
    tiers = {tier.name: index for index, tier in enumerate(problem.tiers)}
    pins = {}
    for layer, tier in problem.pins.items():
        problem.graph.layer(layer)
        if tier not in tiers:
            raise UnknownName("tier", tier, tiers)
        pins[problem.graph.position[layer]] = tiers[tier]
    return pins


def _children(graph: Graph) -> list[list[int]]:
    children: list[list[int]] = [[] for _ in graph.layers]
    for index, parents in enumerate(graph.parents):
        for parent in parents:
            children[parent].append(index)
    return children
