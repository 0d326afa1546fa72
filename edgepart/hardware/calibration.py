"""Fitting a device's rates to networks that were measured on it.

Six numbers are fitted (:mod:`edgepart.hardware.roofline`), by robust least squares of logarithms to the time of every
whole network, to both sides of its cuts and to its segments, and to what is usual: each number has a weak prior, which
decides where the networks say nothing. So one or two networks are enough, and no number becomes negative.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from edgepart.errors import ProfileError
from edgepart.hardware.kernels import kernels
from edgepart.hardware.profile import Profile

Floats = NDArray[np.float64]

#: errors, as shares of what was measured, above which a fit is poor: of whole networks and, in the middle, of segments
POOR_WHOLE, POOR_SEGMENT = 0.25, 0.5
#: a number that decides less than this share of all time is hardly determined by what was measured
_LEAST_SHARE = 0.01
#: segments that are fitted at least
_LEAST_SEGMENTS = 3
#: logarithmic errors beyond this count less and less
_ROBUST = 0.3
#: weights beside 1 for a whole network: of its cuts together, and of its segments, whose ends cost what they do not
#: cost inside (layouts are changed, nothing is fused)
_CUTS, _SEGMENTS = 0.3, 0.1
#: cuts of one network that are used at most
_MOST_CUTS = 12
#: weight of the prior, and its means and standard deviations, as logarithms (``_rates``): the time of a
#: multiply-accumulate is free; in units of it a grouped one, a byte of activations, a byte of parameters and a call;
#: and the odds of what fusing saves
_PRIOR = 0.15
_USUAL = np.array([0.0, math.log(4.0), math.log(4.0), math.log(8.0), math.log(2.5e5), 0.0])
_SPREAD = np.array([5.0, 0.7, 1.0, 1.0, 1.0, 2.0])

#: the numbers by their names in a device file
_NAMES = (
    "peak_macs_per_s",
    "grouped_macs_per_s",
    "activation_bytes_per_s",
    "memory_bytes_per_s",
    "call_overhead_s",
    "fused_share",
)


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
    """Fitted rates and how well they fit.

    Attributes:
        rates: the numbers by their names in a device file
        segments: that were measured
        segment_error: median of their absolute errors, as a share, weighted by their times
        shares: of all predicted time, before anything is fused: what each number decides; a small one means that what
            was measured says little about it
    """

    rates: dict[str, float]
    networks: tuple[NetworkError, ...]
    segments: int
    segment_error: float
    shares: dict[str, float]

    @cached_property
    def network_error(self) -> float:
        """Median of the networks' absolute errors."""
        return statistics.median(abs(one.error) for one in self.networks)

    @cached_property
    def left_out(self) -> tuple[float, float] | None:
        """Median and worst of the absolute errors of networks that the fit did not know; None with one network."""
        errors = [abs(one.left_out) for one in self.networks if one.left_out is not None]
        return (statistics.median(errors), max(errors)) if errors else None

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
    """One network: its kernels, and the pieces of it that were timed, the whole first.

    Attributes:
        dense, grouped, activations, parameters, calls: (layers,) multiply-accumulates, bytes, and 1 where there is a
            kernel at all
        layer: (entries,) the layers of every piece, piece after piece
        fused: (entries,) 1 where a layer and the product that it can be fused into lie in the same piece
        first: (pieces,) where each begins in ``layer``
        seconds, weight: (pieces,)
        segments: how many pieces are segments, the last ones
    """

    dense: Floats
    grouped: Floats
    activations: Floats
    parameters: Floats
    calls: Floats
    layer: NDArray[np.int64]
    fused: Floats
    first: NDArray[np.int64]
    seconds: Floats
    weight: Floats
    segments: int

    def predict(self, rates: Floats) -> Floats:
        """(pieces,) seconds."""
        unfused = self._kernels_s(rates).sum(axis=0)
        return np.asarray(np.add.reduceat(unfused[self.layer] * (1 - rates[5] * self.fused), self.first))

    def decided(self, rates: Floats) -> Floats:
        """(6,) seconds of the whole that each number decides, before anything is fused."""
        whole = slice(0, len(self.calls))
        could_fuse = (self._kernels_s(rates).sum(axis=0) * self.fused[whole]).sum()
        return np.append(self._kernels_s(rates).sum(axis=1), could_fuse)

    def whole_error(self, rates: Floats) -> float:
        return float(self.predict(rates)[0] / self.seconds[0] - 1)

    def _kernels_s(self, rates: Floats) -> Floats:
        """(5, layers) seconds that each of the first five numbers adds."""
        compute = self.dense * rates[0] + self.grouped * rates[1]
        moving = self.activations * rates[2]
        computes = compute >= moving
        return np.stack(
            [
                np.where(computes, self.dense * rates[0], 0.0),
                np.where(computes, self.grouped * rates[1], 0.0),
                np.where(computes, 0.0, moving),
                self.parameters * rates[3],
                self.calls * rates[4],
            ]
        )


def calibrate(profiles: Sequence[Profile]) -> Calibration:
    """Fit a device's rates to networks that were all measured on it.

    Raises:
        ProfileError: no profiles, of several machines, runtimes or numbers of threads, or with fewer than three
            segments.
    """
    _check_together(profiles)
    measured = [_measured(profile) for profile in profiles]
    segments = sum(one.segments for one in measured)
    if segments < _LEAST_SEGMENTS:
        raise ProfileError(
            f"the networks have {segments} segments together, too few to tell what computing costs from what moving "
            "bytes does: measure a network with more layers"
        )
    rates = _fit(measured)
    errors = []
    for profile, mine in zip(profiles, measured, strict=True):
        # a network that was given twice is known to no fit that it is left out of
        others = [
            one
            for other, one in zip(profiles, measured, strict=True)
            if other.graph.fingerprint != profile.graph.fingerprint
        ]
        left_out = mine.whole_error(_fit(others)) if others else None
        errors.append(NetworkError(profile.graph.name, float(mine.seconds[0]), mine.whole_error(rates), left_out))
    decided = np.sum([one.decided(rates) for one in measured], axis=0)
    shares = decided / decided[:5].sum()
    return Calibration(
        rates=_numbers(rates),
        networks=tuple(errors),
        segments=segments,
        segment_error=_segment_error(measured, rates),
        shares=dict(zip(_NAMES, map(float, shares), strict=True)),
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


def _measured(profile: Profile) -> _Measured:
    known = kernels(profile.graph)
    pieces = [one for one in _pieces(profile) if one[2] > 0]
    segments = [one for one in profile.segments if one.latency.median_s > 0]
    if not segments or not profile.end_to_end.median_s:
        raise ProfileError(f"the profile of '{profile.graph.name}' holds no times above 0: measure it again")
    joins = np.array([-1 if one.joins is None else one.joins for one in known])
    layer = np.concatenate([np.arange(start, stop) for start, stop, *_ in pieces])
    starts, stops = (np.repeat([one[side] for one in pieces], [one[1] - one[0] for one in pieces]) for side in (0, 1))
    return _Measured(
        dense=np.array([0 if one.is_grouped else one.macs for one in known], float),
        grouped=np.array([one.macs if one.is_grouped else 0 for one in known], float),
        activations=np.array([one.activation_bytes for one in known], float),
        parameters=np.array([one.parameter_bytes for one in known], float),
        calls=np.array([not one.is_view for one in known], float),
        layer=layer,
        fused=((joins[layer] >= starts) & (joins[layer] < stops)).astype(float),
        first=np.cumsum([0, *(stop - start for start, stop, *_ in pieces[:-1])]),
        seconds=np.array([one[2] for one in pieces]),
        weight=np.array([one[3] for one in pieces]),
        segments=len(segments),
    )


def _pieces(profile: Profile) -> Iterator[tuple[int, int, float, float]]:
    """Start, stop, seconds and weight of everything that was timed: the whole, sides of cuts, segments."""
    count = len(profile.layers)
    yield 0, count, profile.end_to_end.median_s, 1.0
    cuts = profile.cuts[:: max(1, -(-len(profile.cuts) // _MOST_CUTS))]
    for cut in cuts:
        yield 0, cut.position, cut.before.median_s, _CUTS / (2 * len(cuts))
        yield cut.position, count, cut.after.median_s, _CUTS / (2 * len(cuts))
    for one in profile.segments:
        yield one.start, one.stop, one.latency.median_s, _SEGMENTS * one.latency.median_s / profile.segment_sum_s


def _fit(measured: Sequence[_Measured]) -> Floats:
    """The six numbers as seconds of a multiply-accumulate, a grouped one, a byte …: see :func:`_rates`."""
    seconds = np.concatenate([one.seconds for one in measured])
    weight = np.concatenate([one.weight for one in measured])
    whole_s, macs = (sum(float(x) for x in each) for each in _totals(measured))
    usual = _USUAL + np.array([math.log(whole_s / max(macs, 1.0)), 0, 0, 0, 0, 0])

    def residuals(logarithms: Floats) -> Floats:
        predicted = np.concatenate([one.predict(_rates(logarithms)) for one in measured])
        errors = np.log((predicted + 1e-12) / seconds) / _ROBUST
        unusual = (logarithms - usual) / _SPREAD
        return np.concatenate([np.sqrt(weight) * _soft(errors), math.sqrt(_PRIOR) * _soft(unusual)])

    # the maximum in a roofline makes local optima, so that several starts are tried
    starts = (usual + np.array([more, 0, 0, 0, 0, 0]) for more in (-1.5, -0.7, 0.3))
    fits = [least_squares(residuals, start) for start in starts]
    return _rates(min(fits, key=lambda fit: float(fit.cost)).x)


def _soft(errors: Floats) -> Floats:
    """What squares to the soft l1 of errors: like their squares up to 1, like their absolute values beyond."""
    return np.asarray(np.sign(errors) * np.sqrt(2 * (np.sqrt(1 + errors**2) - 1)))


def _totals(measured: Sequence[_Measured]) -> tuple[list[float], list[float]]:
    return [one.seconds[0] for one in measured], [one.dense.sum() + one.grouped.sum() for one in measured]


def _rates(logarithms: Floats) -> Floats:
    """Seconds of a multiply-accumulate, a grouped one, a byte of activations, of parameters, a call; fused share."""
    product_s = np.exp(logarithms[0])
    return np.array([product_s, *(product_s * np.exp(logarithms[1:5])), 1 / (1 + np.exp(-logarithms[5]))])


def _numbers(rates: Floats) -> dict[str, float]:
    """By their names in a device file."""
    values = [*(1 / rates[:4]), rates[4], rates[5]]
    return {name: float(f"{value:.4g}") for name, value in zip(_NAMES, values, strict=True)}


def _segment_error(measured: Sequence[_Measured], rates: Floats) -> float:
    errors = [np.abs(one.predict(rates) / one.seconds - 1)[-one.segments :] for one in measured]
    return _weighted_median(np.concatenate(errors), np.concatenate([x.weight[-x.segments :] for x in measured]))


def _weighted_median(values: Floats, weights: Floats) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])
