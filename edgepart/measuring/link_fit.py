"""From timed transfers to the rate of a link, with what one stalled transfer cannot spoil."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Sequence
from typing import Self

from pydantic import Field

from edgepart.files import Record

#: how often a transfer is repeated that seems to be long enough, unless it takes longer than machines stall
_DOUBTS, _NO_STALL_S = 2, 1.0
#: (bytes, seconds from the first byte's sending to the last one's confirmation)
Transfer = tuple[int, float]


class Estimate(Record):
    """A quantity measured repeatedly: its median, the quartiles, and how often."""

    median: float
    lower: float
    upper: float
    runs: int = Field(ge=1)

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Of at least one value."""
        middle = statistics.median(values)
        lower, upper = middle, middle
        if len(values) > 1:
            lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median=middle, lower=lower, upper=upper, runs=len(values))


def bits_per_s(rounds: Sequence[Sequence[Transfer]]) -> Estimate | None:
    """The rate behind transfers of several sizes, made in rounds of one each; None where size changes nothing.

    The time of a transfer is taken as a + 8 n / rate. The rate is that of the median slope over all pairs of transfers
    of different size (Theil-Sen), so that up to three in ten may have been disturbed; the constant a (a round trip and
    what both ends need) drops out. The quartiles are those of the rounds, each taken by itself.
    """
    whole = _rate([transfer for each in rounds for transfer in each])
    single = [rate for each in rounds if (rate := _rate(each)) is not None]
    if whole is None or not single:
        return None
    spread = Estimate.of(single)
    return spread.model_copy(
        update={"median": whole, "lower": min(spread.lower, whole), "upper": max(spread.upper, whole)}
    )


def sending_s(transfer: Callable[[], float], enough_s: float) -> float:
    """Seconds of a transfer; where they seem enough the least of several, since one that stalled looks long."""
    found = transfer()
    for _ in range(_DOUBTS):
        if not enough_s <= found < _NO_STALL_S:
            break
        found = min(found, transfer())
    return found


def jitter_s(round_trips_s: Sequence[float]) -> float:
    """Mean change from one round trip to the next (as RFC 3550 has it, without its smoothing), halved: one way's."""
    changes = [abs(later - earlier) for earlier, later in itertools.pairwise(round_trips_s)]
    return statistics.fmean(changes) / 2 if changes else 0.0


def _rate(transfers: Sequence[Transfer]) -> float | None:
    slopes = [
        (late - early) / (large - small)
        for (small, early), (large, late) in itertools.combinations(sorted(transfers), 2)
        if large > small
    ]
    slope = statistics.median(slopes) if slopes else 0.0
    return 8 / slope if slope > 0 else None
