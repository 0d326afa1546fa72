"""Thresholds with a promise: accuracy at most so much below the full model's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch import options, risk
from edgepart.dispatch.base import CostTable, Policy, Promise, Risk, Setting, Strategy
from edgepart.dispatch.combined import undominated
from edgepart.dispatch.fixed_tier import FixedTierPolicy
from edgepart.dispatch.layout import Layout
from edgepart.dispatch.risk import Losses
from edgepart.dispatch.threshold import DEFAULT_STRATEGY, ThresholdStrategy
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError

#: thresholds tried where none are given: from 0 to 1, ever closer to each other towards both ends
CANDIDATES = tuple(1 / (1 + math.exp(-level / 16)) for level in range(-256, 257))
#: values of a setting that say what was promised; those of the base's own setting come after them
_OWN = ("epsilon", "delta")


class Candidates(NamedTuple):
    """Settings of the base, safest first, in an order that calibration samples have no part in.

    Attributes:
        losses: of the calibration samples, (n,), under each; anew with every call
        samples: the calibration samples
    """

    settings: Sequence[Setting]
    losses: Callable[[], Iterator[Losses]]
    samples: Trace


class Controlled(Strategy):
    """Leave by a threshold that keeps an accuracy you can promise, at most ε below the full model's.

    Wraps a strategy and chooses its threshold for every ε on calibration samples, such that on new samples drawn like
    them the risk is at most ε: with probability 1 - δ over the calibration samples
    (``learn-then-test``; Angelopoulos et al. 2021) or in the mean over them (``conformal``; Angelopoulos et al. 2022).
    Candidates are tried from the safest on, in an order that does not depend on the samples. Where nothing can be
    promised, or only what costs more, every sample goes straight to the tier of the final exit, and a warning says why.
    Each ε has a δ of its own: all of them hold at once with a probability of 1 - δ times their number at least.

    The calibration samples are the validation samples. Where the base learns from them (which is found out by
    fitting it on half of them), it learns on one half and is calibrated on the other. A base without a single
    threshold (routers, ``combined``, ``budgeted``, ``tuned``) always does: by the half it learns from, its settings are
    ordered from the safest to the riskiest, without those that another is cheaper and no riskier than (Pareto testing;
    Laufer-Goldshtein et al. 2023), and on the other half they are tried in that order. It must neither adapt nor draw.
    The epoch of the training was chosen on these samples, too, so they look a little better than new ones: for a
    strict promise, record a trace of samples that had no part in anything, and give it as ``calibration``.

    Options:
        base: a strategy by name; with one option as ``base=entropy:scale=nats``
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
        base: str | Strategy = DEFAULT_STRATEGY,
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
        if not made.deployable or isinstance(made, Controlled):
            raise DispatchError(f"the strategy '{made.name}' has nothing to control: give one such as confidence")
        self.base = made
        self.epsilon, self.delta = tuple(sorted(set(epsilon))), delta
        self.method, self.risk, self.bound = method, risk, bound
        self.candidates, self.calibration, self.seed = candidates, calibration, seed

    def fit(self, validation: Trace, costs: CostTable) -> None:
        """Choose the thresholds.

        Raises:
            DispatchError: the base cannot learn from the trace, adapts or draws, or the calibration trace is of another
                plan.
            FileError: the calibration trace cannot be read.
        """
        self._layout = Layout.of(validation)
        made = self._by_threshold if isinstance(self.base, ThresholdStrategy) else self._by_risk
        candidates = made(validation, costs)
        chosen = {one: self._choose(candidates.losses(), one) for one in self.epsilon}
        found = {one: None if index is None else candidates.settings[index] for one, index in chosen.items()}
        # what answers like the full model keeps every promise, so it may be taken instead without another test
        worth = {
            one: self._is_worth_it(setting, candidates.samples, costs) for one, setting in found.items() if setting
        }
        self._settings = [
            self._setting(one, setting if worth.get(one, False) else None) for one, setting in found.items()
        ]
        self.warnings = [*self.base.warnings, *self._told(len(candidates.samples), found, worth)]

    def settings(self, grid: Sequence[float]) -> list[Setting]:
        """One setting per ε, with its threshold; the grid is not used."""
        return self._settings

    def policy(self, setting: Setting) -> Policy:
        given = tuple(pair for pair in setting.values if pair[0] not in _OWN)
        if given:
            return self.base.policy(Setting(setting.label, given))
        return FixedTierPolicy(self._layout, self._layout.exit_tier[-1])

    def promise(self, setting: Setting) -> Promise:
        return Promise(self.risk, float(setting["epsilon"]), self.delta if self._tests else None)

    @property
    def _tests(self) -> bool:
        return self.method == "learn-then-test"

    def _by_threshold(self, validation: Trace, costs: CostTable) -> Candidates:
        """From the strictest threshold to the loosest."""
        base = self.base
        assert isinstance(base, ThresholdStrategy)
        samples = self._samples(base, validation, costs)
        table, certainty = risk.loss_table(samples, self.risk), base.certainties(samples)
        tried = {base.threshold(one): one for one in base.settings(self.candidates)}
        thresholds = sorted(tried, reverse=True)
        losses = partial(risk.cascade_losses, table, certainty, thresholds)
        return Candidates([tried[one] for one in thresholds], losses, samples)

    def _by_risk(self, validation: Trace, costs: CostTable) -> Candidates:
        """From the setting with the least risk to the one with most, on samples that are not calibrated on."""
        learnt_from, samples = self._halves(validation)
        self.base.fit(learnt_from, costs)
        settings = self.base.settings(self.candidates)
        if not all(self.base.policy(one).order_free for one in settings):
            raise DispatchError(
                f"'controlled' was given the base '{self.base.name}', whose decisions hang on samples before or on "
                "chance, so that nothing can be promised: give another one, such as confidence"
            )
        table, rows = risk.loss_table(learnt_from, self.risk), np.arange(len(learnt_from))
        seen = [self.base.rehearse(one, learnt_from) for one in settings]
        cost = np.array([costs[one.entry, one.exit].mean() for one in seen])
        kept = np.array([-table[rows, one.exit].mean() for one in seen])
        front = [index for _, index in reversed(undominated(cost[None], kept[None]))]
        # what sends all to the final exit loses none of any samples, whatever others seem to gain on these
        whole = [index for index, one in enumerate(seen) if (one.exit == self._layout.final).all()]
        ordered = [settings[index] for index in dict.fromkeys([*sorted(whole, key=cost.__getitem__)[:1], *front])]
        exits = [self.base.policy(one).decide(samples).exit for one in ordered]
        found, rows = risk.loss_table(samples, self.risk), np.arange(len(samples))
        return Candidates(ordered, lambda: (found[rows, one] for one in exits), samples)

    def _samples(self, base: ThresholdStrategy, validation: Trace, costs: CostTable) -> Trace:
        """Fit the base; the samples to calibrate on, in random order, none of which it has learnt from."""
        base.fit(validation, costs)
        learnt_from, samples = self._halves(validation)
        if self.calibration or not len(samples):
            return samples
        learnt = self._learnt(base, validation)
        base.fit(learnt_from, costs)
        if not all(np.array_equal(*pair) for pair in zip(learnt, self._learnt(base, validation), strict=True)):
            return samples
        base.fit(validation, costs)
        return self._shuffled(validation)

    def _halves(self, validation: Trace) -> tuple[Trace, Trace]:
        """What to learn from and, in random order, what to calibrate on."""
        if self.calibration:
            return validation, self._shuffled(self._given(validation))
        shuffled, half = self._shuffled(validation), len(validation) // 2
        if not half:
            return validation, validation.select(np.arange(0))
        return shuffled.select(np.arange(half)), shuffled.select(np.arange(half, len(validation)))

    def _shuffled(self, trace: Trace) -> Trace:
        return trace.select(np.random.default_rng(self.seed).permutation(len(trace)))

    def _given(self, validation: Trace) -> Trace:
        given = Trace.load(self.calibration)
        for what in ("exits", "exit_tiers", "tiers", "classes"):
            if getattr(given, what) != getattr(validation, what):
                raise DispatchError(
                    f"the calibration trace {self.calibration} has other {what.replace('_', ' ')} than the validation "
                    "trace: record it with this bundle"
                )
        size, expected = given.embeddings.shape[1], validation.embeddings.shape[1]
        if size != expected:
            raise DispatchError(
                f"the calibration trace {self.calibration} has router embeddings of {size} numbers, the validation "
                f"trace of {expected}: record it with this bundle"
            )
        return given

    def _learnt(self, base: ThresholdStrategy, trace: Trace) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Certainties and thresholds of the base, the same after a fit on other samples if it learns nothing."""
        thresholds = [base.threshold(one) for one in base.settings(self.candidates)]
        return base.certainties(trace), np.array(thresholds)

    def _is_worth_it(self, setting: Setting, samples: Trace, costs: CostTable) -> bool:
        """Whether it costs the calibration samples no more than going straight to the final exit."""
        decided = self.base.policy(setting).decide(samples)
        straight = float(costs[self._layout.exit_tier[-1], -1])
        return float(costs[decided.entry, decided.exit].mean()) <= straight * (1 + 1e-12)

    def _choose(self, losses: Iterator[Losses], epsilon: float) -> int | None:
        """The last candidate with that promise; None if there is none."""
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

    def _told(self, samples: int, found: Mapping[float, Setting | None], worth: Mapping[float, bool]) -> Iterator[str]:
        """What was calibrated on, and at which ε all samples go to the final exit and why."""
        if not self.calibration:
            yield (
                "its promises are for new data like the validation data, on which the epoch of the training was "
                "chosen, too; for a strict one, give a trace of samples that had no part in anything as calibration"
            )
        sure = f" with a probability of {100 * (1 - self.delta):g} %" if self._tests else ""
        for epsilon in (one for one in found if not worth.get(one, False)):
            start = f"at ε = {100 * epsilon:g} % every sample goes to the final exit: "
            if epsilon in worth:
                yield f"{start}what could be promised would cost more than that"
            elif samples < (needed := self.needed(epsilon)):
                yield (
                    f"{start}to promise that{sure} takes at least {needed:,} calibration samples, more where early "
                    f"answers are wrong, and there are {samples:,}"
                )
            else:
                yield (
                    f"{start}on {samples:,} calibration samples even the safest setting tried is too often wrong to "
                    "promise that"
                )

    def needed(self, epsilon: float) -> int:
        """Calibration samples from which on ``epsilon`` can be promised at all, where none of them is lost."""
        if self._tests:
            return risk.samples_needed(lambda rows: self._p_value(rows, epsilon) <= self.delta)
        return risk.samples_needed(lambda rows: risk.conformal([rows], epsilon) is not None)
