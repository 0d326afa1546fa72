"""Which operation of which framework runs on which runtime, in which precision: tried, one small network each.

python benchmarks/matrix.py                    everything; writes benchmarks/results/matrix.json (about 20 minutes)
python benchmarks/matrix.py torch executorch   one framework on one runtime, printed

A cell has passed where the network is captured and its artefact gives what the network gives, at batches of 1 and 3,
within the runtime's tolerance. docs/generate_matrix.py makes the page.
"""

import argparse
import importlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np

from edgepart import plugins
from edgepart.errors import EdgepartError
from edgepart.frameworks import framework
from edgepart.frameworks.runtimes import runtime
from edgepart.graph.sizes import evaluate_size

RESULT = Path(__file__).parent / "results" / "matrix.json"
PACKAGES = (
    "torch",
    "tensorflow",
    "keras",
    "onnx",
    "onnxruntime",
    "tf2onnx",
    "onnxscript",
    "executorch",
    "ai-edge-litert",
)
BATCHES = (1, 3)


def pairs():
    """Every framework with every runtime that takes its parts."""
    for name in ("torch", "keras", "onnx"):
        for other in plugins.names("runtime"):
            if runtime(other).form in framework(name).forms:
                yield name, other


def inputs(graph, batch):
    """Random inputs that fit: token ids and masks where whole numbers are wanted."""
    random, found = np.random.default_rng(batch), {}
    for name in graph.inputs:
        spec = graph.tensor(name)
        shape = [evaluate_size(size, graph.symbols | {"batch": batch}) for size in spec.shape]
        if spec.dtype == "bool":
            found[name] = random.random(shape) > 0.5
        elif spec.dtype.startswith("float"):
            found[name] = random.normal(size=shape).astype(spec.dtype)
        else:
            found[name] = random.integers(0, 10, shape).astype(spec.dtype)
    return found


def difference(expected, found):
    """Largest, relative to the largest value."""
    worst = 0.0
    for name, array in expected.items():
        if array.shape != found[name].shape or array.dtype != found[name].dtype:
            return float("inf")
        gap = np.abs(array.astype(np.float64) - found[name].astype(np.float64)).max(initial=0.0)
        worst = max(worst, float(gap / max(np.abs(array.astype(np.float64)).max(initial=0.0), 1e-30)))
    return worst


def attempt(part, graph, target, precision):
    """What became of one cell: {"passed": difference} or {"reason": sentence}."""
    samples = [inputs(graph, 8)] if precision == "int8" else []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"part{target.suffix}"
        try:
            target.write(part, path, precision=precision, samples=samples)
            artefact = target.open(path)
            found = max(
                difference(part.run(given), artefact.run(given)) for given in (inputs(graph, b) for b in BATCHES)
            )
        except EdgepartError as error:
            return {"reason": str(error)}
    if not found <= target.tolerance(precision):
        return {"reason": f"differs by {found:.1e}, tolerated are {target.tolerance(precision):g}"}
    return {"difference": found}


def cells(framework_name, runtime_name):
    """One line of JSON for every operation and precision."""
    target = runtime(runtime_name)
    target.set_threads(1)
    owner = framework(framework_name)
    owner.set_threads(1)
    if framework_name == "torch":
        import torch

        torch.manual_seed(0)
    elif framework_name == "keras":
        import keras

        keras.utils.set_random_seed(0)
    operations = importlib.import_module(f"operations.{framework_name}_operations").OPERATIONS
    for operation, make in operations.items():
        try:
            model, example = make()
            program = owner.program(getattr(model, "eval", lambda model=model: model)(), example)
        except EdgepartError as error:
            for precision in target.precisions:
                yield operation, precision, {"reason": str(error)}
            continue
        for precision in target.precisions:
            yield operation, precision, attempt(program.slice(None, None), program.graph, target, precision)


def collected(framework_name, runtime_name):
    """The cells of one pair, tried in processes of their own: a runtime that crashes takes no other cell with it."""
    found = []
    command = [sys.executable, __file__, framework_name, runtime_name]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as run:
        about = {"framework": framework_name, "runtime": runtime_name}
        found += [about | json.loads(line) for line in run.stdout if line.startswith("{")]
    if run.returncode:
        how = signal.Signals(-run.returncode).name if run.returncode < 0 else f"exit code {run.returncode}"
        raise SystemExit(f"{framework_name} on {runtime_name} ended with {how} after {found[-1:] or 'nothing'}")
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pair", nargs="*")
    asked = parser.parse_args().pair
    if asked:
        for operation, precision, outcome in cells(*asked):
            print(json.dumps({"operation": operation, "precision": precision} | outcome), flush=True)
        return
    found = []
    for pair in pairs():
        found += collected(*pair)
        mine = [cell for cell in found if (cell["framework"], cell["runtime"]) == pair]
        print(*pair, f"{sum('difference' in cell for cell in mine)} of {len(mine)} passed", flush=True)
    versions = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    machine = {"system": platform.platform(), "processor": platform.machine(), "cpus": os.cpu_count()}
    result = {"date": f"{date.today()}", "versions": versions, "machine": machine, "cells": found}
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"written to {RESULT}")


if __name__ == "__main__":
    main()
