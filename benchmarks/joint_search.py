"""How near a study of few trials comes to the proven front of a joint search.

    python benchmarks/joint_search.py [-o benchmarks/results/joint_search.json]

Made-up problems, all choices of which can be tried: a chain of layers on two tiers, eight thresholds, 1,000 validation
samples; two heads at each of four places, with the same threshold at all exits or one for each, or three heads at each
of six. ``share``: of the points of the
front, those that were found. ``gap``: how far the nearest point that was found lies behind a point of the front, in the
worst of its objectives, as a share of that objective's range over the front; mean and largest over the front.
``volume``: of what the front dominates between the best and the worst values on it, the part that what was found does.
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
from numpy.typing import NDArray

from edgepart.files import write_json
from edgepart.partitioning.problem import Problem, Tier
from edgepart.profiling.machine import processor
from edgepart.search import Bank, Front, Head, Level, search
from edgepart.search.front import minimised
from edgepart.testing.graphs import make_graph
from edgepart.testing.hardware import example_device, example_link

LAYERS, LEVELS, SAMPLES = 40, 8, 1000
#: places, heads at each, whether every exit has a threshold of its own, seeds
SIZES = ((4, 2, False, 5), (6, 3, False, 3), (4, 2, True, 3))
OBJECTIVES = (("accuracy", "latency"), ("accuracy", "latency", "mobile.memory"))
TRIALS = (300, 1000)
#: drawn to measure the volume
DRAWN = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/joint_search.json"))
    arguments = parser.parse_args()
    rows = []
    for objectives in OBJECTIVES:
        for places, heads, separate, seeds in SIZES:
            for seed in range(seeds):
                rows.append(compare(seed, objectives, places, heads, separate))
                print(rows[-1], flush=True)
    result = {
        "command": "python benchmarks/joint_search.py",
        "machine": {"processor": processor(), "cpus": os.cpu_count(), "system": platform.platform(terse=True)},
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "optuna": version("optuna")},
        "load_cores": round(psutil.getloadavg()[0], 1),
        "rows": rows,
    }
    write_json(arguments.output, result)


def compare(seed: int, objectives: tuple[str, ...], places: int, heads: int, separate: bool) -> dict[str, Any]:
    """The proven front and what so many trials find of it."""
    random = np.random.default_rng(seed)
    problem = chain(random)
    choices = bank(random, places, heads)
    start = time.perf_counter()
    proven = search(problem, choices, objectives, separate=separate, most_listed=10**6)
    assert proven.proven
    row: dict[str, Any] = {"seed": seed, "objectives": objectives, "places": places, "heads": heads}
    row["thresholds"] = "each" if separate else "one"
    row |= {"how": proven.how, "points": len(proven.points), "seconds": round(time.perf_counter() - start, 2)}
    row["searches"] = [found(problem, choices, proven, separate, trials, seed) for trials in TRIALS]
    return row


def found(problem: Problem, choices: Bank, proven: Front, separate: bool, trials: int, seed: int) -> dict[str, Any]:
    start = time.perf_counter()
    front = search(problem, choices, proven.objectives, separate=separate, trials=trials, most_listed=0, seed=seed)
    seconds = time.perf_counter() - start
    true, near = (minimised([point.values for point in each.points], proven.objectives) for each in (proven, front))
    span = np.where(np.ptp(true, axis=0) > 0, np.ptp(true, axis=0), 1.0)
    behind = np.array([np.maximum((near - each) / span, 0).max(axis=1).min() for each in true])
    hit = sum(np.isclose(near, each, rtol=1e-9).all(axis=1).any() for each in true)
    return {
        "trials": trials,
        "found": int(hit),
        "share": round(int(hit) / len(true), 4),
        "gap": float(behind.mean()),
        "largest_gap": float(behind.max()),
        "volume": volume(true, near),
        "seconds": round(seconds, 2),
    }


def volume(true: NDArray[np.float64], near: NDArray[np.float64]) -> float:
    """Hypervolume of what was found, as a share of the front's, by points drawn evenly in the box around the front."""
    drawn = np.random.default_rng(0).uniform(true.min(axis=0), true.max(axis=0), (DRAWN, true.shape[1]))
    behind_true, behind_near = (
        np.concatenate([(front[None] <= part[:, None]).all(axis=2).any(axis=1) for part in np.array_split(drawn, 200)])
        for front in (true, near)
    )
    return float(behind_near.sum() / behind_true.sum())


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


def bank(random: np.random.Generator, places: int, heads: int) -> Bank:
    """The deeper and the larger a head, the better; surer where it is right."""
    hard = random.random(SAMPLES)
    made = []
    for depth in np.linspace(LAYERS / (places + 1), LAYERS * places / (places + 1), places).astype(int):
        here = []
        for number in range(heads):
            skill = 0.5 + 0.4 * depth / LAYERS + 0.06 * number
            margin = skill - hard + random.normal(0, 0.2, SAMPLES)
            sure = 1 / (1 + np.exp(-6 * np.abs(margin)))
            here.append(
                Head(f"l{depth - 1}", int(depth), sure, margin > 0, number * 10**9, 9 * number, f"head{number}")
            )
        made.append(tuple(here))
    levels = tuple(Level(float(at), float(at)) for at in np.linspace(0.55, 0.98, LEVELS))
    return Bank(tuple(made), hard < 0.95, levels)


if __name__ == "__main__":
    main()
