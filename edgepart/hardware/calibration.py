"""Fitting a device's roofline to networks that were measured on it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from edgepart.errors import ProfileError
from edgepart.hardware.profile import Profile
from edgepart.hardware.roofline import moved_bytes

Floats = NDArray[np.float64]

#: errors, as shares of what was measured, above which a fit is poor: of whole networks and, in the middle, of segments
POOR_WHOLE, POOR_SEGMENT = 0.25, 0.5
#: a term that takes less than this share of all time is hardly determined by what was measured
_LEAST_SHARE = 0.01
#: segments that are fitted at least: one for each number
_LEAST_SEGMENTS = 3
#: logarithmic errors beyond this count less and less
_ROBUST = 0.3
#: the rates that a fit may find, per second, and the shortest overhead, in seconds
_RATES, _LEAST_OVERHEAD_S = (1e4, 1e17), 1e-12


@dataclass(frozen=True)
class NetworkError:
    """One measured network: its time, and (predicted - measured) / measured.

    ``error`` is with all of the networks fitted, ``left_out`` by the fit to all others (None: there are none).
    """

    network: str
    measured_s: float
    error: float
    left_out: float | None


@dataclass(frozen=True)
class Calibration:
    """A fitted roofline and how well it fits.

    Attributes:
        segments: that it was fitted to
        segment_error: median of their absolute errors, as a share, weighted by their times
        shares: of all predicted time: what computing, moving bytes, and overheads take; a small one means that what was
            measured says little about the number
    """

    peak_macs_per_s: float
    memory_bytes_per_s: float
    call_overhead_s: float
    networks: tuple[NetworkError, ...]
    segments: int
    segment_error: float
    shares: dict[str, float]

    @cached_property
    def network_error(self) -> float:
        """Median of the networks' absolute errors."""
        return statistics.median(abs(one.error) for one in self.networks)

    @property
    def is_poor(self) -> bool:
        """Whether plans should not rely on it."""
        worst = max(abs(one.error) for one in self.networks)
        return worst > POOR_WHOLE or self.segment_error > POOR_SEGMENT

    @property
    def undetermined(self) -> tuple[str, ...]:
        """The numbers that hardly matter to anything that was measured, by their names in a device file."""
        return tuple(name for name, share in self.shares.items() if share < _LEAST_SHARE)


@dataclass(frozen=True)
class _Measured:
    """Layers of segments, one after another.

    Attributes:
        macs, moved: (layers,)
        first: (segments,) index of each segment's first layer
        seconds, weight: (segments,) what they took, and their shares of their network's time
    """

    macs: Floats
    moved: Floats
    first: NDArray[np.int64]
    seconds: Floats
    weight: Floats

    def predict(self, rates: Floats) -> Floats:
        """(segments,) seconds, given 1/peak, 1/bandwidth, overhead."""
        layers = np.maximum(self.macs * rates[0], self.moved * rates[1]) + rates[2]
        return np.asarray(np.add.reduceat(layers, self.first))


def calibrate(profiles: Sequence[Profile]) -> Calibration:
    """Fit peak rate, bandwidth and overhead to the segments of networks, all measured on one device.

    Robust least squares of the logarithms of the segments' times, each weighted by its share of its network's time. A
    network's segments are scaled to its time end to end, so that it is the whole that is fitted.

    Raises:
        ProfileError: no profiles, of several machines, runtimes or numbers of threads, or with fewer than three
            segments.
    """
    _check_together(profiles)
    pieces = [_pieces(profile) for profile in profiles]
    everything = _join(pieces)
    if len(everything.seconds) < _LEAST_SEGMENTS:
        raise ProfileError(
            f"the networks have {len(everything.seconds)} segments together, and three numbers are to be fitted: "
            "measure a network with more layers"
        )
    rates = _fit(everything)
    predicted = everything.predict(rates)
    errors = []
    for number, profile in enumerate(profiles):
        others = [one for other, one in enumerate(pieces) if other != number]
        rest = _join(others) if others else None
        left_out = _fit(rest) if rest is not None and len(rest.seconds) >= _LEAST_SEGMENTS else None
        mine = pieces[number]
        errors.append(
            NetworkError(
                network=profile.graph.name,
                measured_s=profile.end_to_end.median_s,
                error=_whole_error(mine, rates),
                left_out=None if left_out is None else _whole_error(mine, left_out),
            )
        )
    return Calibration(
        peak_macs_per_s=_rounded(1 / rates[0]),
        memory_bytes_per_s=_rounded(1 / rates[1]),
        call_overhead_s=_rounded(float(rates[2])) if rates[2] > 2 * _LEAST_OVERHEAD_S else 0.0,
        networks=tuple(errors),
        segments=len(everything.seconds),
        segment_error=_weighted_median(np.abs(predicted / everything.seconds - 1), everything.weight),
        shares=_shares(everything, rates),
    )


def _check_together(profiles: Sequence[Profile]) -> None:
    if not profiles:
        raise ProfileError("there is nothing to calibrate with: give one or more networks or profiles")

    def setting(profile: Profile) -> tuple[str, str, int]:
        return str(profile.device.facts.get("processor", profile.device.name)), profile.runtime, profile.threads

    first = setting(profiles[0])
    for profile in profiles[1:]:
        for what, here, there in zip(("machine", "runtime", "number of threads"), setting(profile), first, strict=True):
            if here != there:
                raise ProfileError(
                    f"the profile of '{profile.graph.name}' is of another {what} ({here}) than that of "
                    f"'{profiles[0].graph.name}' ({there}): calibrate a device from profiles measured alike"
                )


def _pieces(profile: Profile) -> _Measured:
    layers_s = profile.layer_latency_s()
    taken = [sum(layers_s[one.name] for one in profile.layers[x.start : x.stop]) for x in profile.segments]
    scale = profile.end_to_end.median_s / (sum(taken) or 1.0)
    counted = [(x, seconds * scale) for x, seconds in zip(profile.segments, taken, strict=True) if seconds * scale > 0]
    if not counted:
        raise ProfileError(f"the profile of '{profile.graph.name}' holds no times above 0: measure it again")
    layers = [profile.graph.layers[x.start : x.stop] for x, _ in counted]
    seconds = np.array([second for _, second in counted])
    return _Measured(
        macs=np.array([one.macs for inside in layers for one in inside], float),
        moved=np.array([moved_bytes(profile.graph, one) for inside in layers for one in inside], float),
        first=np.cumsum([0, *(len(inside) for inside in layers[:-1])]),
        seconds=seconds,
        weight=seconds / seconds.sum(),
    )


def _join(pieces: Sequence[_Measured]) -> _Measured:
    starts = np.cumsum([0, *(len(one.macs) for one in pieces[:-1])])
    return _Measured(
        macs=np.concatenate([one.macs for one in pieces]),
        moved=np.concatenate([one.moved for one in pieces]),
        first=np.concatenate([one.first + start for one, start in zip(pieces, starts, strict=True)]),
        seconds=np.concatenate([one.seconds for one in pieces]),
        weight=np.concatenate([one.weight for one in pieces]),
    )


def _fit(measured: _Measured) -> Floats:
    """1/peak, 1/bandwidth, overhead: the best of fits from several starts, for the maximum makes local optima."""
    total_s = measured.seconds.sum()
    each = (total_s / max(measured.macs.sum(), 1.0), total_s / max(measured.moved.sum(), 1.0))
    overhead_s = total_s / len(measured.macs)
    low = np.log([1 / _RATES[1], 1 / _RATES[1], _LEAST_OVERHEAD_S])
    high = np.log([1 / _RATES[0], 1 / _RATES[0], max(1.0, 2 * overhead_s)])

    def residuals(logarithms: Floats) -> Floats:
        return np.asarray(np.log(measured.predict(np.exp(logarithms)) / measured.seconds) / _ROBUST)

    def loss(squares: Floats) -> Floats:
        """Weighted soft l1 of squared residuals, and its derivatives."""
        root = np.sqrt(1 + squares)
        return np.asarray(measured.weight * np.array([2 * (root - 1), 1 / root, -0.5 / root**3]))

    # the stubs of SciPy know no function of the squares alone
    weighted: Any = loss
    starts = [
        np.log([each[0] * compute, each[1] * moving, overhead_s * extra])
        for compute in (1.0, 0.3)
        for moving in (1.0, 0.1)
        for extra in (0.3, 1e-3)
    ]
    fits = [
        least_squares(residuals, np.clip(start, low + 1e-9, high - 1e-9), bounds=(low, high), loss=weighted)
        for start in starts
    ]
    return np.exp(min(fits, key=lambda fit: float(fit.cost)).x)


def _whole_error(measured: _Measured, rates: Floats) -> float:
    return float(measured.predict(rates).sum() / measured.seconds.sum() - 1)


def _shares(measured: _Measured, rates: Floats) -> dict[str, float]:
    compute, moving = measured.macs * rates[0], measured.moved * rates[1]
    bound = compute >= moving
    terms = {
        "peak_macs_per_s": compute[bound].sum(),
        "memory_bytes_per_s": moving[~bound].sum(),
        "call_overhead_s": rates[2] * len(compute),
    }
    total = sum(terms.values())
    return {name: float(term / total) for name, term in terms.items()}


def _weighted_median(values: Floats, weights: Floats) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])


def _rounded(value: float) -> float:
    return float(f"{value:.4g}") if math.isfinite(value) else value
