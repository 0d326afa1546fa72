"""Cascades: a sample enters at the first tier and leaves at the first exit that is certain enough."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.base import CostTable, Decisions, Policy, Setting, State, Strategy
from edgepart.dispatch.layout import Layout
from edgepart.dispatch.trace import Trace

#: probabilities (…, C) → certainty (…), higher where the exit is surer
Certainty = Callable[[NDArray[np.float64]], NDArray[np.float64]]

_CHUNK = 65_536


class ThresholdStrategy(Strategy):
    """Base of every strategy with one number per exit and one threshold: a subclass says what certainty is.

    :func:`edgepart.evaluation.replay.sweep` evaluates all thresholds of such a strategy in one pass over the trace.
    """

    @abstractmethod
    def certainty(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """(…, C) probabilities → (…) certainty; must treat every row alike, whatever stands beside it."""

    def threshold(self, setting: Setting) -> float:
        """The certainty from which on a sample leaves."""
        return float(setting["threshold"])

    def settings(self, grid: Sequence[float]) -> list[Setting]:
        """One setting per threshold of the grid."""
        return [Setting(f"{value:g}", (("threshold", float(value)),)) for value in grid]

    def fit(self, validation: Trace, costs: CostTable) -> None:
        """Learn nothing but where the exits lie and how many classes there are."""
        self._layout, self.classes = Layout.of(validation), len(validation.classes)

    def policy(self, setting: Setting) -> ThresholdPolicy:
        return ThresholdPolicy(self._layout, self.certainty, self.threshold(setting))

    def certainties(self, trace: Trace) -> NDArray[np.float64]:
        """(N, K - 1) certainty at every exit but the last."""
        return certainties(self.certainty, trace)


class ThresholdPolicy(Policy):
    """Leave at the first exit whose certainty reaches the threshold."""

    def __init__(self, layout: Layout, certainty: Certainty, threshold: float) -> None:
        self._layout = layout
        self._certainty = certainty
        self._threshold = threshold

    def admit(self, embedding: NDArray[np.float32], state: State) -> int:
        return self._layout.first_tier

    def at_exit(self, exit_index: int, probabilities: NDArray[np.float64], state: State) -> bool:
        # float64 on both sides: in float32 a probability of .9 would not be ≥ .9
        return bool(self._certainty(probabilities.astype(np.float64, copy=False)) >= self._threshold)

    def decide(self, trace: Trace) -> Decisions:
        self._layout.require(trace)
        leaves = np.ones((len(trace), len(trace.exits)), dtype=np.bool_)
        leaves[:, :-1] = certainties(self._certainty, trace) >= self._threshold
        entry = np.full(len(trace), self._layout.first_tier, dtype=np.int64)
        return Decisions(entry, leaves.argmax(axis=1))


def certainties(certainty: Certainty, trace: Trace) -> NDArray[np.float64]:
    """(N, K - 1) certainty at every exit but the last, where nobody asks; in chunks, to bound the memory."""
    result = np.empty((len(trace), len(trace.exits) - 1))
    for start in range(0, len(trace), _CHUNK):
        rows = slice(start, start + _CHUNK)
        result[rows] = certainty(trace.probabilities[rows, :-1].astype(np.float64))
    return result
