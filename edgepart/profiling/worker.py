"""The process that measures, ``python -m edgepart.profiling.worker FOLDER``: nothing else has run in it before.

It reads ``request.json`` and the saved program from the folder and writes one JSON object a line on stdout:
``{"event": "progress", "done": 0.5}``, and at the end ``result`` or, for a mistake of the user's, ``error``.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import os
import shutil
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgepart.errors import EdgepartError
from edgepart.files import read_json, write_arrays, write_json
from edgepart.frameworks import Framework, Part, Program, framework
from edgepart.frameworks.runtimes import runtime
from edgepart.hardware import Measurement
from edgepart.profiling.memory import REQUEST
from edgepart.profiling.pieces import (
    PASSES_PER_LAYER,
    Values,
    measure_cuts,
    measure_layers,
    measure_segments,
    spent_s,
    spread,
)
from edgepart.profiling.timing import QUICK, Effort, time_in_turn
from edgepart.profiling.waiting import Side, measure_wake_up, rounds_of_waiting, runs_a_round

#: the share of the progress bar that each stage takes: reference networks, segments, layers, cuts
_STAGES = (0.05, 0.3, 0.2, 0.45)
#: cuts whose sides are timed after waiting, and how often each
_WAITING, _QUICK_WAITING = (3, 12), (1, 5)
#: the rate only has to be good to some per cent: what it is used for is an estimate
_REFERENCE = Effort(runs=5, precision=0.02, budget_s=3.0, warm_up=1)
#: the whole beside the artefact of the whole
_WHOLE = Effort(runs=16, most_runs=100, precision=0.005, budget_s=3.0, warm_up=1, in_a_row=4)
_QUICK_WHOLE = Effort(runs=10, precision=0.02, budget_s=0.5, warm_up=1, in_a_row=4)
#: of each cut; the budget is for writing and running the parts of all of them
_CUTS = Effort(runs=8, most_runs=24, precision=0.01, budget_s=60.0, warm_up=0, in_a_row=4)
_QUICK_CUTS = Effort(runs=4, most_runs=8, precision=0.05, budget_s=1.5, warm_up=0, in_a_row=4)


def main(folder: Path, tell: Callable[[dict[str, Any]], None]) -> None:
    """Measure what the folder asks for; ``tell`` sends an event to the parent."""
    request = read_json(folder / "request.json")
    native = framework(request["framework"])
    native.set_threads(request["threads"])
    deployed = Deployed(request["runtime"] or native.runtime, request["threads"], folder)
    runner = deployed.runner if request["runtime"] else _own_runner
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
    pieces, whole = measure_segments(program, effort, stage(1), runner)
    layers = measure_layers(program, [piece.inputs for piece in pieces], effort, stage(2))
    for piece in pieces:
        if piece.stop - piece.start == 1:
            layers[piece.start] = piece.latency
    layers_s = _scaled([layers[position].median_s for position in range(len(layers))], whole.median_s)
    segments_s = [piece.latency for piece in pieces]
    left_s = PASSES_PER_LAYER * len(layers) * whole.median_s - spent_s([*layers.values(), *segments_s, whole], effort)
    waiting_cuts, rounds = rounds_of_waiting(
        len(layers), whole.median_s, *(_QUICK_WAITING if request["quick"] else _WAITING)
    )
    left_s -= waiting_cuts * rounds * runs_a_round(whole.median_s) * whole.median_s
    effort_of_cuts = _QUICK_CUTS if request["quick"] else _CUTS
    cuts, middles = measure_cuts(program, layers_s, effort_of_cuts, left_s, stage(3), runner)

    timed = _QUICK_WHOLE if request["quick"] else _WHOLE
    path = deployed.write(program.slice(None, None))
    example = dict(program.example())
    own, artefact = time_in_turn([program.slice(None, None).runner(example), deployed.open(path, example)], timed)
    if request["runtime"]:
        # The reference networks are the framework's own: how much faster this network is says how much they would be.
        rate *= own.median_s / artefact.median_s
    places = list(itertools.islice(spread(layers_s, _crossing(program)), waiting_cuts))
    # a network of one layer is not cut: it waits as a whole
    cut = [deployed.sides(program, place) for place in places] or [[deployed.side(path, example)]]
    wake_up = measure_wake_up(cut, artefact.median_s, rounds, request["threads"])
    deployed.ask_for_memory(program, path, [] if request["quick"] else places[:1])

    # Pieces were timed in turn with the whole, those of the framework's own runtime without writing them: what they
    # take of it, of what the artefact takes.
    def told(latency: Measurement, beside: Measurement = whole) -> dict[str, Any]:
        return latency.times(artefact.median_s / beside.median_s).model_dump()

    tell(
        {
            "event": "result",
            "macs_per_s": rate,
            "runtime_version": runtime(request["runtime"] or native.runtime).version(),
            "end_to_end": artefact.model_dump(),
            "wake_up": wake_up.model_dump(),
            "segments": [[piece.start, piece.stop, told(piece.latency)] for piece in pieces],
            "layers": [told(layers[position]) for position in range(len(program.graph.layers))],
            "cuts": [
                {"position": c.position, "before": told(c.before, c.whole), "after": told(c.after, c.whole)}
                for c in cuts
            ],
            "middles": [{"start": m.start, "stop": m.stop, "latency": told(m.latency, m.whole)} for m in middles],
        }
    )


def _own_runner(part: Part, values: Values) -> Callable[[], object]:
    return part.runner(values)


def _scaled(seconds: list[float], total: float) -> list[float]:
    return [one * total / (sum(seconds) or 1.0) for one in seconds]


def _crossing(program: Program) -> list[int]:
    return [boundary.bytes for boundary in program.graph.boundaries()]


class Deployed:
    """Parts written for a runtime, as they will be deployed."""

    def __init__(self, name: str, threads: int, folder: Path) -> None:
        self._name, self._threads = name, threads
        self._runtime = runtime(name)
        self._folder, self._count = folder, 0

    def write(self, part: Part) -> Path:
        """An artefact of the part."""
        self._count += 1
        path = self._folder / f"piece_{self._count}{self._runtime.suffix}"
        self._runtime.write(part, path)
        return path

    def open(self, path: Path, values: Values) -> Callable[[], object]:
        """One inference of an artefact, to be timed."""
        self._runtime.set_threads(self._threads)
        return self._runtime.open(path).runner(values)

    def side(self, path: Path, values: Values) -> Side:
        """An artefact that waits for its inputs."""
        self._runtime.set_threads(self._threads)
        artefact = self._runtime.open(path)
        return Side({name: np.asarray(array) for name, array in values.items()}, artefact.run, artefact.runner(values))

    def runner(self, part: Part, values: Values) -> Callable[[], object]:
        """One inference of the part's artefact, whose files are let go: all pieces together are many networks."""
        path = self.write(part)
        call = self.open(path, values)
        self._let_go(path)
        return call

    def _let_go(self, path: Path) -> None:
        for file in self._folder.glob(f"{path.name}*"):
            # where a file that is open cannot be removed, it goes with the folder
            with contextlib.suppress(OSError):
                shutil.rmtree(file) if file.is_dir() else file.unlink()

    def sides(self, program: Program, position: int) -> list[Side]:
        """The parts on both sides of a cut."""
        cut, example = program.graph.boundaries()[position - 1], dict(program.example())
        before, after = program.slice(None, cut), program.slice(cut, None)
        crossing = example | before.run(example)
        found = []
        for part in (before, after):
            path = self.write(part)
            found.append(self.side(path, {name: crossing[name] for name in part.inputs}))
            self._let_go(path)
        return found

    def ask_for_memory(self, program: Program, whole: Path, positions: list[int]) -> None:
        """Say which artefacts :mod:`edgepart.profiling.memory` is to run: the whole, and both sides of some cuts."""
        boundaries, example = program.graph.boundaries(), dict(program.example())
        count, parts = len(program.graph.layers), list[dict[str, Any]]()

        def ask(start: int, stop: int, path: Path, values: Values) -> None:
            given = path.with_name(f"{path.name}.values")
            write_arrays(given, values, {})
            parts.append({"start": start, "stop": stop, "file": path.name, "values": given.name})

        for position in positions:
            cut = boundaries[position - 1]
            before, after = program.slice(None, cut), program.slice(cut, None)
            crossing = example | before.run(example)
            ask(0, position, self.write(before), {name: example[name] for name in before.inputs})
            ask(position, count, self.write(after), {name: crossing[name] for name in after.inputs})
        ask(0, count, whole, example)
        write_json(self._folder / REQUEST, {"runtime": self._name, "threads": self._threads, "parts": parts})


def reference_rate(native: Framework, progress: Callable[[float], None]) -> float:
    """The machine's effective rate, as :attr:`edgepart.hardware.Device.macs_per_s` defines it."""
    networks = native.reference()
    found = time_in_turn([run for _, run in networks.values()], _REFERENCE, progress)
    return statistics.geometric_mean(
        macs / latency.median_s for (macs, _), latency in zip(networks.values(), found, strict=True)
    )


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
