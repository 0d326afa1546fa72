"""How near NSGA-II comes to the proven front of a joint search.

    python benchmarks/joint_search.py [-o benchmarks/results/joint_search.json]

Made-up problems, small enough to try every choice: a chain of layers on two tiers, two heads at each of four places,
eight thresholds, 1,000 validation samples. ``gap``: how far the nearest point that was found lies behind a point of the
front, in the worst of its objectives, as a share of that objective's range over the front; mean over the front.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from edgepart.files import write_json
from edgepart.partitioning.problem import Problem, Tier
from edgepart.profiling.machine import processor
from edgepart.search import Bank, Front, Head, Level, search
from edgepart.search.front import minimised
from edgepart.testing.graphs import make_graph
from edgepart.testing.hardware import example_device, example_link

LAYERS, PLACES, HEADS, LEVELS, SAMPLES = 40, 4, 2, 8, 1000
OBJECTIVES = (("accuracy", "latency"), ("accuracy", "latency", "mobile.memory"))
SEEDS = range(5)
TRIALS = (300, 1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/joint_search.json"))
    arguments = parser.parse_args()
    rows = []
    for objectives in OBJECTIVES:
        for seed in SEEDS:
            rows.append(compare(seed, objectives))
            print(rows[-1])
    result = {
        "command": "python benchmarks/joint_search.py",
        "machine": {"processor": processor(), "cpus": os.cpu_count(), "system": platform.platform(terse=True)},
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "optuna": version("optuna")},
        "load_cores": round(psutil.getloadavg()[0], 1),
        "rows": rows,
    }
    write_json(arguments.output, result)


def compare(seed: int, objectives: tuple[str, ...]) -> dict[str, Any]:
    """The proven front and what so many trials find of it."""
    random = np.random.default_rng(seed)
    problem = chain(random)
    choices = bank(random)
    start = time.perf_counter()
    proven = search(problem, choices, objectives, most_listed=10**6)
    assert proven.proven
    row: dict[str, Any] = {"seed": seed, "objectives": objectives, "how": proven.how, "points": len(proven.points)}
    row["seconds"] = round(time.perf_counter() - start, 2)
    row["searches"] = [found(problem, choices, proven, trials) for trials in TRIALS]
    return row


def found(problem: Problem, choices: Bank, proven: Front, trials: int) -> dict[str, Any]:
    start = time.perf_counter()
    front = search(problem, choices, proven.objectives, trials=trials, most_listed=0)
    seconds = time.perf_counter() - start
    true, near = (minimised([point.values for point in each.points], proven.objectives) for each in (proven, front))
    span = np.where(np.ptp(true, axis=0) > 0, np.ptp(true, axis=0), 1.0)
    behind = np.maximum((near[None] - true[:, None]) / span, 0).max(axis=2).min(axis=1)
    hit = sum(np.isclose(near, each, rtol=1e-9).all(axis=1).any() for each in true)
    return {"trials": trials, "found": int(hit), "gap": float(behind.mean()), "seconds": round(seconds, 2)}


def chain(random: np.random.Generator) -> Problem:
    """Tensors that shrink, on a tier and one twice as fast behind a slow link."""
    sizes = np.sort(random.integers(1, 60, LAYERS))[::-1]
    layers = [(f"l{i}", ["x" if i == 0 else f"l{i - 1}"], {f"l{i}": int(sizes[i])}) for i in range(LAYERS)]
    weights = {f"l{i}": {f"l{i}.weight": int(random.integers(1, 20))} for i in range(LAYERS)}
    seconds = random.uniform(0.5, 2, LAYERS)
    tiers = tuple(
        Tier(name, example_device(), {f"l{i}": float(seconds[i]) / faster for i in range(LAYERS)})
        for name, faster in (("mobile", 1), ("cloud", 2))
    )
    graph = make_graph(layers, {"x": 60}, parameters=weights)
    return Problem(graph, tiers, (example_link(16.0, 1.0),))


def bank(random: np.random.Generator) -> Bank:
    """The deeper and the larger a head, the better; surer where it is right."""
    hard = random.random(SAMPLES)
    places = []
    for depth in np.linspace(LAYERS / (PLACES + 1), LAYERS * PLACES / (PLACES + 1), PLACES).astype(int):
        heads = []
        for number in range(HEADS):
            skill = 0.5 + 0.4 * depth / LAYERS + 0.06 * number
            margin = skill - hard + random.normal(0, 0.2, SAMPLES)
            sure = 1 / (1 + np.exp(-6 * np.abs(margin)))
            heads.append(
                Head(f"l{depth - 1}", int(depth), sure, margin > 0, number * 10**9, 9 * number, f"head{number}")
            )
        places.append(tuple(heads))
    levels = tuple(Level(float(at), float(at)) for at in np.linspace(0.55, 0.98, LEVELS))
    return Bank(tuple(places), hard < 0.95, levels)


if __name__ == "__main__":
    main()
