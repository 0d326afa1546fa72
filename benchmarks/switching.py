"""What switching between plans is worth under recorded bandwidths, and how long it takes to find out.

    EDGEPART_DATA=... python benchmarks/switching.py [-o benchmarks/results/switching.json] [--profiles FOLDER]

Four networks on a Raspberry Pi 4 and a cloud server. Each is profiled quickly on this machine first (or read from
FOLDER, where an earlier run left its profiles) and scaled to the two devices. ``what_if``: the best plan from 0.1 to
1000 Mbit/s, exactly. Then, for every group of traces, the best single plan, the best two and three to switch between,
and the best of all plans at every moment: for all traces of the group as one (``all``: what would be shipped), and for
each trace alone (``each``: quantiles over the traces). The round trip is that of the link of the catalogue that is
named; most traces were recorded on the way down, and stand for the way up here. ``example`` is one of them in full.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import scipy

from edgepart.frameworks.model import load_model
from edgepart.hardware import Profile
from edgepart.hardware.bandwidth_trace import BandwidthTrace, read_traces
from edgepart.partitioning.make_problem import make_problem
from edgepart.partitioning.problem import Problem
from edgepart.partitioning.switching import Switching, under_trace
from edgepart.partitioning.what_if import what_if
from edgepart.profiling import profile

NETWORKS = {
    "MobileNetV2": "mobilenet_v2_imagenet.onnx",
    "AlexNet": "light/light_bvlc_alexnet.onnx",
    "ResNet-50": "light/light_resnet50.onnx",
    "VGG-19": "light/light_vgg19.onnx",
}
TIERS = {"mobile": "raspberry-pi-4", "cloud": "cloud-cpu"}
LINK = "mobile:cloud"
#: group → file, how the names of its traces start, link whose round trip is taken
GROUPS = {
    "3G in Norway": ("norway3g_fcc_down.csv.gz", ("norway", "tram", "bus", "ferry", "metro", "train", "car"), "3g"),
    "4G in the United States": ("lumos5g_down.csv.gz", ("4g_",), "4g"),
    "5G (millimetre wave) in the United States": ("lumos5g_down.csv.gz", ("5g_",), "5g"),
    "speed tests of phones in the United States": ("speedtest_5g_us.csv", ("",), "5g"),
}
#: network, group and trace that are shown in full
EXAMPLE = ("AlexNet", "4G in the United States", "4g_trace_driving_50015_dr")
MOST_PLANS = 3
QUANTILES = {"median": 0.5, "ninetieth": 0.9, "most": 1.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/switching.json"))
    parser.add_argument("--profiles", type=Path, default=None, help="folder of profiles, read or filled")
    arguments = parser.parse_args()
    data = Path(os.environ["EDGEPART_DATA"])
    groups = {name: _group(data, file, starts) for name, (file, starts, _) in GROUPS.items()}
    networks = {}
    for name, file in NETWORKS.items():
        measured = _profile(data / "onnx" / file, arguments.profiles)
        networks[name] = _network(measured, groups)
        print(f"{name}: {len(networks[name]['what_if']['found']['pieces'])} plans from 0.1 to 1000 Mbit/s")
        if name == EXAMPLE[0]:
            example = _example(measured, groups)
    result = {
        "command": "python benchmarks/switching.py",
        "machine": {"processor": _processor(), "cpus": os.cpu_count(), "system": platform.platform(terse=True)},
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__},
        "load_cores": round(psutil.getloadavg()[0], 1),
        "tiers": TIERS,
        "groups": {name: _recorded(traces, GROUPS[name]) for name, traces in groups.items()},
        "networks": networks,
        "example": example,
    }
    arguments.output.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _profile(path: Path, folder: Path | None) -> Profile:
    kept = folder / f"{path.stem}.json" if folder else None
    if kept and kept.exists():
        return Profile.load(kept)
    loaded = load_model(str(path))
    measured = profile(loaded.model, loaded.example, quick=True)
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        measured.save(kept)
    return measured


def _group(data: Path, file: str, starts: tuple[str, ...]) -> list[BandwidthTrace]:
    traces = read_traces(data / "traces" / "network" / file)
    return [trace for name, trace in traces.items() if name.startswith(starts) and (trace.bits_per_s > 0).any()]


def _recorded(traces: list[BandwidthTrace], group: tuple[str, tuple[str, ...], str]) -> dict[str, Any]:
    together = _together(traces)
    return {
        "traces": len(traces),
        "source": together.source,
        "hours": round(together.total_s / 3600, 2),
        "rates": len(together.bits_per_s),
        "link": group[2],
    }


def _together(traces: list[BandwidthTrace]) -> BandwidthTrace:
    return BandwidthTrace(
        "all",
        traces[0].source,
        np.concatenate([trace.duration_s for trace in traces]),
        np.concatenate([trace.bits_per_s for trace in traces]),
    )


def _network(measured: Profile, groups: dict[str, list[BandwidthTrace]]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "layers": len(measured.graph.layers),
        "profiled_with_other_processes_keeping_cores": round(measured.machine_load.mean_cores, 1),
        "what_if": _what_if(_problem(measured, "4g")),
    }
    for name, traces in groups.items():
        given = _problem(measured, GROUPS[name][2])
        start = time.perf_counter()
        alone = [under_trace(given, LINK, trace, MOST_PLANS) for trace in traces]
        taken = time.perf_counter() - start
        row[name] = {"all": _all(under_trace(given, LINK, _together(traces), MOST_PLANS))}
        row[name]["each"] = _each(alone) | {"seconds_a_trace": float(f"{taken / len(traces):.2g}")}
    return row


def _example(measured: Profile, groups: dict[str, list[BandwidthTrace]]) -> dict[str, Any]:
    _, group, name = EXAMPLE
    trace = next(each for each in groups[group] if each.name == name)
    given = _problem(measured, GROUPS[group][2])
    return under_trace(given, LINK, trace, MOST_PLANS).model_dump(mode="json")


def _problem(measured: Profile, link: str) -> Problem:
    return make_problem(measured, TIERS, {LINK: link})


def _what_if(given: Problem) -> dict[str, Any]:
    start = time.perf_counter()
    found = what_if(given, f"link.{LINK}.bandwidth=0.1..1000Mbps")
    return {"seconds": round(time.perf_counter() - start, 4), "found": found.model_dump(mode="json")}


def _all(found: Switching) -> dict[str, Any]:
    sets = [
        {
            "sent_bytes": [found.plans[plan].sends[0].bytes for plan in each.plans],
            "layers_on_mobile": [sum(t == 0 for t in found.plans[plan].tier_of.values()) for plan in each.plans],
            "thresholds_bits_per_s": list(each.thresholds),
            "shares": [round(share, 4) for share in each.shares],
            "mean_s": each.mean,
            "saved": each.saved,
            "above_oracle": each.above_oracle,
            "switches_an_hour": round(3600 * each.switches / found.seconds, 1),
        }
        for each in found.sets
    ]
    return {
        "sets": sets,
        "oracle_s": found.oracle,
        "oracle_plans": found.oracle_plans,
        "outage_share": found.outage.share,
        "harmonic_mean_bits_per_s": found.mean_bits_per_s,
        "solved": found.solved,
    }


def _each(found: list[Switching]) -> dict[str, Any]:
    """Quantiles over the traces: what two plans, three, and all of them save of the single plan's mean."""
    saved = {
        "two": [each.sets[min(1, len(each.sets) - 1)].saved for each in found],
        "three": [each.sets[min(2, len(each.sets) - 1)].saved for each in found],
        "oracle": [1 - each.oracle / each.sets[0].mean for each in found],
    }
    spread = {
        size: {name: float(np.quantile(shares, at)) for name, at in QUANTILES.items()} for size, shares in saved.items()
    }
    one_is_enough = float(np.mean([each.oracle > 0.99 * each.sets[0].mean for each in found]))
    return {"saved": spread, "share_of_traces_where_one_plan_is_within_1_percent": round(one_is_enough, 3)}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
