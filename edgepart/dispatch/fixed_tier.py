"""Send every sample to the same tier."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.base import CostTable, Setting, State, Strategy
from edgepart.dispatch.layout import Layout
from edgepart.dispatch.routed import RoutedPolicy
from edgepart.dispatch.trace import Floats, Trace


class FixedTier(Strategy):
    """Send every sample to the same tier, where it leaves at the last exit.

    The baselines all-mobile, all-edge and all-cloud of DIMEC-DC (section VII-A). A mixture of them at random is
    what any router must beat.
    """

    name = "fixed-tier"

    def fit(self, validation: Trace, costs: CostTable) -> None:
        """Learn nothing but where the exits lie."""
        self._layout = Layout.of(validation)

    def settings(self, grid: Sequence[float]) -> list[Setting]:
        """One setting per tier that has an exit; the grid is not used."""
        names = (self._layout.tiers[tier] for tier in self._layout.answering_tiers)
        return [Setting(name, (("tier", name),)) for name in names]

    def policy(self, setting: Setting) -> FixedTierPolicy:
        return FixedTierPolicy(self._layout, self._layout.tiers.index(str(setting["tier"])))


class FixedTierPolicy(RoutedPolicy):
    """Always the same tier."""

    def __init__(self, layout: Layout, tier: int) -> None:
        super().__init__(layout)
        self._tier = layout.answered_by(tier)

    def admit(self, embedding: NDArray[np.float32], state: State) -> int:
        return self._tier

    def tiers(self, embeddings: Floats) -> NDArray[np.int64]:
        return np.full(len(embeddings), self._tier, dtype=np.int64)
