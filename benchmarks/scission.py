"""The best five three-tier placements of Scission's networks, and how long finding them takes.

    EDGEPART_DATA=… python benchmarks/scission.py [-o benchmarks/results/scission.json] [--repeats 20]

Scission (Lockhart et al., "Scission: Performance-driven and context-aware cloud-edge distribution of deep neural
networks", UCC 2020) publishes the seconds of every block of 18 Keras networks on six machines, and what the links
between four of them do; this reads both (``$EDGEPART_DATA/devices``). A network is a chain of blocks: every pair of
places to cut it gives a placement, and "none" is one of the places, so one or two tiers may hold everything. All pairs
are ranked at once by array arithmetic; edgepart's minimum cut must find the first of them. The raw input is a float32
image of the network's own size, on the device; each hop costs a round trip and its bytes.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import scipy

from edgepart.graph import Graph
from edgepart.hardware import Device, Link
from edgepart.partitioning.minimum_cut import MinimumCut
from edgepart.partitioning.problem import Problem, Tier
from edgepart.partitioning.values import value
from edgepart.testing.graphs import make_graph

DEVICE, EDGES, CLOUDS = "raspi4", ("2500", "vm2Core"), ("6700k(GPU)", "6700k(NoGPU)")
#: pixels of an image's side where they are not 224, after the network's first letters
PIXELS = {"inception": 299, "xception": 299, "nasnetlarge": 331}
KEPT = 5

#: network → machine → (name of the block, seconds, bytes that it gives on) in order
Blocks = dict[str, dict[str, list[tuple[str, float, int]]]]


def read_blocks(path: Path) -> Blocks:
    """The measured blocks; a machine's name is without the role in front of it."""
    found: Blocks = defaultdict(lambda: defaultdict(list))
    with path.open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            block = f"{row['first_layer']}-{row['last_layer']}"
            machine = row["device"].partition("-")[2]
            found[row["model"]][machine].append((block, float(row["latency_s"]), int(row["output_bytes"])))
    return found


def read_links(path: Path) -> dict[tuple[str, str], Link]:
    """The links by their two ends."""
    found = {}
    with path.open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            ends, ping_s, rate = (
                (row["source"], row["destination"]),
                float(row["ping(ms)"]) / 1e3,
                row["bandwidth(mbps)"],
            )
            bits = float(rate) * 1e6
            found[ends] = Link(
                name=f"{ends[0]} to {ends[1]}",
                title="",
                up_bits_per_s=bits,
                down_bits_per_s=bits,
                round_trip_s=ping_s,
                basis="measured",
                source="Scission",
            )
    return found


def problem(
    network: str, blocks: dict[str, list[tuple[str, float, int]]], links: tuple[Link, ...], machines: tuple[str, ...]
) -> Problem:
    """A chain of blocks on device, edge and cloud."""
    side = next((pixels for name, pixels in PIXELS.items() if network.startswith(name)), 224)
    chain = blocks[machines[0]]
    names = [name for name, _, _ in chain]
    if any([name for name, _, _ in blocks[machine]] != names for machine in machines):
        raise SystemExit(f"{network}: the machines have other blocks")
    reads = ["image", *names]
    graph: Graph = make_graph(
        [(name, [before], {name: size}) for (name, _, size), before in zip(chain, reads, strict=False)],
        {"image": side * side * 3 * 4},
    )
    tiers = tuple(
        Tier(machine, device(machine), {name: seconds for name, seconds, _ in blocks[machine]}) for machine in machines
    )
    return Problem(graph, tiers, links)


def device(name: str) -> Device:
    """A machine of which nothing but its blocks' seconds is known; memory sets no limit here."""
    return Device(
        name=name,
        title=name,
        tier="edge",
        memory_bytes=2**40,
        macs_per_s=1e9,
        cores=1,
        basis="measured",
        source="Scission",
    )


def best(problem: Problem, count: int = KEPT) -> list[tuple[float, int, int]]:
    """(seconds, blocks below the first hop, blocks below the second) of the best placements, by trying all pairs."""
    seconds = np.array([[tier.latency_s[x.name] for x in problem.graph.layers] for tier in problem.tiers])
    sums = np.concatenate([np.zeros((3, 1)), seconds.cumsum(axis=1)], axis=1)
    # what crosses after so many blocks; nothing after the last
    size = np.array([problem.graph.tensors[0].bytes, *(t.bytes for t in problem.graph.tensors[1:-1]), 0])
    first, second = np.triu_indices(sums.shape[1])
    total = sums[0, first] + sums[1, second] - sums[1, first] + sums[2, -1] - sums[2, second]
    for link, place in zip(problem.links, (first, second), strict=True):
        total = total + np.where(size[place] > 0, link.round_trip_s + 8 * size[place] / link.up_bits_per_s, 0.0)
    order = np.argsort(total, kind="stable")[:count]
    return [(float(total[i]), int(first[i]), int(second[i])) for i in order]


def timed(call: Callable[[], object], repeats: int) -> dict[str, float]:
    """Median and quartiles of the seconds of a call."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    low, middle, high = statistics.quantiles(taken, n=4, method="inclusive")
    return {"median_s": middle, "low_s": low, "high_s": high, "runs": repeats}


def results(blocks: Blocks, links: dict[tuple[str, str], Link], repeats: int) -> Iterator[dict[str, Any]]:
    """Every network on every device, edge and cloud whose links are known."""
    for network, (edge, cloud) in itertools.product(sorted(blocks), itertools.product(EDGES, CLOUDS)):
        given = problem(network, blocks[network], (links[DEVICE, edge], links[edge, cloud]), (DEVICE, edge, cloud))
        found, exact = best(given), MinimumCut().solve(given)
        optimum = value(given, exact.tier_of, "latency")
        if not np.isclose(optimum, found[0][0], rtol=1e-6):
            raise SystemExit(f"{network}: the minimum cut finds {optimum} s, trying all {found[0][0]} s")
        yield {
            "network": network,
            "tiers": [DEVICE, edge, cloud],
            "blocks": len(given.graph.layers),
            "best": [{"latency_s": s, "device": [0, i], "edge": [i, j], "cloud": [j, None]} for s, i, j in found],
            "all_pairs": timed(lambda given=given: best(given), repeats),  # type: ignore[misc]
            "minimum_cut": timed(lambda given=given: MinimumCut().solve(given), repeats),  # type: ignore[misc]
        }


def show(found: list[dict[str, Any]]) -> None:
    """One line a network and choice of machines."""
    for each in found:
        placed = "  ".join(f"{x['latency_s']:.3f} s ({x['device'][1]}|{x['edge'][1]})" for x in each["best"])
        print(f"{each['network']:18} {each['tiers'][1]:8} {each['tiers'][2]:13} {placed}")
    for method in ("all_pairs", "minimum_cut"):
        times = [each[method]["median_s"] for each in found]
        print(f"{method}: median {1e3 * statistics.median(times):.2f} ms, longest {1e3 * max(times):.2f} ms a search")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results" / "scission.json")
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    if "EDGEPART_DATA" not in os.environ:
        parser.error("EDGEPART_DATA is not set: name the folder of the published measurements")
    folder = Path(os.environ["EDGEPART_DATA"]) / "devices"
    links = read_links(folder / "scission_network_stats.csv")
    found = list(results(read_blocks(folder / "scission_blocks.csv"), links, arguments.repeats))
    show(found)
    machine = {
        "processor": platform.processor() or platform.machine(),
        "logical_cores": psutil.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }
    arguments.output.write_text(json.dumps({"machine": machine, "networks": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
