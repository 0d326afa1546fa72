"""What a learned router asks: the probability of each of P events at an embedding, by scikit-learn's models.

Every predictor treats a row alike, whatever stands beside it: linear models are summed up here (a matrix product may
round a row differently beside other rows), trees and neighbours are looked up row by row by scikit-learn itself.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from edgepart.errors import MissingExtra

Points = NDArray[np.float64]
Events = NDArray[np.bool_]

_CHUNK = 1024


class Predictor(Protocol):
    """What has been learnt of P events."""

    def probabilities(self, points: Points) -> NDArray[np.float64]:
        """(n, R) points → (n, P) probabilities."""
        ...

    def of_one(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """(R,) → (P,): the same of a single point."""
        found: NDArray[np.float64] = self.probabilities(point[None])[0]
        return found


#: (N, R) points and what happened there, (N, P) → a predictor; N may be 0
Learner = Callable[[Points, Events], Predictor]
#: as above, for one event that did not happen always or never: (N, R), (N,) → ((n, R) → (n,))
_One = Callable[[Points], NDArray[np.float64]]
_LearnOne = Callable[[Points, Events], _One]


def require_sklearn() -> None:
    """Check that models can be fitted.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise MissingExtra("scikit-learn", "router")


def logistic(strength: float) -> Learner:
    """Logistic regression for each event; ``strength`` of the L2 penalty, per sample."""
    return lambda points, events: _Logistic(points, events, strength)


def boosting(trees: int, leaves: int, rate: float, seed: int) -> Learner:
    """Gradient-boosted trees for each event."""

    def learn(points: Points, event: Events) -> _One:
        from sklearn.ensemble import HistGradientBoostingClassifier

        model = HistGradientBoostingClassifier(
            max_iter=trees, max_leaf_nodes=leaves, learning_rate=rate, early_stopping=False, random_state=seed
        )
        model.fit(points, event)

        def predict(asked: Points) -> NDArray[np.float64]:
            scores = model.decision_function(asked) if len(asked) else np.empty(0)
            result: NDArray[np.float64] = expit(scores)
            return result

        return predict

    return lambda points, events: _Separate(points, events, learn)


def neighbours(count: int) -> Learner:
    """The share of the ``count`` nearest known points, Euclidean, at which each event happened."""
    return lambda points, events: _Neighbours(points, events, count)


class _Logistic(Predictor):
    """Of each event a weight for every dimension and a bias; one that happened always or never gets its rate."""

    def __init__(self, points: Points, events: Events, strength: float) -> None:
        self._weights = np.zeros((events.shape[1], points.shape[1]))
        self._biases = np.zeros(events.shape[1])
        self._rates: dict[int, float] = {}
        for index, event in enumerate(events.T):
            if 0 < event.sum() < len(event):
                self._weights[index], self._biases[index] = self._fit(points, event, strength)
            else:
                self._rates[index] = _rate(event)

    @staticmethod
    def _fit(points: Points, event: Events, strength: float) -> tuple[NDArray[np.float64], float]:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        model = LogisticRegression(C=1 / (strength * len(points)), max_iter=1000)
        # One thread: its many small products take a hundred times as long where threads wait for a busy core.
        with warnings.catch_warnings(), threadpool_limits(1):
            # Not quite at its optimum is a fit all the same; out-of-fold predictions tell what it is worth.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(points, event)
        return model.coef_[0].astype(np.float64), float(model.intercept_[0])

    def probabilities(self, points: Points) -> NDArray[np.float64]:
        scores = np.empty((len(points), len(self._biases)))
        for start in range(0, len(points), _CHUNK):
            weighed = points[start : start + _CHUNK, None, :] * self._weights
            np.add(np.add.reduce(weighed, axis=-1), self._biases, out=scores[start : start + _CHUNK])
        return self._chances(scores)

    def of_one(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._chances(np.add.reduce(point * self._weights, axis=-1) + self._biases)

    def _chances(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        result: NDArray[np.float64] = expit(scores)
        for index, rate in self._rates.items():
            result[..., index] = rate
        return result


class _Separate(Predictor):
    """A model of its own for each event; one that happened always or never gets its rate, after Laplace."""

    def __init__(self, points: Points, events: Events, learn: _LearnOne) -> None:
        self._events: Sequence[_One] = [
            learn(points, event) if 0 < event.sum() < len(event) else _constant(event) for event in events.T
        ]

    def probabilities(self, points: Points) -> NDArray[np.float64]:
        columns = [predict(points) for predict in self._events]
        return np.stack(columns, axis=1) if columns else np.empty((len(points), 0))


class _Neighbours(Predictor):
    def __init__(self, points: Points, events: Events, count: int) -> None:
        from sklearn.neighbors import KDTree

        self._events = events.astype(np.float64)
        self._count = min(count, len(points))
        # A tree, even where it prunes little: it measures each distance by itself, brute force by a matrix product.
        self._tree: Any = KDTree(points) if len(points) else None

    def probabilities(self, points: Points) -> NDArray[np.float64]:
        if self._tree is None or not len(points):
            return np.full((len(points), self._events.shape[1]), 0.5)
        result = np.zeros((len(points), self._events.shape[1]))
        for place in self._tree.query(points, k=self._count, return_distance=False).T:
            result += self._events[place]
        return result / self._count


def _constant(event: Events) -> _One:
    rate = _rate(event)
    return lambda points: np.full(len(points), rate)


def _rate(event: Events) -> float:
    """Laplace's rule of succession: (happened + 1) / (seen + 2), one half where nothing was seen."""
    return (int(event.sum()) + 1) / (len(event) + 2)
