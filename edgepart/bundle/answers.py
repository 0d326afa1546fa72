"""What the parts of a bundle answer at every exit, for every sample, whoever would have left earlier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgepart.bundle.part import BundlePart
from edgepart.data.dataset import Arrays, Dataset
from edgepart.errors import DataError
from edgepart.partitioning.plan import Plan
from edgepart.progress import progress
from edgepart.training.order import by_length, lengths

if TYPE_CHECKING:
    from edgepart.bundle.bundle import Bundle


def answers(parts: Mapping[str, BundlePart], plan: Plan, arrays: Arrays) -> dict[str, NDArray[np.generic]]:
    """The logits (batch, C) of every exit by its name, from the network's inputs."""
    found: dict[str, NDArray[np.generic]] = {}
    given = arrays
    for part in parts.values():
        made = part.run(given)
        found.update((name, made[name]) for name in part.exits)
        if plan.deployment == "split":
            given = {name: made[name] for name in part.outputs}
    return found


def record_logits(
    parts: Mapping[str, BundlePart], plan: Plan, dataset: Dataset, batch_size: int
) -> NDArray[np.float32]:
    """(N, K, C) logits of all samples in the order of the data set; those of about one length share a batch."""
    logits = np.empty((len(dataset), len(plan.exit_names), len(dataset.classes)), dtype=np.float32)
    with progress(f"running the parts on {dataset.source}", len(dataset)) as advance:
        for indices in by_length(lengths(dataset.samples), batch_size):
            found = answers(parts, plan, dataset.batch(indices))
            for number, name in enumerate(plan.exit_names):
                logits[indices, number] = found[name]
            advance(len(indices))
    return logits


def require_fits(bundle: Bundle, dataset: Dataset) -> None:
    """Check that a data set is one of the bundle's classes, with samples.

    Raises:
        DataError: it is empty or has other classes.
    """
    if dataset.classes != bundle.classes:
        raise DataError(
            f"{dataset.source} has the classes {', '.join(dataset.classes)}, but the bundle {bundle.path} has "
            f"{', '.join(bundle.classes)}: read the data with the bundle's classes"
        )
    if not len(dataset):
        raise DataError(f"{dataset.source} holds no samples, expected at least one")


def embed_all(embed: Callable[[Arrays], NDArray[np.float32]], dataset: Dataset, batch_size: int) -> NDArray[np.float32]:
    """(N, D) the router's embedding of every sample, in the order of the data set."""
    found: NDArray[np.float32] | None = None
    for indices in by_length(lengths(dataset.samples), batch_size):
        batch = embed(dataset.batch(indices))
        if found is None:
            found = np.empty((len(dataset), batch.shape[1]), dtype=np.float32)
        found[indices] = batch
    assert found is not None
    return found
