"""Cascades: a sample enters at the first tier and leaves at the first exit that is certain enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.base import CostTable, Decisions, Policy, Setting, State, Strategy
from edgepart.dispatch.layout import Layout
from edgepart.dispatch.one_sample import UNKNOWN, Earlier, Rough, reaches
from edgepart.dispatch.trace import Floats, Trace
from edgepart.errors import DispatchError

#: (…, M, C) probabilities at the first M exits → (…) certainty at the last of them, higher where it is surer
Certainty = Callable[[NDArray[np.float64]], NDArray[np.float64]]

#: who leaves, where nothing else is said
DEFAULT_STRATEGY = "confidence"

_CHUNK = 65_536
#: before the name of an exit, in a setting with a threshold for each
_AT = "at "


class ThresholdStrategy(Strategy):
    """Base of every strategy with one number per exit and a threshold: a subclass says what certainty is.

    Most look at what the exit itself says (:meth:`certainty`); one that looks at the exits before it, too, or has
    learnt something of each exit, says so in :meth:`certainty_so_far`.
    The threshold is the same at all exits (:meth:`settings`), or each exit has one of its own (:meth:`each`).
    :func:`edgepart.evaluation.replay.sweep` evaluates all common thresholds in one pass over the trace.
    """

    def __init_subclass__(cls) -> None:
        """Leave behind an inherited :meth:`roughly` that belongs to another certainty."""
        super().__init_subclass__()
        own = vars(cls)
        if "roughly" not in own and ("certainty" in own or "certainty_so_far" in own):
            cls.roughly = ThresholdStrategy.roughly  # type: ignore[method-assign]

    @property
    def alone(self) -> bool:
        """Whether the certainty at an exit rests on what that exit says alone, whatever other exits there are."""
        return type(self).certainty_so_far is ThresholdStrategy.certainty_so_far

    def certainty(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """(…, C) probabilities → (…) certainty; must treat every row alike, whatever stands beside it."""
        raise NotImplementedError

    def certainty_so_far(self, met: NDArray[np.float64]) -> NDArray[np.float64]:
        """(…, M, C) probabilities at the first M exits → (…) certainty at the last of them; rows alike, as above."""
        return self.certainty(met[..., -1, :])

    def roughly(self, logits: Floats, earlier: Earlier) -> tuple[float, float]:
        """The certainty of one sample in plain numbers, and how far it is off at most; override it for speed.

        Args:
            logits: (C,) at the exit
            earlier: (M - 1, C) probabilities at the exits met before
        """
        return UNKNOWN

    def threshold(self, setting: Setting) -> float:
        """The certainty from which on a sample leaves, of a setting from :meth:`settings`."""
        return float(setting["threshold"])

    def settings(self, grid: Sequence[float]) -> list[Setting]:
        """One setting per threshold of the grid."""
        return [Setting(f"{value:g}", (("threshold", float(value)),)) for value in grid]

    def each(self, thresholds: Mapping[str, float]) -> Setting:
        """The setting with a threshold for each exit, by its name, as a grid would hold it.

        Raises:
            DispatchError: an exit has none, or there is no such exit.
        """
        if set(thresholds) != set(self._exits):
            raise DispatchError(
                f"thresholds were given for the exits {', '.join(thresholds) or 'none'}, the network has "
                f"{', '.join(self._exits) or 'none'}: give one for each"
            )
        label = ", ".join(f"{name} {self.one(thresholds[name]).label}" for name in self._exits)
        return Setting(label, tuple((f"{_AT}{name}", float(thresholds[name])) for name in self._exits))

    def thresholds(self, setting: Setting) -> NDArray[np.float64]:
        """(K - 1,) the certainty from which on a sample leaves at every exit but the last, of any setting."""
        given = dict(setting.values)
        if [f"{_AT}{name}" for name in self._exits] == list(given):
            return np.array([self.threshold(self.one(float(value))) for value in given.values()], np.float64)
        return np.full(len(self._exits), self.threshold(setting))

    def one(self, value: float) -> Setting:
        """The setting with one threshold for all exits, as a grid would hold it."""
        (setting,) = self.settings([value])
        return setting

    def fit(self, validation: Trace, costs: CostTable) -> None:
        """Learn nothing but which exits there are, where they lie and how many classes there are."""
        self._layout, self.classes = Layout.of(validation), len(validation.classes)
        self._exits = validation.exits[:-1]

    def policy(self, setting: Setting) -> ThresholdPolicy:
        return ThresholdPolicy(self._layout, self.certainty_so_far, self.thresholds(setting), self.alone, self.roughly)

    def certainties(self, trace: Trace) -> NDArray[np.float64]:
        """(N, K - 1) certainty at every exit but the last."""
        return certainties(self.certainty_so_far, trace)

    def rehearsed(self, validation: Trace) -> NDArray[np.float64]:
        """:meth:`certainties` of the trace of the last :meth:`fit`, as if nothing had been learnt from the sample."""
        return self.certainties(validation)

    def rehearse(self, setting: Setting, validation: Trace) -> Decisions:
        self._layout.require(validation)
        return _leave_first(self._layout, self.rehearsed(validation) >= self.thresholds(setting))


class ThresholdPolicy(Policy):
    """Leave at the first exit whose certainty reaches its threshold; ``thresholds``: (K - 1,).

    ``alone`` where the certainty needs no exits but the one that is asked; ``rough``: that of one sample.
    """

    def __init__(
        self,
        layout: Layout,
        certainty: Certainty,
        thresholds: NDArray[np.float64],
        alone: bool = False,
        rough: Rough = lambda logits, earlier: UNKNOWN,
    ) -> None:
        self._layout = layout
        self._certainty = certainty
        self._thresholds, self._limits = thresholds, tuple(thresholds.tolist())
        self._alone = alone
        self._rough = rough
        self._first_tier = layout.first_tier

    def admit(self, embedding: NDArray[np.float32], state: State) -> int:
        return self._first_tier

    def at_exit(self, exit_index: int, probabilities: NDArray[np.float64], state: State) -> bool:
        # float64 on both sides: in float32 a probability of .9 would not be ≥ .9
        if self._alone:
            met = np.asarray(probabilities, dtype=np.float64)[None]
        else:
            met = np.array([*state.earlier, probabilities], dtype=np.float64)
        return bool(self._certainty(met) >= self._limits[exit_index])

    def leaves(self, exit_index: int, logits: Floats, state: State) -> bool:
        found = reaches(self._rough, logits, state.earlier, self._limits[exit_index])
        return super().leaves(exit_index, logits, state) if found is None else found

    def admit_batch(self, embeddings: NDArray[np.float32], state: State) -> NDArray[np.int64]:
        return np.full(len(embeddings), self._first_tier, dtype=np.int64)

    def at_exit_batch(self, exit_index: int, met: NDArray[np.float64], state: State) -> NDArray[np.bool_]:
        reached: NDArray[np.bool_] = self._certainty(met) >= self._thresholds[exit_index]
        return reached

    def decide(self, trace: Trace) -> Decisions:
        self._layout.require(trace)
        return _leave_first(self._layout, certainties(self._certainty, trace) >= self._thresholds)

    def leaving(self, entry: NDArray[np.int64], trace: Trace) -> NDArray[np.int64]:
        """(N,) the exits at which samples leave that enter at these tiers, (N,)."""
        return leave(self._layout, entry, certainties(self._certainty, trace), self._thresholds)


def _leave_first(layout: Layout, reached: NDArray[np.bool_]) -> Decisions:
    """(N, K - 1) whether the threshold is reached → the first exit where it is, or the last."""
    leaves = np.pad(reached, ((0, 0), (0, 1)), constant_values=True)
    return Decisions(np.full(len(leaves), layout.first_tier, dtype=np.int64), leaves.argmax(axis=1))


def leave(
    layout: Layout, entry: NDArray[np.int64], certainty: NDArray[np.float64], thresholds: NDArray[np.float64]
) -> NDArray[np.int64]:
    """(N,) the first exit from the tier of entry on whose certainty, (N, K - 1), reaches its threshold, or the last."""
    leaves = np.ones((len(entry), layout.final + 1), dtype=np.bool_)
    leaves[:, :-1] = (certainty >= thresholds) & (np.array(layout.exit_tier[:-1]) >= entry[:, None])
    result: NDArray[np.int64] = leaves.argmax(axis=1)
    return result


def certainties(certainty: Certainty, trace: Trace) -> NDArray[np.float64]:
    """(N, K - 1) certainty at every exit but the last, where nobody asks; in chunks, to bound the memory."""
    result = np.empty((len(trace), len(trace.exits) - 1))
    for start in range(0, len(trace), _CHUNK):
        rows = slice(start, start + _CHUNK)
        probabilities = trace.probabilities[rows].astype(np.float64)
        for index in range(result.shape[1]):
            result[rows, index] = certainty(probabilities[:, : index + 1])
    return result
