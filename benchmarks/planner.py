"""How long placement takes: minimum cut against exhaustive search and networkx, on growing networks.

    python benchmarks/planner.py [-o benchmarks/results/planner.json] [--repeats 5]

Networks are random (every layer reads one or two of the eight tensors before it), with three tiers and two links with
a round trip. networkx solves the same flow network with its default algorithm (preflow-push). Exhaustive search tries
every legal placement, so it stops early. ``milp`` is the same problem with a memory limit on the first tier that binds.
"""

from __future__ import annotations

import argparse
import json
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
from edgepart.partitioning.exhaustive import Exhaustive
from edgepart.partitioning.minimum_cut import SINK, SOURCE, MinimumCut, flow_network
from edgepart.partitioning.pins import windows
from edgepart.partitioning.placement_cost import evaluate, memory
from edgepart.partitioning.problem import Problem, Tier

SIZES = (4, 6, 8, 10, 12, 30, 100, 200, 400, 800)
EXHAUSTIVE_MOST = 12
NETWORKX_MOST = 400
MILP_MOST = 400
HUGE = 2**30 - 1


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


def problem(layers: int, seed: int) -> Problem:
    graph, draw = wide(layers, seed), random.Random(seed + 1)
    device = catalogue.device("cloud-cpu")
    work = {layer.name: draw.uniform(0.1, 1.0) for layer in graph.layers}
    total = sum(work.values())
    # about a second on the first tier, and links that make splitting worth while
    tiers = tuple(
        Tier(name, device, {layer: share / total / speed for layer, share in work.items()})
        for name, speed in (("mobile", 1.0), ("edge", 3.0), ("cloud", 20.0))
    )
    return Problem(graph, tiers, (catalogue.link("wifi"), catalogue.link("4g")))


def timed(run: Callable[[], object], repeats: int) -> dict[str, float]:
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return {"median_s": statistics.median(taken), "least_s": min(taken), "most_s": max(taken), "runs": repeats}


def with_networkx(given: Problem) -> int:
    network = flow_network(given, windows(given), 1e6)
    flow = networkx.DiGraph()
    for (tail, head), capacity in network.capacity.items():
        flow.add_edge(tail, head, **({} if capacity >= HUGE else {"capacity": capacity}))
    return int(networkx.minimum_cut(flow, SOURCE, SINK)[0])


def limited(given: Problem) -> Problem:
    """With half of what the first tier would have at the optimum, or of everything if it has nothing."""
    best = MinimumCut().solve(given).tier_of
    needed = memory(given, best)[0].total_bytes or memory(given, dict.fromkeys(best, 0))[0].total_bytes
    first = replace(given.tiers[0], memory_limit_bytes=max(needed // 2, 700_000))
    return replace(given, tiers=(first, *given.tiers[1:]))


def measure(layers: int, repeats: int) -> dict[str, object]:
    given = problem(layers, seed=layers)
    found = MinimumCut().solve(given)
    row: dict[str, object] = {
        "layers": layers,
        "parts": len(set(found.tier_of.values())),
        "minimum_cut": timed(lambda: MinimumCut().solve(given), repeats),
    }
    if layers <= EXHAUSTIVE_MOST:
        row["exhaustive"] = timed(lambda: Exhaustive(EXHAUSTIVE_MOST).solve(given), 1)
        best = evaluate(given, Exhaustive(EXHAUSTIVE_MOST).solve(given).tier_of).latency_s
        assert abs(evaluate(given, found.tier_of).latency_s - best) < 1e-6 * best
    if layers <= NETWORKX_MOST:
        row["networkx"] = timed(lambda: with_networkx(given), min(repeats, 3))
    if layers <= MILP_MOST:
        tight = limited(given)
        row["milp"] = timed(lambda: MinimumCut().solve(tight), 1)
        row["milp_proof"] = MinimumCut().solve(tight).proof.model_dump()
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/planner.json"))
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    rows = []
    for layers in SIZES:
        rows.append(measure(layers, arguments.repeats))
        print(json.dumps(rows[-1]))
    versions = {"python": platform.python_version(), "numpy": numpy.__version__}
    versions |= {"scipy": scipy.__version__, "networkx": networkx.__version__}
    machine = {"processor": _processor(), "system": platform.platform(terse=True)}
    result = {"command": "python benchmarks/planner.py", "machine": machine, "versions": versions, "rows": rows}
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
