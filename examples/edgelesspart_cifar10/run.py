"""EdgeLessPart's experiment: ResNet50, MobileNetV2 and InceptionV3 on CIFAR-10, split at 70 % of their memory.

    python examples/edgelesspart_cifar10/run.py            # small images, short training: about 20 minutes on two cores
    python examples/edgelesspart_cifar10/run.py --quick    # the same steps on a few images, no accuracy to speak of
    python examples/edgelesspart_cifar10/run.py --full     # the networks' own image sizes; for a machine with a GPU

Needs ``pip install 'edgepart[tensorflow,images,plots]'``. Exits are placed linearly and by the Pareto rule, each a copy
of the network's own classifier, and a sample leaves at the first that reaches the confidence c_thr (Núñez Araya et al.,
section III). For every c_thr from 0.3 to 0.9 it writes accuracy, inference time, memory on edge and cloud and what
Google Cloud Functions charge: ``results.json``, ``figure_2_linear.png``, ``figure_3_pareto.png`` and a table.

Images come from ``$EDGEPART_DATA/images/cifar10/{train,test}.npz`` or, online, from ``keras.datasets``. Networks are
trained from random weights, or with ``--weights imagenet`` from those of ``keras.applications`` (online).
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from figures import draw
from measure import RUNTIME_MEMORY, THRESHOLDS, cloud_only, sweep_thresholds

import edgepart
from edgepart.errors import EdgepartError
from edgepart.frameworks.keras import require_keras

TIERS = {"edge": "jetson-orin-nano", "cloud": "cloud-cpu"}
LINKS = {"edge:cloud": "wifi"}
RULES = {"linear": "figure_2_linear.png", "pareto": "figure_3_pareto.png"}


@dataclass(frozen=True)
class Scale:
    """How much of the experiment is run."""

    name: str
    #: of the training set; None takes all
    images: int | None
    epochs: dict[str, int]
    head_epochs: int
    #: of the test set; thresholds are chosen on the first, figures are about the second
    calibration: int
    test: int | None


QUICK = Scale("quick", 256, dict.fromkeys(("resnet50", "mobilenetv2", "inceptionv3"), 1), 2, 100, 200)
REDUCED = Scale("reduced", 8_000, {"resnet50": 6, "mobilenetv2": 6, "inceptionv3": 4}, 20, 1_000, 2_000)
FULL = Scale("full", None, dict.fromkeys(("resnet50", "mobilenetv2", "inceptionv3"), 40), 30, 2_000, None)
Data = dict[str, tuple[np.ndarray, np.ndarray]]


def main() -> None:
    arguments = parse()
    try:
        require_keras()  # imports TensorFlow, without what it has to say
    except EdgepartError as error:
        sys.exit(str(error))
    scale = FULL if arguments.full else QUICK if arguments.quick else REDUCED
    arguments.output.mkdir(parents=True, exist_ok=True)
    data = write_data(arguments.output, scale)
    limits = caveat(scale, arguments.weights)
    found: dict[str, Any] = {}
    for name in arguments.network or scale.epochs:
        found[name] = experiment(name, scale, data, arguments)
        write(arguments.output, scale, limits, data, found)
    show(found)
    for rule, file in RULES.items():
        draw(found, rule, limits, arguments.output / file)
    print(f"\n{limits}\nwritten to {arguments.output}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="256 images, one epoch")
    size.add_argument("--full", action="store_true", help="all images, 224 or 299 pixels wide, 40 epochs")
    parser.add_argument("--network", action="append", choices=list(QUICK.epochs), help="may be repeated; all three")
    parser.add_argument("--weights", choices=("imagenet",), help="start from these, which keras.applications loads")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/edgelesspart_cifar10"))
    return parser.parse_args()


def experiment(name: str, scale: Scale, data: Data, arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything about one network: trained, profiled, and for either rule planned, built and measured."""
    import model as networks

    work, network = arguments.output, networks.NETWORKS[name]
    size = network.published_size if arguments.full else network.reduced_size
    images, labels = data["train"]
    start = arguments.weights or "random"
    file = work / f"{name}_{size}px_{len(images)}x{scale.epochs[name]}_{start}.keras"
    set_threads(arguments.threads)
    if not file.exists():
        print(f"\n{network.title}: trained on {len(images):,} images of {size} x {size}", flush=True)
        networks.train(name, size, arguments.weights, images, labels, scale.epochs[name], file)
    preprocessing = networks.preprocessing(name, size)
    profile = edgepart.profile(str(file), quick=not arguments.full)
    profile.save(work / f"{name}_profile.json")
    found = {"title": network.title, "size": size, "epochs": scale.epochs[name], "weights": start, "rules": {}}
    found["cloud_only"] = cloud_only(profile, TIERS, LINKS)
    for rule in RULES:
        folder = work / f"{name}_{rule}"
        folder.mkdir(exist_ok=True)
        print(f"\n{network.title}: split at 70 % of its memory, {rule} exits", flush=True)
        plan = edgepart.partition(
            profile, TIERS, LINKS, method="memory-share", exits=rule, runtime_memory=RUNTIME_MEMORY
        )
        plan.save(folder / "plan.json")
        bundle = edgepart.build(
            str(file),
            plan,
            work / "train.npz",
            output=folder / "bundle",
            preprocessing=preprocessing,
            validation=work / "calibration.npz",
            head="replicate_classifier",
            settings=head_settings(scale),
            profile=profile,
            threads=arguments.threads,
            say=print,
        )
        report = edgepart.evaluate(
            bundle,
            work / "test.npz",
            output=folder / "report",
            strategies=["confidence", "oracle"],
            grid=THRESHOLDS,
            threads=arguments.threads,
        )
        trace = edgepart.Trace.load(folder / "report" / "trace.safetensors")
        found["rules"][rule] = sweep_thresholds(bundle, trace)
        found["provenance"] = report.provenance.model_dump(include={"date", "machine", "packages"})
    return found


def head_settings(scale: Scale) -> Any:
    from edgepart.training import TrainingSettings

    return TrainingSettings.for_mode("heads", epochs=scale.head_epochs)


def set_threads(count: int) -> None:
    import tensorflow as tf

    # once TensorFlow has computed something, the number is settled
    if tf.config.threading.get_intra_op_parallelism_threads() != count:
        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def write_data(folder: Path, scale: Scale) -> Data:
    """The images as edgepart reads them: for training, for choosing thresholds, and to report on."""
    (train_x, train_y), (test_x, test_y) = cifar10()
    end = None if scale.test is None else scale.calibration + scale.test
    parts = {
        "train": (train_x[: scale.images], train_y[: scale.images]),
        "calibration": (test_x[: scale.calibration], test_y[: scale.calibration]),
        "test": (test_x[scale.calibration : end], test_y[scale.calibration : end]),
    }
    for name, (x, y) in parts.items():
        np.savez(folder / f"{name}.npz", x=x, y=y)
    return parts


def cifar10() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Images (N, 32, 32, 3) uint8 and labels (N,) of the training and the test set."""
    if "EDGEPART_DATA" not in os.environ:
        return downloaded()
    parts = []
    for name in ("train", "test"):
        path = Path(os.environ["EDGEPART_DATA"]) / "images" / "cifar10" / f"{name}.npz"
        if not path.is_file():
            sys.exit(f"{path} does not exist: set EDGEPART_DATA to the folder that holds it, or unset it to download")
        with np.load(path) as stored:
            parts.append((stored["x"], stored["y"]))
    return parts[0], parts[1]


def downloaded() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    try:
        from keras.datasets import cifar10 as online

        (train_x, train_y), (test_x, test_y) = online.load_data()
    except ImportError:
        sys.exit("set EDGEPART_DATA to the folder with images/cifar10, or, to download it: pip install tensorflow")
    except Exception as error:
        sys.exit(f"CIFAR-10 cannot be downloaded ({error}): set EDGEPART_DATA to the folder with images/cifar10")
    return (train_x, train_y.ravel()), (test_x, test_y.ravel())


def caveat(scale: Scale, weights: str | None) -> str:
    if scale is FULL:
        return "Full run: the networks' own image sizes, all images."
    return (
        f"{scale.name.capitalize()} run: small images, {scale.images:,} of them, few epochs from "
        f"{weights or 'random'} weights, so accuracies are far below the published ones; run.py --full, on a machine "
        "with an accelerator, is the full run."
    )


def write(folder: Path, scale: Scale, limits: str, data: Data, found: dict[str, Any]) -> None:
    document = {
        "caveat": limits,
        "scale": asdict(scale),
        "samples": {name: len(labels) for name, (_, labels) in data.items()},
        "thresholds": THRESHOLDS,
        "tiers": TIERS,
        "links": LINKS,
        "networks": found,
    }
    (folder / "results.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def show(found: dict[str, Any]) -> None:
    """The numbers of both figures."""
    head = ("network, exits", "c_thr", "accuracy", "time", "on cloud", "edge memory", "cloud memory", "USD per million")
    rows = [head, *rows_of(found)]
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    for name, *cells in rows:
        print(name.ljust(first), *(cell.rjust(width) for cell, width in zip(cells, others, strict=True)), sep="  ")
    print("* chosen on the validation data: the lowest that costs at most a point of accuracy there")


def rows_of(found: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for network in found.values():
        alone = network["cloud_only"]
        for rule, measured in network["rules"].items():
            for point in measured["points"]:
                chosen = " *" if point["c_thr"] == measured["chosen"] else ""
                yield (
                    f"{network['title']}, {rule}",
                    f"{point['c_thr']:.1f}{chosen}",
                    f"{point['accuracy']:.1%}",
                    f"{1e3 * point['latency_s']:.1f} ms",
                    f"{point['on_cloud']:.0%}",
                    f"{point['edge_bytes'] / 1e6:.1f} MB",
                    f"{point['cloud_bytes'] / 1e6:.1f} MB",
                    f"{1e6 * point['usd']:.2f}",
                )
        yield (
            f"{network['title']}, whole in the cloud",
            "-",
            f"{next(iter(network['rules'].values()))['full_accuracy']:.1%}",
            f"{1e3 * alone['latency_s']:.1f} ms",
            "100%",
            "0.0 MB",
            f"{alone['bytes'] / 1e6:.1f} MB",
            f"{1e6 * alone['usd']:.2f}",
        )


if __name__ == "__main__":
    main()
