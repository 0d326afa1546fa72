"""How long placement takes: minimum cut against exhaustive search, a scan of a chain's cuts and networkx.

    OMP_NUM_THREADS=1 python benchmarks/planner.py [-o benchmarks/results/planner.json] [--repeats 7]

Networks are random (every layer reads one or two of the eight tensors before it), with three tiers and two links with a
round trip; *chains* are as many layers one after another. networkx solves the same flow network with its default
algorithm (preflow-push). Exhaustive search tries every legal placement, so it stops early; the scan tries every pair of
cuts of a chain at once, by array arithmetic. *expected* is the same problem with three exits that samples leave at,
*starts* with 2 ms for the start of every part, *limited* with half the memory on the first tier. Then the number of
tiers grows, at a thousand layers. All answers to one problem are checked to cost the same.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import networkx
import numpy
import scipy

from edgepart.graph import Graph, Layer, Tensor
from edgepart.hardware import catalogue
from edgepart.partitioning.charges import latency
from edgepart.partitioning.exhaustive import Exhaustive
from edgepart.partitioning.formulation import ABOVE, BELOW, Nodes, rules, terms
from edgepart.partitioning.minimum_cut import MinimumCut
from edgepart.partitioning.pins import windows
from edgepart.partitioning.problem import ExitShare, Problem, Tier
from edgepart.partitioning.values import memory_bytes, value
from edgepart.testing.graphs import make_graph

SIZES = (4, 6, 8, 10, 12, 30, 100, 300, 1000, 3000, 10_000)
TIERS = (2, 3, 4, 6, 8)
EXHAUSTIVE_MOST = 12
NETWORKX_MOST = 1000
LIMITED_MOST = 1000
SCAN_MOST = 3000


def wide(layers: int, seed: int) -> Graph:
    """Every layer reads one or two of the eight tensors before it."""
    draw = random.Random(seed)
    reads = [["x"]] + [
        [f"t{j}" for j in {draw.randrange(max(0, i - 8), i) for _ in range(draw.choice((1, 1, 2)))}]
        for i in range(1, layers)
    ]
    sizes = [draw.randrange(2_000, 200_000) for _ in range(layers)]

    def tensor(name: str, size: int, producer: str | None) -> Tensor:
        consumers = tuple(f"l{i}" for i, names in enumerate(reads) if name in names)
        return Tensor(
            name=name, shape=("batch", size // 4), dtype="float32", bytes=size, producer=producer, consumers=consumers
        )

    return Graph(
        name=f"wide{layers}",
        framework="torch",
        symbols={"batch": 1},
        layers=tuple(
            Layer(
                name=f"l{i}",
                module=f"l{i}",
                kind="Test",
                ops=(),
                inputs=tuple(names),
                outputs=(f"t{i}",),
                parameters=(f"w{i}",),
                activation_bytes=sizes[i],
            )
            for i, names in enumerate(reads)
        ),
        tensors=(tensor("x", 600_000, None), *(tensor(f"t{i}", sizes[i], f"l{i}") for i in range(layers))),
        inputs=("x",),
        outputs=(f"t{layers - 1}",),
        parameters={f"w{i}": draw.randrange(1_000, 2_000_000) for i in range(layers)},
    )


def chain(layers: int, seed: int) -> Graph:
    """Every layer reads the one before it."""
    draw = random.Random(seed)
    made = [
        (f"l{i}", ["x" if i == 0 else f"t{i - 1}"], {f"t{i}": draw.randrange(2_000, 200_000)}) for i in range(layers)
    ]
    return make_graph(made, {"x": 600_000})


def problem(graph: Graph, tiers: int = 3) -> Problem:
    """Tiers of rising speed; the network takes the first one a second."""
    draw = random.Random(len(graph.layers))
    work = {layer.name: draw.random() for layer in graph.layers}
    total = sum(work.values())
    device = catalogue.device("cloud-cpu")
    places = tuple(
        Tier(f"tier{number}", device, {layer: share / total / 4**number for layer, share in work.items()})
        for number in range(tiers)
    )
    return Problem(graph, places, tuple(catalogue.link("wifi" if hop % 2 == 0 else "4g") for hop in range(tiers - 1)))


def timed(run: Callable[[], object], repeats: int) -> dict[str, float]:
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return {"median_s": statistics.median(taken), "least_s": min(taken), "most_s": max(taken), "runs": repeats}


def with_networkx(given: Problem) -> float:
    """The optimum by networkx, in seconds of latency."""
    nodes = Nodes(given)
    flow = networkx.DiGraph()
    for below, above in zip(*rules(given, nodes, windows(given)), strict=True):
        flow.add_edge(int(below), int(above))
    charged, scale = terms(given, nodes, latency(given)), 1e9
    for number, (cost, below) in enumerate(zip(charged.cost, charged.below, strict=True)):
        above = charged.above[charged.first[number] : charged.first[number + 1]]
        paid = f"term {number}"
        flow.add_edge(int(below), paid, capacity=round(cost * scale))
        flow.add_edges_from((paid, int(each)) for each in above)
    return float(networkx.minimum_cut_value(flow, BELOW, ABOVE)) / scale


def scan(given: Problem) -> float:
    """The least latency of a chain on three tiers, by trying every pair of cuts."""
    seconds = numpy.array([[tier.latency_s[x.name] for x in given.graph.layers] for tier in given.tiers])
    sums = numpy.concatenate([numpy.zeros((3, 1)), seconds.cumsum(axis=1)], axis=1)
    size = numpy.array([*(tensor.bytes for tensor in given.graph.tensors[:-1]), 0])
    hops = [numpy.where(size > 0, link.round_trip_s + 8 * size / link.up_bits_per_s, 0.0) for link in given.links]
    first, second = sums[0] - sums[1] + hops[0], sums[1] - sums[2] + hops[1]
    return float((numpy.minimum.accumulate(first) + second).min() + sums[2, -1])


def with_exits(given: Problem) -> Problem:
    """Three exits, past which 60, 40 and 30 % of the samples go on."""
    layers = given.graph.layers
    depths = sorted({max(1, len(layers) * part // 4) for part in (1, 2, 3)})
    exits = [
        ExitShare(f"exit{depth}", layers[depth - 1].outputs[0], depth, share)
        for depth, share in zip(depths, (0.6, 0.4, 0.3), strict=False)
    ]
    return replace(given, exits=tuple(exits))


def with_starts(given: Problem) -> Problem:
    """2 ms for the start of every part."""
    return replace(given, tiers=tuple(replace(tier, start_s=2e-3) for tier in given.tiers))


def limited(given: Problem) -> Problem:
    """With half of what the first tier would have at the optimum, or of everything if it has nothing."""
    best = MinimumCut().solve(given).tier_of
    needed = memory_bytes(given, best)[0]
    if all(tier for tier in best.values()):
        needed = memory_bytes(given, dict.fromkeys(best, 0))[0]
    first = replace(given.tiers[0], memory_limit_bytes=max(needed // 2, 700_000))
    return replace(given, tiers=(first, *given.tiers[1:]))


def cost(given: Problem) -> float:
    return value(given, MinimumCut().solve(given).tier_of, given.objective)


def require_equal(found: float, expected: float, what: str) -> None:
    if abs(found - expected) > 1e-5 * expected:
        raise SystemExit(f"{what}: {found} s, the minimum cut {expected} s")


def measure(layers: int, repeats: int) -> dict[str, object]:
    given, straight = problem(wide(layers, seed=layers)), problem(chain(layers, seed=layers))
    best = cost(given)
    row: dict[str, object] = {
        "layers": layers,
        "parts": len(set(MinimumCut().solve(given).tier_of.values())),
        "minimum_cut": timed(lambda: MinimumCut().solve(given), repeats),
        "expected": timed(lambda: MinimumCut().solve(with_exits(given)), repeats),
        "starts": timed(lambda: MinimumCut().solve(with_starts(given)), repeats),
        "minimum_cut_of_chain": timed(lambda: MinimumCut().solve(straight), repeats),
    }
    if layers <= SCAN_MOST:
        require_equal(scan(straight), cost(straight), "scan of a chain")
        row["scan_of_chain"] = timed(lambda: scan(straight), repeats)
    if layers <= EXHAUSTIVE_MOST:
        require_equal(value(given, Exhaustive(EXHAUSTIVE_MOST).solve(given).tier_of, "latency"), best, "exhaustive")
        started = with_starts(given)
        least = value(started, Exhaustive(EXHAUSTIVE_MOST).solve(started).tier_of, "latency")
        require_equal(least, cost(started), "exhaustive with starts")
        row["exhaustive"] = timed(lambda: Exhaustive(EXHAUSTIVE_MOST).solve(given), 1)
    if layers <= NETWORKX_MOST:
        require_equal(with_networkx(given), best, "networkx")
        row["networkx"] = timed(lambda: with_networkx(given), min(repeats, 3))
    if layers <= LIMITED_MOST:
        tight = limited(given)
        row["limited"] = timed(lambda: MinimumCut().solve(tight), min(repeats, 3))
        row["limited_proof"] = MinimumCut().solve(tight).proof.model_dump()
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results" / "planner.json")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    rows, by_tiers = [], []
    for layers in SIZES:
        rows.append(measure(layers, arguments.repeats))
        print(json.dumps(rows[-1]))
    for tiers in TIERS:
        given = problem(wide(1000, seed=1000), tiers)
        taken = timed(lambda given=given: MinimumCut().solve(given), arguments.repeats)  # type: ignore[misc]
        by_tiers.append({"tiers": tiers, "minimum_cut": taken})
        print(json.dumps(by_tiers[-1]))
    versions = {"python": platform.python_version(), "numpy": numpy.__version__}
    versions |= {"scipy": scipy.__version__, "networkx": networkx.__version__}
    result = {
        "command": "python benchmarks/planner.py",
        "machine": {"processor": _processor(), "system": platform.platform(terse=True)},
        "load": os.getloadavg()[0],
        "versions": versions,
        "rows": rows,
        "tiers": by_tiers,
    }
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
