"""The process that measures, ``python -m edgepart.profiling.worker FOLDER``: nothing else has run in it before.

It reads ``request.json`` and the saved program from the folder and writes one JSON object a line on stdout:
``{"event": "progress", "done": 0.5}``, and at the end ``result`` or, for a mistake of the user's, ``error``.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepart.errors import EdgepartError
from edgepart.files import read_json
from edgepart.frameworks import Framework, Part, Program, framework
from edgepart.frameworks.runtimes import runtime
from edgepart.graph import Graph
from edgepart.hardware import Measurement
from edgepart.profiling.segments import edges, segments
from edgepart.profiling.timing import QUICK, Effort, time_in_turn

Values = dict[str, NDArray[np.generic]]
#: the share of the progress bar that each stage takes: reference networks, segments, layers
_STAGES = (0.1, 0.5, 0.4)
#: the rate only has to be good to some per cent: what it is used for is an estimate
_REFERENCE = Effort(runs=5, precision=0.02, budget_s=3.0, warm_up=1)


def main(folder: Path, tell: Callable[[dict[str, Any]], None]) -> None:
    """Measure what the folder asks for; ``tell`` sends an event to the parent."""
    request = read_json(folder / "request.json")
    native = framework(request["framework"])
    native.set_threads(request["threads"])
    deployed = Deployed(request["runtime"], request["threads"], folder) if request["runtime"] else None
    program = native.open_program(folder / "program")
    effort = QUICK if request["quick"] else Effort()
    # What the framework has made so far stays; looking through it at every collection takes longer than measuring.
    gc.collect()
    gc.freeze()

    def stage(number: int) -> Callable[[float], None]:
        before = sum(_STAGES[:number])
        return lambda done: tell({"event": "progress", "done": before + done * _STAGES[number]})

    tell({"event": "progress", "done": 0.0})
    rate = reference_rate(native, stage(0))
    pieces, end_to_end = measure_segments(program, effort, stage(1), deployed.runner if deployed else _own_runner)
    layers = measure_layers(program, [piece.inputs for piece in pieces], effort, stage(2))
    for piece in pieces:
        if piece.stop - piece.start == 1:
            layers[piece.start] = piece.latency
    if deployed:
        # The reference networks are the framework's own: how much faster this network is says how much they would be.
        whole = program.slice(None, None).runner(program.example())
        rate *= time_in_turn([whole], _REFERENCE)[0].median_s / end_to_end.median_s
    tell(
        {
            "event": "result",
            "macs_per_s": rate,
            "runtime_version": runtime(request["runtime"] or native.runtime).version(),
            "end_to_end": end_to_end.model_dump(),
            "segments": [[piece.start, piece.stop, piece.latency.model_dump()] for piece in pieces],
            "layers": [layers[position].model_dump() for position in range(len(program.graph.layers))],
        }
    )


def _own_runner(part: Part, values: Values) -> Callable[[], object]:
    return part.runner(values)


class Deployed:
    """Another runtime than the framework's own: parts are written for it, and what is timed is the artefact."""

    def __init__(self, name: str, threads: int, folder: Path) -> None:
        self._runtime = runtime(name)
        self._runtime.set_threads(threads)
        self._folder, self._count = folder, 0

    def runner(self, part: Part, values: Values) -> Callable[[], object]:
        self._count += 1
        path = self._folder / f"piece_{self._count}{self._runtime.suffix}"
        self._runtime.write(part, path)
        return self._runtime.open(path).runner(values)


def reference_rate(native: Framework, progress: Callable[[float], None]) -> float:
    """The machine's effective rate, as :attr:`edgepart.hardware.Device.macs_per_s` defines it."""
    networks = native.reference()
    found = time_in_turn([run for _, run in networks.values()], _REFERENCE, progress)
    return statistics.geometric_mean(
        macs / latency.median_s for (macs, _), latency in zip(networks.values(), found, strict=True)
    )


@dataclass(frozen=True)
class Piece:
    """A segment that was measured, and the values that entered it."""

    start: int
    stop: int
    latency: Measurement
    inputs: Values


def measure_segments(
    program: Program,
    effort: Effort,
    progress: Callable[[float], None],
    runner: Callable[[Part, Values], Callable[[], object]],
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
    *latencies, end_to_end = time_in_turn([*calls, whole], effort, progress)
    pieces = [
        Piece(start, stop, latency, inputs)
        for (start, stop), latency, inputs in zip(places, latencies, entered, strict=True)
    ]
    return pieces, end_to_end


def measure_layers(
    program: Program, entering: list[Values], effort: Effort, progress: Callable[[float], None]
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
            found |= dict(zip(range(start, stop), time_in_turn(calls, share), strict=True))
        progress(stop / count)
    return found


def _still_needed(graph: Graph, values: Values, position: int) -> Values:
    """The values that a layer at or after ``position`` reads."""
    return {
        name: value
        for name, value in values.items()
        if any(graph.position[consumer] >= position for consumer in graph.tensor(name).consumers)
    }


if __name__ == "__main__":
    # What a framework prints must not mix with the events: it goes to stderr.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # Line by line, so that a traceback stays the last word there.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]

    def send(event: dict[str, Any]) -> None:
        """Write one event."""
        print(json.dumps(event), file=channel, flush=True)

    try:
        main(Path(sys.argv[1]), send)
    except EdgepartError as error:
        send({"event": "error", "message": str(error)})
        sys.exit(2)
