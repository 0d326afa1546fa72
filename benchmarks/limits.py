"""How long placement within limits takes: the ONNX networks of ``$EDGEPART_DATA/onnx``, each layer by layer.

    EDGEPART_DATA=… OMP_NUM_THREADS=1 python benchmarks/limits.py [NAME …]

Tiers are the catalogue's phone, jetson-orin-nano and cloud-gpu, links wifi and 4g. A layer takes its multiply-
accumulates at the device's rate and its bytes at the memory's (20, 60 and 800 GB/s). Five problems for each network:

- half: the phone has half the memory that the best placement without limits uses there (where that is more than the
  network's input);
- far: round trips take 5 s, so that all would stay on the phone, and both lower tiers have 40 % of what it needs;
- period: the smallest bottleneck, with half of the parameters' bytes on the phone;
- money: the jetson is billed as Google Cloud Functions and the cloud as AWS Lambda, with the same limit;
- exits: expected latency with two exits, which 40 and 70 % of the samples have left at, with the same limit.

Writes benchmarks/results/limits.json; with names, only these networks are measured anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy
import scipy

from edgepart.errors import InfeasiblePlan
from edgepart.frameworks import capture
from edgepart.graph import Graph
from edgepart.hardware import catalogue
from edgepart.partitioning.minimum_cut import MinimumCut
from edgepart.partitioning.problem import ExitShare, Problem, Tier
from edgepart.partitioning.values import memory_bytes

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "limits.json"
DEVICES = {"phone": ("phone", 20e9), "jetson": ("jetson-orin-nano", 60e9), "cloud": ("cloud-gpu", 800e9)}
TIME_LIMIT_S = 60.0
#: share of the layers before an exit, and of the samples that go on past it
EXITS = ((0.3, 0.6), (0.6, 0.3))

sys.path.insert(0, str(ROOT / "tests" / "zoo"))


def networks() -> list[str]:
    """As ``tests/zoo`` calls them."""
    folder = Path(os.environ["EDGEPART_DATA"]) / "onnx"
    exported = [f"exported_{path.stem}" for path in sorted((folder / "exported").glob("*.onnx"))]
    return [*exported, *(path.stem for path in sorted([*folder.glob("light/*.onnx"), *folder.glob("*.onnx")]))]


def graph(name: str) -> Graph:
    import zoo_onnx

    model, inputs = zoo_onnx.build(name)
    return capture(model, inputs(1, 0))


def unlimited(network: Graph) -> Problem:
    tiers = []
    for name, (device_name, bytes_per_s) in DEVICES.items():
        device, latency_s = catalogue.device(device_name), {}
        for layer in network.layers:
            moved = sum(network.tensor(tensor).bytes for tensor in (*layer.inputs, *layer.outputs))
            moved += sum(network.parameters[parameter] for parameter in layer.parameters)
            latency_s[layer.name] = layer.macs / device.macs_per_s + moved / bytes_per_s
        tiers.append(Tier(name, device, latency_s))
    return Problem(network, tuple(tiers), (catalogue.link("wifi"), catalogue.link("4g")))


def limited(problem: Problem, *most: float) -> Problem:
    """With so many bytes on the first tiers."""
    limits = {f"{tier.name}.memory": limit for tier, limit in zip(problem.tiers, most, strict=False)}
    return replace(problem, limits=limits)


def problems(network: Graph) -> Iterator[tuple[str, Problem]]:
    base = unlimited(network)
    used = memory_bytes(base, MinimumCut().solve(base).tier_of)[0]
    if used > 2 * sum(network.tensor(name).bytes for name in network.inputs):
        yield "half", limited(base, used // 2)
    links = tuple(link.model_copy(update={"round_trip_s": 5.0}) for link in base.links)
    whole = memory_bytes(base, dict.fromkeys(network.position, 0))[0]
    yield "far", limited(replace(base, links=links), 0.4 * whole, 0.4 * whole)
    tight = limited(base, sum(network.parameters.values()) / 2)
    yield "period", replace(tight, objective="period")
    prices = (None, catalogue.price("google-cloud-functions"), catalogue.price("aws-lambda"))
    billed = tuple(replace(tier, price=price) for tier, price in zip(tight.tiers, prices, strict=True))
    yield "money", replace(tight, tiers=billed, objective="money")
    yield "exits", replace(tight, exits=tuple(exits(network)))


def exits(network: Graph) -> Iterator[ExitShare]:
    for share, going_on in EXITS:
        depth = int(share * len(network.layers))
        made = [name for layer in network.layers[:depth] for name in layer.outputs if network.tensor(name).feature]
        yield ExitShare(f"exit{depth}", made[-1], depth, going_on, head_macs=10**6, head_bytes=4000)


def measured(name: str) -> dict[str, object]:
    network = graph(name)
    row: dict[str, object] = {"name": name, "layers": len(network.layers)}
    for label, problem in problems(network):
        start = time.perf_counter()
        try:
            proof = MinimumCut(TIME_LIMIT_S).solve(problem).proof
            found = {"method": proof.method, "status": proof.status, "gap": proof.gap}
        except InfeasiblePlan as error:
            found = {"status": "infeasible", "method": str(error), "gap": None}
        row[label] = {"took_s": round(time.perf_counter() - start, 3)} | found
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    names = parser.parse_args().names
    before = json.loads(RESULT.read_text())["rows"] if names and RESULT.exists() else []
    rows = {row["name"]: row for row in before}
    for name in names or networks():
        rows[name] = measured(name)
        print(json.dumps(rows[name]), flush=True)
    versions = {"python": platform.python_version(), "numpy": numpy.__version__, "scipy": scipy.__version__}
    result = {
        "command": "python benchmarks/limits.py",
        "machine": {"processor": _processor(), "system": platform.platform(terse=True)},
        "load": round(os.getloadavg()[0], 1),
        "versions": versions,
        "rows": list(rows.values()),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
