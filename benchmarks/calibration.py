"""How well rates that were fitted to some networks predict another one: leave-one-out on this machine.

    OMP_NUM_THREADS=1 python benchmarks/calibration.py --profiles FOLDER [-o benchmarks/results/calibration.json]

The networks of ``benchmarks/predicted.py`` that are made in PyTorch, and three more with depthwise and grouped
convolutions (random weights, 224 × 224 images or 64 tokens), are profiled with ``quick`` on one thread, on PyTorch and
on ONNX Runtime; profiles that lie in the folder already are taken. Each network is predicted by the rates that
``edgepart profile --calibrate`` fits to all others, and by those that it fits to every one and every two of them.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import statistics
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import predicted
import torch

from edgepart.files import write_json
from edgepart.hardware import Profile
from edgepart.hardware.calibration import calibrate
from edgepart.hardware.roofline import roofline_s
from edgepart.profiling import profile
from edgepart.profiling.machine import processor

RUNTIMES = ("onnxruntime", "torch")
REGNET_Y_400MF = {"embedding_size": 32, "hidden_sizes": [48, 104, 208, 440], "depths": [1, 3, 6, 6], "groups_width": 8}
EFFICIENTNET_B0 = {"width_coefficient": 1.0, "depth_coefficient": 1.0, "image_size": 224, "hidden_dim": 1280}
#: name → the network and an example
NETWORKS = predicted.TORCH | {
    "mobilenet_v1": lambda: predicted.of_images(
        lambda t: t.MobileNetV1ForImageClassification(t.MobileNetV1Config(layer_norm_eps=1e-5))
    ),
    "regnet_y": lambda: predicted.of_images(
        lambda t: t.RegNetForImageClassification(t.RegNetConfig(layer_type="y", **REGNET_Y_400MF))
    ),
    "efficientnet_b0": lambda: predicted.of_images(
        lambda t: t.EfficientNetForImageClassification(t.EfficientNetConfig(**EFFICIENTNET_B0))
    ),
}


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
    profiles = [measured(name, runtime, folder) for name in NETWORKS]
    found = calibrate(profiles)
    left_out = found.left_out or (0.0, 0.0)
    for name, one in zip(NETWORKS, found.networks, strict=True):
        print(f"{runtime:12}{name:16}{one.measured_s * 1e3:8.1f} ms{one.error:+8.1%}{one.left_out or 0:+8.1%}")
    return {
        **found.rates,
        "segments": found.segments,
        "segment_error": round(found.segment_error, 3),
        "poor": found.is_poor,
        "median_left_out": round(left_out[0], 3),
        "worst_left_out": round(left_out[1], 3),
        "fitted_to": {count: of_few(profiles, count) for count in (1, 2)},
        "mean_load_cores": round(statistics.mean(x.machine_load.mean_cores for x in profiles), 2),
        "networks": {
            name: {"measured_s": one.measured_s, "error": round(one.error, 3), "left_out": round(one.left_out or 0, 3)}
            for name, one in zip(NETWORKS, found.networks, strict=True)
        },
    }


def of_few(profiles: list[Profile], count: int) -> dict[str, float]:
    """Absolute errors of networks predicted by the fit to some others: median, 90 % and worst."""
    errors = []
    for fitted in itertools.combinations(profiles, count):
        device = fitted[0].device.model_copy(update=calibrate(fitted).rates)
        rest = (one for one in profiles if one not in fitted)
        errors += [abs(sum(roofline_s(x.graph, device).values()) / x.end_to_end.median_s - 1) for x in rest]
    median, most, worst = (round(float(x), 3) for x in np.quantile(errors, (0.5, 0.9, 1.0)))
    return {"cases": len(errors), "median": median, "ninth_decile": most, "worst": worst}


def measured(name: str, runtime: str, folder: Path) -> Profile:
    path = folder / f"{runtime}_{name}.json"
    if not path.exists():
        torch.manual_seed(0)
        profile(*NETWORKS[name](), runtime=runtime, quick=True).save(path)
    return Profile.load(path)


if __name__ == "__main__":
    main()
