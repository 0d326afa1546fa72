"""Leave where the entropy is low enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import mul
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from edgepart.dispatch.base import Setting
from edgepart.dispatch.one_sample import CLOSE, Earlier, powers_of
from edgepart.dispatch.threshold import ThresholdStrategy
from edgepart.dispatch.trace import Floats


class Entropy(ThresholdStrategy):
    """Leave at the first exit whose entropy is at most the threshold.

    The rule of BranchyNet and DeeBERT: H(p) ≤ S. ``scale`` says what the grid's values are: ``fraction`` (default)
    of the largest possible entropy, log C, so that one grid from 0 to 1 suits any number of classes; ``nats`` takes
    them as S itself (DeeBERT sweeps 0 … 0.7). The entropy is that of probabilities from a log-softmax, with
    0 · log 0 = 0: finite for any finite logits.
    """

    name = "entropy"

    def __init__(self, scale: Literal["fraction", "nats"] = "fraction") -> None:
        self.scale = scale

    def settings(self, grid: Sequence[float]) -> list[Setting]:
        """One setting per value of the grid, as a fraction of log C (or in nats with ``scale=nats``)."""
        unit = math.log(self.classes) if self.scale == "fraction" else 1.0
        suffix = "·log C" if self.scale == "fraction" else " nats"
        return [Setting(f"{value:g}{suffix}", (("entropy_nats", float(value) * unit),)) for value in grid]

    def threshold(self, setting: Setting) -> float:
        return -float(setting["entropy_nats"])

    def certainty(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        result: NDArray[np.float64] = -entr(probabilities).sum(axis=-1)
        return result

    def roughly(self, logits: Floats, earlier: Earlier) -> tuple[float, float]:
        """Σ p·log p = Σ p·b - log Σ exp(b), of logits that exceed the largest by b (0 or less)."""
        beyond, powers, total = powers_of(logits)
        return sum(map(mul, powers, beyond)) / total - math.log(total), 10 * CLOSE
