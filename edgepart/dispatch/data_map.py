"""The data map: how sure of the true label, and how steadily, an exit was of each sample while it was trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError


@dataclass(frozen=True)
class DataMap:
    """Statistics of p(true label) over the E training epochs, (N,) each.

    Attributes:
        confidence: mean, μ̂ (DIMEC-DC eqs. 1 and 4)
        variance: population variance, which DIMEC-DC calls σ̂ (eq. 2); at most confidence · (1 - confidence)
        variability: population standard deviation, the σ̂ of Swayamdipta et al. 2020
    """

    confidence: NDArray[np.float64]
    variance: NDArray[np.float64]
    variability: NDArray[np.float64]

    @classmethod
    def of(cls, trace: Trace, exit_index: int) -> DataMap:
        """The data map at one exit.

        Raises:
            DispatchError: the trace holds no training dynamics.
        """
        if trace.dynamics is None or not len(trace.dynamics):
            raise DispatchError(
                "the trace holds no training dynamics, which data cartography needs: build the bundle with training on "
                "(they are recorded on the validation split after every epoch)"
            )
        epochs = trace.dynamics[:, :, exit_index].astype(np.float64)
        variance = epochs.var(axis=0)
        return cls(epochs.mean(axis=0), variance, np.sqrt(variance))
