"""``training.json``: how the heads of a bundle were trained, and what came of it."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from edgepart.files import Document, Record
from edgepart.training import TrainingSettings


class EpochRecord(Record):
    """Mean loss over the epoch's steps, accuracy on the validation split after it; exits in order."""

    number: int = Field(ge=1)
    #: what was minimised: the weighted sum of the exits' losses
    loss: float
    exit_losses: tuple[float, ...]
    accuracy: tuple[float, ...]


class ExitRecord(Record):
    """An exit as it was built."""

    name: str
    tier: str
    #: the last layer that has run by then
    after: str
    #: template of the head; None for the network's own classifier
    head: str | None = None
    #: numbers that the head learns
    parameters: int = Field(default=0, ge=0)
    #: on the validation split, at the epoch that was kept
    accuracy: float = Field(ge=0, le=1)
    #: the same on the runtimes and in the precision that the parts are written for
    deployed_accuracy: float = Field(ge=0, le=1)


class TrainingRecord(Document):
    """Settings, history and outcome of a training run."""

    kind: ClassVar[str] = "training"

    settings: TrainingSettings
    training_source: str
    training_samples: int
    validation_source: str
    validation_samples: int
    epochs: tuple[EpochRecord, ...]
    #: number of the epoch whose weights the bundle holds
    best_epoch: int
    exits: tuple[ExitRecord, ...]
