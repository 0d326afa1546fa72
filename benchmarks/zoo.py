"""The whole zoo of ``tests/zoo`` at every boundary: how many slices equal the whole, and how many do not.

    EDGEPART_DATA=… OMP_NUM_THREADS=1 python benchmarks/zoo.py [-j PROCESSES] [NAME …]

EVERY=16 in the environment takes one boundary in sixteen. All of them take about half an hour of one core.
Writes benchmarks/results/zoo.json, of which docs/zoo.md is made; with names, only these networks are checked anew and
the others kept as they are there.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import multiprocessing
import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "zoo.json"
PACKAGES = ("torch", "transformers", "tensorflow", "keras", "onnx", "onnxruntime", "onnxscript", "tf2onnx", "numpy")
#: descriptions of failures kept for each network
SHOWN = 5

sys.path.insert(0, str(ROOT / "tests" / "zoo"))


def checked(name: str) -> dict[str, object]:
    """One network, in a process of its own: TensorFlow and torch keep what they have taken."""
    import equality
    import zoo

    start = time.perf_counter()
    try:
        if not name.startswith("keras/"):
            import torch

            torch.set_num_threads(1)
        every = int(os.environ.get("EVERY", "1"))
        findings = equality.check(zoo.subject(name), every)
    except Exception as error:  # a network that cannot be captured is a result too
        row: dict[str, object] = {"name": name, "layers": 0, "boundaries": 0, "checked_boundaries": 0, "slices": 0}
        row |= {"largest_difference": 0.0, "failures": [f"{type(error).__name__}: {error}"]}
    else:
        row = asdict(findings)
    failures = row["failures"]
    assert isinstance(failures, list)
    return row | {"failures": len(failures), "shown": failures[:SHOWN], "took_s": round(time.perf_counter() - start, 1)}


def main() -> None:
    import zoo

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("-j", "--processes", type=int, default=2)
    chosen = parser.parse_args()
    # tf2onnx goes through sets of names: what it folds together hangs on how Python hashes them
    os.environ["PYTHONHASHSEED"] = "0"
    rows = {}
    if chosen.names and RESULT.exists():
        rows = {row["name"]: row for row in json.loads(RESULT.read_text(encoding="utf-8"))["networks"]}
    with multiprocessing.get_context("spawn").Pool(chosen.processes, maxtasksperchild=1) as pool:
        for row in pool.imap_unordered(checked, chosen.names or zoo.NAMES):
            rows[str(row["name"])] = row
            print(row["name"], row["boundaries"], "boundaries,", row["failures"], "failures,", row["took_s"], "s")
            write([rows[name] for name in zoo.NAMES if name in rows])


def write(rows: list[dict[str, object]]) -> None:
    result = {
        "command": "python benchmarks/zoo.py",
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cpus": os.cpu_count()},
        "versions": {"python": platform.python_version()}
        | {package: importlib.metadata.version(package) for package in PACKAGES},
        "networks": rows,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
