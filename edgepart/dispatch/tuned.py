"""A tier of entry and thresholds, chosen together for what accuracy is worth."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch import options
from edgepart.dispatch.base import CostTable, Decisions, Setting, Strategy
from edgepart.dispatch.layout import Layout
from edgepart.dispatch.one_sample import Rough
from edgepart.dispatch.threshold import DEFAULT_STRATEGY, Certainty, ThresholdPolicy, ThresholdStrategy
from edgepart.dispatch.trace import Trace
from edgepart.dispatch.tuning import Reaches, chooser, left_at
from edgepart.errors import DispatchError

#: accuracy that the cost of the whole network is worth, a setting each: from a thousandth to all of it
PRICES = tuple(float(f"{10 ** (step / 10 - 3):.3g}") for step in range(31))
#: of a grid, beyond all certainties on either side; which is which depends on the base
_BEYOND = (-1.0, 2.0)


class Level(NamedTuple):
    """A threshold: the certainty from which on a sample leaves, and as the base's grid holds it."""

    certainty: float
    value: float


class Cascade(NamedTuple):
    """The tier that all samples enter at, and of each exit but the last the number of its level, (K - 1,)."""

    tier: int
    levels: NDArray[np.int64]


class Tuned(Strategy):
    """Enter at the best tier and leave by the best thresholds, chosen together on validation.

    Ours. A setting is what accuracy is worth: it has the tier of entry, the same for all samples, and the thresholds
    of the grid that together maximise accuracy - price · cost / cost of the whole network. Entering above the first
    tier saves what the tiers below would do, which is much where each starts afresh (``nested``); letting all leave at
    an exit saves what comes after it. One more setting sends every sample to the network's own exit, so that there is
    always one that keeps the accuracy. Assumes that new samples are like those of validation.

    With ``thresholds=each`` every exit has its own, so that one that is not worth asking may let nobody leave. Many
    thresholds look better on the samples that they were chosen on than they are: :meth:`rehearse` then decides about
    each validation sample by what was chosen without it (cross-fitting), which takes thousands of samples to pay.

    Options:
        base: a strategy with a threshold, by name; with one option as ``base=entropy:scale=nats``. Where it looks at
            more than the exit itself, samples enter at the first tier or go to the network's own exit.
        thresholds: ``common`` to all exits, or ``each``
        prices: accuracy that the cost of the whole network is worth; one setting each, by default 31 from .001 to 1
        folds: of the cross-fitting, 1 does without; by default 5 for ``each``, and 1 for ``common``
        seed: of the folds
    """

    name = "tuned"

    def __init__(
        self,
        base: str | ThresholdStrategy = DEFAULT_STRATEGY,
        thresholds: Literal["common", "each"] = "common",
        prices: tuple[float, ...] = PRICES,
        folds: int | None = None,
        seed: int = 0,
    ) -> None:
        made = options.strategy(base) if isinstance(base, str) else base
        if not isinstance(made, ThresholdStrategy):
            raise DispatchError(f"the strategy '{base}' has no threshold to tune: give one such as confidence")
        if not prices or not all(0 < price < math.inf for price in prices):
            raise DispatchError(f"the prices are {list(prices)}, expected at least one finite number above 0")
        if folds is not None and folds < 1:
            raise DispatchError(f"folds is {folds}, expected 1 (no cross-fitting) or more")
        self.base, self.common, self.seed = made, thresholds == "common", seed
        self.folds = folds or (1 if self.common else 5)
        self.prices = tuple(sorted(set(prices)))

    def fit(self, validation: Trace, costs: CostTable) -> None:
        """Let the base learn; the thresholds are chosen once the grid is known.

        Raises:
            DispatchError: the trace holds no samples, or the base takes no thresholds from a grid.
        """
        if not len(validation):
            raise DispatchError("the validation trace holds no samples, which 'tuned' learns from: record some")
        self.base.fit(validation, costs)
        if self.base.settings((0.25, 0.5)) != [self.base.one(0.25), self.base.one(0.5)]:
            raise DispatchError(
                f"'tuned' was given the base '{self.base.name}', which takes no thresholds from a grid: give one that "
                "does, such as confidence"
            )
        self._layout, self._validation, self._exits = Layout.of(validation), validation, validation.exits[:-1]
        self._certainty = self.base.rehearsed(validation)
        self._costs = costs
        self._settled: dict[tuple[float, ...], dict[Setting, Decisions]] = {}
        self.warnings = list(self.base.warnings)

    def settings(self, grid: Sequence[float]) -> list[Setting]:
        """The whole network, then one setting per price, the lowest first."""
        values = tuple(float(value) for value in grid)
        if values not in self._settled:
            self._settled[values] = self._settle(values)
        return list(self._settled[values])

    def policy(self, setting: Setting) -> TunedPolicy:
        base, thresholds = self.base, self.thresholds(setting)
        return TunedPolicy(
            self._layout, base.certainty_so_far, thresholds, base.alone, base.roughly, self.entry(setting)
        )

    def rehearse(self, setting: Setting, validation: Trace) -> Decisions:
        """What the setting decides about the validation samples, each by what was chosen without it.

        Raises:
            DispatchError: it is not the trace of the last :meth:`fit`, or not a setting made from it.
        """
        known = next((found[setting] for found in self._settled.values() if setting in found), None)
        if validation is not self._validation or known is None:
            raise DispatchError("'tuned' was fitted on another trace than it is to rehearse on: give the same one")
        return known

    def entry(self, setting: Setting) -> int:
        """Index of the tier that all samples enter at."""
        return self._layout.tiers.index(str(setting["enter"]))

    def thresholds(self, setting: Setting) -> NDArray[np.float64]:
        """(K - 1,) the certainty from which on a sample leaves at every exit but the last."""
        return self.base.thresholds(Setting("", tuple(pair for pair in setting.values if pair[0].startswith("at "))))

    def _settle(self, grid: tuple[float, ...]) -> dict[Setting, Decisions]:
        """The settings, each with what it decides about the validation samples when chosen without them."""
        levels = self._levels(grid)
        reaches = np.searchsorted([level.certainty for level in levels], self._certainty, side="right")
        samples, folds = len(reaches), min(self.folds, len(reaches))
        cascades = self._choose(reaches, np.arange(samples), len(levels))
        decided = [self._decide(reaches, cascade) for cascade in cascades]
        fold = np.random.default_rng(self.seed).permutation(samples) % folds
        for number in range(folds if folds > 1 else 0):
            inside = np.flatnonzero(fold == number)
            without = self._choose(reaches, np.flatnonzero(fold != number), len(levels))
            for (entry, left), cascade in zip(decided, without, strict=True):
                entry[inside], left[inside] = self._decide(reaches[inside], cascade)
        settings = [
            self._setting(price, cascade, levels) for price, cascade in zip((None, *self.prices), cascades, strict=True)
        ]
        return dict(zip(settings, (Decisions(*one) for one in decided), strict=True))

    def _levels(self, grid: Sequence[float]) -> list[Level]:
        """The thresholds to choose from, rising: those of the grid, and two at which all leave and nobody does."""
        found = {self.base.threshold(self.base.one(value)): value for value in (*grid, *_BEYOND)}
        return [Level(certainty, found[certainty]) for certainty in sorted(found)]

    def _choose(self, reaches: Reaches, rows: NDArray[np.int64], levels: int) -> list[Cascade]:
        """The whole network, and for each price the best on some of the samples; of equally good ones the highest tier.

        What is not asked or not met lets nobody leave.
        """
        whole = Cascade(int(self._costs[:, -1].argmin()), np.full(len(self._exits), levels - 1))
        unit = float(self._costs[whole.tier, -1]) or 1.0
        correct = self._validation.correct[rows]
        # a base that looks at more than the exit itself knows samples that entered at the first tier only
        knows = self._layout.answering_tiers if self.base.alone else (self._layout.first_tier,)
        choosers = []
        for tier in sorted({*knows, whole.tier}, reverse=True):
            first = self._layout.first_exit(tier) if tier in knows else self._layout.final
            met, cost = reaches[rows, first:], self._costs[tier, first:] / unit
            choosers.append((tier, chooser(met, correct[:, first:], cost, levels, self.common)))
        best = []
        for price in self.prices:
            found = [(tier, *choose(price)) for tier, choose in choosers]
            tier, _, chosen = max(found, key=lambda one: one[1])
            best.append(Cascade(tier, np.concatenate([whole.levels[: len(self._exits) - len(chosen)], chosen])))
        return [whole, *best]

    def _decide(self, reaches: Reaches, cascade: Cascade) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(N,) tier of entry and (N,) exit of samples that reach these levels."""
        first = self._layout.first_exit(cascade.tier)
        left = left_at(reaches[:, first:], cascade.levels[first:]) + first
        return np.full(len(reaches), cascade.tier, dtype=np.int64), left

    def _setting(self, price: float | None, cascade: Cascade, levels: Sequence[Level]) -> Setting:
        tier = self._layout.tiers[cascade.tier]
        values = [levels[number].value for number in cascade.levels]
        asked = [
            (name, "all" if number == 0 else f"{value:g}")
            for name, value, number in zip(self._exits, values, cascade.levels, strict=True)
            if number < len(levels) - 1
        ]
        told = [_spoken([name for name, _ in run], at) for at, run in itertools.groupby(asked, key=lambda one: one[1])]
        at = self.base.each(dict(zip(self._exits, values, strict=True)))
        own: list[tuple[str, float | int | str]] = [("enter", tier)]
        if price is not None:
            own.insert(0, ("price", price))
        title = "whole network" if price is None else f"price {price:g}"
        return Setting(f"{title}: {', '.join([f'enter {tier}', *told])}", (*own, *at.values))


def _spoken(exits: Sequence[str], at: str) -> str:
    """Neighbouring exits with one threshold: each by itself or, where there are many, the first and the last."""
    return f"{exits[0]} to {exits[-1]} {at}" if len(exits) > 2 else ", ".join(f"{name} {at}" for name in exits)


class TunedPolicy(ThresholdPolicy):
    """Enter at one tier, and leave at the first exit met whose certainty reaches its threshold; (K - 1,)."""

    def __init__(
        self,
        layout: Layout,
        certainty: Certainty,
        thresholds: NDArray[np.float64],
        alone: bool,
        rough: Rough,
        tier: int,
    ) -> None:
        super().__init__(layout, certainty, thresholds, alone, rough)
        self._first_tier = tier

    def decide(self, trace: Trace) -> Decisions:
        self._layout.require(trace)
        entry = np.full(len(trace), self._first_tier, dtype=np.int64)
        return Decisions(entry, self.leaving(entry, trace))
