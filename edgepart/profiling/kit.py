"""A folder that measures a network where neither edgepart nor its framework is installed, and what comes back from it.

The folder holds the network, its segments, both sides of a few cuts and what lies between these as artefacts of ONNX
Runtime or ExecuTorch, the values that enter each, and ``run.py`` (:mod:`edgepart.profiling.kit_runner`), which needs
NumPy and the runtime only.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgepart.errors import ProfileError
from edgepart.files import Document, Record, atomic_folder, write_json
from edgepart.frameworks import Framework, Part, Program
from edgepart.frameworks.runtimes import Runtime, require_runtime
from edgepart.graph import Graph, peak_activation_bytes
from edgepart.hardware import FROM_KIT, Cut, Device, LayerProfile, Load, Measurement, Middle, Profile, Segment
from edgepart.hardware.roofline import moved_bytes
from edgepart.profiling import kit_runner
from edgepart.profiling.pieces import spread
from edgepart.profiling.segments import edges, segments
from edgepart.progress import progress

#: runtimes that ``run.py`` knows
RUNTIMES = tuple(kit_runner.OPENERS)
#: the runner, and what it writes, in the folder
RUNNER, MEASUREMENTS = "run.py", "measurements.json"
#: cuts of which both sides are in a kit: each is the network once more, and all that lies between them another time
CUTS = 3
#: multiply-accumulates in the time of moving a byte, about, on processors: how layers of one segment divide its time
_MACS_PER_BYTE = 4.0

Values = Mapping[str, NDArray[np.generic]]


class Machine(Record):
    """The machine that the kit ran on."""

    processor: str
    cores: int = Field(ge=1)
    memory_bytes: int = Field(gt=0)
    operating_system: str
    python: str


class TimedPiece(Record):
    """The layers ``start`` … ``stop - 1`` as one piece."""

    start: int
    stop: int
    latency: Measurement


class TimedSides(Record):
    """Both sides of a cut, and the whole in turn with them."""

    position: int
    before: Measurement
    after: Measurement
    whole: Measurement


class TimedMiddle(Record):
    """The layers ``start`` … ``stop - 1`` between two cuts, and the whole in turn with them."""

    start: int
    stop: int
    latency: Measurement
    whole: Measurement


class Longer(Record):
    """A difference of timings: median and distance between the quartiles."""

    median_s: float
    spread_s: float = Field(ge=0)
    runs: int = Field(ge=1)


class KitMeasurements(Document):
    """What ``run.py`` writes."""

    kind: ClassVar[str] = "kit-measurements"

    network: str
    fingerprint: str
    runtime: str
    runtime_version: str
    threads: int = Field(ge=1)
    machine: Machine
    mean_cores: float = Field(ge=0)
    maximum_cores: float = Field(ge=0)
    end_to_end: Measurement
    pieces: tuple[TimedPiece, ...]
    cuts: tuple[TimedSides, ...]
    middles: tuple[TimedMiddle, ...] = ()
    #: what a part takes longer after waiting; may be negative where it is no more than noise
    wake_up: Longer | None = None


def write_kit(framework: Framework, program: Program, folder: Path, runtime: str | None = None) -> str:
    """Write a network's kit; returns the name of the runtime that it is for.

    Args:
        folder: takes the place of an older kit there, never of anything else
        runtime: None: the first of :data:`RUNTIMES` that runs parts of the framework

    Raises:
        ProfileError: the folder holds something else, or no kit runs on that runtime.
        ExportError: the framework or runtime cannot hold a part.
        FileError: the disk is full.
    """
    used = _runtime(framework, runtime)
    if folder.exists() and not (folder.is_dir() and ((folder / "kit.json").is_file() or not any(folder.iterdir()))):
        raise ProfileError(f"{folder} exists and is no kit: give another folder for --kit")
    with atomic_folder(folder) as target:
        _fill(program, used, target)
        shutil.copyfile(kit_runner.__file__, target / RUNNER)
    return used.name


def from_kit(graph: Graph, measured: KitMeasurements, name: str) -> Profile:
    """The profile of a network from what its kit measured on another machine.

    Times of layers inside one segment are not measured: they divide it as a processor would that is bound by
    computing or by memory.

    Args:
        name: of the machine, in the profile

    Raises:
        ProfileError: the measurements are of another network.
    """
    places = [(one.start, one.stop) for one in measured.pieces]
    if measured.fingerprint != graph.fingerprint or places != segments(graph):
        raise ProfileError(
            f"the measurements are of '{measured.network}' ({measured.fingerprint}), and this network is "
            f"'{graph.name}' ({graph.fingerprint}): write the kit again and run it again"
        )
    whole_s = measured.end_to_end.median_s
    return Profile(
        graph=graph,
        device=_device(graph, measured, name),
        runtime=measured.runtime,
        runtime_version=measured.runtime_version,
        threads=measured.threads,
        layers=tuple(itertools.chain.from_iterable(_layers(graph, one) for one in measured.pieces)),
        segments=tuple(_segment(graph, one) for one in measured.pieces),
        end_to_end=measured.end_to_end,
        machine_load=Load(mean_cores=measured.mean_cores, maximum_cores=measured.maximum_cores),
        cuts=tuple(
            Cut(
                position=one.position,
                before=one.before.times(whole_s / one.whole.median_s),
                after=one.after.times(whole_s / one.whole.median_s),
            )
            for one in sorted(measured.cuts, key=lambda one: one.position)
        ),
        middles=tuple(
            Middle(start=one.start, stop=one.stop, latency=one.latency.times(whole_s / one.whole.median_s))
            for one in measured.middles
        ),
        wake_up=measured.wake_up and _wake_up(measured.wake_up),
        memory_note="not measured: a kit measures times only",
    )


def _wake_up(found: Longer) -> Measurement:
    return Measurement(median_s=max(0.0, found.median_s), spread_s=found.spread_s, runs=found.runs)


def _runtime(framework: Framework, name: str | None) -> Runtime:
    if name is None:
        able = [each for each in RUNTIMES if _form(each) in framework.forms]
        if not able:
            raise ProfileError(f"no kit runs networks of {framework.name}: kits are for {' and '.join(RUNTIMES)}")
        name = able[0]
    found = require_runtime(framework, name)
    if found.name not in RUNTIMES:
        raise ProfileError(f"a kit cannot run on '{name}': give --runtime {' or '.join(RUNTIMES)}")
    return found


def _form(name: str) -> str:
    from edgepart.frameworks.runtimes import runtime

    return runtime(name).form


def _fill(program: Program, used: Runtime, folder: Path) -> None:
    graph, boundaries = program.graph, program.graph.boundaries()
    example: dict[str, NDArray[np.generic]] = dict(program.example())
    places = segments(graph)
    costs = [_share(graph, name) for name in graph.position]
    positions = sorted(itertools.islice(spread(costs, [one.bytes for one in boundaries]), CUTS))
    # segments, sides of cuts, what lies between these, and the whole
    with progress(f"writing {graph.name}", total=len(places) + max(1, 3 * len(positions))) as advance:

        def write(part: Part, stem: str, values: Values) -> dict[str, Any]:
            file = f"{stem}{used.suffix}"
            used.write(part, folder / file)
            _write_values(folder / f"{stem}.npz", [values[name] for name in part.inputs])
            advance(1)
            outputs = list(part.signature.output_names)
            return {"file": file, "values": f"{stem}.npz", "inputs": list(part.inputs), "outputs": outputs}

        values = dict(example)
        pieces = []
        for number, (start, stop) in enumerate(places):
            part = program.slice(*edges(boundaries, start, stop))
            pieces.append({"start": start, "stop": stop, **write(part, f"piece_{number:03}", values)})
            values = values | part.run(values)
        cuts, middles = [], []
        for position, following in itertools.zip_longest(positions, positions[1:]):
            cut = boundaries[position - 1]
            before, after = program.slice(None, cut), program.slice(cut, None)
            crossing = example | before.run(example)
            sides = {
                "before": write(before, f"cut_{position:04}_before", example),
                "after": write(after, f"cut_{position:04}_after", crossing),
            }
            cuts.append({"position": position, **sides})
            if following is not None:
                middle = program.slice(cut, boundaries[following - 1])
                written = write(middle, f"cut_{position:04}_to_{following:04}", crossing)
                middles.append({"start": position, "stop": following, **written})
        whole = write(program.slice(None, None), "whole", example)
    described = {"network": graph.name, "fingerprint": graph.fingerprint, "runtime": used.name}
    write_json(folder / "kit.json", described | {"whole": whole, "pieces": pieces, "cuts": cuts, "middles": middles})


def _write_values(path: Path, arrays: list[NDArray[np.generic]]) -> None:
    # by place: a tensor's name may be no name of a file
    stored: dict[str, Any] = {f"input_{place}": array for place, array in enumerate(arrays)}
    np.savez(path, **stored)


def _device(graph: Graph, measured: KitMeasurements, name: str) -> Device:
    machine = measured.machine
    macs = sum(layer.macs for layer in graph.layers)
    return Device(
        name=name,
        title=f"{name} ({machine.processor})",
        tier="edge",
        memory_bytes=machine.memory_bytes,
        macs_per_s=float(f"{max(macs, 1) / measured.end_to_end.median_s:.4g}"),
        cores=machine.cores,
        basis="measured",
        source=FROM_KIT,
        note=f"The rate is that of {graph.name} itself: a kit holds no reference networks.",
        facts={
            "processor": machine.processor,
            "operating_system": machine.operating_system,
            "python": machine.python,
            "threads": measured.threads,
            "runtime": f"{measured.runtime} {measured.runtime_version}",
        },
    )


def _layers(graph: Graph, piece: TimedPiece) -> list[LayerProfile]:
    inside = graph.layers[piece.start : piece.stop]
    costs = [_share(graph, layer.name) for layer in inside]
    return [
        LayerProfile(
            name=layer.name,
            latency=piece.latency.times(cost / sum(costs)),
            macs=layer.macs,
            parameter_bytes=graph.parameter_bytes([layer.name]),
            activation_bytes=layer.activation_bytes,
        )
        for layer, cost in zip(inside, costs, strict=True)
    ]


def _share(graph: Graph, name: str) -> float:
    """What a layer takes, in bytes that could be moved meanwhile; 1 at least."""
    layer = graph.layer(name)
    return max(layer.macs / _MACS_PER_BYTE, float(moved_bytes(graph, layer)), 1.0)


def _segment(graph: Graph, piece: TimedPiece) -> Segment:
    inside = graph.layers[piece.start : piece.stop]
    names = [layer.name for layer in inside]
    return Segment(
        start=piece.start,
        stop=piece.stop,
        latency=piece.latency,
        macs=sum(layer.macs for layer in inside),
        parameter_bytes=graph.parameter_bytes(names),
        activation_bytes=peak_activation_bytes(graph, names),
    )
