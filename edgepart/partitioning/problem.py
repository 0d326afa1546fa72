"""The Problem that every placement method solves, and the Placement it answers with."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from edgepart.graph import Graph
from edgepart.hardware import Device, Link, Profile, ServerlessPrice
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
    #: what the tier's work is billed by; None: it costs no money
    price: ServerlessPrice | None = None
    #: memory that the runtime takes there beside the part, as soon as the tier holds a layer; 0: none, or not known
    runtime_bytes: int = 0
    #: the runtime that latencies and ``runtime_bytes`` are of; None: not known
    runtime: str | None = None
    #: what the latencies come from, which also tells what a part takes as one piece; None: not known
    profile: Profile | None = field(default=None, repr=False, compare=False)
    #: seconds that the tier's part costs each time a sample comes to it, on top of its layers
    start_s: float = 0.0


@dataclass(frozen=True)
class ExitShare:
    """An exit that the network has, and the share of all samples that go on past it.

    Attributes:
        tensor: what its head reads
        depth: layers of the topological order that have run when the head answers; the layers after them run only
            for the samples that go on
        going_on: of all samples, those that leave neither here nor before; never above that of an exit before
        head_macs: multiply-accumulates of the head; 0: unknown or negligible
        head_bytes: bytes of its parameters
        head: template of the head, with its parameters; None leaves the choice to ``build``
    """

    name: str
    tensor: str
    depth: int
    going_on: float
    head_macs: int = 0
    head_bytes: int = 0
    head: str | None = None
    parameters: Mapping[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """Place every layer on one of the ordered tiers; tensors travel upwards only, over every link in between.

    Attributes:
        links: ``links[k]`` joins ``tiers[k]`` to ``tiers[k + 1]``; the inputs of the network are on ``tiers[0]``
        joined: all links by (lower, upper) tier, where there is another way up than from each tier to the next; then
            ``links`` is empty, and the problem is solved route by route (:mod:`edgepart.partitioning.routes`)
        pins: layer → name of the tier that it must run on
        objective: what to minimise, a name of :mod:`edgepart.partitioning.quantities`
        limits: quantity → the most it may be, in its unit; memory limits stand in the tiers
        forbidden: layer → names of the tiers that it must not run on
        together: sets of layers that must share a tier
        kept: tensors that must not leave the tier on which they are made (where the inputs of the network enter)
        exits: in topological order; each is local to its part: the layers before it lie no higher than the layer that
            makes its tensor, those after it no lower
        answer_bytes: size of the answer, which travels back to the first tier; 0: it is part of the round trip
    """

    graph: Graph
    tiers: tuple[Tier, ...]
    links: tuple[Link, ...]
    deployment: Deployment = "split"
    pins: Mapping[str, str] = field(default_factory=dict)
    objective: str = "latency"
    limits: Mapping[str, float] = field(default_factory=dict)
    forbidden: Mapping[str, frozenset[str]] = field(default_factory=dict)
    together: tuple[frozenset[str], ...] = ()
    kept: tuple[str, ...] = ()
    exits: tuple[ExitShare, ...] = ()
    answer_bytes: int = 0
    joined: Mapping[tuple[str, str], Link] | None = None

    @property
    def tier_names(self) -> tuple[str, ...]:
        return tuple(tier.name for tier in self.tiers)

    @property
    def hops(self) -> tuple[tuple[str, str], ...]:
        """The tiers, lower and upper, that every link joins."""
        return tuple(itertools.pairwise(self.tier_names)) if self.joined is None else tuple(self.joined)


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
            PlanError: the method cannot minimise the objective or mind a constraint; says which one can.
        """
        ...
