"""Parts that compute nothing, to learn what their hops take by themselves.

What two processes need to hand a sample over is hardly a matter of the link on one machine: each wakes up after the
other has worked, with caches that its own work has filled, to pack, copy and read. A chain of stand-ins does all that
in the same processes and frames, and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edgepart.bundle.part import Logits
from edgepart.frameworks.signature import Signature
from edgepart.graph import Graph
from edgepart.measuring.framing import Arrays

#: what a stand-in goes through while it is busy: more than the caches of a core hold; and how much at once
_TOUCHED_BYTES, _AT_ONCE_BYTES = 1 << 23, 1 << 16


@dataclass(frozen=True)
class StandIn:
    """What to be in the place of a part.

    Attributes:
        busy_s: how long a sample takes
        gives: tensors that go on, by name: (dtype, shape)
        classes: of the logits with which the last part answers; None: it is not the last one
    """

    busy_s: float
    gives: Mapping[str, tuple[str, Sequence[int]]]
    classes: int | None = None

    @classmethod
    def of(cls, graph: Graph, tensors: Sequence[str], busy_s: float, classes: int | None = None) -> Self:
        """In the place of a part that gives tensors of a graph, in the sizes of its example."""
        given = Signature.of([graph.tensor(name) for name in tensors], (), graph.symbols).example(1)
        return cls(busy_s, {name: (array.dtype.str, array.shape) for name, array in given.items()}, classes)


class IdlePart:
    """A :class:`StandIn` at work, with what :class:`~edgepart.bundle.part.BundlePart` is run by."""

    stage_count = 1

    def __init__(self, own: StandIn) -> None:
        self._own, self._touched = own, np.zeros(_TOUCHED_BYTES, np.uint8)

    def stages(self, arrays: Arrays) -> Generator[tuple[str, Logits], None, dict[str, NDArray[np.generic]]]:
        """Be busy, then answer or give what goes on."""
        ends, start = time.perf_counter() + self._own.busy_s, 0
        while time.perf_counter() < ends:
            piece = self._touched[start : start + _AT_ONCE_BYTES]
            np.add(piece, 1, out=piece)
            start = (start + _AT_ONCE_BYTES) % _TOUCHED_BYTES
        if self._own.classes is not None:
            yield "stand-in", np.zeros((1, self._own.classes), np.float32)
        return {name: np.ones(shape, dtype) for name, (dtype, shape) in self._own.gives.items()}
