"""What any part of a network takes, predicted from the pieces that were measured: a Gaussian process over parts.

A part's time is modelled as the sum of

- what its layers take: unknown, expected to divide as the layers and segments did when they were timed,
- what every call of the runtime costs,
- what every byte costs that comes in from another part or goes out to one (copies, changes of layout),
- what is lost where it begins and ends (operations that are no longer fused), alike at places close to each other,
- what its parameters cost that do not stay in the caches until the next inference: it depends on how many it holds, by
  steps that are not known (a Brownian motion). Hence two parts may take less than the network that they make up.

Segments were timed while the network ran, with the caches as the others left them: for them, a share of their time and
a constant come on top. Every term is normal with a mean and a variance, so that the covariance of two parts is a short
formula, and the prediction of one part from measured others is a system of linear equations (kriging; Rasmussen and
Williams, *Gaussian Processes for Machine Learning*, 2006, chapter 2). A measured piece is reproduced up to its noise,
and everything is relative to the time of the whole network.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from edgepart.graph import Graph

Floats = NDArray[np.float64]
#: start, stop, seconds of layers that follow one another
Timed = tuple[int, int, float]

#: standard deviations of the cost of a call and of moving the most bytes that cross anywhere, of the whole's time
_CALL, _BYTES = 0.05, 0.05
#: and of what segments take longer than parts: of the whole's time, of their own, and of their own by chance
_COLD, _COLD_SHARE, _COLD_NOISE = 0.01, 0.3, 0.2
#: how far apart, in shares of the whole's time, two places are whose losses differ
_REACH = 0.03
#: noise of anything that is timed, of the whole's time
_NOISE = 1e-4
#: tried in all combinations, the likeliest is taken: spread of a segment's time, of the loss at a place and of what
#: holding all parameters costs; noise
_SPREADS, _LOSSES, _HOLDINGS, _NOISES = (0.15, 0.4, 1.0), (0.002, 0.008, 0.03), (0.03, 0.1, 0.3), (0.01, 0.03, 0.08)
#: pieces that are used at most, and that the combinations are compared on
_MOST, _COMPARED = 800, 250
#: a prediction is no less than this share of what the layers took, scaled to the whole
_LEAST = 0.1


@dataclass(frozen=True)
class Pieces:
    """Some parts of a network.

    Attributes:
        inside: (parts, layers) 1 where a part holds a layer
        held: (parts,) bytes of parameters, as a share of the network's
        moved: (parts,) bytes that come from other parts or go to them
        start, stop: (parts,) the positions that a part begins and ends at; NaN at the network's own ends and where its
            layers do not follow one another
        cold: (parts,) 1 where it was timed while the network ran
    """

    inside: Floats
    held: Floats
    moved: Floats
    start: Floats
    stop: Floats
    cold: Floats

    def take(self, which: NDArray[Any]) -> Pieces:
        """Some of them."""
        return Pieces(*(getattr(self, field.name)[which] for field in fields(self)))


@dataclass(frozen=True)
class _Terms:
    """What a part's time is made of.

    Attributes:
        expected: (layers,) mean of what each takes, of the whole's time
        variance: (layers,) of the same, where segments have a spread of 1
        reach: (layers + 1,) where every position lies, in shares of the time
        most_bytes: that cross anywhere
    """

    expected: Floats
    variance: Floats
    reach: Floats
    most_bytes: float

    def covariances(self, a: Pieces, b: Pieces) -> Floats:
        """(4, a, b) of what is known of them, and of layers, losses and holding parameters where these spread by 1."""
        shares = np.outer(a.inside @ self.expected, b.inside @ self.expected)
        known = _CALL**2 + _BYTES**2 * np.outer(a.moved, b.moved) / self.most_bytes**2
        known += np.outer(a.cold, b.cold) * (_COLD**2 + _COLD_SHARE**2 * shares)
        layers = (a.inside * self.variance) @ b.inside.T
        losses = self._alike(a.start, b.start) + self._alike(a.stop, b.stop)
        return np.stack([known, layers, losses, np.minimum.outer(a.held, b.held)])

    def _alike(self, a: Floats, b: Floats) -> Floats:
        """(a, b) correlation of what is lost at two places; none with a place that is not known."""
        known = np.outer(~np.isnan(a), ~np.isnan(b))
        here, there = (self.reach[np.nan_to_num(places).astype(int)] for places in (a, b))
        alike: Floats = known * np.exp(-np.abs(here[:, None] - there[None, :]) / _REACH)
        return alike


class PartTimes:
    """Predicts the time of parts of one network on one runtime and machine."""

    def __init__(
        self,
        graph: Graph,
        expected: Sequence[float],
        segments: Sequence[Timed],
        parts: Sequence[Timed],
        whole_s: float,
    ) -> None:
        """
        Args:
            expected: of every layer, seconds as far as they are known from timing it alone
            segments: follow one another, and were timed while the network ran; layers of one err together
            parts: that were timed by themselves, other than the whole
            whole_s: seconds of the whole
        """
        self._graph, self._whole_s = graph, whole_s
        self._describe = _Describer(graph)
        self._terms = self._terms_of(np.maximum(np.array(expected), 1e-12), segments)
        measured = [(0, len(expected), whole_s), *parts, *segments]
        cold = np.arange(len(measured)) > len(parts)
        used = np.arange(0, len(measured), max(1, -(-len(measured) // _MOST)))
        self._pieces = self._describe.runs(measured, cold).take(used)
        times = np.array([seconds for *_, seconds in measured])[used] / whole_s
        self._spread, self._weights = self._condition(times)

    def seconds(self, layers: frozenset[str]) -> float:
        """What a part of some layers takes for one sample."""
        part = self._describe.part(np.array([layer.name in layers for layer in self._graph.layers]))
        mean = (part.inside @ self._terms.expected)[0]
        covariance = np.tensordot(self._spread, self._terms.covariances(part, self._pieces), 1)
        return float(max(mean + (covariance @ self._weights)[0], _LEAST * mean) * self._whole_s)

    def additive(self) -> tuple[Floats, float]:
        """Seconds of every layer and of every call, which sum to the time of the whole."""
        expected, variance = self._terms.expected, self._spread[1] * self._terms.variance
        call = min(max(0.0, float(_CALL**2 * self._weights.sum())), 0.5)
        layers = np.maximum(expected + variance * (self._pieces.inside.T @ self._weights), _LEAST * expected)
        return layers * ((1 - call) / layers.sum()) * self._whole_s, call * self._whole_s

    def _terms_of(self, expected: Floats, segments: Sequence[Timed]) -> _Terms:
        expected = expected / expected.sum()
        variance = np.zeros_like(expected)
        for start, stop, _ in segments:
            # a segment's time has the standard deviation spread x its mean, whichever way its layers divide it
            variance[start:stop] = expected[start:stop] * expected[start:stop].sum()
        reach = np.concatenate([[0.0], np.cumsum(expected)])
        return _Terms(expected, variance, reach, self._describe.most_bytes)

    def _condition(self, times: Floats) -> tuple[Floats, Floats]:
        """Variances of the terms, the likeliest, and the weights of the measured pieces in predictions."""
        some = np.arange(0, len(times), max(1, -(-len(times) // _COMPARED)))
        compared = self._pieces.take(some)
        covariances = self._terms.covariances(compared, compared)
        tried = []
        for *spreads, noise in itertools.product(_SPREADS, _LOSSES, _HOLDINGS, _NOISES):
            spread = np.array([1.0, *spreads]) ** 2
            tried.append((self._fit(spread, covariances, compared, times[some], noise)[0], noise, spread))
        _, noise, spread = max(tried, key=lambda one: one[0])
        covariances = self._terms.covariances(self._pieces, self._pieces)
        return spread, self._fit(spread, covariances, self._pieces, times, noise)[1]

    def _fit(
        self, spread: Floats, covariances: Floats, pieces: Pieces, times: Floats, noise: float
    ) -> tuple[float, Floats]:
        """Logarithm of the likelihood of the times up to a constant, and the weights."""
        chance = (noise * times + _NOISE) ** 2 + pieces.cold * (_COLD_NOISE * times) ** 2
        factor = cho_factor(np.tensordot(spread, covariances, 1) + np.diag(chance))
        difference = times - pieces.inside @ self._terms.expected
        weights: Floats = cho_solve(factor, difference)
        likelihood = -0.5 * difference @ weights - np.log(np.diag(factor[0])).sum()
        return float(likelihood), weights


class _Describer:
    """Turns sets of layers into :class:`Pieces`."""

    def __init__(self, graph: Graph) -> None:
        self._count = len(graph.layers)
        links = [
            (index, graph.position[tensor.producer], graph.position[consumer])
            for index, tensor in enumerate(graph.tensors)
            if tensor.producer is not None
            for consumer in tensor.consumers
        ]
        self._tensor, self._from, self._to = np.array(links, dtype=int).reshape(-1, 3).T
        self._bytes = np.array([tensor.bytes for tensor in graph.tensors], dtype=float)
        self._held = np.array([graph.parameter_bytes([layer.name]) for layer in graph.layers], dtype=float)
        self._held /= self._held.sum() or 1.0
        self.most_bytes = max((boundary.bytes for boundary in graph.boundaries()), default=0) or 1.0

    def runs(self, places: Sequence[Timed], cold: NDArray[np.bool_]) -> Pieces:
        """Pieces of layers that follow one another, and which of them were timed while the network ran."""
        position = np.arange(self._count)
        parts = [
            self.part((position >= start) & (position < stop), timed_inside)
            for (start, stop, _), timed_inside in zip(places, cold, strict=True)
        ]
        return Pieces(*(np.concatenate([getattr(one, field.name) for one in parts]) for field in fields(Pieces)))

    def part(self, inside: NDArray[np.bool_], cold: bool = False) -> Pieces:
        """One part, from which layers it holds."""
        crossing = inside[self._from] != inside[self._to]
        # a tensor that both comes and is passed on, or goes to several layers, is moved once
        moved = self._bytes[np.unique(self._tensor[crossing])].sum()
        held = np.flatnonzero(inside)
        start, stop = (int(held[0]), int(held[-1]) + 1) if len(held) else (0, 0)
        together = stop - start == len(held)
        return Pieces(
            inside=inside[None].astype(float),
            held=np.array([self._held[inside].sum()]),
            moved=np.array([moved]),
            start=np.array([start if together and start > 0 else np.nan], dtype=float),
            stop=np.array([stop if together and stop < self._count else np.nan], dtype=float),
            cold=np.array([float(cold)]),
        )
