"""Deciding about one sample at a time, where a call of numpy takes longer than the whole decision.

With few classes plain Python finds a certainty sooner than numpy does a softmax, but rounds it elsewhere. So a rough
certainty comes with how far it may be off, and settles a decision only where the threshold lies further away; else the
same arithmetic as for many samples decides. Either way a sample gets the decision that it gets among others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, inf

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.trace import Floats

#: with more classes numpy is faster
FEW = 40
#: how far probabilities, and logarithms of those above the least, in float32 are off at most, with so few classes
CLOSE, LEAST = 1e-5, 1e-13

#: (M - 1, C) probabilities at the exits met before
Earlier = Sequence[NDArray[np.float64]]
#: (C,) logits at an exit, and what came before → certainty, and how far it is off at most
Rough = Callable[[Floats, Earlier], tuple[float, float]]
#: where the exact certainty is needed
UNKNOWN = (0.0, inf)


def softmax(logits: Floats) -> NDArray[np.float64]:
    """(C,) logits → (C,) probabilities, to the last bit those of a :class:`edgepart.dispatch.trace.Trace`."""
    shifted = logits - largest(logits)
    np.subtract(shifted, float(np.log(np.add.reduce(np.exp(shifted)))), shifted)
    result: NDArray[np.float64] = np.exp(shifted, shifted).astype(np.float64)
    return result


def largest(numbers: Floats) -> float:
    """The largest of (C,)."""
    return float(max(numbers.tolist()) if len(numbers) <= FEW else numbers.max())


def largest_of(logits: Floats, earlier: Earlier = ()) -> tuple[float, float]:
    """The largest probability, roughly."""
    values = logits.tolist()
    most, total = max(values), 0.0
    for value in values:
        total += exp(value - most)
    return 1 / total, CLOSE


def powers_of(logits: Floats) -> tuple[list[float], list[float], float]:
    """By how much each logit exceeds the largest (0 or less), the exponentials of these, and their sum."""
    values = logits.tolist()
    most = max(values)
    beyond = [value - most for value in values]
    powers = [exp(one) for one in beyond]
    return beyond, powers, sum(powers)


def reaches(rough: Rough, logits: Floats, earlier: Earlier, threshold: float) -> bool | None:
    """Whether the certainty reaches a threshold; None where it takes the exact one to tell."""
    if len(logits) > FEW:
        return None
    certainty, off = rough(logits, earlier)
    ahead = certainty - threshold
    if ahead > off:
        return True
    # not simply <=: a NaN is neither
    return False if ahead < -off else None
