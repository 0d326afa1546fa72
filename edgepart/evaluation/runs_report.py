"""What several runs gave under several costs, as data: the record behind tables with mean, spread and intervals."""

from __future__ import annotations

import statistics
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, FiniteFloat

from edgepart.evaluation.report import Provenance, Share
from edgepart.files import Document, Record

#: kept to six significant digits: there are thousands, and samples leave far more open
Figure = Annotated[FiniteFloat, AfterValidator(lambda value: float(f"{value:.6g}") + 0.0)]


class Spread(Record):
    """A figure of every seed, in the order of the task's seeds."""

    seeds: tuple[Figure, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.seeds)

    @property
    def std(self) -> float:
        """Sample standard deviation over the seeds; 0 for a single one."""
        return statistics.stdev(self.seeds) if len(self.seeds) > 1 else 0.0


class Estimate(Spread):
    """A mean over samples and seeds, with its 95 % interval."""

    #: bootstrap over test samples and seeds (:mod:`edgepart.evaluation.resampling`)
    interval: tuple[Figure, Figure]


class Difference(Estimate):
    """Of two strategies on the same samples and seeds; above 0 where the first has more."""

    @property
    def verdict(self) -> str:
        """By whether the interval holds 0: ``better``, ``worse`` or ``no difference shown``."""
        return "better" if self.interval[0] > 0 else "worse" if self.interval[1] < 0 else "no difference shown"


class Against(Record):
    """The settings chosen for two strategies, compared."""

    #: accuracy of the first less that of the second
    accuracy: Difference
    #: saving of the first less that of the second
    saving: Difference


class Outcome(Record):
    """A strategy at the settings chosen for one accuracy drop on the validation data of every seed."""

    #: its name, or that of a group: then, in every seed, the member that is cheapest on validation
    strategy: str
    #: allowed when the setting was chosen
    drop: Share
    #: of every seed; None where no setting kept the accuracy (or none is promised to) at no more than the full model's
    #: cost on validation: then the full model answers
    settings: tuple[str | None, ...]
    #: of a group: the member picked for every seed; None where the full model answers instead
    picked: tuple[str | None, ...] = ()
    accuracy: Spread
    #: ``matthews`` and, for two classes, ``f1``
    measures: dict[str, Spread]
    #: mean of a sample, the router's included
    cost: Spread
    #: 1 - cost / cost of the full model
    saving: Estimate
    #: accuracy on test less that of the full model
    change: Difference
    #: tier → share of the samples that leave there
    tier_share: dict[str, Spread]
    validation_accuracy: Spread
    validation_saving: Spread
    #: reference or group → how this one compares with it
    against: dict[str, Against] = Field(default_factory=dict)

    @property
    def fallbacks(self) -> int:
        """Seeds for which no setting was found, so that the full model answers and nothing is saved."""
        return self.settings.count(None)


class AtEqualCost(Record):
    """Accuracy of a strategy less that of another at the same mean cost, over the strategy's operating points.

    Both have the full model as one more operating point.
    """

    strategy: str
    baseline: str
    #: None where, in one of the seeds at least, the baseline has no setting as cheap as any of the strategy's
    difference: Difference | None = None


class FullModel(Record):
    """Every sample through the whole network, no exit asked."""

    accuracy: Spread
    measures: dict[str, Spread]
    cost: Spread


class CostReport(Record):
    """Every strategy under one cost model."""

    label: str
    unit: str
    #: what is counted
    description: str
    full_model: FullModel
    outcomes: tuple[Outcome, ...]
    at_equal_cost: tuple[AtEqualCost, ...]

    def outcome(self, strategy: str, drop: float) -> Outcome | None:
        """What a strategy gave at one allowed drop; None if it was not compared."""
        return next((one for one in self.outcomes if one.strategy == strategy and one.drop == drop), None)


class ExitAccuracy(Record):
    """One exit if every sample left there."""

    name: str
    tier: str
    accuracy: Spread


class TaskReport(Record):
    """Every run of one task."""

    task: str
    network: str
    seeds: tuple[int, ...]
    samples: int
    #: of every seed
    validation_samples: tuple[int, ...]
    classes: tuple[str, ...]
    deployment: str
    exits: tuple[ExitAccuracy, ...]
    costs: tuple[CostReport, ...]
    #: what the user should know, with the seed where it is about one
    warnings: tuple[str, ...] = ()


class RunsReport(Document):
    """Several runs of several tasks under several costs. Accuracies, savings and shares are fractions of 1."""

    kind: ClassVar[str] = "runs"
    indent: ClassVar[int | None] = None

    tasks: tuple[TaskReport, ...]
    #: allowed drops that settings were chosen for, smallest first
    drops: tuple[Share, ...]
    #: strategy that all are compared with
    reference: str
    #: group → names of strategies it is picked from
    groups: dict[str, tuple[str, ...]]
    resamples: int
    provenance: Provenance
