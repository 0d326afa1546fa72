"""How well a roofline that was fitted to some networks predicts another one: leave-one-out on this machine.

    OMP_NUM_THREADS=1 python benchmarks/calibration.py --profiles FOLDER [-o benchmarks/results/calibration.json]

The networks of ``benchmarks/predicted.py`` that are made in PyTorch (random weights, 224 × 224 images or 64 tokens) are
profiled with ``quick`` on one thread, on PyTorch and on ONNX Runtime; profiles that lie in the folder already are
taken. Each network is predicted by the roofline that ``edgepart profile --calibrate`` fits to the others.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import predicted

from edgepart.files import write_json
from edgepart.hardware import Profile
from edgepart.hardware.calibration import calibrate
from edgepart.profiling import profile
from edgepart.profiling.machine import processor

RUNTIMES = ("onnxruntime", "torch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profiles", type=Path, required=True, help="where profiles are kept")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results/calibration.json")
    given = parser.parse_args()
    given.profiles.mkdir(parents=True, exist_ok=True)
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {"processor": processor(), "cpus": os.cpu_count(), "system": platform.platform(terse=True)},
        "versions": {name: version(name) for name in ("edgepart", "torch", "onnxruntime", "scipy")},
        "runtimes": {runtime: calibrated(runtime, given.profiles) for runtime in RUNTIMES},
    }
    write_json(given.output, result)


def calibrated(runtime: str, folder: Path) -> dict[str, Any]:
    """The fit to all networks on one runtime, and the errors with and without each; prints them."""
    profiles = [measured(name, runtime, folder) for name in predicted.TORCH]
    found = calibrate(profiles)
    left_out = [abs(one.left_out) for one in found.networks if one.left_out is not None]
    for name, one in zip(predicted.TORCH, found.networks, strict=True):
        print(f"{runtime:12}{name:16}{one.measured_s * 1e3:8.1f} ms{one.error:+8.1%}{one.left_out or 0:+8.1%}")
    return {
        "peak_macs_per_s": found.peak_macs_per_s,
        "memory_bytes_per_s": found.memory_bytes_per_s,
        "call_overhead_s": found.call_overhead_s,
        "segments": found.segments,
        "segment_error": round(found.segment_error, 3),
        "poor": found.is_poor,
        "median_left_out": round(statistics.median(left_out), 3),
        "mean_load_cores": round(statistics.mean(x.machine_load.mean_cores for x in profiles), 2),
        "networks": {
            name: {"measured_s": one.measured_s, "error": round(one.error, 3), "left_out": round(one.left_out or 0, 3)}
            for name, one in zip(predicted.TORCH, found.networks, strict=True)
        },
    }


def measured(name: str, runtime: str, folder: Path) -> Profile:
    path = folder / f"{runtime}_{name}.json"
    if not path.exists():
        profile(*predicted.load(f"torch/{name}"), runtime=runtime, quick=True).save(path)
    return Profile.load(path)


if __name__ == "__main__":
    main()
