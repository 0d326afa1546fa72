"""Leave where the largest probability is high enough."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.one_sample import Earlier, largest_of
from edgepart.dispatch.threshold import ThresholdStrategy
from edgepart.dispatch.trace import Floats


class Confidence(ThresholdStrategy):
    """Leave at the first exit whose largest probability reaches the threshold.

    The rule of EdgeLessPart (section III, c_thr from .3 to .9), Shallow-Deep Networks and MSDNet. The grid holds
    the thresholds.
    """

    name = "confidence"

    def certainty(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        result: NDArray[np.float64] = probabilities.max(axis=-1)
        return result

    def roughly(self, logits: Floats, earlier: Earlier) -> tuple[float, float]:
        return largest_of(logits)
