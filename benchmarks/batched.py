"""What leaving early saves where samples come in batches: real networks on real data, two runtimes, one thread.

    EDGEPART_DATA=… OMP_NUM_THREADS=1 python benchmarks/batched.py                everything, about half an hour
    EDGEPART_DATA=… OMP_NUM_THREADS=1 python benchmarks/batched.py minilm_sst2    one network anew, the other kept

Every cell is a bundle of ``edgepart build`` in two parts with four exits, whose heads learn on the frozen network.
MiniLM first becomes a classifier by two epochs on 4,000 phrases, and its heads learn on these, too. Settings are chosen
on samples that neither network has seen. ``edgepart evaluate --batches`` times it: samples that are sure enough leave,
the others go on as a smaller batch. Beside it the same network is timed as one artefact without heads, which says what
cutting costs. Each cell runs in a process of its own. Writes benchmarks/results/batched.json, whose figures are in
docs/measuring.md. What an earlier run left in runs/batched is used again.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
from precision import WORK as PRECISION
from precision import load_example, prepare_minilm

from edgepart import Bundle, Plan, build, capture, open_bundle, partition, profile, split
from edgepart.data.dataset import Dataset
from edgepart.data.load import load_dataset
from edgepart.evaluation.batches import SIZES, time_batches
from edgepart.evaluation.costs import Facts, cost_model, tabulate
from edgepart.evaluation.evaluate_traces import THRESHOLDS
from edgepart.frameworks.model import load_model
from edgepart.frameworks.runtimes import runtime
from edgepart.measuring.link_fit import Estimate
from edgepart.profiling.machine import KEEP_MEMORY, processor
from edgepart.training import TrainingSettings
from edgepart.training.order import by_length, lengths

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "batched.json"
WORK = ROOT / "runs" / "batched"
PACKAGES = ("torch", "transformers", "onnx", "onnxruntime", "numpy")
RUNTIMES = ("torch", "onnxruntime")
#: samples that heads learn on, that settings are chosen on, and that are timed
TRAINING, VALIDATION, TIMED = 4_000, 2_000, 512
HEAD_EPOCHS, PASSES = 10, 5
#: heads on frozen features are surer than they are right
GRID = (*THRESHOLDS, 0.9995, 0.9998, 0.9999, 0.99995, 0.99999, 0.999999)


@dataclass(frozen=True)
class Case:
    """One network: what it is, where it is cut and where samples may leave."""

    title: str
    split: str
    exits: tuple[str, ...]
    head: str
    suffix: str


CASES = {
    "resnet56_cifar10": Case(
        "ResNet-56 on CIFAR-10", "layer2.8", ("layer2.2", "layer2.5", "layer2.8", "layer3.4"), "conv_pool", ".npz"
    ),
    "minilm_sst2": Case(
        "MiniLM, 6 layers, on SST-2",
        "bert.encoder.layer.2",
        tuple(f"bert.encoder.layer.{number}" for number in (1, 2, 3, 4)),
        "linear",
        ".tsv",
    ),
}


def prepare(name: str, folder: Path) -> str:
    """Write training, validation and test data of a case; returns its MODEL."""
    folder.mkdir(parents=True, exist_ok=True)
    if name == "minilm_sst2":
        return prepare_phrases(folder)
    stored = Path(os.environ["EDGEPART_DATA"]) / "images" / "cifar10"
    with np.load(stored / "train.npz") as train, np.load(stored / "test.npz") as test:
        np.savez(folder / "train.npz", x=train["x"][:TRAINING], y=train["y"][:TRAINING])
        # the network knows its training images by heart
        np.savez(folder / "validation.npz", x=test["x"][:VALIDATION], y=test["y"][:VALIDATION])
        np.savez(folder / "test.npz", x=test["x"][VALIDATION:], y=test["y"][VALIDATION:])
    return f"{ROOT / 'examples' / 'resnet_cifar10' / 'model.py'}:resnet56"


def prepare_phrases(folder: Path) -> str:
    tuned = PRECISION / "minilm_sst2"
    tuned.mkdir(parents=True, exist_ok=True)
    model = prepare_minilm(tuned)
    lines = (tuned / "tuning.tsv").read_text(encoding="utf-8").splitlines()
    example = load_example("bert_sst2")
    seen = {line.rsplit("\t", 1)[0] for line in lines}
    train, dev = example.sst2()
    fresh = [row for row in train if row[0] not in seen]
    example.write_subset(fresh, dev, folder / "validation.tsv", folder / "test.tsv", VALIDATION)
    (folder / "train.tsv").write_text("\n".join(lines[: TRAINING + 1]) + "\n", encoding="utf-8")
    return model


def built(name: str, runtime_name: str) -> tuple[str, Bundle]:
    """MODEL and the bundle of a cell; a bundle that is there is taken."""
    case, folder = CASES[name], WORK / name
    output, model = folder / runtime_name, json.loads((folder / "model.json").read_text(encoding="utf-8"))
    if output.exists():
        return model, open_bundle(output)
    plan = Plan.load(folder / "plan.json")
    bundle = build(
        model,
        plan,
        folder / f"train{case.suffix}",
        validation=folder / f"validation{case.suffix}",
        output=output,
        head=case.head,
        runtimes=dict.fromkeys(plan.tier_names, runtime_name),
        settings=TrainingSettings.for_mode("heads", epochs=HEAD_EPOCHS),
        threads=1,
    )
    return model, bundle


def prepared(name: str) -> None:
    """Write what both runtimes share: data, network and plan, the last of all; what is there is kept."""
    folder, case = WORK / name, CASES[name]
    if (folder / "plan.json").exists():
        return
    model = prepare(name, folder)
    (folder / "model.json").write_text(json.dumps(model), encoding="utf-8")
    tiers, links = {"mobile": "raspberry-pi-4", "cloud": "cloud-gpu"}, {"mobile:cloud": "wifi"}
    measured = profile(model, quick=True)  # its times only estimate latencies, which are not shown
    partition(measured, tiers, links, split_after={"mobile": case.split}, exit_after=case.exits).save(
        folder / "plan.json"
    )


def one_piece(model: str, runtime_name: str, dataset: Dataset) -> list[dict[str, object]]:
    """Seconds a sample of the network as one artefact without heads, for each batch size."""
    used, loaded = runtime(runtime_name), load_model(model)
    graph = capture(loaded.model, loaded.example)
    (part,) = split(loaded.model, graph, [])
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"whole{used.suffix}"
        used.write(part, path)
        artefact = used.open(path)
        for size in SIZES:
            batches = [dataset.batch(indices) for indices in by_length(lengths(dataset.samples), size)]
            taken = []
            for _ in range(PASSES + 1):
                start = time.perf_counter()
                for arrays in batches:
                    artefact.run(arrays)
                taken.append((time.perf_counter() - start) / len(dataset))
            found.append({"batch_size": size, "seconds": Estimate.of(taken[1:]).model_dump()})
    return found


def measure(name: str, runtime_name: str) -> dict[str, object]:
    """One cell: the network as one artefact, and the bundle with samples leaving early."""
    model, bundle = built(name, runtime_name)
    bundle.set_threads(1)
    dataset = load_dataset(WORK / name / f"test{CASES[name].suffix}", bundle.preprocessing, classes=bundle.classes)
    timed = dataset.subset(np.arange(TIMED))
    whole = one_piece(model, runtime_name, timed)
    costs = tabulate(cost_model("latency"), bundle.plan, Facts(bundle.graph))
    found = time_batches(bundle, timed, costs=costs, grid=GRID, sizes=SIZES, samples=TIMED, passes=PASSES)
    fields = found.model_dump(mode="json", exclude={"date", "data", "fingerprint"})
    return {"network": name, "title": CASES[name].title, "runtime": runtime_name, "one_piece": whole, "timed": fields}


def collected(name: str) -> list[dict[str, object]]:
    """All cells of one network, each in a process of its own."""
    environment = os.environ | KEEP_MEMORY | {"OMP_NUM_THREADS": "1"}

    def run(*arguments: str) -> str:
        command = [sys.executable, __file__, name, *arguments]
        return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout

    run("prepare")
    found = []
    for runtime_name in RUNTIMES:
        # what training leaves behind must not stand beside what is timed
        run(runtime_name, "build")
        found.append(json.loads(run(runtime_name).splitlines()[-1]))
        print(name, runtime_name, [one["saving"]["median"] for one in found[-1]["timed"]["sizes"]], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", choices=CASES)
    parser.add_argument("cell", nargs="*", help="one step: prepare, RUNTIME build, or RUNTIME, printed")
    arguments = parser.parse_args()
    match arguments.cell:
        case ["prepare"]:
            prepared(arguments.name)
            return
        case [runtime_name, "build"]:
            built(arguments.name, runtime_name)
            return
        case [runtime_name]:
            print(json.dumps(measure(arguments.name, runtime_name)))
            return
    kept = json.loads(RESULT.read_text(encoding="utf-8"))["cells"] if arguments.name and RESULT.exists() else []
    cells = [cell for cell in kept if cell["network"] != arguments.name]
    for name in [arguments.name] if arguments.name else CASES:
        cells += collected(name)
    result = {
        "date": f"{date.today()}",
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "machine": {"system": platform.platform(), "processor": processor(), "cpus": os.cpu_count()},
        "settings": {"training": TRAINING, "validation": VALIDATION, "timed": TIMED, "passes": PASSES},
        "cells": sorted(cells, key=lambda cell: (list(CASES).index(cell["network"]), RUNTIMES.index(cell["runtime"]))),
    }
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"written to {RESULT}")


if __name__ == "__main__":
    main()
