"""Routers: the tier is chosen before any part runs, and the sample leaves at that tier's last exit."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.base import Decisions, Policy, State
from edgepart.dispatch.layout import Layout
from edgepart.dispatch.trace import Floats, Trace


class RoutedPolicy(Policy):
    """Base of policies that choose a tier; a tier without an exit is served by the next one up that has one."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._closes = tuple(layout.closes_tier(index) for index in range(layout.final + 1))

    @abstractmethod
    def tiers(self, embeddings: Floats) -> NDArray[np.int64]:
        """(n, D) embeddings → (n,) tiers, each with an exit; the same for a sample alone and among others."""

    def admit(self, embedding: NDArray[np.float32], state: State) -> int:
        return int(self.tiers(embedding[None])[0])

    def at_exit(self, exit_index: int, probabilities: NDArray[np.float64], state: State) -> bool:
        # A sample meets the exits of the tier it entered at first, so the first tier's last exit is its own.
        return self._closes[exit_index]

    def leaves(self, exit_index: int, logits: Floats, state: State) -> bool:
        return self._closes[exit_index]

    def admit_batch(self, embeddings: NDArray[np.float32], state: State) -> NDArray[np.int64]:
        return self.tiers(embeddings)

    def at_exit_batch(self, exit_index: int, met: NDArray[np.float64], state: State) -> NDArray[np.bool_]:
        return np.full(len(met), self._closes[exit_index])

    def decide(self, trace: Trace) -> Decisions:
        self._layout.require(trace)
        return self.leaving(self.tiers(trace.embeddings))

    def leaving(self, entry: NDArray[np.int64]) -> Decisions:
        """The decisions that follow from the tiers entered."""
        last = [self._layout.last_exit(self._layout.answered_by(t)) for t in range(len(self._layout.tiers))]
        return Decisions(entry, np.array(last, dtype=np.int64)[entry])
