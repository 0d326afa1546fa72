"""What a part takes longer on a sample after it has waited for one.

In a deployment a part runs once and then waits: for the other parts to do their work, or for the next sample. Meanwhile
caches, page tables and branch predictors become those of others. What that costs hardly depends on how large the part
is, so that it is a cost of every part that a sample comes to, however the network is cut.

The parts are timed in turn, so that a part comes after another one and a sleep. Filling the caches as well would
overstate it: a part in a deployment has a core, and mostly a machine, of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from edgepart.hardware import Measurement
from edgepart.profiling.timing import settle, settling

#: a wait is as long as the whole network takes, within these
_LEAST_WAIT_S, _MOST_WAIT_S = 0.001, 0.05
#: forward passes for each layer that waiting may take, of those that all timing may; and rounds at least
_PASSES_PER_LAYER, _LEAST_ROUNDS = 2, 2


def wait_s(whole_s: float) -> float:
    """How long a part waits, about, while the others of its network work."""
    return min(max(whole_s, _LEAST_WAIT_S), _MOST_WAIT_S)


def runs_a_round(whole_s: float) -> int:
    """Runs of a side of a cut in a round: after the wait, until it has settled, and once more."""
    return settling(whole_s / 2) + 2


def rounds_of_waiting(layers: int, whole_s: float, cuts: int, rounds: int) -> tuple[int, int]:
    """Cuts and rounds that a network of so many layers is worth, of those wanted: a small one is soon told."""
    passes = _PASSES_PER_LAYER * layers // runs_a_round(whole_s)
    cuts = max(1, min(cuts, passes // rounds))
    return cuts, max(_LEAST_ROUNDS, min(rounds, passes // cuts))


def measure_wake_up(
    calls: Sequence[Callable[[], object]],
    whole_s: float,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Measurement:
    """Seconds that a call takes longer after waiting than straight after itself; never negative in the middle.

    Args:
        calls: inferences of parts
        whole_s: seconds of the whole network
        rounds: waits of each call
        clock, sleep: for tests
    """
    longer = []
    for _ in range(rounds):
        for call in calls:
            sleep(wait_s(whole_s))
            cold = _timed(call, clock)
            settle(call, clock)
            longer.append(cold - _timed(call, clock))
    low, middle, high = np.quantile(longer, (0.25, 0.5, 0.75))
    return Measurement(median_s=max(0.0, float(middle)), spread_s=float(high - low), runs=len(longer))


def _timed(call: Callable[[], object], clock: Callable[[], float]) -> float:
    before = clock()
    call()
    return clock() - before
