"""The process that measures memory, ``python -m edgepart.profiling.memory FOLDER``: it runs artefacts one by one.

Linux counts the most memory that a process had resident (``VmHWM``) and lets it forget the count (``clear_refs``).
glibc must give memory back as soon as it is freed, which :data:`ENVIRONMENT` tells it; else what earlier parts left
hides what later ones take. Only where ``/proc/self/clear_refs`` exists.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgepart.files import read_arrays, read_json
from edgepart.frameworks.runtimes import runtime
from edgepart.frameworks.runtimes.base import Runtime

#: what the process must be started with
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
#: which artefacts to run on which values, in the folder
REQUEST = "memory.json"
_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
#: makes the kernel forget the most that was resident
_FORGET = "5"


def can_measure() -> bool:
    """Whether this system counts the memory of a process."""
    return _CLEAR.exists()


def main(folder: Path) -> list[dict[str, int]]:
    """``start``, ``stop``, ``resident_bytes`` and ``peak_bytes`` of every part that the folder asks for."""
    request = read_json(folder / REQUEST)
    used = runtime(request["runtime"])
    used.set_threads(request["threads"])
    return [_measure(used, folder, part) for part in request["parts"]]


def _measure(used: Runtime, folder: Path, part: dict[str, Any]) -> dict[str, int]:
    values = read_arrays(folder / part["values"])

    def opened() -> Callable[[], object]:
        return used.open(folder / part["file"]).runner(values)

    # What the runtime loads on first use is not the part's: run it once and let it go.
    opened()()
    gc.collect()
    call = opened()
    gc.collect()
    resident = _bytes("VmRSS")
    _CLEAR.write_text(_FORGET)
    call()
    call()
    found = {"resident_bytes": resident, "peak_bytes": max(resident, _bytes("VmHWM"))}
    return {"start": part["start"], "stop": part["stop"], **found}


def _bytes(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    # What a runtime prints must not mix with the answer: it goes to stderr.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    print(json.dumps(main(Path(sys.argv[1]))), file=channel, flush=True)
