"""Certainty that is learnt: the samples that it was learnt from are judged by models that have not seen them."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.base import CostTable
from edgepart.dispatch.one_sample import Earlier, Rough
from edgepart.dispatch.threshold import Certainty, ThresholdStrategy, certainties
from edgepart.dispatch.trace import Floats, Trace
from edgepart.errors import DispatchError


class CrossFitted(ThresholdStrategy):
    """Base of threshold strategies whose certainty is fitted to the labels of the validation trace.

    Thresholds are chosen on the same trace, where a fitted model flatters itself. So each sample is rehearsed with a
    model that was fitted without it, one for each of ``folds`` random parts of the trace; policies use the model that
    was fitted on all samples.
    """

    def __init__(self, regularisation: float, folds: int, seed: int) -> None:
        if not 0 < regularisation < float("inf"):
            raise DispatchError(f"regularisation is {regularisation:g}, expected a finite number above 0")
        if folds < 1:
            raise DispatchError(f"folds is {folds}, expected 1 (no cross-fitting) or more")
        self.regularisation, self.folds, self.seed = regularisation, folds, seed
        self._left_out: NDArray[np.float64] | None = None

    @abstractmethod
    def learn(self, trace: Trace) -> Certainty:
        """The certainty that fits a trace of at least one sample; it may have a ``roughly`` for one sample."""

    def fit(self, validation: Trace, costs: CostTable) -> None:
        """Learn the certainty.

        Raises:
            DispatchError: the trace holds no samples.
        """
        if not len(validation):
            raise DispatchError(f"the validation trace holds no samples, which '{self.name}' learns from: record some")
        super().fit(validation, costs)
        self._learnt_from, self._left_out = validation, None
        self._model = self.learn(validation)
        self._rough: Rough = getattr(self._model, "roughly", super().roughly)
        self.warnings = ()
        if min(self.folds, len(validation)) < 2:
            self.warnings = (
                "its settings are chosen on the samples that it has learnt from, which look better than new ones: "
                "give folds=5",
            )

    def certainty_so_far(self, met: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._model(met)

    def roughly(self, logits: Floats, earlier: Earlier) -> tuple[float, float]:
        return self._rough(logits, earlier)

    def rehearsed(self, validation: Trace) -> NDArray[np.float64]:
        """(N, K - 1) certainty at every exit but the last, of models that have not learnt from the sample.

        Raises:
            DispatchError: another trace than that of the last fit.
        """
        if validation is not self._learnt_from:
            raise DispatchError(f"'{self.name}' was fitted on another trace than it is to rehearse on: give the same")
        if self._left_out is None:
            self._left_out = self._crossfit(validation)
        return self._left_out

    def _crossfit(self, trace: Trace) -> NDArray[np.float64]:
        folds = min(self.folds, len(trace))
        if folds < 2:
            return self.certainties(trace)
        fold = np.random.default_rng(self.seed).permutation(len(trace)) % folds
        result = np.empty((len(trace), len(trace.exits) - 1))
        for number in range(folds):
            model = self.learn(trace.select(fold != number))
            result[fold == number] = certainties(model, trace.select(fold == number))
        return result
