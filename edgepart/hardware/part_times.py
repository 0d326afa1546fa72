"""What any part of a network takes, predicted from the pieces that were measured: a Gaussian process over parts.

A part's time is modelled as the sum of

- what its layers take: unknown, expected to divide as the layers and segments did when they were timed,
- what every call of the runtime costs,
- what every byte costs that comes in from another part or goes out to one (copies, changes of layout),
- what is lost where it begins and ends (operations that are no longer fused), alike at places close to each other.

Every term is normal with a mean and a variance, so that the covariance of two parts is a short formula, and the
prediction of one part from measured others is a system of linear equations (kriging; Rasmussen and Williams, *Gaussian
Processes for Machine Learning*, 2006, chapter 2). A measured piece is reproduced up to its noise, and everything is
relative to the time of the whole network.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepart.graph import Graph

Floats = NDArray[np.float64]

#: standard deviations of the cost of a call and of moving the most bytes that cross anywhere, of the whole's time
_CALL, _BYTES = 0.02, 0.05
#: how far apart, in shares of the whole's time, two places are whose losses differ
_REACH = 0.03
#: noise of anything that is timed, of the whole's time
_NOISE = 1e-4
#: tried in all combinations, the likeliest is taken: spread of a segment's time and of the loss at a place, noise
_SPREADS, _LOSSES, _NOISES = (0.15, 0.4, 1.0), (0.002, 0.008, 0.03), (0.01, 0.03, 0.08)
#: pieces that are used at most, and that the combinations are compared on
_MOST, _COMPARED = 800, 250
#: a prediction is no less than this share of what the layers took, scaled to the whole
_LEAST = 0.1


@dataclass(frozen=True)
class Pieces:
    """Some parts of a network.

    Attributes:
        inside: (parts, layers) 1 where a part holds a layer
        moved: (parts,) bytes that come from other parts or go to them
        start, stop: (parts,) the positions that a part begins and ends at; NaN at the network's own ends and where its
            layers do not follow one another
    """

    inside: Floats
    moved: Floats
    start: Floats
    stop: Floats

    def take(self, which: NDArray[Any]) -> Pieces:
        """Some of them."""
        return Pieces(self.inside[which], self.moved[which], self.start[which], self.stop[which])


@dataclass(frozen=True)
class _Model:
    """The process, given how much its terms vary. ``reach`` is where every position lies, in shares of the time."""

    variance: Floats
    reach: Floats
    most_bytes: float
    loss: float

    def covariance(self, a: Pieces, b: Pieces) -> Floats:
        """(a, b) covariance of the times of parts."""
        found: Floats = (a.inside * self.variance) @ b.inside.T + _CALL**2
        found += _BYTES**2 * np.outer(a.moved, b.moved) / self.most_bytes**2
        for ends_of_a, ends_of_b in ((a.start, b.start), (a.stop, b.stop)):
            found += self.loss**2 * self._alike(ends_of_a, ends_of_b)
        return found

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
        segments: Sequence[tuple[int, int]],
        measured: Sequence[tuple[int, int, float]],
        whole_s: float,
    ) -> None:
        """
        Args:
            expected: of every layer, seconds as far as they are known from timing it alone
            segments: (start, stop) that follow one another; layers of one err together
            measured: (start, stop, seconds) of pieces, the whole among them
            whole_s: seconds of the whole
        """
        self._graph, self._whole_s = graph, whole_s
        self._describe = _Describer(graph)
        expectation = np.maximum(np.array(expected), 1e-12)
        self._expected = expectation / expectation.sum()
        step = max(1, -(-len(measured) // _MOST))
        measured = measured[::step] if step > 1 else measured
        self._pieces = self._describe.runs([(start, stop) for start, stop, _ in measured])
        times = np.array([seconds for *_, seconds in measured]) / whole_s
        self._model, self._weights = self._condition(segments, times)

    def seconds(self, layers: frozenset[str]) -> float:
        """What a part of some layers takes for one sample."""
        part = self._describe.part(np.array([layer.name in layers for layer in self._graph.layers]))
        mean = (part.inside @ self._expected)[0]
        found = mean + (self._model.covariance(part, self._pieces) @ self._weights)[0]
        return float(max(found, _LEAST * mean) * self._whole_s)

    def additive(self) -> tuple[Floats, float]:
        """Seconds of every layer and of every call, which sum to the time of the whole."""
        call = max(0.0, float(_CALL**2 * self._weights.sum()))
        layers = self._expected + self._model.variance * (self._pieces.inside.T @ self._weights)
        layers = np.maximum(layers, _LEAST * self._expected)
        call = min(call, 0.5)
        return layers * ((1 - call) / layers.sum()) * self._whole_s, call * self._whole_s

    def _condition(self, segments: Sequence[tuple[int, int]], times: Floats) -> tuple[_Model, Floats]:
        """The likeliest model and the weights of the measured pieces in its predictions."""
        some = np.arange(0, len(times), max(1, -(-len(times) // _COMPARED)))
        tried = [
            (self._fit(self._model_of(segments, spread, loss), self._pieces.take(some), times[some], noise), choice)
            for choice in itertools.product(_SPREADS, _LOSSES, _NOISES)
            for spread, loss, noise in [choice]
        ]
        spread, loss, noise = max(tried, key=lambda one: one[0][0])[1]
        model = self._model_of(segments, spread, loss)
        return model, self._fit(model, self._pieces, times, noise)[1]

    def _model_of(self, segments: Sequence[tuple[int, int]], spread: float, loss: float) -> _Model:
        variance = np.zeros_like(self._expected)
        for start, stop in segments:
            # a segment's time has the standard deviation spread x its mean, whichever way its layers divide it
            variance[start:stop] = spread**2 * self._expected[start:stop] * self._expected[start:stop].sum()
        reach = np.concatenate([[0.0], np.cumsum(self._expected)])
        return _Model(variance, reach, self._describe.most_bytes, loss)

    def _fit(self, model: _Model, pieces: Pieces, times: Floats, noise: float) -> tuple[float, Floats]:
        """Logarithm of the likelihood of the times up to a constant, and the weights."""
        covariance = model.covariance(pieces, pieces) + np.diag((noise * times + _NOISE) ** 2)
        factor = np.linalg.cholesky(covariance)
        white = np.linalg.solve(factor, times - pieces.inside @ self._expected)
        likelihood = -0.5 * white @ white - np.log(np.diag(factor)).sum()
        return float(likelihood), np.linalg.solve(factor.T, white)


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
        self.most_bytes = max((boundary.bytes for boundary in graph.boundaries()), default=0) or 1.0

    def runs(self, places: Sequence[tuple[int, int]]) -> Pieces:
        """Pieces of layers that follow one another, by (start, stop)."""
        position = np.arange(self._count)
        parts = [self.part((position >= start) & (position < stop)) for start, stop in places]
        columns = zip(*((one.inside, one.moved, one.start, one.stop) for one in parts), strict=True)
        return Pieces(*(np.concatenate(values) for values in columns))

    def part(self, inside: NDArray[np.bool_]) -> Pieces:
        """One part, from which layers it holds."""
        crossing = inside[self._from] != inside[self._to]
        # a tensor that both comes and is passed on, or goes to several layers, is moved once
        moved = self._bytes[np.unique(self._tensor[crossing])].sum()
        held = np.flatnonzero(inside)
        start, stop = (int(held[0]), int(held[-1]) + 1) if len(held) else (0, 0)
        together = stop - start == len(held)
        return Pieces(
            inside[None].astype(float),
            np.array([moved]),
            np.array([start if together and start > 0 else np.nan], dtype=float),
            np.array([stop if together and stop < self._count else np.nan], dtype=float),
        )
