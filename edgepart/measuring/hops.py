"""What the hops of a chain of processes take by themselves: measured with stand-ins in the place of parts."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence

from edgepart.measuring.framing import Arrays
from edgepart.measuring.processes import Processes, TierProcess
from edgepart.measuring.stand_in import StandIn

#: samples sent at most, and those before them that are not counted
_RUNS, _WARM_UP = 40, 5
#: a longer wait makes hops some tenths of a millisecond longer, which is little beside such a part
_MOST_BUSY_S = 0.05


def measure_hops(
    tiers: Sequence[TierProcess], sample: Arrays, *, split: bool, timeout_s: float, runs: int = _RUNS
) -> list[float]:
    """Median seconds of every hop over loopback, there and back, in order.

    Args:
        tiers: with stand-ins; those without pass everything on, and links that they are set to are left out
        sample: that enters the first tier
        split: parts continue from one another
        timeout_s: most that a sample may take
        runs: samples to send, of which some tens are enough

    Raises:
        MeasurementError: a process ended; names the tier and says why.
    """
    working = [tier.tier for tier in tiers if tier.stand_in is not None]
    order = {"run": working, "answer": tiers[-1].tier, "thresholds": None}
    bare = [dataclasses.replace(tier, folder=None, shape=None, stand_in=_brief(tier.stand_in)) for tier in tiers]
    with Processes(bare, [sample], split=split, threads=1, timeout_s=timeout_s) as processes:
        done = [processes.run(0, order) for _ in range(_WARM_UP + min(runs, _RUNS))][_WARM_UP:]
    return [statistics.median(run["hops"][number][0] for run in done) for number in range(len(tiers) - 1)]


def _brief(stand_in: StandIn | None) -> StandIn | None:
    return stand_in and dataclasses.replace(stand_in, busy_s=min(stand_in.busy_s, _MOST_BUSY_S))
