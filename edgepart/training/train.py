"""One call that trains a network with exits in any mode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgepart.data.dataset import Dataset
from edgepart.frameworks.base import Arrays
from edgepart.frameworks.builder import Builder, Learner
from edgepart.partitioning.stages import Stage
from edgepart.training.features import cache_features
from edgepart.training.interrupt import Stop
from edgepart.training.loop import Fitted, Samples, fit
from edgepart.training.order import lengths
from edgepart.training.settings import TrainingSettings


class RawSamples:
    """A data set as the loop sees it: encoded anew whenever a batch is asked for."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self.labels: NDArray[np.int64] = dataset.labels
        self.lengths = lengths(dataset.samples)

    def batch(self, indices: NDArray[np.int64]) -> Arrays:
        return self._dataset.batch(indices)


def train(
    builder: Builder,
    stages: Sequence[Stage],
    training: Dataset,
    validation: Dataset,
    settings: TrainingSettings,
    folder: Path,
    stop: Stop = lambda: False,
) -> tuple[Fitted, Learner]:
    """Train the heads that the builder holds, and the network with them unless the mode is ``heads``.

    Under ``heads`` the backbone runs once over all samples; its features are kept in ``folder``.

    Args:
        stages: of the whole network (:func:`edgepart.partitioning.stages.chain`)
        folder: existing folder for the state of this run alone; a run that was stopped goes on from there
        stop: asked after every step

    Returns:
        what came of it, and the learner with the weights of the best epoch

    Raises:
        TrainingError: a loss or logit is NaN or infinite, or the features do not fit.
        TrainingInterrupted: ``stop`` asked for it; the state is saved.
    """
    frozen = settings.mode == "heads"
    learner = builder.learner(
        stages,
        frozen=frozen,
        head_learning_rate_ratio=settings.head_learning_rate_ratio,
        weight_decay=settings.weight_decay,
        gradient_norm=settings.gradient_norm,
    )
    if frozen and len(learner.exits) == 1:
        # Nothing learns: one look at the validation data says all there is to say.
        training, settings = validation, settings.model_copy(update={"epochs": 1})
    seen: Samples = RawSamples(training)
    held_out: Samples = RawSamples(validation)
    if frozen:
        size = settings.batch_size
        seen = cache_features(
            learner.features, seen, folder / "training", batch_size=size, what="training sample", stop=stop
        )
        held_out = cache_features(
            learner.features, held_out, folder / "validation", batch_size=size, what="validation sample", stop=stop
        )
    return fit(learner, seen, held_out, settings, folder, stop), learner
