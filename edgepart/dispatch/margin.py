"""Leave where the best class is far enough ahead of the second."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.base import CostTable
from edgepart.dispatch.one_sample import CLOSE, UNKNOWN, Earlier, powers_of
from edgepart.dispatch.threshold import ThresholdStrategy
from edgepart.dispatch.trace import Floats, Trace
from edgepart.errors import DispatchError


class Margin(ThresholdStrategy):
    """Leave at the first exit where the best class leads the second by the threshold.

    The softmax measure of CALM (Schuster et al., NeurIPS 2022): top1 - top2 ≥ λ; reconstructed. CALM lowers its
    threshold from token to token of a text; here a sample is one decision, so that the threshold may fall from exit to
    exit instead: at exit k = 0, 1, … of K it is (1 - w)·λ + w·exp(-τ·k/K). The grid holds λ. Where there is but one
    class, it leads by its own probability.

    Options:
        decay: w, what the falling part is worth, from 0 (the threshold is λ at every exit) to below 1; 0.1 in CALM
        rate: τ, how fast it falls
    """

    name = "margin"

    def __init__(self, decay: float = 0.0, rate: float = 4.0) -> None:
        if not 0 <= decay < 1:
            raise DispatchError(f"decay is {decay:g}, expected a number from 0 to below 1")
        if not 0 <= rate < math.inf:
            raise DispatchError(f"rate is {rate:g}, expected a finite number from 0 on")
        self.decay, self.rate = decay, rate

    @property
    def alone(self) -> bool:
        return not self.decay

    def fit(self, validation: Trace, costs: CostTable) -> None:
        """Learn nothing but how many exits there are."""
        super().fit(validation, costs)
        self._count = len(validation.exits)

    def certainty_so_far(self, met: NDArray[np.float64]) -> NDArray[np.float64]:
        # lead ≥ (1 - w)·λ + falling, solved for λ: the threshold stays one number for all exits
        lead = self.certainty(met[..., -1, :])
        if not self.decay:
            return lead
        falling = self.decay * math.exp(-self.rate * (met.shape[-2] - 1) / self._count)
        result: NDArray[np.float64] = (lead - falling) / (1 - self.decay)
        return result

    def certainty(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """(…, C) probabilities → (…) lead of the best class."""
        if probabilities.shape[-1] == 1:
            return probabilities[..., 0]
        ranked = np.partition(probabilities, -2, axis=-1)
        result: NDArray[np.float64] = ranked[..., -1] - ranked[..., -2]
        return result

    def roughly(self, logits: Floats, earlier: Earlier) -> tuple[float, float]:
        """Where the threshold does not fall."""
        if self.decay:
            return UNKNOWN
        _, powers, total = powers_of(logits)
        powers.sort()
        return (powers[-1] - (powers[-2] if len(powers) > 1 else 0.0)) / total, 2 * CLOSE
