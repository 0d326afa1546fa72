"""Streams that change: one trace after another, and how well a policy does as time goes by."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.base import Policy
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError
from edgepart.evaluation.costs.base import Costs

#: windows that the shorter of the two domains is cut into where nobody says how long a window is
WINDOWS = 10


@dataclass(frozen=True)
class Change:
    """Where a stream changes domain, and how it is looked at.

    Attributes:
        at: samples before the change
        window: samples of a window
        sources: what the data before and after it are called
        shuffled: seed of the order within each domain; None for the order of the data
    """

    at: int
    window: int
    sources: tuple[str, str]
    shuffled: int | None = None


@dataclass(frozen=True)
class Window:
    """How a policy did on consecutive samples of a stream.

    Attributes:
        start, stop: the samples start … stop - 1
        accuracy: share of right answers
        cost: mean per sample, in the unit of the costs, the router's included where the policy looks at embeddings
    """

    start: int
    stop: int
    accuracy: float
    cost: float


@dataclass(frozen=True)
class Course:
    """What a policy did with every sample of a stream.

    Attributes:
        right: (N,) whether the answer was the label
        cost: (N,) in the unit of the costs
        alarms: how many samples there had been at each alarm of the drift detector; None where there is none
    """

    right: NDArray[np.bool_]
    cost: NDArray[np.float64]
    alarms: tuple[int, ...] | None = None

    def between(self, start: int, stop: int) -> Window:
        """The samples start … stop - 1 together."""
        return Window(start, stop, float(self.right[start:stop].mean()), float(self.cost[start:stop].mean()))

    def windows(self, size: int, change: int | None = None) -> list[Window]:
        """Consecutive windows; they begin anew at the change, so the last one before it and of all may be short."""
        count = len(self.right)
        parts = itertools.pairwise([0, count] if change is None else [0, change, count])
        return [
            self.between(start, min(start + size, end)) for begin, end in parts for start in range(begin, end, size)
        ]


def shifted(first: Trace, second: Trace) -> Trace:
    """The samples of one trace, then those of another: a stream that changes domain where the second begins.

    Both are of the same bundle. Training dynamics are left out: they belong to validation data.

    Raises:
        DispatchError: the traces differ in exits, tiers, classes or the length of the embeddings.
    """
    for what, one, other in (
        ("exits", first.exits, second.exits),
        ("tiers of the exits", first.exit_tiers, second.exit_tiers),
        ("tiers", first.tiers, second.tiers),
        ("classes", first.classes, second.classes),
        ("embedding lengths", first.embeddings.shape[1:], second.embeddings.shape[1:]),
    ):
        if one != other:
            shown = [", ".join(str(entry) for entry in given[:8]) for given in (one, other)]
            raise DispatchError(
                f"the {what} of the two domains are {shown[0]} and {shown[1]}: record both with the same bundle"
            )
    return replace(
        first,
        logits=np.concatenate([first.logits, second.logits]),
        labels=np.concatenate([first.labels, second.labels]),
        embeddings=np.concatenate([first.embeddings, second.embeddings]),
        dynamics=None,
    )


def changing(
    first: Trace, second: Trace, sources: tuple[str, str], window: int | None = None, shuffle: int | None = None
) -> tuple[Trace, Change]:
    """The stream of two domains, each in the order of its trace or shuffled, and where it changes.

    Args:
        window: samples of a window; None cuts the shorter domain into :data:`WINDOWS`
        shuffle: seed of a random order within each domain; the change stays where it is

    Raises:
        DispatchError: the traces are not of one bundle, one is empty, a window is longer than one of them, or
            the seed is below 0.
    """
    for trace, source in zip((first, second), sources, strict=True):
        if not len(trace):
            raise DispatchError(f"{source} holds no samples, expected at least one on each side of the change")
    shortest = min(len(first), len(second))
    size = max(1, shortest // WINDOWS) if window is None else window
    require_window(size)
    if size > shortest:
        raise DispatchError(
            f"the window is {size:,} samples, but {sources[len(second) < len(first)]} holds {shortest:,}: give one "
            "that fits on both sides of the change"
        )
    if shuffle is not None:
        require_seed(shuffle)
        random = np.random.default_rng(shuffle)
        first, second = (trace.select(random.permutation(len(trace))) for trace in (first, second))
    return shifted(first, second), Change(len(first), size, sources, shuffle)


def require_seed(seed: int) -> None:
    """Check that a random order can be drawn by the seed.

    Raises:
        DispatchError: it is below 0.
    """
    if seed < 0:
        raise DispatchError(f"the seed to shuffle by is {seed}, expected a whole number from 0 on")


def require_window(window: int) -> None:
    """Check that a window holds a sample.

    Raises:
        DispatchError: it does not.
    """
    if window < 1:
        raise DispatchError(f"the window is {window}, expected at least one sample")


def course(trace: Trace, policy: Policy, costs: Costs) -> Course:
    """What a policy does with a stream, which it meets in order.

    Raises:
        DispatchError: policy and trace are not of the same plan.
    """
    decisions = policy.decide(trace)
    router = costs.router if policy.uses_embedding else 0.0
    return Course(
        right=trace.correct[np.arange(len(trace)), decisions.exit],
        cost=costs.table[decisions.entry, decisions.exit] + router,
        alarms=None if policy.alarms is None else tuple(policy.alarms),
    )


def full_course(trace: Trace, costs: Costs) -> Course:
    """What the full model does with a stream, no exit taken."""
    return Course(right=trace.correct[:, -1], cost=np.full(len(trace), costs.full_model))


def running(trace: Trace, policy: Policy, costs: Costs, window: int, change: int | None = None) -> list[Window]:
    """Accuracy and cost of a policy in consecutive windows of a stream, which it meets in order.

    The last window may be short, and so may the last one before the ``change`` (samples before it), where they begin
    anew.

    Raises:
        DispatchError: the window is below 1, or policy and trace are not of the same plan.
    """
    require_window(window)
    return course(trace, policy, costs).windows(window, change)
