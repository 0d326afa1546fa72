"""Leave where enough exits in a row agree."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.base import CostTable, Setting
from edgepart.dispatch.one_sample import CLOSE, UNKNOWN, Earlier
from edgepart.dispatch.threshold import ThresholdStrategy
from edgepart.dispatch.trace import Floats, Trace


class Patience(ThresholdStrategy):
    """Leave at the first exit that ends a run of as many equal answers as the setting says.

    The rule of PABEE (Zhou et al., NeurIPS 2020). A run counts the answers in it, so that the setting is PABEE's
    patience plus one: with 1 every sample leaves at the first exit, with the number of exits none before the final
    one; exit k = 1, 2, … ends a run of k answers at most. Assumes more than a few exits, as there is one setting for
    each and no more. The probabilities count only by which class they put first (of equal ones the first).
    """

    name = "patience"

    def fit(self, validation: Trace, costs: CostTable) -> None:
        """Learn nothing but how many exits there are."""
        super().fit(validation, costs)
        self._count = len(validation.exits)

    def settings(self, grid: Sequence[float]) -> list[Setting]:
        """One setting per length of a run, from 1 to the number of exits; the grid is not used."""
        return [self.one(length) for length in range(1, self._count + 1)]

    def one(self, value: float) -> Setting:
        """The setting with a run of that length for all exits."""
        return Setting(f"{value:g} in a row", (("threshold", float(value)),))

    def certainty_so_far(self, met: NDArray[np.float64]) -> NDArray[np.float64]:
        """(…, M, C) probabilities → (…) length of the run that the last exit ends."""
        answers = met.argmax(axis=-1)
        backwards = (answers == answers[..., -1:])[..., ::-1]
        result: NDArray[np.float64] = np.logical_and.accumulate(backwards, axis=-1).sum(axis=-1).astype(np.float64)
        return result

    def roughly(self, logits: Floats, earlier: Earlier) -> tuple[float, float]:
        """The same, unless another class is so close behind that its probability may be equal."""
        values = logits.tolist()
        *_, second, best = (-math.inf, *sorted(values))
        if not best - second > CLOSE:
            return UNKNOWN
        answer, run = values.index(best), 1
        for met in reversed(earlier):
            if met.argmax() != answer:
                break
            run += 1
        return float(run), 0.5
