"""The training loop: epochs, schedule, validation, the best epoch, and a state from which it goes on as if never left.

It knows no framework. A :class:`~edgepart.frameworks.builder.Learner` does the arithmetic; whether it trains a whole
network on raw inputs or only heads on cached features is its own business.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgepart.errors import TrainingError, TrainingInterrupted
from edgepart.frameworks.base import Arrays
from edgepart.frameworks.builder import Learner
from edgepart.progress import progress
from edgepart.training import checkpoint
from edgepart.training.dynamics import Dynamics, Floats
from edgepart.training.interrupt import Stop
from edgepart.training.losses import exit_weights, weighted_sum
from edgepart.training.order import by_length, shuffled, step_seed
from edgepart.training.settings import TrainingSettings, learning_rate_factor

#: seconds after which the state is saved within an epoch, so that a crash costs little
SAVE_EVERY_S = 300.0


class Samples(Protocol):
    """Labelled samples; ``lengths`` (N,) guides which of them share a batch."""

    labels: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def batch(self, indices: NDArray[np.int64]) -> Arrays: ...


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to: mean loss of every exit over its steps, accuracy on the validation data after it."""

    number: int
    loss: float
    exit_losses: tuple[float, ...]
    accuracy: tuple[float, ...]


@dataclass(frozen=True)
class Fitted:
    """The outcome; the learner holds the weights of ``best_epoch``.

    Attributes:
        epochs: one record each
        best_epoch: number (from 1) of the epoch with the best validation accuracy, mean over the exits
        logits: (N, K, C) of the validation samples at the best epoch
        dynamics: (E, N, K) probability of the true label of the validation samples after every epoch
    """

    epochs: tuple[Epoch, ...]
    best_epoch: int
    logits: Floats
    dynamics: Floats


@dataclass
class _Position:
    """How far a run has come: ``step`` steps of epoch ``epoch`` are done."""

    epoch: int = 1
    step: int = 0
    loss_sums: list[float] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0


def fit(
    learner: Learner,
    training: Samples,
    validation: Samples,
    settings: TrainingSettings,
    folder: Path,
    stop: Stop = lambda: False,
) -> Fitted:
    """Train, from the state in ``folder`` where there is one.

    On one thread the result is bitwise the same however often the run was stopped and taken up again.

    Args:
        folder: existing folder that only this run (this data, network and settings) uses
        stop: asked after every step

    Raises:
        TrainingError: a loss or logit is NaN or infinite.
        TrainingInterrupted: ``stop`` asked for it; the state is saved.
    """
    return _Run(learner, training, validation, settings, folder, stop).finish()


class _Run:
    def __init__(
        self,
        learner: Learner,
        training: Samples,
        validation: Samples,
        settings: TrainingSettings,
        folder: Path,
        stop: Stop,
    ) -> None:
        self.learner, self.training, self.validation = learner, training, validation
        self.settings, self.stop = settings, stop
        self.folder, self.state_file = folder, folder / "state.safetensors"
        self.weights = exit_weights(settings.mode, len(learner.exits), settings.exit_weights)
        self.steps = len(shuffled(training.lengths, settings.batch_size, settings.seed, 1))
        self.at = _Position(loss_sums=[0.0] * len(learner.exits))
        self.dynamics = Dynamics(validation.labels)
        self.saved_s = time.monotonic()
        if self.state_file.exists():
            self._load()

    def finish(self) -> Fitted:
        while self.at.epoch <= self.settings.epochs:
            self._train_epoch()
            self._close_epoch()
        weights, _ = checkpoint.load(self._best_file(self.at.best_epoch))
        logits = weights.pop("validation logits")
        self.learner.load_weights(weights)
        return Fitted(tuple(self.at.epochs), self.at.best_epoch, logits, self.dynamics.array)

    def _best_file(self, epoch: int) -> Path:
        return self.folder / f"best-{epoch}.safetensors"

    def _train_epoch(self) -> None:
        settings, at = self.settings, self.at
        batches = shuffled(self.training.lengths, settings.batch_size, settings.seed, at.epoch)
        with progress(f"epoch {at.epoch}/{settings.epochs}", len(batches)) as advance:
            advance(at.step)
            while at.step < len(batches):
                self._step(batches[at.step])
                advance(1)
                if self.stop():
                    self._interrupt()
                if time.monotonic() - self.saved_s > SAVE_EVERY_S:
                    self._save()

    def _step(self, indices: NDArray[np.int64]) -> None:
        settings, at = self.settings, self.at
        number = (at.epoch - 1) * self.steps + at.step
        factor = learning_rate_factor(number, settings.epochs * self.steps, settings.warm_up)
        losses = self.learner.step(
            self.training.batch(indices),
            self.training.labels[indices],
            self.weights,
            settings.learning_rate * factor,
            step_seed(settings.seed, at.epoch, at.step),
        )
        for name, loss in zip(self.learner.exits, losses, strict=True):
            if not np.isfinite(loss):
                slower = f"train with a learning rate below {settings.learning_rate:g}, and "
                raise TrainingError(
                    f"the loss of exit '{name}' became {loss} in epoch {at.epoch}, step {at.step + 1}: "
                    f"{slower if number else ''}check the data and the network's weights for NaN"
                )
        at.loss_sums = [total + loss for total, loss in zip(at.loss_sums, losses, strict=True)]
        at.step += 1

    def _close_epoch(self) -> None:
        """Validate, keep the weights if they are the best so far, and save."""
        at = self.at
        logits = self._validate()
        self.dynamics.add(logits)
        accuracy = (logits.argmax(axis=-1) == self.validation.labels[:, None]).mean(axis=0)
        losses = [total / self.steps for total in at.loss_sums]
        total = weighted_sum(losses, self.weights)
        at.epochs.append(Epoch(at.epoch, total, tuple(losses), tuple(accuracy.tolist())))
        before, at.best_epoch = at.best_epoch, max(at.epochs, key=self._score).number
        if at.best_epoch == at.epoch:
            # Written before the state that relies on it, and the one before it goes only afterwards.
            checkpoint.save(self._best_file(at.epoch), self.learner.weights() | {"validation logits": logits}, {})
        at.epoch, at.step, at.loss_sums = at.epoch + 1, 0, [0.0] * len(self.weights)
        self._save()
        if before and before != at.best_epoch:
            self._best_file(before).unlink(missing_ok=True)

    def _score(self, epoch: Epoch) -> tuple[float, float]:
        """Mean accuracy over the exits, and among equals how sure of the true label.

        The network's own classifier alone would keep the first epoch of a network that was trained before, when its
        exits have hardly begun to learn.
        """
        return float(np.mean(epoch.accuracy)), float(self.dynamics.epochs[epoch.number - 1].mean())

    def _validate(self) -> Floats:
        batches = by_length(self.validation.lengths, self.settings.batch_size)
        found: Floats | None = None
        with progress(f"validation after epoch {self.at.epoch}", len(batches)) as advance:
            for indices in batches:
                logits = self.learner.logits(self.validation.batch(indices))
                self._check_logits(logits, indices)
                if found is None:
                    found = np.empty((len(self.validation.labels), *logits.shape[1:]), dtype=np.float32)
                found[indices] = logits
                advance(1)
                if self.stop():
                    self._interrupt()
        if found is None:
            raise TrainingError("the validation data is empty, expected at least one sample")
        return found

    def _check_logits(self, logits: Floats, indices: NDArray[np.int64]) -> None:
        if np.isfinite(logits).all():
            return
        row, exit_number, _ = (int(index) for index in np.argwhere(~np.isfinite(logits))[0])
        raise TrainingError(
            f"exit '{self.learner.exits[exit_number]}' gives a NaN or infinite logit for validation sample "
            f"{indices[row]} after epoch {self.at.epoch}: train with a learning rate below "
            f"{self.settings.learning_rate:g}, and check the data for NaN"
        )

    def _interrupt(self) -> None:
        self._save()
        at = self.at
        raise TrainingInterrupted(
            f"training stopped in epoch {at.epoch} of {self.settings.epochs} after step {at.step} of {self.steps}; "
            "the state is saved: run the same command again to go on from here with the same result"
        )

    def _save(self) -> None:
        at = self.at
        record = {
            "epoch": at.epoch,
            "step": at.step,
            "best_epoch": at.best_epoch,
            "loss_sums": at.loss_sums,
            "epochs": [vars(epoch) for epoch in at.epochs],
        }
        arrays = {f"learner {name}": array for name, array in self.learner.state().items()}
        arrays |= {f"dynamics {number}": array for number, array in enumerate(self.dynamics.epochs)}
        checkpoint.save(self.state_file, arrays, record)
        self.saved_s = time.monotonic()

    def _load(self) -> None:
        arrays, record = checkpoint.load(self.state_file)
        self.learner.load_state(
            {name.removeprefix("learner "): array for name, array in arrays.items() if name.startswith("learner ")}
        )
        epochs = [
            Epoch(x["number"], x["loss"], tuple(x["exit_losses"]), tuple(x["accuracy"])) for x in record["epochs"]
        ]
        self.dynamics = Dynamics(self.validation.labels, [arrays[f"dynamics {n}"] for n in range(len(epochs))])
        self.at = _Position(record["epoch"], record["step"], record["loss_sums"], epochs, record["best_epoch"])
