"""Where a network is likely to be cut, and hence what is measured as one piece."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from edgepart.graph import Boundary, Graph


def segments(graph: Graph) -> list[tuple[int, int]]:
    """(start, stop) of the pieces between the boundaries of the topological order that one feature tensor crosses.

    Masks and inputs of the network may cross as well. The pieces follow one another and cover every layer.
    """
    single = [
        position
        for position, boundary in enumerate(graph.boundaries(), start=1)
        if sum(graph.tensor(name).feature for name in boundary.tensors) == 1
    ]
    return list(itertools.pairwise([0, *single, len(graph.layers)]))


def edges(boundaries: Sequence[Boundary], start: int, stop: int) -> tuple[Boundary | None, Boundary | None]:
    """What encloses the layers ``start`` … ``stop - 1``, given :meth:`Graph.boundaries`; None: a network's end."""
    return boundaries[start - 1] if start else None, boundaries[stop - 1] if stop <= len(boundaries) else None
