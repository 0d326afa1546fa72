"""The Problem that every placement method solves, and the Placement it answers with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from edgepart.graph import Graph
from edgepart.hardware import Device, Link
from edgepart.partitioning.plan import Deployment, Proof


@dataclass(frozen=True)
class Tier:
    """A place where layers can run. ``latency_s`` holds the predicted seconds of every layer there."""

    name: str
    device: Device
    latency_s: Mapping[str, float]
    #: True where the latencies were scaled from another device
    estimated: bool = False
    memory_limit_bytes: int | None = None


@dataclass(frozen=True)
class Problem:
    """Place every layer on one of the ordered tiers; tensors travel upwards only, over every link in between.

    ``links[k]`` joins ``tiers[k]`` to ``tiers[k + 1]``. The inputs of the network are on ``tiers[0]``. ``pins`` maps
    a layer to the name of the tier it must run on.
    """

    graph: Graph
    tiers: tuple[Tier, ...]
    links: tuple[Link, ...]
    deployment: Deployment = "split"
    pins: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Placement:
    """``tier_of`` maps every layer to the index of its tier; never lower than that of a layer it reads from."""

    tier_of: Mapping[str, int]
    proof: Proof


class Partitioner(Protocol):
    """A placement method (entry-point group ``edgepart.partitioners``)."""

    def solve(self, problem: Problem) -> Placement:
        """Place the layers.

        Raises:
            InfeasiblePlan: no placement satisfies limits and pins; says which and by how much.
        """
        ...
