"""SplitEE: a bandit over the exit to ask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from edgepart.dispatch.adaee import weights
from edgepart.dispatch.bandit import BanditPolicy
from edgepart.dispatch.base import CostTable, Setting, Strategy
from edgepart.dispatch.drift import Drift, PageHinkley, detector
from edgepart.dispatch.layout import Layout
from edgepart.dispatch.options import require_nonnegative
from edgepart.dispatch.trace import Trace

#: μ where none is given: how much confidence the way through all exits is worth (1.2 in the paper)
WORTHS = (1.0,)


class SplitEE(Strategy):
    """Ask one exit only, which a bandit chooses: leave there if its largest probability reaches α, else at the end.

    SplitEE (Bajpai et al. 2023): UCB1 over the exit i to ask, with reward C_i - μ λ_i if C_i ≥ α or i is the final exit
    L, else C_L - μ (λ_i + o). C is the largest probability, λ_i what the cost model charges for the way to exit i and
    o for the rest of the way to L; a cost model charges for the heads passed, too, though SplitEE does not ask them.
    It needs no labels, and assumes that confidence means accuracy.

    Options:
        mus: μ, confidence per unit of the cost model; one setting each per α of the grid. By default one, with which
            the way through all exits is worth 1.
        arms: ``exits`` (all of them) or ``tiers`` (the last one of each tier, where the network is split)
        c: how much is explored
        drift: ``none``, or ``page-hinkley`` to forget all rewards when the confidence at the first exit has changed
        drift_tolerance, drift_run_length: of the detector (:class:`edgepart.dispatch.drift.PageHinkley`)
    """

    name = "splitee"
    _side = False

    def __init__(
        self,
        mus: tuple[float, ...] = (),
        arms: Literal["exits", "tiers"] = "exits",
        c: float = 1.0,
        drift: Drift = "none",
        drift_tolerance: float = 0.05,
        drift_run_length: float = 100_000,
    ) -> None:
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
        self._layout = layout = Layout.of(validation)
        self._costs: list[float] = costs[layout.first_tier].tolist()
        self._exits = list(range(layout.final + 1))
        if self.arms == "tiers":
            self._exits = [layout.last_exit(tier) for tier in layout.answering_tiers]

    def settings(self, grid: Sequence[float]) -> list[Setting]:
        """One setting per α of the grid and μ."""
        mus = weights(self.mus, WORTHS, self._costs[-1])
        return [
            Setting(f"α={alpha:g} μ={mu:.3g}", (("alpha", float(alpha)), ("mu", mu))) for alpha in grid for mu in mus
        ]

    def policy(self, setting: Setting) -> SplitEEPolicy:
        alpha, mu = float(setting["alpha"]), float(setting["mu"])
        charges = [mu * cost for cost in self._costs]
        watch = detector(self.drift, self.drift_tolerance, self.drift_run_length)
        return SplitEEPolicy(self._layout, self._exits, alpha, charges, self.c, self._side, watch)


class SplitEES(SplitEE):
    """Like ``splitee``, and each sample teaches the bandit about all exits that it has passed.

    SplitEE-S: the reward that a shallower exit would have had is known if it was confident enough, or if the sample
    went on to the final exit. Of a sample that it would have sent on but that left before the final exit, C_L was
    never seen (the published code reads it all the same): the confidence where it left stands for it. Options as
    for ``splitee``.
    """

    name = "splitee-s"
    _side = True


class ISplitEE(SplitEE):
    """Like ``splitee``, with one exit to choose from on each tier: made for images whose distortion changes.

    I-SplitEE (Bajpai et al. 2024), reconstructed: the reward is SplitEE's, there are fewer arms, and every sample
    counts once (the published code counts many of them several times). Where each tier has a single exit it decides
    as ``splitee``. Options as for ``splitee``.
    """

    name = "i-splitee"

    def __init__(
        self,
        mus: tuple[float, ...] = (),
        arms: Literal["exits", "tiers"] = "tiers",
        c: float = 1.0,
        drift: Drift = "none",
        drift_tolerance: float = 0.05,
        drift_run_length: float = 100_000,
    ) -> None:
        super().__init__(mus, arms, c, drift, drift_tolerance, drift_run_length)


class SplitEEPolicy(BanditPolicy):
    """One exit at a time is asked.

    Args:
        exits: that an arm asks, the last one being final
        alpha: confidence from which on a sample leaves
        charges: (K,) μ times the cost of leaving at each exit
        side: whether a sample rewards the arms of shallower exits, too
    """

    def __init__(
        self,
        layout: Layout,
        exits: Sequence[int],
        alpha: float,
        charges: Sequence[float],
        exploration: float,
        side: bool,
        watch: PageHinkley | None = None,
    ) -> None:
        asked = [[alpha if index == exit_index else math.inf for index in range(layout.final)] for exit_index in exits]
        super().__init__(layout, asked, exploration, watch)
        self._exits, self._alpha, self._charges, self._side = exits, alpha, charges, side

    def _reward(self, arm: int, seen: list[float]) -> None:
        while self._exits[arm] >= len(seen):
            # an answer that came so late that the arm has changed, and asks an exit that this sample did not meet
            arm -= 1
        for rewarded in range(arm + 1) if self._side else (arm,):
            index = self._exits[rewarded]
            if seen[index] >= self._alpha or index == self._layout.final:
                self.bandit.reward(rewarded, seen[index] - self._charges[index])
            else:
                self.bandit.reward(rewarded, seen[-1] - self._charges[-1])
