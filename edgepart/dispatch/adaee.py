"""AdaEE: a bandit over thresholds."""

from __future__ import annotations

from collections.abc import Sequence

from edgepart.dispatch.bandit import BanditPolicy
from edgepart.dispatch.base import CostTable, Setting, Strategy
from edgepart.dispatch.drift import Drift, PageHinkley, detector
from edgepart.dispatch.layout import Layout
from edgepart.dispatch.options import require_nonnegative
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError

#: the paper's arms: 0 … 1 in steps of .2
THRESHOLDS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
#: μ of the curve where none is given: how much confidence the way through all exits is worth
WORTHS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)


class AdaEE(Strategy):
    """Leave at the first exit whose largest probability reaches a threshold that a bandit learns while it serves.

    AdaEE (Pacheco et al. 2023): UCB1 over thresholds. The paper has one exit b and the final one L, and the reward of
    a threshold is 0 for a sample that leaves at b, else max(C_L - C_b, 0) - o, with C the largest probability and o
    what going on costs. With more exits one threshold holds at all of them, and the reward of a sample that passes
    the first one and leaves at exit k is max(C_k - C_1, 0) - μ (cost(k) - cost(1)): what going on has gained less
    what it has cost beyond leaving at once; with a single exit this is the paper's. It needs no labels, and assumes
    that a gain in confidence is one in accuracy.

    Options:
        mus: μ, confidence per unit of the cost model; one setting each. By default ten, from 0 to where the way through
            all exits is worth 2.
        arms: the thresholds to choose from
        c: how much is explored
        drift: ``none``, or ``page-hinkley`` to forget all rewards when the confidence at the first exit has changed
        drift_tolerance, drift_run_length: of the detector (:class:`edgepart.dispatch.drift.PageHinkley`)

    Raises:
        DispatchError: no arms, μ or c below 0, or the detector's numbers are out of their range.
    """

    name = "adaee"

    def __init__(
        self,
        mus: tuple[float, ...] = (),
        arms: tuple[float, ...] = THRESHOLDS,
        c: float = 1.0,
        drift: Drift = "none",
        drift_tolerance: float = 0.05,
        drift_run_length: float = 100_000,
    ) -> None:
        if not arms:
            raise DispatchError("the strategy 'adaee' was given no thresholds as arms, expected at least one")
        require_nonnegative(mus=mus, c=c)
        self.mus = mus
        self.arms = arms
        self.c = c
        self.drift: Drift = drift
        self.drift_tolerance = drift_tolerance
        self.drift_run_length = drift_run_length
        # refused here, before anything is recorded
        detector(drift, drift_tolerance, drift_run_length)

    def fit(self, validation: Trace, costs: CostTable) -> None:
        """Learn nothing but where the exits lie and what they cost."""
        self._layout = Layout.of(validation)
        self._costs: list[float] = costs[self._layout.first_tier].tolist()

    def settings(self, grid: Sequence[float]) -> list[Setting]:
        """One setting per μ; the grid is not used."""
        mus = weights(self.mus, WORTHS, self._costs[-1])
        return [Setting(f"μ={mu:.3g}", (("mu", mu),)) for mu in mus]

    def policy(self, setting: Setting) -> AdaEEPolicy:
        mu = float(setting["mu"])
        overheads = [mu * (cost - self._costs[0]) for cost in self._costs]
        thresholds = [[arm] * self._layout.final for arm in self.arms]
        watch = detector(self.drift, self.drift_tolerance, self.drift_run_length)
        return AdaEEPolicy(self._layout, thresholds, overheads, self.c, watch)


def weights(given: Sequence[float], worths: Sequence[float], dearest: float) -> list[float]:
    """The given μ or, if none is, those for which the dearest way is worth so much."""
    if given:
        return [float(mu) for mu in given]
    return [worth / dearest for worth in worths] if dearest > 0 else [0.0]


class AdaEEPolicy(BanditPolicy):
    """One threshold at a time for all exits; ``overheads``: (K,) what it costs to go on from the first exit."""

    def __init__(
        self,
        layout: Layout,
        thresholds: Sequence[Sequence[float]],
        overheads: Sequence[float],
        exploration: float,
        watch: PageHinkley | None = None,
    ) -> None:
        super().__init__(layout, thresholds, exploration, watch)
        self._overheads = overheads

    def _reward(self, arm: int, seen: list[float]) -> None:
        passed = len(seen) - 1
        gain = max(seen[passed] - seen[0], 0.0) - self._overheads[passed] if passed else 0.0
        self.bandit.reward(arm, gain)
