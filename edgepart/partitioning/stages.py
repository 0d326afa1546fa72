"""From a Plan to what is run in order: the stages between exits and at the ends of the tiers' parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from edgepart.errors import PlanError
from edgepart.graph import Boundary, Graph
from edgepart.hardware import PartLatency
from edgepart.partitioning.plan import FINAL, Plan


@dataclass(frozen=True)
class Stage:
    """The layers between two boundaries (None: the network's input, its output) and the exit at their end, if any.

    ``tensor`` is what the exit's head reads; None for the network's own classifier and where there is no exit.
    """

    tier: str
    start: Boundary | None
    stop: Boundary | None
    exit: str | None = None
    tensor: str | None = None


def chain(plan: Plan, graph: Graph) -> list[Stage]:
    """The stages of the whole network, cut at every exit and at the end of every tier's own part.

    Raises:
        PlanError: two exits lie at the same place, or one after the last layer.
    """
    stages: list[Stage] = []
    for tier in plan.tier_names:
        stages += _own_stages(plan, graph, tier, stages[-1].stop if stages else None)
    return stages


def part_stages(plan: Plan, graph: Graph, tier: str) -> list[Stage]:
    """The stages that one tier runs; none where it holds no layers.

    Under ``split`` they continue from the part before. Under ``nested`` they start from the raw input, hold only the
    tier's own exits, and end at the last of these.

    Raises:
        PlanError: as :func:`chain`; or a nested tier has layers but no exit to answer at.
    """
    if plan.deployment == "split":
        return [stage for stage in chain(plan, graph) if stage.tier == tier]
    stages = _own_stages(plan, graph, tier, None)
    while stages and stages[-1].exit is None:
        stages.pop()
    if not stages and _holds_layers(plan, tier):
        raise PlanError(
            f"tier '{tier}' has layers but no exit, so that nested it could never answer: place an exit at its end"
        )
    return stages


def stage_latencies(
    graph: Graph, stages: Sequence[Stage], latency: Callable[[Iterable[str]], PartLatency]
) -> tuple[PartLatency, ...]:
    """What stages take, heads not counted: each is an artefact of its own, so each is predicted as a part."""
    return tuple(latency(_layers(graph, stage)) for stage in stages)


def _layers(graph: Graph, stage: Stage) -> set[str]:
    """The layers between the two boundaries of a stage."""
    return set(stage.stop.layers if stage.stop else graph.position) - (stage.start.layers if stage.start else set())


def _own_stages(plan: Plan, graph: Graph, tier: str, start: Boundary | None) -> list[Stage]:
    """The stages of a tier's own exits and of the end of its part, beginning at ``start``."""
    stages: list[Stage] = []
    if not _holds_layers(plan, tier):
        return stages
    for point in plan.exits_of(tier):
        stop = plan.exit_boundary(graph, point)
        if len(stop.layers) == len(graph.layers):
            raise PlanError(
                f"exit '{point.name}' lies after the network's last layer: use the network's own classifier"
            )
        if start is not None and stop.layers == start.layers:
            raise PlanError(f"exit '{point.name}' lies where another exit or part ends: keep one of them")
        stages.append(Stage(tier, start, stop, point.name, point.tensor))
        start = stop
    if tier == plan.final_tier:
        return [*stages, Stage(tier, start, None, FINAL)]
    end = plan.tier_boundary(graph, tier)
    if start is None or end.layers > start.layers:
        stages.append(Stage(tier, start, end))
    return stages


def _holds_layers(plan: Plan, tier: str) -> bool:
    return any(part.layers for part in plan.tiers if part.name == tier)
