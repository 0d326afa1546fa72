"""What half precision and 8 bits cost in accuracy: real networks on real data, on every runtime that takes them.

    EDGEPART_DATA=… OMP_NUM_THREADS=1 python benchmarks/precision.py                 everything, about 40 minutes
    EDGEPART_DATA=… OMP_NUM_THREADS=1 python benchmarks/precision.py minilm_sst2     one network anew, the others kept

Every cell is a bundle of ``edgepart build``: two tiers, an exit at the end of the first whose head learns on the frozen
network, both parts on the same runtime in the same precision, 8 bits with the ranges of 64 training samples. It is
evaluated on test data as it is deployed, beside the same bundle in the network's own framework. MiniLM first becomes a
classifier by two epochs on 4,000 phrases, so its accuracy is not what it could be. Writes
benchmarks/results/precision.json, of which docs/generate_precision.py makes the page. Times are not taken.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np

from edgepart import Plan, build, partition, plugins, profile, record
from edgepart.bundle.build import CALIBRATION_SAMPLES
from edgepart.data import load_dataset
from edgepart.data.preprocessing import read_preprocessing
from edgepart.errors import EdgepartError
from edgepart.frameworks import framework
from edgepart.frameworks.runtimes import runtime
from edgepart.training import TrainingSettings

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "precision.json"
WORK = ROOT / "runs" / "precision"
PACKAGES = ("torch", "tensorflow", "onnx", "onnxruntime", "executorch", "torchao", "ai-edge-litert", "transformers")
PHRASES, FINE_TUNING_EPOCHS, FINE_TUNING_BATCH = 4_000, 2, 32
#: samples that heads learn on
TRAINING, HEAD_EPOCHS = 1_000, 10
IMAGES = 2_000


@dataclass(frozen=True)
class Case:
    """One network: what it is, and where it is cut."""

    framework: str
    title: str
    #: last module or layer of the first part, which has the exit
    split: str
    head: str
    preprocessing: str | None = None


CASES = {
    "minilm_sst2": Case("torch", "MiniLM, 6 layers, on SST-2", "bert.encoder.layer.4", "linear"),
    "mobilenet_v2_imagenette": Case(
        "onnx", "MobileNetV2 on Imagenette", "/Add_6", "conv_pool", "examples/onnx_imagenette/preprocessing.yaml"
    ),
    "resnet56_cifar10": Case("torch", "ResNet-56 on CIFAR-10", "layer2", "conv_pool"),
    "resnet8_cifar10": Case(
        "keras",
        "ResNet-8 of MLPerf Tiny on CIFAR-10",
        "activation_4",
        "conv_pool",
        "examples/keras_cifar10/preprocessing.yaml",
    ),
}


def cells(case: Case) -> list[tuple[str, str]]:
    """Every runtime that takes the network's parts, in each of its precisions; the framework's own first.

    Not Triton's model folders: the file in them is ONNX Runtime's.
    """
    owner = framework(case.framework)
    able = [name for name in plugins.names("runtime") if runtime(name).form in owner.forms and name != "triton"]
    able.sort(key=lambda name: name != owner.runtime)
    return [(name, precision) for name in able for precision in runtime(name).precisions]


def prepare(name: str, folder: Path) -> str:
    """Write train and test data of a case; returns its MODEL."""
    folder.mkdir(parents=True, exist_ok=True)
    data = Path(os.environ["EDGEPART_DATA"])
    if name == "minilm_sst2":
        return prepare_minilm(folder)
    if name == "mobilenet_v2_imagenette":
        example = load_example("onnx_imagenette")
        from model import cut

        train, test = example.imagenette()
        example.write_images(folder / "train.npz", train[:TRAINING])
        example.write_images(folder / "test.npz", test)
        cut(data / "onnx" / "mobilenet_v2_imagenet.onnx", folder / "network.onnx")
        return str(folder / "network.onnx")
    for part, images in (("train", TRAINING), ("test", IMAGES)):
        with np.load(data / "images" / "cifar10" / f"{part}.npz") as stored:
            np.savez(folder / f"{part}.npz", x=stored["x"][:images], y=stored["y"][:images])
    if name == "resnet8_cifar10":
        return str(data / "weights" / "mlperf_tiny_resnet8_cifar10" / "pretrainedResnet.h5")
    return f"{ROOT / 'examples' / 'resnet_cifar10' / 'model.py'}:resnet56"


def load_example(name: str):
    """The module ``run`` of an example."""
    sys.path.insert(0, str(ROOT / "examples" / name))
    import run

    return run


def prepare_minilm(folder: Path) -> str:
    example = load_example("bert_sst2")
    checkpoint = folder / "checkpoint"
    example.write_subset(*example.sst2(), folder / "tuning.tsv", folder / "test.tsv", PHRASES)
    lines = (folder / "tuning.tsv").read_text(encoding="utf-8").splitlines()
    (folder / "train.tsv").write_text("\n".join(lines[: TRAINING + 1]) + "\n", encoding="utf-8")
    if not (folder / "tuned").exists():
        example.write_checkpoint(checkpoint)
        tune(checkpoint, [line.rsplit("\t", 1) for line in lines[1:]])
        (folder / "tuned").touch()
    return f"hf:{checkpoint}"


def tune(checkpoint: Path, rows: list[list[str]]) -> None:
    """Fine-tune a classifier in place, as its authors would have, before edgepart sees it."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).train()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-5)
    steps = FINE_TUNING_EPOCHS * -(-len(rows) // FINE_TUNING_BATCH)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, steps)
    for _ in range(FINE_TUNING_EPOCHS):
        for chunk in torch.randperm(len(rows)).split(FINE_TUNING_BATCH):
            chosen = [rows[index] for index in chunk]
            given = tokenizer([text for text, _ in chosen], return_tensors="pt", padding=True, truncation=True)
            labels = torch.tensor([model.config.label2id[label] for _, label in chosen])
            optimiser.zero_grad()
            model(**given, labels=labels).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
    model.save_pretrained(checkpoint)


def measure(name: str, runtime_name: str, precision: str) -> dict[str, object]:
    """One cell: accuracies as deployed, or the reason why there are none."""
    case, folder = CASES[name], WORK / name
    cell = folder / f"{runtime_name}_{precision}"
    suffix = ".tsv" if (folder / "train.tsv").exists() else ".npz"
    plan = Plan.load(folder / "plan.json")
    try:
        bundle = build(
            json.loads((folder / "model.json").read_text(encoding="utf-8")),
            plan,
            folder / f"train{suffix}",
            output=cell,
            preprocessing=read_preprocessing(ROOT / case.preprocessing) if case.preprocessing else None,
            head=case.head,
            runtimes=dict.fromkeys(plan.tier_names, runtime_name),
            precisions=dict.fromkeys(plan.tier_names, precision),
            settings=TrainingSettings.for_mode("heads", epochs=HEAD_EPOCHS),
            threads=1,
        )
    except EdgepartError as error:
        return {"reason": str(error)}
    dataset = load_dataset(folder / f"test{suffix}", bundle.preprocessing, classes=bundle.classes)
    trace = record(bundle, dataset)
    answers = trace.logits.argmax(-1)
    np.save(cell.with_suffix(".npy"), answers)
    own = np.load(folder / f"{framework(case.framework).runtime}_float32.npy")
    stages = [stage for part in bundle.parts.values() for stage in part.manifest.stages]
    return {
        "samples": len(dataset),
        "exits": list(bundle.exits),
        "accuracy": (answers == trace.labels[:, None]).mean(0).round(4).tolist(),
        "same_answer": (answers == own).mean(0).round(4).tolist(),
        "bytes": sum(file.bytes for stage in stages for file in stage.files.values()),
        "difference": max(stage.difference for stage in stages),
    }


def prepared(name: str) -> None:
    """Write what all cells of a case share: data, network, profile and plan."""
    folder, case = WORK / name, CASES[name]
    model = prepare(name, folder)
    (folder / "model.json").write_text(json.dumps(model), encoding="utf-8")
    tiers, links = {"mobile": "raspberry-pi-4", "cloud": "cloud-gpu"}, {"mobile:cloud": "wifi"}
    measured = profile(model, quick=True)  # its times only estimate latencies, which are not shown
    split = {"split_after": {"mobile": case.split}, "exit_after": [case.split]}
    partition(measured, tiers, links, **split).save(folder / "plan.json")


def collected(name: str) -> dict[str, object]:
    """All cells of one case, each in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}

    def run(*arguments: str) -> str:
        command = [sys.executable, __file__, name, *arguments]
        return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout

    run("prepare")
    found = []
    for runtime_name, precision in cells(CASES[name]):
        outcome = json.loads(run(runtime_name, precision).splitlines()[-1])
        found.append({"runtime": runtime_name, "precision": precision} | outcome)
        print(name, found[-1], flush=True)
    return {"network": name, "title": CASES[name].title, "framework": CASES[name].framework, "cells": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", choices=CASES)
    parser.add_argument("cell", nargs="*", help="one cell, printed: RUNTIME PRECISION")
    arguments = parser.parse_args()
    if arguments.cell == ["prepare"]:
        prepared(arguments.name)
        return
    if arguments.cell:
        print(json.dumps(measure(arguments.name, *arguments.cell)))
        return
    kept = json.loads(RESULT.read_text(encoding="utf-8"))["networks"] if arguments.name and RESULT.exists() else []
    found = {network["network"]: network for network in kept}
    for name in [arguments.name] if arguments.name else CASES:
        found[name] = collected(name)
    result = {
        "date": f"{date.today()}",
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cpus": os.cpu_count()},
        "settings": {"training": TRAINING, "calibration": CALIBRATION_SAMPLES, "head_epochs": HEAD_EPOCHS},
        "networks": [found[name] for name in CASES if name in found],
    }
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"written to {RESULT}")


if __name__ == "__main__":
    main()
