"""Send samples to tiers at random."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.base import CostTable, Setting, Strategy
from edgepart.dispatch.layout import Layout
from edgepart.dispatch.routed import RoutedPolicy
from edgepart.dispatch.trace import Floats, Trace

#: shares of the upper of two neighbouring tiers that the curve is drawn with
_MIXTURES = (0.0, 0.25, 0.5, 0.75)


class Random(Strategy):
    """Send each sample to a tier drawn at random with fixed shares.

    The baseline *Random* of DIMEC-DC (section V-B2) has equal shares. The draw depends on ``seed`` and on the
    sample's place in the stream only, so a run can be repeated.
    """

    name = "random"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, validation: Trace, costs: CostTable) -> None:
        """Learn nothing but where the exits lie."""
        self._layout = Layout.of(validation)

    def settings(self, grid: Sequence[float]) -> list[Setting]:
        """Equal shares, and the mixtures of neighbouring tiers from all on the first to all on the last."""
        names = [self._layout.tiers[tier] for tier in self._layout.answering_tiers]
        found = {self.setting(dict.fromkeys(names, 1.0)): None}
        for lower, upper in itertools.pairwise(names):
            found.update((self.setting({lower: 1 - share, upper: share}), None) for share in _MIXTURES)
        found[self.setting({names[-1]: 1.0})] = None
        return list(found)

    @staticmethod
    def setting(shares: Mapping[str, float]) -> Setting:
        """The setting with given shares by tier, scaled to sum to 1; tiers left out get nothing."""
        total = sum(shares.values())
        scaled = tuple((name, share / total) for name, share in shares.items() if share > 0)
        return Setting(" ".join(f"{name} {share:.1%}" for name, share in scaled), scaled)

    def policy(self, setting: Setting) -> RandomPolicy:
        shares = dict(setting.values)
        return RandomPolicy(self._layout, [float(shares.get(tier, 0)) for tier in self._layout.tiers], self.seed)


class RandomPolicy(RoutedPolicy):
    """Draws a tier for every sample; ``shares`` holds T numbers that sum to 1."""

    order_free = False

    def __init__(self, layout: Layout, shares: Sequence[float], seed: int) -> None:
        super().__init__(layout)
        # The last bound is left out: rounding cannot push a draw beyond the last tier.
        self._bounds = np.cumsum(shares)[:-1]
        self._answered = np.array([layout.answered_by(tier) for tier in range(len(shares))], dtype=np.int64)
        self._generator = np.random.default_rng(seed)

    def tiers(self, embeddings: Floats) -> NDArray[np.int64]:
        draws = self._generator.random(len(embeddings))
        result: NDArray[np.int64] = self._answered[np.searchsorted(self._bounds, draws, side="right")]
        return result
