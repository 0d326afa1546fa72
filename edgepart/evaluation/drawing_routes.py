"""The paths of the connections between the boxes of a drawn network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: height of a box
BLOCK = 26.0


@dataclass(frozen=True)
class Box:
    """A block or input as drawn. ``row`` counts over all tiers."""

    left: float
    top: float
    width: float
    row: int
    leftmost: bool

    @property
    def centre(self) -> float:
        return self.left + self.width / 2

    @property
    def middle(self) -> float:
        return self.top + BLOCK / 2

    @property
    def bottom(self) -> float:
        return self.top + BLOCK


def lanes(spans: Sequence[tuple[int, int] | None]) -> list[int | None]:
    """For each span of rows the lowest lane that is free all along it; None where there is no span."""
    taken: list[list[tuple[int, int]]] = []
    chosen: list[int | None] = []
    for span in spans:
        if span is None:
            chosen.append(None)
            continue
        first, last = span
        free = (lane for lane, used in enumerate(taken) if all(first >= stop or last <= start for start, stop in used))
        lane = next(free, len(taken))
        taken += [[]] if lane == len(taken) else []
        taken[lane].append(span)
        chosen.append(lane)
    return chosen


def step_down(source: Box, target: Box) -> str:
    """Path of a connection to a box in the next row."""
    half = (source.bottom + target.top) / 2
    start = f"M{source.centre:g} {source.bottom:g} C{source.centre:g} {half:g}"
    return f"{start} {target.centre:g} {half:g} {target.centre:g} {target.top - 1:g}"


def detour(source: Box, target: Box, lane: float) -> str:
    """Path of a connection by way of a lane at ``lane``."""
    start, stop = [(source.left, source.middle)], [(target.left - 1, target.middle)]
    if not source.leftmost:
        start = [(source.centre, source.bottom), (source.centre, source.bottom + 5)]
    if not target.leftmost:
        stop = [(target.centre, target.top - 8), (target.centre, target.top)]
    return _rounded([*start, (lane, start[-1][1]), (lane, stop[0][1]), *stop])


def branch(source: Box, stop: tuple[float, float], blocked: bool) -> str:
    """Path from a box to what stands at the right of its row; ``blocked``: below the boxes between them."""
    right, (x, y) = source.left + source.width, stop
    if not blocked:
        half = (right + x) / 2
        return f"M{right:g} {source.middle:g} C{half:g} {source.middle:g} {half:g} {y:g} {x:g} {y:g}"
    start, below = right - 10, source.bottom + 4
    return _rounded([(start, source.bottom), (start, below), (x - 8, below), (x - 8, y), (x, y)])


def _rounded(points: Sequence[tuple[float, float]], radius: float = 5) -> str:
    """A path of horizontal and vertical lines with rounded corners."""
    path = f"M{points[0][0]:g} {points[0][1]:g}"
    for before, (x, y), after in zip(points, points[1:], points[2:], strict=False):
        into, out = _towards((x, y), before, radius), _towards((x, y), after, radius)
        path += f" L{into[0]:g} {into[1]:g} Q{x:g} {y:g} {out[0]:g} {out[1]:g}"
    return path + f" L{points[-1][0]:g} {points[-1][1]:g}"


def _towards(start: tuple[float, float], stop: tuple[float, float], distance: float) -> tuple[float, float]:
    length = abs(stop[0] - start[0]) + abs(stop[1] - start[1])
    share = min(distance, length / 2) / length if length else 0.0
    return start[0] + (stop[0] - start[0]) * share, start[1] + (stop[1] - start[1]) * share
