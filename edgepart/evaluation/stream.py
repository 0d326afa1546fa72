"""Streams that change: one trace after another, and how well a policy does as time goes by."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgepart.dispatch.base import Policy
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError
from edgepart.evaluation.costs.base import Costs


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


def running(trace: Trace, policy: Policy, costs: Costs, window: int) -> list[Window]:
    """Accuracy and cost of a policy in consecutive windows of a stream, which it meets in order; the last may be short.

    Raises:
        DispatchError: the window is below 1, or policy and trace are not of the same plan.
    """
    if window < 1:
        raise DispatchError(f"the window is {window}, expected at least one sample")
    decisions = policy.decide(trace)
    right = trace.correct[np.arange(len(trace)), decisions.exit]
    cost = costs.table[decisions.entry, decisions.exit] + (costs.router if policy.uses_embedding else 0.0)
    return [
        Window(start, stop, float(right[start:stop].mean()), float(cost[start:stop].mean()))
        for start in range(0, len(trace), window)
        for stop in (min(start + window, len(trace)),)
    ]
