"""Measuring a network on this machine: captured here, timed in a fresh process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from edgepart.errors import ProfileError
from edgepart.files import write_json
from edgepart.frameworks import Framework, Program, framework_of
from edgepart.frameworks.runtimes import require_runtime
from edgepart.graph import Graph, peak_activation_bytes
from edgepart.hardware import THIS, LayerProfile, Load, Measurement, Profile, Segment, catalogue
from edgepart.profiling.machine import LoadSampler, this_device
from edgepart.progress import progress

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


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
        result, load = _run_worker(folder, program.graph.name, threads)
    return _assemble(program.graph, runtime or framework.runtime, threads, result, load)


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


def _run_worker(folder: Path, network: str, threads: int) -> tuple[dict[str, Any], Load]:
    environment = os.environ | {variable: str(threads) for variable in _THREAD_VARIABLES}
    # -P: no file of the current folder is taken for a module
    command = [sys.executable, "-P", "-m", "edgepart.profiling.worker", str(folder)]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=complaints, stdin=subprocess.DEVNULL, text=True, env=environment
        ) as worker,
    ):
        sampler = LoadSampler(worker.pid)
        try:
            with progress(f"measuring {network}", total=100) as advance:
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
        advance(int(100 * event["done"]) - shown)
        shown = int(100 * event["done"])
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
    )
