"""The Plan: which tier runs which layers, where samples may leave, and what that is predicted to cost."""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import ClassVar, Literal, Self

from pydantic import AliasChoices, ConfigDict, Field, model_validator

from edgepart.errors import InfeasiblePlan, PlanError
from edgepart.files import Document, Record
from edgepart.graph import Boundary, Graph
from edgepart.hardware import Device, Link
from edgepart.units import size

#: ``split``: a part continues from the activations of the one before (EdgeLessPart).
#: ``nested``: every tier holds all layers up to its boundary and starts from the raw input (DIMEC-DC).
Deployment = Literal["split", "nested"]

#: where the share of samples at an exit comes from
Shares = Literal["recorded", "assumed"]

#: name of the last exit: the network's own classifier
FINAL = "final"


class PlannedExit(Record):
    """A place inside one tier's part where a head classifies a tensor and the sample may leave."""

    name: str
    tier: str
    #: the tensor that the head reads
    tensor: str
    #: how many of the tier's own layers have run by then, in topological order
    depth: int = Field(ge=1)
    #: predicted seconds on the tier from when the sample comes to it up to this exit, heads not counted
    compute_s: float = Field(ge=0)
    #: the same with every stage up to here predicted as the one piece that it runs as; None: not known
    part_s: float | None = Field(default=None, ge=0)
    #: template and parameters of the head; chosen at the latest by ``build``
    head: str | None = None
    parameters: dict[str, str | int | float | bool] = Field(default_factory=dict)
    #: multiply-accumulates of the head, known once it is built
    head_macs: int = Field(default=0, ge=0)
    #: bytes of the head's parameters, known once it is built
    head_bytes: int = Field(default=0, ge=0)
    #: of all samples, those that leave neither here nor before, where the plan was made for such shares
    going_on: float | None = Field(default=None, ge=0, le=1)
    #: of :attr:`Plan.strategy`, where the plan was chosen with one (``partition --pareto``)
    threshold: float | None = None


class TierPlan(Record):
    """A tier and its part. ``layers`` are the part's own; under ``nested`` the tier also holds all earlier ones."""

    name: str
    device: Device
    layers: tuple[str, ...]
    #: predicted seconds for one sample through a start and all that the tier runs (under ``nested`` from the raw input)
    compute_s: float = Field(ge=0)
    #: the same predicted as it will run, as one part (cut at its exits), rather than added up from layers; None: not
    #: known. It is the nearer figure; what is minimised adds up layers, for only that can be
    part_s: float | None = Field(default=None, ge=0)
    #: whether ``part_s`` was measured: this very part, on the tier's machine; else interpolated, or estimated
    measured: bool = False
    #: of ``part_s``, what the part takes longer because it has waited
    wake_up_s: float = Field(default=0.0, ge=0)
    #: predicted seconds of each of ``layers``, in their order; empty where unknown
    layer_s: tuple[float, ...] = ()
    #: predicted seconds that the part costs each time a sample comes to it, on top of its layers; 0 where it holds none
    start_s: float = Field(default=0.0, ge=0)
    parameter_bytes: int = Field(ge=0)
    activation_bytes: int = Field(ge=0)
    memory_limit_bytes: int | None = None
    #: that latency and ``runtime_bytes`` are of; None: not known
    runtime: str | None = None
    #: memory that the runtime takes, where the tier holds layers
    runtime_bytes: int = Field(default=0, ge=0)
    #: True where the latency was scaled from another device's measurement, and the runtime's memory is of there
    estimated: bool

    @property
    def needed_runtime_bytes(self) -> int:
        """A tier without layers needs no runtime."""
        return self.runtime_bytes if self.layers else 0

    @property
    def memory_bytes(self) -> int:
        """Parameters, activations and runtime. Heads are not counted: :meth:`Plan.memory_bytes` has them."""
        return self.parameter_bytes + self.activation_bytes + self.needed_runtime_bytes


class Hop(Record):
    """What crosses from a tier to the next one: under ``split`` the crossing tensors, under ``nested`` the input."""

    source: str
    target: str
    link: Link
    tensors: tuple[str, ...]
    bytes: int = Field(ge=0)
    transfer_s: float = Field(ge=0)


class LeftOut(Record):
    """A tier that was given and is not on the way that samples take."""

    name: str
    device: Device
    #: the tier of the plan that comes before it; the hop from there, if there is one, leads past it
    after: str
    #: whether latencies there were scaled from another device's measurement
    estimated: bool = False


class Proof(Record):
    """How good the placement is: proven optimal, within ``gap`` of a lower bound, or made by a rule or by hand."""

    status: Literal["optimal", "bound", "rule", "by hand"]
    method: str
    #: lower bound on the objective, in its unit; None for rules and by hand
    bound: float | None = Field(default=None, validation_alias=AliasChoices("bound", "bound_s"))  # its first name
    #: (objective - bound) / objective
    gap: float | None = None


class Plan(Document):
    """Tiers in order from the source of the data to the cloud, each with its part, and the exits inside them."""

    kind: ClassVar[str] = "plan"
    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    network: str
    #: :attr:`Graph.fingerprint` of the network planned for
    fingerprint: str
    deployment: Deployment
    #: that the profile was measured on, and that predicted latencies therefore hold for; empty where none was
    runtime: str = ""
    tiers: tuple[TierPlan, ...] = Field(min_length=1)
    hops: tuple[Hop, ...]
    #: heads to add, in the order in which a sample meets them; the network's own classifier comes after them
    exits: tuple[PlannedExit, ...]
    #: predicted latency of a sample that takes no exit, layers added up
    latency_s: float = Field(ge=0)
    #: the same from :attr:`TierPlan.part_s`, which is nearer to what will be measured; None: not known
    parts_latency_s: float | None = Field(default=None, ge=0)
    #: what was minimised, a name of :mod:`edgepart.partitioning.quantities`
    objective: str = "latency"
    #: quantity → predicted value, for all that devices, links and prices say enough about
    predicted: dict[str, float] = Field(default_factory=dict)
    #: quantity → the most that was allowed, beside the tiers' memory
    limits: dict[str, float] = Field(default_factory=dict)
    #: where :attr:`PlannedExit.going_on` comes from
    shares: Shares | None = None
    #: dispatch strategy that the thresholds of the exits are given to; empty where the plan was chosen with none
    strategy: str = ""
    #: predicted latency of running everything on one tier, where that tier can hold it
    unsplit_s: dict[str, float]
    #: the tiers that were given and are not on the way that samples take, in their order
    left_out: tuple[LeftOut, ...] = ()
    proof: Proof

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [tier.name for tier in self.tiers]
        if len({*names, *(tier.name for tier in self.left_out)}) != len(names) + len(self.left_out):
            raise ValueError(f"two tiers have the same name: {', '.join(names)}")
        if not {tier.after for tier in self.left_out} <= set(names):
            raise ValueError("a tier that is left out comes after one that the plan does not have")
        if [(hop.source, hop.target) for hop in self.hops] != list(itertools.pairwise(names)):
            raise ValueError("the hops do not join the tiers in order")
        if any(len(tier.layer_s) not in (0, len(tier.layers)) for tier in self.tiers):
            raise ValueError("layer_s of a tier must name the seconds of each of its layers, or of none")
        exits = [point.name for point in self.exits]
        if len(set(exits)) != len(exits) or FINAL in exits:
            raise ValueError(f"exit names must differ from each other and from '{FINAL}'")
        places = [(names.index(point.tier), point.depth) for point in self.exits if point.tier in names]
        if len(places) != len(exits) or places != sorted(places):
            raise ValueError("exits must lie in known tiers, in the order in which a sample meets them")
        return self

    @property
    def tier_names(self) -> tuple[str, ...]:
        return tuple(tier.name for tier in self.tiers)

    @property
    def exit_names(self) -> tuple[str, ...]:
        """All exits in order, the network's own classifier last."""
        return (*(point.name for point in self.exits), FINAL)

    @property
    def thresholds(self) -> dict[str, float]:
        """Exit → its threshold, where the plan was chosen with thresholds; empty otherwise."""
        found = {point.name: point.threshold for point in self.exits if point.threshold is not None}
        return found if len(found) == len(self.exits) else {}

    @property
    def given(self) -> tuple[TierPlan | LeftOut, ...]:
        """All tiers that were given: those of the plan, then those that it leaves out."""
        return (*self.tiers, *self.left_out)

    def passed_by(self, hop: Hop) -> tuple[str, ...]:
        """The tiers that a hop leads past."""
        return tuple(tier.name for tier in self.left_out if tier.after == hop.source)

    @property
    def final_tier(self) -> str:
        """The tier that runs the network's own classifier: the last one that holds layers."""
        return next(tier.name for tier in reversed(self.tiers) if tier.layers)

    @property
    def exit_tiers(self) -> tuple[str, ...]:
        """The tier of every exit, in the order of :attr:`exit_names`."""
        return (*(point.tier for point in self.exits), self.final_tier)

    def exits_of(self, tier: str) -> tuple[PlannedExit, ...]:
        return tuple(point for point in self.exits if point.tier == tier)

    def memory_bytes(self, tier: TierPlan) -> int:
        """Bytes that a tier needs, its runtime included, and its heads once they are built."""
        return self.part_bytes(tier) + tier.needed_runtime_bytes

    def part_bytes(self, tier: TierPlan) -> int:
        """The same without the runtime."""
        heads = sum(point.head_bytes for point in self.exits_of(tier.name))
        return tier.parameter_bytes + tier.activation_bytes + heads

    def require_memory(self) -> None:
        """Check that every tier still holds its part once the heads are built.

        Raises:
            InfeasiblePlan: one does not.
        """
        for tier in self.tiers:
            needed, limit = self.memory_bytes(tier), tier.memory_limit_bytes
            if limit is not None and needed > limit:
                raise InfeasiblePlan(
                    f"with its heads '{tier.name}' needs {size(needed)}, {size(needed - limit)} above its limit of "
                    f"{size(limit)}: choose a smaller head, or plan with fewer exits or a lower limit"
                )

    def require(self, graph: Graph) -> None:
        """Check that this plan is for that network.

        Raises:
            PlanError: it is for another one.
        """
        if graph.fingerprint != self.fingerprint:
            raise PlanError(
                f"the plan was made for the network '{self.network}' ({self.fingerprint}), not for '{graph.name}' "
                f"({graph.fingerprint}): run 'edgepart profile' and 'edgepart partition' on this network"
            )

    def require_exit_names(self, graph: Graph) -> None:
        """Check that no exit is called like a tensor that a part or a stage is given, beside which its logits stand.

        Raises:
            PlanError: one is.
        """
        stops = [self.exit_boundary(graph, point) for point in self.exits]
        stops += [self.tier_boundary(graph, tier.name) for tier in self.tiers if tier.layers]
        crossing = {*graph.inputs, *(name for stop in stops for name in stop.tensors if name not in graph.outputs)}
        for name in crossing.intersection(self.exit_names):
            advice = "split the network elsewhere, or rename that layer" if name == FINAL else "give it another name"
            raise PlanError(f"the exit '{name}' is called like a tensor that crosses between parts or exits: {advice}")

    def tier_boundary(self, graph: Graph, tier: str) -> Boundary:
        """Everything that has run once ``tier`` is done with its part."""
        return self._boundary(graph, tier, None)

    def exit_boundary(self, graph: Graph, point: PlannedExit) -> Boundary:
        """Everything that has run when the head of ``point`` can answer."""
        return self._boundary(graph, point.tier, point.depth)

    def _boundary(self, graph: Graph, tier: str, depth: int | None) -> Boundary:
        """All layers of the tiers below, and the first ``depth`` of the tier's own (None: all of them)."""
        index = self.tier_names.index(tier)
        below = [layer for part in self.tiers[:index] for layer in part.layers]
        held = frozenset((*below, *graph.in_order(self.tiers[index].layers)[:depth]))
        boundary = graph.boundary(held)
        if boundary.layers != held:
            missing = graph.in_order(boundary.layers - held)[0]
            raise PlanError(f"the plan runs a layer before '{missing}', which it depends on")
        return boundary
