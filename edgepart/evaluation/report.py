"""The Report: what a bundle costs and how often it is right under every strategy; the data behind the page."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, FiniteFloat

from edgepart.evaluation.stream_report import StreamReport
from edgepart.files import Document, Record
from edgepart.partitioning.plan import Deployment, Plan, Proof
from edgepart.units import seconds, significant

#: a share of 1
Share = FiniteFloat


class FullModel(Record):
    """Every sample through the whole network as the plan places it, no exit taken."""

    accuracy: Share
    #: 95 % interval of the accuracy (Wilson), from the number of test samples alone
    interval: tuple[Share, Share]
    #: mean cost of a sample, in the report's unit
    cost: FiniteFloat
    #: Matthews correlation and, for two classes, F1
    measures: dict[str, FiniteFloat] = Field(default_factory=dict)


class ExitReport(Record):
    """One exit if every sample left there."""

    name: str
    tier: str
    #: template of the head; None for the network's own classifier
    head: str | None = None
    accuracy: Share
    validation_accuracy: Share | None = None
    #: of a sample that a cascade keeps until here: it enters at the first tier and asks every exit before
    cost: FiniteFloat | None = None
    #: of a sample that a router sends here: it enters where that is cheapest
    routed_cost: FiniteFloat | None = None


#: risk → what it is the share of, in words
RISKS = {"drop": "accuracy drop", "losses": "right answers lost", "disagreement": "answers changed"}


class PromiseReport(Record):
    """What was promised of a setting before the test data were looked at, and what they show."""

    #: ``drop``, ``losses`` or ``disagreement``, against the full model
    risk: str
    #: at most so much of it
    epsilon: Share
    #: probability that the calibration samples mislead; None where ``epsilon`` holds in the mean over them
    delta: Share | None = None
    #: on the test data; negative where more answers are right than the full model's
    seen: FiniteFloat
    #: 95 % interval of ``seen`` (bootstrap over the test samples)
    interval: tuple[FiniteFloat, FiniteFloat]

    @property
    def text(self) -> str:
        """Promised and seen, in one line."""
        sure = "on average" if self.delta is None else f"with {100 * (1 - self.delta):g} % probability"
        low, high = (f"{100 * bound:.2f}" for bound in self.interval)
        return (
            f"at most {100 * self.epsilon:g} % {RISKS[self.risk]}, promised {sure}; on test "
            f"{100 * self.seen:.2f} % (95 % interval {low} to {high}), {self.verdict}"
        )

    @property
    def verdict(self) -> str:
        """``within it``, or above: by chance of these test samples perhaps, or beyond that."""
        if self.seen <= self.epsilon + 1e-9:
            return "within it"
        return "above it" if self.interval[0] > self.epsilon else "above it, by chance perhaps"


class TemperatureReport(Record):
    """An exit's temperature, learnt on the validation data, and its expected calibration error on both (15 bins)."""

    exit: str
    temperature: FiniteFloat
    error_before: Share
    error_after: Share
    validation_error_before: Share
    validation_error_after: Share


class Figures(Record):
    """What a setting gives on the test data, and on the validation data beside it."""

    accuracy: Share
    cost: FiniteFloat
    #: 1 - cost / cost of the full model; negative where it costs more
    saving: FiniteFloat
    tier_share: dict[str, Share]
    exit_share: dict[str, Share]
    validation_accuracy: Share
    validation_cost: FiniteFloat


class StrategyReport(Figures):
    """A strategy at one setting: chosen on the validation data, measured on the test data."""

    name: str
    setting: str
    #: the numbers behind ``setting``
    values: dict[str, FiniteFloat | int | str] = Field(default_factory=dict)
    #: what the setting was chosen for, in words
    chosen_for: str
    #: accuracy drop allowed when it was chosen
    allowed_drop: Share
    #: False for a ceiling that looks at the labels
    deployable: bool = True
    measures: dict[str, FiniteFloat] = Field(default_factory=dict)
    #: of strategies that promise an accuracy
    promise: PromiseReport | None = None


class AsPlanned(Figures):
    """The strategy and thresholds that the plan was chosen with, on both traces."""

    strategy: str
    #: exit → threshold, as the strategy is given it
    thresholds: dict[str, FiniteFloat]


class Unreached(Record):
    """A strategy of which no setting kept the accuracy on the validation data, or none is promised to."""

    name: str
    allowed_drop: Share
    #: of its most accurate setting
    validation_accuracy: Share


class CurvePoint(Record):
    """One setting of a strategy on the test data, and on the validation data it would be chosen by."""

    setting: str
    accuracy: Share
    cost: FiniteFloat
    validation_accuracy: Share
    validation_cost: FiniteFloat


class Curve(Record):
    """All settings of a strategy, in its own order."""

    strategy: str
    points: tuple[CurvePoint, ...]


class Comparison(Record):
    """Two strategies at equal cost: how much more often the first is right on the same test samples."""

    strategy: str
    baseline: str
    #: of the first; None for the mean over its settings
    setting: str | None = None
    #: mean cost at which they are compared
    cost: FiniteFloat
    accuracy: Share
    baseline_accuracy: Share
    difference: FiniteFloat
    #: 95 % interval of the difference
    interval: tuple[FiniteFloat, FiniteFloat]
    verdict: str


class TierReport(Record):
    """A tier as planned. Under ``nested`` its seconds start from the raw input."""

    name: str
    device: str
    layers: int
    compute_s: FiniteFloat
    memory_bytes: int
    estimated: bool


class PartReport(Record):
    """What a tier runs: the artefacts of its part."""

    tier: str
    runtime: str
    precision: str
    #: of all artefacts on disk, heads included
    bytes: int
    #: largest difference to the network, relative to the largest value, on a few samples
    difference: FiniteFloat


class HopReport(Record):
    """What travels to the next tier."""

    source: str
    target: str
    link: str
    bytes: int
    transfer_s: FiniteFloat


class PlanReport(Record):
    """The plan in short; its latencies are predictions."""

    network: str
    deployment: Deployment
    tiers: tuple[TierReport, ...]
    hops: tuple[HopReport, ...]
    latency_s: FiniteFloat
    unsplit_s: dict[str, FiniteFloat]
    proof: Proof

    @classmethod
    def of(cls, plan: Plan) -> Self:
        return cls(
            network=plan.network,
            deployment=plan.deployment,
            tiers=tuple(
                TierReport(
                    name=tier.name,
                    device=tier.device.title,
                    layers=len(tier.layers),
                    compute_s=tier.compute_s,
                    memory_bytes=plan.memory_bytes(tier),
                    estimated=tier.estimated,
                )
                for tier in plan.tiers
            ),
            hops=tuple(
                HopReport(
                    source=hop.source,
                    target=hop.target,
                    link=hop.link.title,
                    bytes=hop.bytes,
                    transfer_s=hop.transfer_s,
                )
                for hop in plan.hops
            ),
            latency_s=plan.latency_s,
            unsplit_s=plan.unsplit_s,
            proof=plan.proof,
        )


class DataReport(Record):
    """The samples reported on, and those that settings were chosen on."""

    source: str
    samples: int
    validation_samples: int
    classes: tuple[str, ...]


class DataMapReport(Record):
    """Pools of the validation samples by their training dynamics at the first exit (DIMEC-DC, equation 5)."""

    exit: str
    epochs: int
    #: of the setting chosen for the smallest accuracy drop
    alpha: FiniteFloat
    beta: FiniteFloat
    #: pool → number of samples
    pools: dict[str, int]


class Provenance(Record):
    """Where the figures come from."""

    command: str
    #: UTC, to the second
    date: str
    edgepart: str
    python: str
    packages: dict[str, str]
    machine: dict[str, str | int | float]


class Report(Document):
    """Everything on the page, as data. Costs are in ``cost_unit``; accuracies and shares are fractions of 1."""

    kind: ClassVar[str] = "report"

    title: str
    cost_model: str
    cost_unit: str
    #: what the cost model counts
    cost_description: str
    full_model: FullModel
    exits: tuple[ExitReport, ...]
    #: where the exits' logits were scaled before any strategy saw them
    temperatures: tuple[TemperatureReport, ...] = ()
    strategies: tuple[StrategyReport, ...]
    unreached: tuple[Unreached, ...] = ()
    #: where the plan was chosen with thresholds
    planned: AsPlanned | None = None
    curves: tuple[Curve, ...]
    #: where the data are a stream that changes domain
    stream: StreamReport | None = None
    comparisons: tuple[Comparison, ...] = ()
    plan: PlanReport
    #: empty where a trace is reported on without its bundle
    parts: tuple[PartReport, ...] = ()
    data: DataReport
    data_map: DataMapReport | None = None
    warnings: tuple[str, ...] = ()
    provenance: Provenance

    def cost_text(self, cost: float) -> str:
        """A cost in the report's unit, as people read it."""
        return seconds(cost) if self.cost_unit == "s" else f"{significant(cost)} {self.cost_unit}"

    def chosen(self, allowed_drop: float) -> tuple[StrategyReport, ...]:
        """The strategies at the settings chosen for that accuracy drop."""
        return tuple(entry for entry in self.strategies if entry.allowed_drop == allowed_drop)

    @property
    def allowed_drops(self) -> tuple[float, ...]:
        """The accuracy drops that settings were chosen for, smallest first."""
        drops = {entry.allowed_drop for entry in self.strategies} | {entry.allowed_drop for entry in self.unreached}
        return tuple(sorted(drops))


def wilson(correct: int, samples: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a proportion (Wilson, 1927); holds for few samples and for proportions near 0 and 1."""
    if not samples:
        return 0.0, 1.0
    share = correct / samples
    centre = (share + z * z / (2 * samples)) / (1 + z * z / samples)
    half = z * ((share * (1 - share) + z * z / (4 * samples)) / samples) ** 0.5 / (1 + z * z / samples)
    return max(0.0, centre - half), min(1.0, centre + half)
