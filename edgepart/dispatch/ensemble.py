"""Leave where all exits so far, weighed together, are sure enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from edgepart.dispatch.crossfit import CrossFitted
from edgepart.dispatch.one_sample import CLOSE, LEAST, UNKNOWN, Earlier, powers_of
from edgepart.dispatch.trace import Floats, Trace
from edgepart.errors import DispatchError


class Ensemble(CrossFitted):
    """Leave at the first exit where the weighed probabilities of all exits so far reach the threshold.

    The running ensemble of Zero Time Waste (Wołczyk et al., NeurIPS 2021); reconstructed. At exit m, class c has the
    probability q(c) ∝ b(c) · Π p_j(c)^w_j over the exits j ≤ m, with weights w ≥ 0 and class factors b > 0 of exit m's
    own, which minimise the cross-entropy on validation; the problem is convex. It is the exit rule alone: in the paper
    the ensemble answers, too, here the exit where the sample leaves. (Its cascaded heads are a matter of training.)
    Assumes that exits err apart from each other to some degree. The thresholds are chosen on certainties of models
    that have not seen the sample (cross-fitting).

    Options:
        of: ``largest`` (the largest q, as the paper) or ``answer`` (q of the class that the exit answers)
        regularisation: weight of the squared departures of w and log b from the exit alone (w = 1 for itself, b = 1),
            beside the summed cross-entropy
        floor: smaller probabilities count as this
        folds: parts of the validation samples for cross-fitting; 1 does without
        seed: of the parts
    """

    name = "ensemble"

    def __init__(
        self,
        of: Literal["largest", "answer"] = "largest",
        regularisation: float = 1.0,
        floor: float = 1e-12,
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        super().__init__(regularisation, folds, seed)
        if not 0 < floor < 1:
            raise DispatchError(f"floor is {floor:g}, expected a number between 0 and 1")
        self.of, self.floor = of, floor

    def learn(self, trace: Trace) -> Running:
        logs = _logs(trace.probabilities[:, :-1].astype(np.float64), self.floor)
        weighed = [
            Weighed.of(logs[:, : index + 1], trace.labels, self.regularisation) for index in range(logs.shape[1])
        ]
        return Running(weighed, self.of, self.floor)


def _logs(probabilities: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
    result: NDArray[np.float64] = np.log(np.maximum(probabilities, floor))
    return result


class Running:
    """The certainty of all exits so far together; ``weighed``: of the first exit, of the first two, and so on."""

    def __init__(self, weighed: Sequence[Weighed], of: Literal["largest", "answer"], floor: float) -> None:
        self._weighed, self._of, self._floor = weighed, of, floor
        self._plain = [(one.weights.tolist(), one.log_factors.tolist()) for one in weighed]

    def __call__(self, met: NDArray[np.float64]) -> NDArray[np.float64]:
        probabilities = self._weighed[met.shape[-2] - 1].probabilities(_logs(met, self._floor))
        if self._of == "largest":
            largest: NDArray[np.float64] = probabilities.max(axis=-1)
            return largest
        answer = met[..., -1, :].argmax(axis=-1)
        return np.take_along_axis(probabilities, answer[..., None], axis=-1)[..., 0]

    def roughly(self, logits: Floats, earlier: Earlier) -> tuple[float, float]:
        """The same in plain numbers."""
        if self._of != "largest" or self._floor < LEAST:
            return UNKNOWN
        (*weights, weight), scores = self._plain[len(earlier)]
        beyond, _, total = powers_of(logits)
        log_total, least = math.log(total), math.log(self._floor)
        scores = [score + weight * max(one - log_total, least) for score, one in zip(scores, beyond, strict=True)]
        for weight_before, met in zip(weights, earlier, strict=True):
            before = _logs(met, self._floor).tolist()
            scores = [score + weight_before * one for score, one in zip(scores, before, strict=True)]
        most = max(scores)
        return 1 / sum([math.exp(score - most) for score in scores]), CLOSE * (1 + weight)


@dataclass(frozen=True)
class Weighed:
    """M exits together: (M,) weights and (C,) logarithms of the class factors."""

    weights: NDArray[np.float64]
    log_factors: NDArray[np.float64]

    @classmethod
    def of(cls, logs: NDArray[np.float64], labels: NDArray[np.int64], ridge: float) -> Weighed:
        """The one that minimises cross-entropy + ridge/2 · squared departures from the last of the exits alone.

        Args:
            logs: (N, M, C) logarithms of the probabilities
        """
        samples, exits, classes = logs.shape
        rows = np.arange(samples)
        plain = np.zeros(exits + classes)
        plain[exits - 1] = 1.0

        def loss(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            scores = cls(point[:exits], point[exits:]).scores(logs)
            off = scores - scores.max(axis=-1, keepdims=True)
            off -= np.log(np.exp(off).sum(axis=-1, keepdims=True))
            value = -float(off[rows, labels].sum()) + ridge / 2 * float(((point - plain) ** 2).sum())
            off = np.exp(off)
            off[rows, labels] -= 1
            slope = [*((off * logs[:, index]).sum() for index in range(exits)), *off.sum(axis=0)]
            return value, np.array(slope) + ridge * (point - plain)

        bounds = [(0.0, None)] * exits + [(None, None)] * classes
        found = minimize(loss, plain, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500}).x
        return cls(found[:exits], found[exits:])

    def scores(self, logs: NDArray[np.float64]) -> NDArray[np.float64]:
        """(…, M, C) logarithms → (…, C) logarithm of q, but for a constant."""
        # One by one: a matrix product may round a row differently beside other rows.
        total: NDArray[np.float64] = self.log_factors + self.weights[0] * logs[..., 0, :]
        for index in range(1, len(self.weights)):
            total = total + self.weights[index] * logs[..., index, :]
        return total

    def probabilities(self, logs: NDArray[np.float64]) -> NDArray[np.float64]:
        """(…, M, C) logarithms → (…, C) q."""
        scores = self.scores(logs)
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        result: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
        return result
