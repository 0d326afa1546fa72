"""Labelled samples, however they are stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.generic]]


class Encoder(Protocol):
    """Turns raw samples into a batch of arrays by input name (tokenising and padding, scaling images …)."""

    def __call__(self, samples: Sequence[object]) -> dict[str, NDArray[np.generic]]: ...


@dataclass(frozen=True)
class Dataset:
    """Raw samples with labels; a batch is encoded when it is asked for.

    Attributes:
        samples: N raw samples (texts, pairs of texts, arrays, image paths)
        labels: (N,) int64, index into ``classes``
        classes: names of the C classes
        encoder: raw samples → arrays by input name, batch first
        source: where it came from, for messages
    """

    samples: Sequence[object]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    encoder: Encoder
    source: str

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> dict[str, NDArray[np.generic]]:
        """The encoded arrays of some samples, in the given order."""
        return self.encoder([self.samples[int(index)] for index in indices])

    def batches(self, size: int) -> Iterator[tuple[NDArray[np.int64], dict[str, NDArray[np.generic]]]]:
        """(indices, arrays) of consecutive batches."""
        for start in range(0, len(self), size):
            indices = np.arange(start, min(start + size, len(self)), dtype=np.int64)
            yield indices, self.batch(indices)

    def subset(self, indices: Sequence[int] | NDArray[np.int64]) -> Dataset:
        """Some of the samples, in the given order."""
        chosen = np.asarray(indices, dtype=np.int64)
        samples = [self.samples[int(index)] for index in chosen]
        return Dataset(samples, self.labels[chosen], self.classes, self.encoder, self.source)
