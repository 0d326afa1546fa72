"""How long it takes to replay a threshold strategy at many thresholds, on one core.

    OMP_NUM_THREADS=1 taskset -c 3 python benchmarks/replay.py [-o benchmarks/results/replay.json]

A made-up trace of a million samples at six exits, swept over a thousand thresholds: from logits (softmax included, as
the first strategy of a report pays it) and from probabilities already computed (as every further one). Beside it the
plain loop, which replays one threshold after the other, on a smaller trace that both sweep, as a ratio. Both give
equal results, which is checked before anything is timed.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import scipy

from edgepart.dispatch.options import strategy as strategy_named
from edgepart.dispatch.threshold import ThresholdStrategy
from edgepart.dispatch.trace import Trace
from edgepart.evaluation.costs import Costs
from edgepart.evaluation.replay import replay, sweep
from edgepart.files import write_json
from edgepart.testing.strategies import example_costs
from edgepart.testing.traces import synthetic_trace

TIERS = ("mobile", "mobile", "edge", "edge", "cloud", "cloud")
SAMPLES, CLASSES, THRESHOLDS = 1_000_000, 4, 1000
SMALL = {"samples": 20_000, "thresholds": 200}
RUNS = 7


def timed(action: Callable[[], object], runs: int = RUNS) -> dict[str, float | int]:
    """Median and spread (distance between the quartiles) of repeated runs, after one that warms up."""
    action()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    low, _, high = statistics.quantiles(seconds, n=4)
    return {
        "median_s": round(statistics.median(seconds), 4),
        "spread_s": round(high - low, 4),
        "least_s": round(min(seconds), 4),
        "most_s": round(max(seconds), 4),
        "runs": runs,
    }


def prepared(name: str, trace: Trace) -> tuple[ThresholdStrategy, Costs]:
    made = strategy_named(name)
    assert isinstance(made, ThresholdStrategy)
    table = example_costs(trace)
    made.fit(trace, table)
    return made, Costs(table, full_model=float(table[0, -1]))


def large(name: str, trace: Trace) -> dict[str, object]:
    made, costs = prepared(name, trace)
    grid = np.linspace(0, 1, THRESHOLDS).tolist()
    fresh = timed(lambda: sweep(replace(trace), made, costs, grid))
    trace.probabilities  # noqa: B018 (computed once and kept)
    return {"from_logits": fresh, "from_probabilities": timed(lambda: sweep(trace, made, costs, grid))}


def against_the_loop(name: str) -> dict[str, object]:
    trace = synthetic_trace(SMALL["samples"], TIERS, classes=CLASSES, epochs=0, dimension=1)
    made, costs = prepared(name, trace)
    grid = np.linspace(0, 1, SMALL["thresholds"]).tolist()

    def loop() -> object:
        return [replay(trace, made.policy(setting), costs, setting) for setting in made.settings(grid)]

    assert sweep(trace, made, costs, grid) == loop(), "the sweep does not give what the loop gives"
    fast, plain = timed(lambda: sweep(trace, made, costs, grid)), timed(loop)
    return {**SMALL, "sweep": fast, "loop": plain, "ratio": round(plain["median_s"] / fast["median_s"], 1)}


def machine() -> dict[str, object]:
    processor = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "cores_used": len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else None,
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": round(psutil.getloadavg()[0], 2),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", default="benchmarks/results/replay.json")
    output = parser.parse_args().output
    host = machine()
    trace = synthetic_trace(SAMPLES, TIERS, classes=CLASSES, epochs=0, dimension=1)
    strategies = {}
    for name in ("confidence", "entropy"):
        strategies[name] = {"large": large(name, trace), "against_the_loop": against_the_loop(name)}
        print(name, strategies[name])
    found = {
        "command": "OMP_NUM_THREADS=1 taskset -c 3 python benchmarks/replay.py",
        "machine": host,
        "large": {"samples": SAMPLES, "exits": len(TIERS), "classes": CLASSES, "thresholds": THRESHOLDS},
        "strategies": strategies,
    }
    write_json(output, found)


if __name__ == "__main__":
    main()
