"""Timing the pieces of a network: its segments, its layers, and both sides of places where it may be cut."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgepart.frameworks import Part, Program
from edgepart.graph import Graph
from edgepart.hardware import Measurement
from edgepart.profiling.segments import edges, segments
from edgepart.profiling.timing import Effort, time_in_turn

Values = dict[str, NDArray[np.generic]]
#: makes one inference of a part on values, to be timed
Runner = Callable[[Part, Values], Callable[[], object]]
Progress = Callable[[float], None]

#: all timing of a network takes at most so many forward passes for each of its layers
PASSES_PER_LAYER = 20
#: of these, for segments and the whole and for layers alone; what they leave is for cuts
_PASSES_OF_PIECES = 6
#: cuts that are timed in turn with each other and with the whole
_TOGETHER = 2
#: share of the network's time next to its ends within which places count as equally far
_END = 0.02


@dataclass(frozen=True)
class Piece:
    """A segment that was measured, and the values that entered it."""

    start: int
    stop: int
    latency: Measurement
    inputs: Values


@dataclass(frozen=True)
class TimedMiddle:
    """The layers ``start`` … ``stop - 1``, between two cuts, and the whole, timed in turn."""

    start: int
    stop: int
    latency: Measurement
    whole: Measurement


@dataclass(frozen=True)
class TimedCut:
    """Both parts of the network cut after ``position`` layers, and the whole, timed in turn."""

    position: int
    before: Measurement
    after: Measurement
    whole: Measurement


def measure_segments(
    program: Program, effort: Effort, progress: Progress, runner: Runner
) -> tuple[list[Piece], Measurement]:
    """Time all segments and the whole network in turn; every segment on the values that the ones before it make."""
    places, boundaries = segments(program.graph), program.graph.boundaries()
    values: Values = dict(program.example())
    whole = runner(program.slice(None, None), values)
    entered, calls = [], []
    for start, stop in places:
        part = program.slice(*edges(boundaries, start, stop))
        values = _still_needed(program.graph, values, start)
        entered.append(values)
        calls.append(runner(part, values))
        values = values | part.run(values)
    passes = _PASSES_OF_PIECES * len(program.graph.layers) // 2
    *latencies, end_to_end = time_in_turn([*calls, whole], effort.at_most(passes), progress)
    pieces = [
        Piece(start, stop, latency, inputs)
        for (start, stop), latency, inputs in zip(places, latencies, entered, strict=True)
    ]
    return pieces, end_to_end


def measure_layers(
    program: Program, entering: list[Values], effort: Effort, progress: Progress
) -> dict[int, Measurement]:
    """Time every layer alone, those of one segment in turn; a segment of one layer has been timed already.

    One segment at a time, because the parts own their weights: all layers at once would be the network a second time.
    Half the effort is enough: layers only say how the time of their segment divides.
    """
    found: dict[int, Measurement] = {}
    places, boundaries = segments(program.graph), program.graph.boundaries()
    count = len(program.graph.layers)
    for (start, stop), values in zip(places, entering, strict=True):
        if stop - start > 1:
            budget_s = effort.budget_s / 2 * (stop - start) / count
            share = replace(effort, budget_s=budget_s, precision=2 * effort.precision)
            calls = []
            for position in range(start, stop):
                part = program.slice(*edges(boundaries, position, position + 1))
                values = _still_needed(program.graph, values, position)
                calls.append(part.runner(values))
                values = values | part.run(values)
            timed = time_in_turn(calls, share.at_most(_PASSES_OF_PIECES * count // 2))
            found |= dict(zip(range(start, stop), timed, strict=True))
        progress(stop / count)
    return found


def measure_cuts(
    program: Program,
    layers_s: list[float],
    effort: Effort,
    allowed_s: float,
    progress: Progress,
    runner: Runner,
) -> tuple[list[TimedCut], list[TimedMiddle]]:
    """Time both sides of as many cuts as time allows, spread over the network and denser towards its ends.

    Between two cuts that are timed in turn lies the middle part of three, which is timed with them: times do not add
    up, so that the sides alone do not tell it.

    Args:
        layers_s: about what each layer takes: where the cuts lie is measured in it
        effort: ``budget_s`` is for everything, also for making the parts
        allowed_s: seconds that may be spent on running them; the first ones are timed in any case
    """
    started, spent, cuts, middles = time.monotonic(), 0.0, list[TimedCut](), list[TimedMiddle]()
    boundaries, count = program.graph.boundaries(), len(layers_s)
    example = dict(program.example())
    whole = runner(program.slice(None, None), example)
    places = spread(layers_s, [boundary.bytes for boundary in boundaries])
    while batch := sorted(itertools.islice(places, _TOGETHER)):
        pieces = [*((0, x) for x in batch), *((x, count) for x in batch), *itertools.pairwise(batch)]
        # without a cut nothing says what a call costs: small networks, mostly made of calls, need some most
        if cuts and spent + _least_s([(0, count), *pieces], layers_s, effort) > allowed_s:
            break
        entering = {0: example}
        for position in batch:
            crossing = example | program.slice(None, boundaries[position - 1]).run(example)
            entering[position] = _still_needed(program.graph, crossing, position)
        calls = [runner(program.slice(*edges(boundaries, start, stop)), entering[start]) for start, stop in pieces]
        beside, *latencies = time_in_turn([whole, *calls], replace(effort, budget_s=math.inf))
        spent += spent_s([beside, *latencies], effort)
        timed = dict(zip(pieces, latencies, strict=True))
        cuts += [TimedCut(x, timed[0, x], timed[x, count], beside) for x in batch]
        middles += [TimedMiddle(*both, timed[both], beside) for both in itertools.pairwise(batch)]
        elapsed_s = time.monotonic() - started
        progress(min(1.0, max(len(cuts) / len(boundaries), elapsed_s / effort.budget_s)))
        if elapsed_s >= effort.budget_s:
            break
    progress(1.0)
    return sorted(cuts, key=lambda cut: cut.position), middles


def spread(layers_s: list[float], crossing_bytes: list[int]) -> Iterator[int]:
    """Every position to cut at, 1 … layers - 1, coarse to fine: each in the middle of the widest gap that is left.

    Gaps are wide where a part's time changes much relative to itself, so places are denser towards both ends. In the
    middle half of a gap the place that the fewest bytes cross is taken: there plans cut.

    Args:
        crossing_bytes: at position 1, 2, …
    """
    count = len(layers_s)
    before = list(itertools.accumulate(layers_s, initial=0.0))
    end_s = _END * before[-1] or 1.0
    place = [math.log((spent + end_s) / (before[-1] - spent + end_s)) for spent in before]
    gaps = [(0, count)] if count > 1 else []
    while gaps:
        low, high = max(gaps, key=lambda gap: place[gap[1]] - place[gap[0]])
        gaps.remove((low, high))
        quarter = (place[high] - place[low]) / 4
        middle = place[low] + 2 * quarter
        inner = [x for x in range(low + 1, high) if abs(place[x] - middle) <= quarter]
        nearest = min(range(low + 1, high), key=lambda x: abs(place[x] - middle))
        chosen = min(inner or [nearest], key=lambda x: (crossing_bytes[x - 1], abs(place[x] - middle)))
        yield chosen
        gaps += [gap for gap in ((low, chosen), (chosen, high)) if gap[1] - gap[0] > 1]


def spent_s(measured: Iterable[Measurement], effort: Effort) -> float:
    """Seconds that timing took, about: runs that are not timed included."""
    return sum(effort.calls(one.median_s, one.runs) * one.median_s for one in measured)


def _least_s(pieces: Iterable[tuple[int, int]], layers_s: list[float], effort: Effort) -> float:
    """Seconds that timing some pieces takes at least, about."""
    expected = (sum(layers_s[start:stop]) for start, stop in pieces)
    return sum(effort.calls(seconds) * seconds for seconds in expected)


def _still_needed(graph: Graph, values: Mapping[str, NDArray[np.generic]], position: int) -> Values:
    """The values that a layer at or after ``position`` reads."""
    return {
        name: value
        for name, value in values.items()
        if any(graph.position[consumer] >= position for consumer in graph.tensor(name).consumers)
    }
