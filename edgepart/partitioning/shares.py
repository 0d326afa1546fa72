"""Which share of the samples still runs a layer, reaches an exit and crosses a hop, given the exits of a Problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgepart.errors import PlanError
from edgepart.graph import Graph
from edgepart.partitioning.problem import ExitShare, Problem


def going_on(exits: Sequence[ExitShare], depth: int) -> float:
    """Of all samples, those that go on past every exit within the first ``depth`` layers."""
    passed = [point.going_on for point in exits if point.depth <= depth]
    return passed[-1] if passed else 1.0


def reaching(exits: Sequence[ExitShare], index: int) -> float:
    """Of all samples, those that the head of an exit is asked about."""
    return exits[index - 1].going_on if index else 1.0


def crossing_share(problem: Problem, tier_of: Mapping[str, int], hop: int) -> float:
    """Of all samples, those that go on past the last exit below a hop."""
    below = [point.going_on for point in problem.exits if exit_tier(problem, tier_of, point) <= hop]
    return below[-1] if below else 1.0


def exit_tier(problem: Problem, tier_of: Mapping[str, int], point: ExitShare) -> int:
    """Index of the tier that makes what the head of an exit reads."""
    return tier_of[exit_layer(problem.graph, point)]


def exit_layer(graph: Graph, point: ExitShare) -> str:
    """The layer that makes what the head of an exit reads."""
    layer = graph.tensor(point.tensor).producer
    assert layer is not None, "checked by check_exits"
    return layer


def check_exits(problem: Problem) -> None:
    """Check that the exits follow one another and that each can be asked when it says.

    Raises:
        UnknownName: an exit reads a tensor that does not exist.
        PlanError: an exit reads an input of the network or a tensor made after it, or a share is not one.
    """
    graph, before, depth = problem.graph, 1.0, 0
    for point in problem.exits:
        producer = graph.tensor(point.tensor).producer
        if producer is None or graph.position[producer] >= point.depth:
            raise PlanError(
                f"exit '{point.name}' reads '{point.tensor}', which the first {point.depth} layers do not make"
            )
        if not depth < point.depth < len(graph.layers):
            raise PlanError(
                f"exit '{point.name}' lies after {point.depth} of {len(graph.layers)} layers: expected more than the "
                f"{depth} of the exit before it, and not all of them"
            )
        if not 0 <= point.going_on <= before:
            raise PlanError(
                f"{point.going_on:g} of the samples go on past exit '{point.name}': expected a share from 0 to the "
                f"{before:g} that come to it"
            )
        before, depth = point.going_on, point.depth
