"""The shape of every dispatch strategy, and what a policy decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.one_sample import softmax
from edgepart.dispatch.trace import Floats, Trace

#: what is promised, from the loosest to the strictest; each is at least as large as the one before
Risk = Literal["drop", "losses", "disagreement"]

#: (T, K): cost of a sample that enters at tier t and leaves at exit k; infinite where k lies below t
CostTable = NDArray[np.float64]


@dataclass(frozen=True)
class Decisions:
    """For each of N samples the tier it entered at and the exit it left at (indices into the trace's)."""

    entry: NDArray[np.int64]
    exit: NDArray[np.int64]


@dataclass
class State:
    """What a policy may look at besides what the exit says of the sample.

    Attributes:
        queue, link_s: queue levels and link estimates, by tier name
        earlier: (M, C) probabilities at the exits that this sample has met before, in order
    """

    queue: dict[str, int] = field(default_factory=dict)
    link_s: dict[str, float] = field(default_factory=dict)
    earlier: Sequence[NDArray[np.float64]] = ()


# not frozen, which would take five times as long for every sample
@dataclass
class Outcome:
    """What became of a sample, told to adaptive policies afterwards.

    Attributes:
        embedding: (D,)
        entry, exit: tier it entered at and exit it left at
        probabilities: (C,) at that exit; may be empty for a policy that does not use them
        cost: in the unit of the cost model; nan where it is not known
        earlier: (M, C) probabilities at the exits that it passed before, in order
    """

    embedding: NDArray[np.float32]
    entry: int
    exit: int
    probabilities: NDArray[np.float64]
    cost: float
    earlier: Sequence[NDArray[np.float64]] = ()


class Policy(Protocol):
    """One setting of a strategy, ready to decide about one sample at a time or about a whole trace.

    Contract (``edgepart.testing.strategies.StrategyContract``): :meth:`decide` gives exactly what :meth:`admit`,
    :meth:`at_exit` and :meth:`observe` give sample by sample, in order, however the samples are batched. A sample
    that enters at tier t meets the exits of tiers t, t + 1, … in order (:func:`edgepart.dispatch.layout.walk`).
    :meth:`admit_batch` and :meth:`at_exit_batch` decide as :meth:`admit` and :meth:`at_exit` do; override them where
    many samples at once are faster. So does :meth:`leaves`; override it where it can do without the softmax.
    """

    #: whether :meth:`admit` looks at the embedding, so that computing it has to be paid for
    uses_embedding: bool = False
    #: whether :meth:`observe` looks at probabilities, so that those of an :class:`Outcome` have to be computed
    uses_probabilities: bool = True
    #: whether a decision rests on the sample alone, not on those before it
    order_free: bool = True
    #: how many samples there had been at each alarm of its drift detector, in order; None where it has none
    alarms: Sequence[int] | None = None

    def admit(self, embedding: NDArray[np.float32], state: State) -> int:
        """Index of the tier at which the sample enters."""
        ...

    def at_exit(self, exit_index: int, probabilities: NDArray[np.float64], state: State) -> bool:
        """Whether the sample leaves here; not asked at the last exit, where every sample leaves."""
        ...

    def admit_batch(self, embeddings: NDArray[np.float32], state: State) -> NDArray[np.int64]:
        """(B, D) embeddings → (B,) tiers at which the samples enter, asked in order."""
        return np.array([self.admit(embedding, state) for embedding in embeddings], dtype=np.int64)

    def at_exit_batch(self, exit_index: int, met: NDArray[np.float64], state: State) -> NDArray[np.bool_]:
        """(B, M, C) probabilities at the M exits that these samples have met, this one last → (B,) who leaves here."""
        leaves = [self.at_exit(exit_index, one[-1], replace(state, earlier=tuple(one[:-1]))) for one in met]
        return np.array(leaves, dtype=np.bool_)

    def leaves(self, exit_index: int, logits: Floats, state: State) -> bool:
        """:meth:`at_exit` from the (C,) logits of a sample, as a device that decides about one at a time has them."""
        return self.at_exit(exit_index, softmax(logits), state)

    def observe(self, outcome: Outcome) -> None:
        """Learn from a sample that has left; nothing for policies that do not adapt."""
        return

    def decide(self, trace: Trace) -> Decisions:
        """The decisions for all samples of a trace, in order."""
        ...


@dataclass(frozen=True)
class Setting:
    """One point of a strategy's curve: a readable name and its values."""

    label: str
    values: tuple[tuple[str, float | int | str], ...]

    def __getitem__(self, name: str) -> float | int | str:
        return dict(self.values)[name]


@dataclass(frozen=True)
class Promise:
    """What a setting was calibrated to keep on new samples that are drawn like the calibration samples.

    Attributes:
        risk: what is held down (:func:`edgepart.dispatch.risk.loss_table`)
        epsilon: at most so much of it, a share of 1
        delta: probability that the calibration samples mislead; None where ``epsilon`` holds in the mean over them only
    """

    risk: Risk
    epsilon: float
    delta: float | None


class Strategy(Protocol):
    """A dispatch strategy (entry-point group ``edgepart.strategies``).

    Nothing may be learnt from anything but the ``validation`` trace. ``costs`` is the table of the cost model in
    use; ``grid`` the thresholds the user asked for.
    """

    name: str
    #: False for yardsticks that know what no deployed system knows
    deployable: bool = True
    #: what the user should know about the last :meth:`fit`, a sentence each
    warnings: Sequence[str] = ()

    def fit(self, validation: Trace, costs: CostTable) -> None:
        """Learn what the strategy learns (centroids, for one) before any setting is made."""
        ...

    def settings(self, grid: Sequence[float]) -> list[Setting]:
        """The points of its accuracy-cost curve."""
        ...

    def policy(self, setting: Setting) -> Policy:
        """A fresh policy for one setting."""
        ...

    def rehearse(self, setting: Setting, validation: Trace) -> Decisions:
        """What a setting decides about the trace of the last :meth:`fit`; settings are chosen by how well it does.

        A strategy that learns much of each validation sample looks better on it than on new ones. It overrides this
        to decide about each sample as if it had not learnt from it (as ``router`` does).
        """
        return self.policy(setting).decide(validation)

    def promise(self, setting: Setting) -> Promise | None:
        """What may be promised of a setting; None for those that were only tried."""
        return None
