"""Placements that cut the topological order, as rules make them, and where they may cut."""

from __future__ import annotations

from collections.abc import Sequence

from edgepart.exits.placement import candidates
from edgepart.partitioning.problem import Problem


def cut_points(problem: Problem) -> list[int]:
    """The prefix lengths at which a rule may cut, from 0 to all layers.

    Every one under ``split``. Under ``nested`` every tier answers at its end, so only where an exit can sit.
    """
    order = tuple(layer.name for layer in problem.graph.layers)
    if problem.deployment == "split":
        return list(range(len(order) + 1))
    return [0, *(place.depth for place in candidates(problem.graph, frozenset(), order)), len(order)]


def cut_at(problem: Problem, ends: Sequence[int]) -> dict[str, int]:
    """Tier k gets the layers from ``ends[k - 1]`` to ``ends[k]`` of the topological order, the last tier the rest."""
    return {layer.name: sum(index >= end for end in ends) for index, layer in enumerate(problem.graph.layers)}
