"""Upper confidence bounds: choosing among arms whose rewards are learnt by pulling them."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.base import Decisions, Outcome, Policy, State
from edgepart.dispatch.drift import PageHinkley
from edgepart.dispatch.layout import Layout
from edgepart.dispatch.one_sample import largest, largest_of, reaches
from edgepart.dispatch.trace import Floats, Trace


class Bandit:
    """UCB1 (Auer et al. 2002): the arm with the greatest r̄ + c √(ln(t + 1) / n) is pulled next.

    r̄ is the mean reward of an arm, n how often it was rewarded and t the number of rounds so far. Arms that were never
    rewarded come first, in order; of equally good arms the first one is taken.
    """

    def __init__(self, arms: int, exploration: float = 1.0) -> None:
        self._exploration = exploration
        self._arms = arms
        self.reset()

    def reset(self) -> None:
        """Forget all rewards."""
        self.rounds = 0
        self.counts = [0] * self._arms
        self._totals = [0.0] * self._arms
        self.means = [0.0] * self._arms
        self._widths = [math.inf] * self._arms
        self._untried = True

    def choose(self) -> int:
        """The arm to pull next."""
        if self._untried:
            if 0 in self.counts:
                return self.counts.index(0)
            self._untried = False
        scale = self._exploration * math.sqrt(math.log(self.rounds + 1))
        bounds = [mean + scale * width for mean, width in zip(self.means, self._widths, strict=True)]
        return bounds.index(max(bounds))

    def reward(self, arm: int, reward: float) -> None:
        """Count a reward; several arms may be rewarded in one round."""
        self.counts[arm] = count = self.counts[arm] + 1
        self._totals[arm] = total = self._totals[arm] + reward
        self.means[arm] = total / count
        self._widths[arm] = 1 / math.sqrt(count)


class BanditPolicy(Policy):
    """Base of policies whose arms are thresholds: with arm a, a sample leaves where it reaches ``thresholds[a]``.

    A subclass says how a sample rewards the arms (:meth:`_reward`). A sample enters at the first tier that has an exit.
    The detector, if any, watches the largest probability at the first exit, which every sample meets; at its alarm
    all rewards are forgotten. If an answer comes so late that the arm has changed meanwhile, its sample counts for
    the arm in force by then.

    Args:
        thresholds: for every arm K - 1 numbers, one for each exit but the last; inf where it does not ask
    """

    order_free = False

    def __init__(
        self,
        layout: Layout,
        thresholds: Sequence[Sequence[float]],
        exploration: float,
        detector: PageHinkley | None = None,
    ) -> None:
        self._layout, self._first_tier = layout, layout.first_tier
        # every sample leaves at the last exit
        self._thresholds = [[*row, -math.inf] for row in thresholds]
        self.bandit = Bandit(len(thresholds), exploration)
        self._detector = detector
        self.alarms = None if detector is None else detector.alarms
        self._arm = self.bandit.choose()

    @abstractmethod
    def _reward(self, arm: int, seen: list[float]) -> None:
        """Tell the bandit what ``arm`` got for a sample with these largest probabilities, up to where it left."""

    def admit(self, embedding: NDArray[np.float32], state: State) -> int:
        return self._first_tier

    def at_exit(self, exit_index: int, probabilities: NDArray[np.float64], state: State) -> bool:
        return largest(probabilities) >= self._thresholds[self._arm][exit_index]

    def leaves(self, exit_index: int, logits: Floats, state: State) -> bool:
        found = reaches(largest_of, logits, (), self._thresholds[self._arm][exit_index])
        return super().leaves(exit_index, logits, state) if found is None else found

    def at_exit_batch(self, exit_index: int, met: NDArray[np.float64], state: State) -> NDArray[np.bool_]:
        reached: NDArray[np.bool_] = met[:, -1].max(axis=-1) >= self._thresholds[self._arm][exit_index]
        return reached

    def observe(self, outcome: Outcome) -> None:
        self._learn([largest(met) for met in (*outcome.earlier, outcome.probabilities)])

    def decide(self, trace: Trace) -> Decisions:
        self._layout.require(trace)
        # plain floats: on so few numbers a call of numpy takes longer than the whole decision
        rows = trace.probabilities.max(axis=-1).astype(np.float64).tolist()
        left = np.empty(len(trace), dtype=np.int64)
        for sample, row in enumerate(rows):
            thresholds = self._thresholds[self._arm]
            index = 0
            while row[index] < thresholds[index]:
                index += 1
            left[sample] = index
            self._learn(row[: index + 1])
        return Decisions(np.full(len(trace), self._layout.first_tier, dtype=np.int64), left)

    def _learn(self, seen: list[float]) -> None:
        self._reward(self._arm, seen)
        self.bandit.rounds += 1
        if self._detector is not None and self._detector.update(seen[0]):
            self.bandit.reset()
        self._arm = self.bandit.choose()
