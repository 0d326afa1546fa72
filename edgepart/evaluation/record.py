"""Record a bundle on labelled data: every exit's answer for every sample, whoever would have left earlier."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepart.bundle.bundle import Bundle
from edgepart.data.dataset import Arrays, Dataset
from edgepart.dispatch.trace import Trace
from edgepart.errors import DataError
from edgepart.progress import progress
from edgepart.training.order import by_length, lengths


def record(bundle: Bundle, dataset: Dataset, *, batch_size: int = 32) -> Trace:
    """Run the router and all parts of a bundle over a data set.

    Samples of about the same length share a batch; the trace keeps the order of the data set.

    Raises:
        DataError: the data set is empty or has other classes than the bundle.
        TrainingError: a logit is NaN or infinite; names exit and sample.
    """
    if dataset.classes != bundle.classes:
        raise DataError(
            f"{dataset.source} has the classes {', '.join(dataset.classes)}, but the bundle {bundle.path} has "
            f"{', '.join(bundle.classes)}: read the data with the bundle's classes"
        )
    if not len(dataset):
        raise DataError(f"{dataset.source} holds no samples, expected at least one")
    logits = np.empty((len(dataset), len(bundle.exits), len(bundle.classes)), dtype=np.float32)
    embeddings: list[NDArray[np.float32]] = []
    batches = by_length(lengths(dataset.samples), batch_size)
    with progress(f"recording {dataset.source}", len(dataset)) as advance:
        for indices in batches:
            arrays = dataset.batch(indices)
            embeddings.append(bundle.embed(arrays))
            answers = _answers(bundle, arrays)
            for number, name in enumerate(bundle.exits):
                logits[indices, number] = answers[name]
            advance(len(indices))
    return Trace(
        logits=logits,
        labels=dataset.labels,
        embeddings=np.concatenate(embeddings)[np.argsort(np.concatenate(batches))],
        exits=bundle.exits,
        exit_tiers=bundle.plan.exit_tiers,
        tiers=bundle.plan.tier_names,
        classes=bundle.classes,
    )


def _answers(bundle: Bundle, arrays: Arrays) -> dict[str, NDArray[np.generic]]:
    """The logits of every exit by its name."""
    found: dict[str, NDArray[np.generic]] = {}
    given = arrays
    for part in bundle.parts.values():
        made = part.run(given)
        found.update((name, made[name]) for name in part.exits)
        if bundle.plan.deployment == "split":
            given = {name: made[name] for name in part.outputs}
    return found
