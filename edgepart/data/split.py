"""A validation split that keeps the shares of the classes."""

from __future__ import annotations

import numpy as np

from edgepart.data.dataset import Dataset
from edgepart.errors import DataError


def split_dataset(dataset: Dataset, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
    """(training, validation): ``fraction`` of every class, drawn at random, goes to validation.

    A class of two samples or more has at least one on each side; one of a single sample stays in training. Samples
    keep their order. The same seed gives the same split.

    Raises:
        DataError: the fraction is not between 0 and 1, or no class has two samples.
    """
    if not 0 < fraction < 1:
        raise DataError(f"the share of validation data is {fraction:g}, expected a number between 0 and 1")
    generator = np.random.default_rng(seed)
    chosen = np.zeros(len(dataset), dtype=bool)
    for label in range(len(dataset.classes)):
        members = np.flatnonzero(dataset.labels == label)
        wanted = round(fraction * len(members))
        count = min(max(wanted, 1), len(members) - 1) if len(members) > 1 else 0
        chosen[generator.permutation(members)[:count]] = True
    if not chosen.any():
        raise DataError(f"{dataset.source} has too few samples ({len(dataset)}) to set some aside for validation")
    return dataset.subset(np.flatnonzero(~chosen)), dataset.subset(np.flatnonzero(chosen))
