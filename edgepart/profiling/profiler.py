"""Measuring a network on this machine: captured here, timed in a fresh process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from edgepart.errors import ProfileError
from edgepart.files import write_json
from edgepart.frameworks import Framework, Program, framework_of
from edgepart.frameworks.runtimes import require_runtime
from edgepart.graph import Graph, peak_activation_bytes
from edgepart.hardware import (
    THIS,
    Cut,
    LayerProfile,
    Load,
    Measurement,
    Middle,
    PartMemory,
    Profile,
    Segment,
    catalogue,
)
from edgepart.profiling import memory
from edgepart.profiling.machine import KEEP_MEMORY, LoadSampler, this_device
from edgepart.progress import progress

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
#: per cent of the progress bar that timing takes; the rest is for memory
_UNTIL_MEMORY = 95


def profile(
    model: object,
    example: object = None,
    *,
    device: str = THIS,
    runtime: str | None = None,
    threads: int = 1,
    quick: bool = False,
) -> Profile:
    """Measure a network on this machine: every segment, every layer and the whole, one sample at a time.

    Args:
        model: a network of a framework that edgepart knows, or what the command line takes (``file.py:function``,
            ``hf:FOLDER``)
        example: inputs to capture it with, batch first; not needed with a string
        device: ``this``: a profile is always of the machine that it is measured on
        runtime: that parts will run on, such as ``onnxruntime``: segments are written for it and timed as deployed;
            None: the framework's own
        threads: that one operation may use
        quick: a first impression in seconds, with more spread

    Raises:
        ModelError: the model cannot be loaded or captured.
        ProfileError: it cannot be measured, or not on that device.
        ExportError: the framework has no way to that runtime.
        UnknownName: no such device or runtime.
    """
    require_this(device)
    if isinstance(model, str):
        from edgepart.frameworks.model import load_model

        loaded = load_model(model)
        model, example = loaded.model, loaded.example
    framework = framework_of(model)
    if runtime is not None:
        require_runtime(framework, runtime)
    return measure(framework, framework.program(model, example), threads, quick, runtime)


def measure(
    framework: Framework, program: Program, threads: int = 1, quick: bool = False, runtime: str | None = None
) -> Profile:
    """Measure a captured network in a process of its own, on the framework's own runtime or on another.

    Raises:
        ProfileError: the process was killed (memory), crashed, or cannot open or export the program.
    """
    runtime = None if runtime == framework.runtime else runtime
    if threads < 1:
        raise ProfileError(f"{threads} threads cannot run anything: give 1 or more")
    with tempfile.TemporaryDirectory(prefix="edgepart-profile-") as name:
        folder = Path(name)
        program.save(folder / "program")
        request = {"framework": framework.name, "runtime": runtime, "threads": threads, "quick": quick}
        write_json(folder / "request.json", request)
        environment = os.environ | {variable: str(threads) for variable in _THREAD_VARIABLES}
        with progress(f"measuring {program.graph.name}", total=100) as advance:
            result, load = _run_worker(folder, program.graph.name, environment | KEEP_MEMORY, advance)
            used, note = _run_memory(folder, environment)
            advance(100 - _UNTIL_MEMORY)
    return _assemble(program.graph, runtime or framework.runtime, threads, result, load).model_copy(
        update={"memory": _memory(program.graph, used), "memory_note": note}
    )


def require_this(device: str) -> None:
    """Check that a device to profile on is this machine.

    Raises:
        UnknownName: no such device.
        ProfileError: another device than this machine.
    """
    if device != THIS:
        known = catalogue.device(device)
        raise ProfileError(
            f"a profile is measured, and this machine is not known to be a {known.name}: run 'edgepart profile' there "
            f"with --device {THIS}, or profile here and let 'edgepart partition profile.json --tier NAME={known.name}' "
            "scale it"
        )


def _command(module: str, folder: Path) -> list[str]:
    # -P: no file of the current folder is taken for a module
    return [sys.executable, "-P", "-m", module, str(folder)]


def _run_memory(folder: Path, environment: Mapping[str, str]) -> tuple[list[dict[str, int]], str]:
    """Memory of the parts that the worker left, and why there is none: that does not make a profile useless."""
    if not memory.can_measure():
        return [], "not measured: this system does not count the most memory of a process (/proc/self/clear_refs)"
    command = _command("edgepart.profiling.memory", folder)
    done = subprocess.run(
        command, env={**environment, **memory.ENVIRONMENT}, capture_output=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        lines = [line.strip() for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
        return [], f"not measured: {lines[-1] if lines else f'its process ended with code {done.returncode}'}"
    found: list[dict[str, int]] = json.loads(done.stdout)
    return found, ""


def _memory(graph: Graph, used: list[dict[str, int]]) -> tuple[PartMemory, ...]:
    found = []
    for part in used:
        names = [layer.name for layer in graph.layers[part["start"] : part["stop"]]]
        found.append(
            PartMemory(
                **part,
                parameter_bytes=graph.parameter_bytes(names),
                predicted_activation_bytes=peak_activation_bytes(graph, names),
            )
        )
    return tuple(found)


def _run_worker(
    folder: Path, network: str, environment: Mapping[str, str], advance: Callable[[int], None]
) -> tuple[dict[str, Any], Load]:
    command = _command("edgepart.profiling.worker", folder)
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=complaints, stdin=subprocess.DEVNULL, text=True, env=environment
        ) as worker,
    ):
        sampler = LoadSampler(worker.pid)
        try:
            result = _follow(worker.stdout, network, advance) if worker.stdout else None
            worker.wait()
        finally:
            worker.kill()
            load = sampler.stop()
        if result is None:
            raise ProfileError(_why(worker.returncode, complaints, network))
    return result, load


def _follow(events: IO[str], network: str, advance: Callable[[int], None]) -> dict[str, Any] | None:
    """Show progress until the result comes; None if the stream ends before."""
    shown = 0
    for line in events:
        event: dict[str, Any] = json.loads(line)
        if event["event"] == "result":
            return event
        if event["event"] == "error":
            raise ProfileError(f"'{network}' cannot be measured: {event['message']}")
        reached = int(_UNTIL_MEMORY * event["done"])
        advance(reached - shown)
        shown = reached
    return None


def _why(code: int, complaints: IO[str], network: str) -> str:
    """One sentence about a process that ended without a result."""
    if code == -signal.SIGKILL:
        return (
            f"the process that measured '{network}' was killed, probably because memory ran out: free some, or "
            "profile a smaller network or on a larger machine"
        )
    if code < 0:
        return f"the process that measured '{network}' crashed ({signal.Signals(-code).name}); is the runtime sound?"
    complaints.seek(0)
    lines = [line.strip() for line in complaints if line.strip()]
    return f"the process that measured '{network}' failed: {lines[-1] if lines else f'exit code {code}, no message'}"


def _assemble(graph: Graph, runtime: str, threads: int, result: dict[str, Any], load: Load) -> Profile:
    end_to_end = Measurement.model_validate(result["end_to_end"])
    layers = [
        LayerProfile(
            name=layer.name,
            latency=Measurement.model_validate(latency),
            macs=layer.macs,
            parameter_bytes=graph.parameter_bytes([layer.name]),
            activation_bytes=layer.activation_bytes,
        )
        for layer, latency in zip(graph.layers, result["layers"], strict=True)
    ]
    segments = []
    for start, stop, latency in result["segments"]:
        inside = graph.layers[start:stop]
        names = [layer.name for layer in inside]
        segments.append(
            Segment(
                start=start,
                stop=stop,
                latency=Measurement.model_validate(latency),
                macs=sum(layer.macs for layer in inside),
                parameter_bytes=graph.parameter_bytes(names),
                activation_bytes=peak_activation_bytes(graph, names),
            )
        )
    version = result["runtime_version"]
    return Profile(
        graph=graph,
        device=this_device(float(f"{result['macs_per_s']:.4g}"), threads=threads, runtime=f"{runtime} {version}"),
        runtime=runtime,
        runtime_version=version,
        threads=threads,
        layers=tuple(layers),
        segments=tuple(segments),
        end_to_end=end_to_end,
        machine_load=load,
        cuts=tuple(Cut.model_validate(cut) for cut in result["cuts"]),
        middles=tuple(Middle.model_validate(middle) for middle in result["middles"]),
        wake_up=Measurement.model_validate(result["wake_up"]),
    )
