"""What a part takes longer on a sample that has just come, after it has waited for it.

In a deployment a part runs once and then waits: for the other parts to do their work, or for the next sample. Meanwhile
the processor sleeps, and caches become those of others. What that costs hardly depends on how large the part is, so
that it is a cost of every part that a sample comes to, however the network is cut.

The parts on both sides of a cut run in turn, each on a core of its own, on inputs that come over a socket: as they do
when each has a process of its own. On one core they would overstate it, since nothing but the part itself runs on the
core of a part that is deployed; and after mere sleep understate it, since what cores share is used by the others.

It rises with the time in which nothing runs at all: what is measured holds for samples that follow one another. After
pauses of 10 ms it is several times as much where other tenants have the machine meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from edgepart.hardware import Measurement
from edgepart.profiling.timing import settle, settling

#: where nothing else runs meanwhile, a wait is as long as the network takes, within these
_LEAST_WAIT_S, _MOST_WAIT_S = 0.001, 0.05
#: forward passes for each layer that waiting may take, of those that all timing may; and rounds at least
_PASSES_PER_LAYER, _LEAST_ROUNDS = 2, 2
#: in which nobody works, since a sample is on its way from one part to the next: on one machine about so long
_HOP_S = 0.0005
#: turns of all sides in a round; the first one comes after a longer wait and is not counted
_TURNS = 4


@dataclass(frozen=True)
class Side:
    """A part, to be run in two ways.

    Attributes:
        values: its inputs by name
        run: an inference on inputs that have just come, as a deployment makes it
        again: an inference on inputs that were there before, as everything else is timed
    """

    values: Mapping[str, NDArray[Any]]
    run: Callable[[dict[str, NDArray[Any]]], object]
    again: Callable[[], object]


def wait_s(whole_s: float) -> float:
    """How long a part waits, about, while the others of its network work."""
    return min(max(whole_s, _LEAST_WAIT_S), _MOST_WAIT_S)


def runs_a_round(whole_s: float) -> int:
    """Runs of a side of a cut in a round: until it has settled, once more, and its turns."""
    return settling(whole_s / 2) + 1 + _TURNS


def rounds_of_waiting(layers: int, whole_s: float, cuts: int, rounds: int) -> tuple[int, int]:
    """Cuts and rounds that a network of so many layers is worth, of those wanted: a small one is soon told."""
    passes = _PASSES_PER_LAYER * layers // runs_a_round(whole_s)
    cuts = max(1, min(cuts, passes // rounds))
    return cuts, max(_LEAST_ROUNDS, min(rounds, passes // cuts))


def measure_wake_up(
    cuts: Sequence[Sequence[Side]],
    whole_s: float,
    rounds: int,
    threads: int = 1,
    *,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Measurement:
    """Seconds that a part takes longer after waiting than over and over: the mean of the sides' medians, at least 0.

    Args:
        cuts: the sides of each; a single one stands for a network that is not cut, and waits for nobody
        whole_s: seconds of the whole network
        rounds: for each cut
        threads: of an inference; with several, sides are left to the system's choice of cores
        clock, sleep: for tests
    """
    found = []
    for sides in cuts:
        pause_s = wait_s(whole_s) if len(sides) == 1 else _HOP_S
        with contextlib.ExitStack() as stack:
            workers = [stack.enter_context(_Worker(side, core, clock)) for side, core in _on_cores(sides, threads)]
            longer: list[list[float]] = [[] for _ in sides]
            for _ in range(rounds):
                settled = [worker.settled() for worker in workers]
                for worker in workers:
                    worker.wait()
                for turn in range(_TURNS):
                    for worker, settled_s, own in zip(workers, settled, longer, strict=True):
                        sleep(pause_s)
                        taken = worker.hand_over()
                        if turn:
                            own.append(taken - settled_s)
                        if turn < _TURNS - 1:
                            worker.wait()
        found += [np.quantile(own, (0.25, 0.5, 0.75)) for own in longer]
    # a chain pays for all its parts, so it is their mean that has to be right
    low, middle, high = np.mean(found, axis=0)
    runs = len(found) * rounds * (_TURNS - 1)
    return Measurement(median_s=max(0.0, float(middle)), spread_s=float(high - low), runs=runs)


def _on_cores(sides: Sequence[Side], threads: int) -> Iterator[tuple[Side, int | None]]:
    """Sides with a core for each, where that is enough and there are so many; else None."""
    cores: list[int] = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    # threads that a runtime starts are kept on the core of the one that they come from
    enough = threads == 1 and len(cores) >= len(sides) > 1
    return ((side, cores[number] if enough else None) for number, side in enumerate(sides))


class _Worker:
    """A thread, on a core of its own, that runs one side; a context manager."""

    def __init__(self, side: Side, core: int | None, clock: Callable[[], float]) -> None:
        self._side, self._core, self._clock = side, core, clock
        # a last byte, so that one which reads nothing waits as well
        self._sent = b"".join([*(array.tobytes() for array in side.values.values()), b"\n"])

    def __enter__(self) -> Self:
        self._here, self._there = socket.socketpair()
        self._pool = ThreadPoolExecutor(1, initializer=_pin, initargs=(self._core,))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # a thread that still waits is let go by the end of what it reads from
        self._here.close()
        self._pool.shutdown()
        self._there.close()

    def settled(self) -> float:
        """Seconds of one more inference after many."""
        return self._pool.submit(self._again).result()

    def wait(self) -> None:
        """Begin to wait for inputs."""
        self._waiting = self._pool.submit(self._once)

    def hand_over(self) -> float:
        """Seconds of an inference on inputs that are sent now."""
        self._here.sendall(self._sent)
        return self._waiting.result()

    def _again(self) -> float:
        settle(self._side.again, self._clock)
        return _timed(self._side.again, self._clock)

    def _once(self) -> float:
        buffer = bytearray(len(self._sent))
        received = 0
        while received < len(buffer):
            count = self._there.recv_into(memoryview(buffer)[received:])
            if not count:
                raise ConnectionError("nothing more is handed over")
            received += count
        given, start = {}, 0
        for name, array in self._side.values.items():
            given[name] = np.frombuffer(buffer, array.dtype, array.size, start).reshape(array.shape)
            start += array.nbytes
        return _timed(lambda: self._side.run(given), self._clock)


def _pin(core: int | None) -> None:
    """Keep this thread on a core."""
    if core is not None:
        set_affinity: Any = getattr(os, "sched_setaffinity", None)
        set_affinity(0, {core})


def _timed(call: Callable[[], object], clock: Callable[[], float]) -> float:
    before = clock()
    call()
    return clock() - before
