"""Training dynamics: how sure every exit is of the true label, epoch by epoch (data cartography)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def true_label_probability(logits: Floats, labels: NDArray[np.int64]) -> Floats:
    """(N, K) probability that every exit gives the true label, from (N, K, C) logits and (N,) labels."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(shifted, labels[:, None, None], axis=-1)[..., 0]
    probability: Floats = np.exp(chosen - np.log(np.exp(shifted).sum(axis=-1))).astype(np.float32)
    return probability


class Dynamics:
    """Collects :func:`true_label_probability` after every epoch."""

    def __init__(self, labels: NDArray[np.int64], epochs: list[Floats] | None = None) -> None:
        self._labels = labels
        self.epochs: list[Floats] = list(epochs or [])

    def add(self, logits: Floats) -> None:
        """Record one more epoch from the (N, K, C) logits after it."""
        self.epochs.append(true_label_probability(logits, self._labels))

    @property
    def array(self) -> Floats:
        """(E, N, K) float32, E the epochs so far."""
        return np.stack(self.epochs)
