"""Peak memory of a part, in a process of its own: ``python -m edgepart.measuring.memory REQUEST``.

The part is opened and run once, so that whatever the runtime loads when it is first used is there, and dropped. What
the process then holds is the runtime's. The kernel's high-water mark is reset, the part opened and run again, and what
the mark has risen by is the part's. The allocator is told to give back what is freed, without which the figure would be
anything (:data:`edgepart.profiling.memory.ENVIRONMENT`).
"""

from __future__ import annotations

import ctypes
import gc
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgepart.bundle.part import open_part
from edgepart.errors import EdgepartError, MeasurementError
from edgepart.files import read_arrays, read_json, write_arrays, write_json
from edgepart.measuring.framing import Arrays
from edgepart.measuring.processes import THREAD_VARIABLES, ending
from edgepart.profiling.memory import ENVIRONMENT

_RUNS = 3
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class PeakMemory:
    """Bytes that a process holds with the runtime alone, and how much more a part needs at most."""

    runtime_bytes: int
    part_bytes: int


def peak_memory(folders: Mapping[str, Path], arrays: Arrays, *, split: bool, threads: int) -> dict[str, PeakMemory]:
    """The peak memory of every part, one process after another; under ``split`` each is fed by the one before.

    Raises:
        MeasurementError: a process ended before it had measured; names the tier.
    """
    found = {}
    with tempfile.TemporaryDirectory(prefix="edgepart-memory-") as name:
        scratch = Path(name)
        given = scratch / "inputs.safetensors"
        write_arrays(given, arrays, {})
        for tier, folder in folders.items():
            made = scratch / f"{tier}.safetensors"
            request = {"folder": str(folder), "threads": threads, "given": str(given), "made": str(made)}
            found[tier] = _measure(tier, request, scratch, threads)
            given = made if split else given
    return found


def _measure(tier: str, request: Mapping[str, object], scratch: Path, threads: int) -> PeakMemory:
    write_json(scratch / "request.json", request)
    environment = os.environ | {variable: str(threads) for variable in THREAD_VARIABLES} | ENVIRONMENT
    command = [sys.executable, "-P", "-m", "edgepart.measuring.memory", str(scratch / "request.json")]
    with (scratch / "complaints.txt").open("w") as complaints:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=complaints,
            stderr=complaints,
            env=environment,
            check=False,
        )
    if done.returncode:
        raise MeasurementError(
            ending(f"the process that measured the memory of '{tier}'", done.returncode, scratch / "complaints.txt")
        )
    return PeakMemory(**read_json(scratch / "result.json"))


def main(path: Path) -> None:
    """Measure what the request asks for, and write ``result.json`` and the crossing tensors beside it."""
    request = read_json(path)
    arrays = read_arrays(request["given"])

    def run(count: int) -> dict[str, object]:
        part = open_part(request["folder"])
        part.set_threads(request["threads"])
        for _ in range(count):
            made = part.run(arrays)
        return {name: made[name] for name in part.outputs}

    write_arrays(request["made"], run(1), {})  # type: ignore[arg-type]
    gc.collect()
    _give_back()
    before = _status_bytes("VmRSS")
    _RESET.write_text("5")
    run(_RUNS)
    peak = _status_bytes("VmHWM")
    write_json(path.with_name("result.json"), {"runtime_bytes": before, "part_bytes": max(0, peak - before)})


def _give_back() -> None:
    """Have the allocator return what is free; only glibc knows how."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _status_bytes(field: str) -> int:
    found = re.search(rf"^{field}:\s*(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    if not found:
        raise MeasurementError(f"{_STATUS} tells no {field} on this system")
    return 1024 * int(found[1])


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except EdgepartError as error:
        sys.exit(str(error))
