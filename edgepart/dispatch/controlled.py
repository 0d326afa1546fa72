"""Thresholds with a promise: accuracy at most so much below the full model's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch import options, risk
from edgepart.dispatch.base import CostTable, Policy, Promise, Risk, Setting, Strategy
from edgepart.dispatch.layout import Layout
from edgepart.dispatch.risk import Losses
from edgepart.dispatch.threshold import DEFAULT_STRATEGY, ThresholdPolicy, ThresholdStrategy
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError

#: thresholds tried where none are given: from 0 to 1, ever closer to each other towards both ends
CANDIDATES = tuple(1 / (1 + math.exp(-level / 16)) for level in range(-256, 257))
#: values of a setting that say what was promised; those of the base's own setting come after them
_OWN = ("epsilon", "delta")


class Calibration(NamedTuple):
    """Calibration samples: (n, K) losses and (n, K - 1) certainties."""

    table: Losses
    certainty: NDArray[np.float64]


class Controlled(Strategy):
    """Leave by a threshold that keeps an accuracy you can promise, at most ε below the full model's.

    Wraps any strategy with a threshold and chooses that threshold for every ε on calibration samples, such that on new
    samples drawn like them the risk is at most ε: with probability 1 - δ over the calibration samples
    (``learn-then-test``; Angelopoulos et al. 2021) or in the mean over them (``conformal``; Angelopoulos et al. 2022).
    Candidates are tried from the strictest on and do not depend on the samples. Where nothing can be promised, every
    sample goes to the final exit, and a warning says why. Each ε has a δ of its own: all of them hold at once with a
    probability of 1 - δ times their number at least.

    The calibration samples are the validation samples. Where the base learns from them (which is found out by
    fitting it on half of them), it learns on one half and is calibrated on the other. The epoch of the training was
    chosen on them, too, so they look a little better than new samples: for a strict promise, record a trace of samples
    that had no part in anything, and give it as ``calibration``.

    Options:
        base: a strategy with a threshold, by name; with one option as ``base=entropy:scale=nats``
        epsilon: one setting each
        delta: for ``learn-then-test``
        method: ``learn-then-test`` or ``conformal``
        risk: ``drop`` (right answers lost less right answers gained), ``losses`` (right answers lost) or
            ``disagreement`` (answers other than the full model's; needs no labels). Each is at least the one before,
            so all of them bound the drop. Under ``conformal``, ``drop`` is bounded through ``losses``.
        bound: p-values of ``learn-then-test``: ``sharp`` (exact binomial; betting for ``drop``) or
            ``hoeffding-bentkus`` (as published; for ``drop`` on (drop + 1) / 2, which takes many samples)
        candidates: thresholds as the base's grid holds them
        calibration: file of a trace of the same bundle
        seed: of the order of the samples, and of the halves
    """

    name = "controlled"

    def __init__(
        self,
        base: str | ThresholdStrategy = DEFAULT_STRATEGY,
        epsilon: tuple[float, ...] = (0.005, 0.01, 0.02, 0.05),
        delta: float = 0.1,
        method: Literal["learn-then-test", "conformal"] = "learn-then-test",
        risk: Risk = "drop",
        bound: Literal["sharp", "hoeffding-bentkus"] = "sharp",
        candidates: tuple[float, ...] = CANDIDATES,
        calibration: str = "",
        seed: int = 0,
    ) -> None:
        for name, value in (*(("epsilon", one) for one in epsilon), ("delta", delta)):
            if not 0 < value < 1:
                raise DispatchError(f"{name} is {value:g}, expected a number between 0 and 1")
        if not epsilon or not candidates:
            raise DispatchError(f"{'candidates' if epsilon else 'epsilon'} is empty: give at least one number")
        made = options.strategy(base) if isinstance(base, str) else base
        if not isinstance(made, ThresholdStrategy):
            raise DispatchError(f"the strategy '{base}' has no threshold to control: give one such as confidence")
        self.base = made
        self.epsilon, self.delta = tuple(sorted(set(epsilon))), delta
        self.method, self.risk, self.bound = method, risk, bound
        self.candidates, self.calibration, self.seed = candidates, calibration, seed

    def fit(self, validation: Trace, costs: CostTable) -> None:
        """Choose the thresholds.

        Raises:
            DispatchError: the base cannot learn from the trace, or the calibration trace is of another plan.
            FileError: the calibration trace cannot be read.
        """
        self._layout = Layout.of(validation)
        samples = self._samples(validation, costs)
        calibration = Calibration(risk.loss_table(samples, self.risk), self.base.certainties(samples))
        tried = {self.base.threshold(one): one for one in self.base.settings(self.candidates)}
        thresholds = sorted(tried, reverse=True)
        chosen = {one: self._choose(calibration, thresholds, one) for one in self.epsilon}
        self._settings = [
            self._setting(one, None if index is None else tried[thresholds[index]]) for one, index in chosen.items()
        ]
        self.warnings = [*self.base.warnings, *self._told(len(samples), chosen)]

    def settings(self, grid: Sequence[float]) -> list[Setting]:
        """One setting per ε, with its threshold; the grid is not used."""
        return self._settings

    def policy(self, setting: Setting) -> Policy:
        given = tuple(pair for pair in setting.values if pair[0] not in _OWN)
        if given:
            return self.base.policy(Setting(setting.label, given))
        nobody = np.full(self._layout.final, np.inf)
        return ThresholdPolicy(self._layout, self.base.certainty_so_far, nobody)

    def promise(self, setting: Setting) -> Promise:
        return Promise(self.risk, float(setting["epsilon"]), self.delta if self._tests else None)

    @property
    def _tests(self) -> bool:
        return self.method == "learn-then-test"

    def _samples(self, validation: Trace, costs: CostTable) -> Trace:
        """Fit the base; the samples to calibrate on, in random order, none of which it has learnt from."""
        self.base.fit(validation, costs)
        given = self._given(validation) if self.calibration else validation
        order = np.random.default_rng(self.seed).permutation(len(given))
        half = len(order) // 2
        if self.calibration:
            return given.select(order)
        if not half:
            return given.select(order[:0])
        learnt = self._learnt(given)
        self.base.fit(given.select(order[:half]), costs)
        if not all(np.array_equal(*pair) for pair in zip(learnt, self._learnt(given), strict=True)):
            return given.select(order[half:])
        self.base.fit(given, costs)
        return given.select(order)

    def _given(self, validation: Trace) -> Trace:
        given = Trace.load(self.calibration)
        for what in ("exits", "exit_tiers", "tiers", "classes"):
            if getattr(given, what) != getattr(validation, what):
                raise DispatchError(
                    f"the calibration trace {self.calibration} has other {what.replace('_', ' ')} than the validation "
                    "trace: record it with this bundle"
                )
        return given

    def _learnt(self, trace: Trace) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Certainties and thresholds of the base, the same after a fit on other samples if it learns nothing."""
        thresholds = [self.base.threshold(one) for one in self.base.settings(self.candidates)]
        return self.base.certainties(trace), np.array(thresholds)

    def _choose(self, calibration: Calibration, thresholds: list[float], epsilon: float) -> int | None:
        """The loosest threshold with that promise; None if there is none."""
        losses: Iterator[Losses] = risk.cascade_losses(*calibration, thresholds)
        if self._tests:
            return risk.learn_then_test(losses, lambda rows: self._p_value(rows, epsilon), self.delta)
        return risk.conformal(losses, epsilon)

    def _p_value(self, losses: Losses, epsilon: float) -> float:
        if self.risk == "drop":
            if self.bound == "sharp":
                return risk.betting(losses, epsilon, self.delta)
            return risk.hoeffding_bentkus((losses + 1) / 2, (epsilon + 1) / 2)
        test = risk.binomial if self.bound == "sharp" else risk.hoeffding_bentkus
        return test(losses, epsilon)

    def _setting(self, epsilon: float, found: Setting | None) -> Setting:
        own: tuple[tuple[str, float | int | str], ...] = (("epsilon", epsilon),)
        if self._tests:
            own = (*own, ("delta", self.delta))
        if found is None:
            return Setting(f"ε={100 * epsilon:g} % all to the final exit", own)
        return Setting(f"ε={100 * epsilon:g} % {found.label}", (*own, *found.values))

    def _told(self, samples: int, chosen: dict[float, int | None]) -> Iterator[str]:
        """What was calibrated on, and which ε could not be promised and why."""
        if not self.calibration:
            yield (
                "its promises are for new data like the validation data, on which the epoch of the training was "
                "chosen, too; for a strict one, give a trace of samples that had no part in anything as calibration"
            )
        for epsilon in (one for one, index in chosen.items() if index is None):
            needed = self.needed(epsilon)
            sure = f" with a probability of {100 * (1 - self.delta):g} %" if self._tests else ""
            yield (
                f"at ε = {100 * epsilon:g} % every sample goes to the final exit: to promise that{sure} takes at least "
                f"{needed:,} calibration samples, more where early answers are wrong, and there are {samples:,}"
                if samples < needed
                else f"at ε = {100 * epsilon:g} % every sample goes to the final exit: on {samples:,} calibration "
                "samples even the strictest threshold tried is too often wrong to promise that"
            )

    def needed(self, epsilon: float) -> int:
        """Calibration samples from which on ``epsilon`` can be promised at all, where none of them is lost."""
        if self._tests:
            return risk.samples_needed(lambda rows: self._p_value(rows, epsilon) <= self.delta)
        return risk.samples_needed(lambda rows: risk.conformal([rows], epsilon) is not None)
