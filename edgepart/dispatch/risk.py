"""What may be promised of a threshold, from calibration samples alone: risks, their p-values, and two ways to choose.

Learn-then-Test (Angelopoulos, Bates, Candès, Jordan and Lei 2021, arXiv:2110.01052) promises with a probability,
conformal risk control (Angelopoulos, Bates, Fisch, Lei and Schuster 2022, arXiv:2208.02814) in the mean. Both need
calibration samples that are drawn like the new ones, and candidates that do not depend on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, xlogy

from edgepart.dispatch.base import Risk
from edgepart.dispatch.trace import Trace

#: (n,) a sample each: -1, 0 or 1
Losses = NDArray[np.int8]

#: losses of the calibration samples → p-value of "the mean loss of new samples is above what is allowed"
PValue = Callable[[Losses], float]

#: no promise is sought with more samples than this
_MOST_SAMPLES = 1 << 30


def loss_table(trace: Trace, risk: Risk) -> Losses:
    """(N, K) loss of every sample at every exit, against the network's own answer; 0 at the final exit.

    - ``losses``: 1 where the final exit is right and this one wrong. Its mean is the share of right answers lost.
    - ``drop``: the same, and -1 where this exit is right and the final one wrong. Its mean is the accuracy drop.
    - ``disagreement``: 1 where this exit answers otherwise than the final one. Looks at no label.
    """
    if risk == "disagreement":
        answers = trace.logits.argmax(axis=-1)
        other: Losses = (answers != answers[:, -1:]).astype(np.int8)
        return other
    drop: Losses = trace.correct[:, -1:].astype(np.int8) - trace.correct.astype(np.int8)
    return drop if risk == "drop" else np.maximum(drop, 0)


def cascade_losses(table: Losses, certainty: NDArray[np.float64], thresholds: Iterable[float]) -> Iterator[Losses]:
    """(n,) the losses under each threshold, where a sample leaves at the first exit whose certainty reaches it.

    Args:
        table: (n, K) as :func:`loss_table` makes it
        certainty: (n, K - 1), at every exit but the last
    """
    highest = np.maximum.accumulate(certainty, axis=1)
    rows = np.arange(len(table))
    for threshold in thresholds:
        yield table[rows, (highest < threshold).sum(axis=1)]


def hoeffding_bentkus(losses: NDArray[np.number], epsilon: float) -> float:
    """p-value of "the mean is above ``epsilon``" for n independent losses in [0, 1], of any distribution.

    min(exp(-n·h(min(R, ε), ε)), e·P[Bin(n, ε) ≤ ⌈nR⌉]) with R the mean of the losses and h(a, b) the relative
    entropy a·log(a/b) + (1 - a)·log((1 - a)/(1 - b)); from Learn-then-Test, after Bates et al. (2021).
    """
    count, total = len(losses), float(losses.sum())
    if not count:
        return 1.0
    seen = min(total / count, epsilon)
    entropy = float(xlogy(seen, seen / epsilon) + xlogy(1 - seen, (1 - seen) / (1 - epsilon)))
    return min(1.0, math.exp(-count * entropy), math.e * float(bdtr(math.ceil(total), count, epsilon)))


def binomial(losses: NDArray[np.number], epsilon: float) -> float:
    """p-value of "the mean is above ``epsilon``" for n independent losses that are 0 or 1: P[Bin(n, ε) ≤ Σ losses].

    Exact, so never above :func:`hoeffding_bentkus`.
    """
    return float(bdtr(int(losses.sum()), len(losses), epsilon)) if len(losses) else 1.0


def betting(losses: NDArray[np.number], epsilon: float, delta: float, stake: float = 0.9) -> float:
    """p-value of "the mean is above ``epsilon``" for n independent losses in [-1, 1], in the order they were drawn.

    Whoever bets that losses stay below ε turns 1 into K_i = Π_{j≤i} (1 + η_j·(ε - loss_j)). If the mean is ε or more,
    K is a nonnegative supermartingale whatever the bets, as long as η_j rests on losses before j alone and is below
    1 / (1 - ε); so max K exceeds 1/p with probability p at most (Ville), and 1 / max K is a p-value. It suits losses
    that mostly are 0: it pays for their variance, where a bound on (loss + 1) / 2 pays for their range. The bets
    η_j = min(√(2·log(1/δ) / (n·v_j)), stake / (1 - ε)), v_j the variance before j that starts from 1/4, follow
    Waudby-Smith and Ramdas (2024, "Estimating means of bounded random variables by betting"); ``delta`` sharpens them
    for p-values near it, and the p-value is valid whatever it is.
    """
    count = len(losses)
    if not count:
        return 1.0
    seen = np.arange(1, count + 1)
    values = losses.astype(np.float64)
    off = (values - np.cumsum(values) / (seen + 1)) ** 2
    variance = (0.25 + np.concatenate([[0.0], np.cumsum(off)[:-1]])) / seen
    bets = np.minimum(np.sqrt(2 * math.log(1 / delta) / (count * variance)), stake / (1 - epsilon))
    return min(1.0, math.exp(-float(np.cumsum(np.log1p(bets * (epsilon - values))).max())))


def learn_then_test(candidates: Iterable[Losses], p_value: PValue, delta: float) -> int | None:
    """The last candidate rejected before the first that is not: its risk is within what is allowed, with 1 - δ.

    Fixed-sequence testing: the candidates, safest first, are tested at δ each until one fails. A wrong rejection needs
    the first candidate of too high a risk to be rejected, which happens with probability δ at most; so nothing need be
    monotone, and the number of candidates costs nothing. (The one that fails must not be returned: nothing is known
    of it.)

    Args:
        candidates: (n,) losses of the calibration samples under each, in an order fixed without looking at them

    Returns:
        its index; None where the first candidate fails
    """
    rejected = None
    for index, losses in enumerate(candidates):
        if p_value(losses) > delta:
            break
        rejected = index
    return rejected


def conformal(candidates: Iterable[Losses], epsilon: float) -> int | None:
    """The last candidate with (Σ losses + 1) / (n + 1) ≤ ε: the mean loss of a new sample is at most ε.

    The mean is over new samples and over calibration sets: about half of the sets may give more, there is no δ. The
    proof needs the loss of *every sample* never to fall from one candidate to the next. In a cascade it may (a sample
    that leaves wrong at the second exit may leave right at the first), so each sample counts with the largest of its
    losses so far, which is at least its loss. The running maximum of the mean would not do: it is right only
    as n grows.

    Args:
        candidates: (n,) losses in [-1, 1] of the calibration samples under each, in an order fixed without looking at
            them; before the first stands that no sample leaves early, where none loses

    Returns:
        its index; None where the first candidate fails
    """
    chosen, worst = None, np.zeros(1, np.int8)
    for index, losses in enumerate(candidates):
        worst = np.maximum(worst, losses)
        if int(worst.sum()) + 1 > epsilon * (len(worst) + 1) * (1 + 1e-12):
            break
        chosen = index
    return chosen


def samples_needed(accepts: Callable[[Losses], bool]) -> int:
    """The least number of samples from which a promise can be made at all, were no loss among them."""
    high = 1
    while not accepts(np.zeros(high, np.int8)) and high < _MOST_SAMPLES:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if accepts(np.zeros(middle, np.int8)) else (middle, high)
    return high
