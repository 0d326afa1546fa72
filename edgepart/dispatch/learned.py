"""Leave where the exit's answer is probably right, as a small model has learnt to tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import mul
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import entr, expit

from edgepart.dispatch.crossfit import CrossFitted
from edgepart.dispatch.one_sample import Earlier, softmax
from edgepart.dispatch.trace import Floats, Trace

#: the log-odds of a probability end here: beyond, float32 cannot tell it from 1
_EDGE = 1e-7
#: no feature is larger, and more than they and their sums are apart that are found another way, for each of that
_LARGEST, _ROUNDING = 17.0, 1e-13


class Learned(CrossFitted):
    """Leave at the first exit whose answer is right with the threshold's probability, as learnt on validation.

    Learning to exit, after BERxiT (Xin et al., EACL 2021, section 3.2); reconstructed. BERxiT's module, one for all
    exits, reads hidden states and is trained with a squared error on whether the exit is right; a trace holds no hidden
    states, so this one is a logistic regression on what the probabilities say: the largest, its lead over the second,
    its log-odds, and the entropy as a fraction of log C. Targets are Platt's (1999): (n₊ + 1)/(n₊ + 2) and
    1/(n₋ + 2), which keeps an exit that is always right finite. Assumes that an exit's mistakes show in its
    probabilities in the same way later on. The thresholds are chosen on certainties of models that have not seen the
    sample (cross-fitting).

    Options:
        model: ``exit`` (one for each) or ``shared`` (one for all, as the paper)
        regularisation: weight of the squared coefficients of the standardised features beside the summed loss
        folds: parts of the validation samples for cross-fitting; 1 does without
        seed: of the parts
    """

    name = "learned"

    def __init__(
        self,
        model: Literal["exit", "shared"] = "exit",
        regularisation: float = 1.0,
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        super().__init__(regularisation, folds, seed)
        self.model = model

    def learn(self, trace: Trace) -> Chances:
        probabilities = trace.probabilities[:, :-1].astype(np.float64)
        right = trace.correct[:, :-1]
        if self.model == "shared" and right.shape[1]:
            joint = Logistic.of(_features(probabilities.reshape(-1, self.classes)), right.ravel(), self.regularisation)
            models = [joint] * right.shape[1]
        else:
            models = [
                Logistic.of(_features(probabilities[:, index]), right[:, index], self.regularisation)
                for index in range(right.shape[1])
            ]
        return Chances(models)


@dataclass(frozen=True)
class Chances:
    """The chance that an exit's answer is right, by the model of each exit but the last."""

    models: Sequence[Logistic]

    def __call__(self, met: NDArray[np.float64]) -> NDArray[np.float64]:
        chances: NDArray[np.float64] = self.models[met.shape[-2] - 1].probability(_features(met[..., -1, :]))
        return chances

    def roughly(self, logits: Floats, earlier: Earlier) -> tuple[float, float]:
        """The same in plain numbers, from the very probabilities: the log-odds of a sure answer tell all of them."""
        model = self.models[len(earlier)]
        score = model.intercept + sum(map(mul, model.weights, _plain_features(softmax(logits).tolist())))
        return (1 / (1 + math.exp(-score)) if score > -700 else 0.0), model.rounding


def _plain_features(probabilities: list[float]) -> tuple[float, ...]:
    """:func:`_features` of one sample."""
    classes = len(probabilities)
    if classes == 1:
        return (probabilities[0],)
    second, first = sorted(probabilities)[-2:]
    best = min(max(first, _EDGE), 1 - _EDGE)
    entropy = -sum([one * math.log(one) for one in probabilities if one > 0]) / math.log(classes)
    return first, first - second, math.log(best) - math.log1p(-best), entropy


def _features(probabilities: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """(…, C) probabilities → what the model looks at, (…) each."""
    classes = probabilities.shape[-1]
    if classes == 1:
        return (probabilities[..., 0],)
    ranked = np.partition(probabilities, -2, axis=-1)
    best = np.clip(ranked[..., -1], _EDGE, 1 - _EDGE)
    entropy = entr(probabilities).sum(axis=-1) / np.log(classes)
    return ranked[..., -1], ranked[..., -1] - ranked[..., -2], np.log(best) - np.log1p(-best), entropy


@dataclass(frozen=True)
class Logistic:
    """A logistic regression on F features: P(right) = 1 / (1 + exp(-(intercept + Σ weight · feature)))."""

    intercept: float
    weights: tuple[float, ...]

    @classmethod
    def of(cls, features: tuple[NDArray[np.float64], ...], right: NDArray[np.bool_], ridge: float) -> Logistic:
        """The one that minimises cross-entropy + ridge/2 · Σ weight², with the features standardised.

        Args:
            features: F arrays of (N,)
            right: (N,)
        """
        table = np.stack(features, axis=1)
        mean, spread = table.mean(axis=0), table.std(axis=0)
        scale = np.where(spread > 1e-12, spread, 1.0)
        table = (table - mean) / scale
        hits = int(right.sum())
        wanted = np.where(right, (hits + 1) / (hits + 2), 1 / (len(right) - hits + 2))

        inputs = np.column_stack([np.ones(len(table)), table])
        pull = np.full(inputs.shape[1], ridge)
        pull[0] = 0.0

        def loss(point: NDArray[np.float64]) -> float:
            score = inputs @ point
            return float((np.logaddexp(0, score) - wanted * score).sum() + (pull * point**2).sum() / 2)

        def slope(point: NDArray[np.float64]) -> NDArray[np.float64]:
            result: NDArray[np.float64] = (expit(inputs @ point) - wanted) @ inputs + pull * point
            return result

        def bend(point: NDArray[np.float64]) -> NDArray[np.float64]:
            chance = expit(inputs @ point)
            result: NDArray[np.float64] = (inputs.T * (chance * (1 - chance))) @ inputs + np.diag(pull)
            return result

        start = np.zeros(inputs.shape[1])
        found = minimize(loss, start, jac=slope, hess=bend, method="trust-exact", options={"gtol": 1e-6}).x
        weights = found[1:] / scale
        return cls(float(found[0] - weights @ mean), tuple(float(weight) for weight in weights))

    @cached_property
    def rounding(self) -> float:
        """How far two ways to the same probability lie apart at most."""
        return _ROUNDING * (1 + abs(self.intercept) + _LARGEST * sum(map(abs, self.weights)))

    def probability(self, features: tuple[NDArray[np.float64], ...]) -> NDArray[np.float64]:
        """F features of (…) → (…) probability of being right."""
        # One by one: a matrix product may round a row differently beside other rows.
        score = np.full(features[0].shape, self.intercept)
        for weight, feature in zip(self.weights, features, strict=True):
            score += weight * feature
        result: NDArray[np.float64] = expit(score)
        return result
