"""MLPerf Tiny's ResNet-8, a Keras .h5 file, on CIFAR-10: one residual block a tier, each tier with its own runtime.

    python examples/keras_cifar10/run.py            # about 10 minutes on two cores
    python examples/keras_cifar10/run.py --quick    # the same steps on fewer images

Needs ``pip install 'edgepart[tensorflow,onnx,litert,images,plots]'``. The network is
``$EDGEPART_DATA/weights/mlperf_tiny_resnet8_cifar10/pretrainedResnet.h5`` or the file that ``--network`` names, else it
comes from its repository (mlcommons/tiny). Images come from ``$EDGEPART_DATA/images/cifar10/{train,test}.npz`` or,
online, from ``keras.datasets``.

Three bundles: heads trained on the frozen network, with the mobile part in LiteRT, the edge's in ONNX Runtime and the
cloud's in TensorFlow; the same with the mobile part in 8 bits; and all of it trained jointly. The network ends in
softmax, heads give logits: edgepart takes what goes into the softmax for its logits.

The network was trained on the training images, so thresholds are not chosen on them: 2,000 of the test images are set
aside for that and the rest is reported on.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

PREPROCESSING = os.path.relpath(Path(__file__).with_name("preprocessing.yaml"))
STORED = Path("weights") / "mlperf_tiny_resnet8_cifar10" / "pretrainedResnet.h5"
PUBLISHED = (
    "https://github.com/mlcommons/tiny/raw/master/benchmark/training/image_classification/trained_models/"
    "pretrainedResnet.h5"
)
CALIBRATION = 2_000
#: the last layers of the first and of the second residual block
SPLIT = {"mobile": "activation_2", "edge": "activation_4"}
RUNTIMES = {"mobile": "litert", "edge": "onnxruntime", "cloud": "tensorflow"}
#: name of the report → options of build
VARIANTS = {
    "report": ["--train", "heads"],
    "report_int8": ["--train", "heads", "--precision", "mobile=int8"],
    "report_joint": ["--train", "joint", "--learning-rate", "1e-3", "--head-learning-rate-ratio", "10"],
}


def main() -> None:
    arguments = parse()
    work = arguments.output
    work.mkdir(parents=True, exist_ok=True)
    write_data(work, 1_500 if arguments.quick else 15_000)
    epochs = {"heads": "2" if arguments.quick else "15", "joint": "1" if arguments.quick else "8"}

    edgepart("profile", arguments.network, "-o", work / "profile.json", *(["--quick"] if arguments.quick else []))
    tiers = ["--tier", "mobile=raspberry-pi-4", "--tier", "edge=jetson-orin-nano", "--tier", "cloud=cloud-gpu"]
    links = ["--link", "mobile:edge=wifi", "--link", "edge:cloud=4g"]
    split = [word for place in SPLIT.items() for word in ("--split-after", "=".join(place))]
    exits = [word for layer in SPLIT.values() for word in ("--exit-after", layer)]
    edgepart("partition", work / "profile.json", *tiers, *links, *split, *exits, "-o", work / "plan.json")
    data = ["--data", work / "train.npz", "--validation", work / "calibration.npz"]
    data += ["--preprocessing", PREPROCESSING, "--head", "conv_pool"]
    data += [word for runtime in RUNTIMES.items() for word in ("--runtime", "=".join(runtime))]
    threads = ["--threads", str(arguments.threads)]
    for report, options in VARIANTS.items():
        bundle = work / report.replace("report", "bundle")
        options = [*options, "--epochs", epochs[options[1]]]
        edgepart("build", arguments.network, work / "plan.json", *data, *options, *threads, "-o", bundle)
        edgepart("evaluate", bundle, "--data", work / "test.npz", *threads, "-o", work / report)
    compare(work)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", type=Path, help="pretrainedResnet.h5, wherever it lies")
    parser.add_argument("--quick", action="store_true", help="1,500 images and few epochs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/keras_cifar10"))
    arguments = parser.parse_args()
    arguments.network = arguments.network or network()
    if not arguments.network.is_file():
        parser.error(f"{arguments.network} does not exist: give pretrainedResnet.h5")
    return arguments


def network() -> Path:
    if "EDGEPART_DATA" in os.environ:
        return stored(STORED)
    keras = online()
    try:
        return Path(keras.utils.get_file(STORED.name, PUBLISHED))
    except Exception as error:
        sys.exit(f"the network cannot be downloaded ({error}): set EDGEPART_DATA, or give its file with --network")


def stored(place: Path) -> Path:
    """A file in $EDGEPART_DATA."""
    path = Path(os.environ["EDGEPART_DATA"]) / place
    if not path.is_file():
        sys.exit(f"{path} does not exist: set EDGEPART_DATA to the folder that holds {place}, or unset it to download")
    return path


def online() -> Any:
    """Keras, which downloads networks and images where EDGEPART_DATA does not say where they are."""
    try:
        import keras
    except ImportError:
        sys.exit("Keras is not installed: pip install 'edgepart[tensorflow]'")
    return keras


def edgepart(*arguments: object) -> None:
    """Run one command and show it, so that it can be repeated by hand."""
    words = [str(argument) for argument in arguments]
    print("\n$ edgepart", *words, flush=True)
    done = subprocess.run([sys.executable, "-m", "edgepart", *words], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def compare(work: Path) -> None:
    """Accuracy of every exit on the test images: what 8 bits cost, and what joint training changes."""
    reports = [json.loads((work / name / "report.json").read_text(encoding="utf-8")) for name in VARIANTS]
    print(f"\n{'exit':12}{'float32':>10}{'int8 on mobile':>18}{'trained jointly':>18}")
    for exits in zip(*(report["exits"] for report in reports), strict=True):
        heads, coarse, joint = (point["accuracy"] for point in exits)
        print(f"{exits[0]['name']:12}{heads:>10.1%}{coarse:>18.1%}{joint:>18.1%}")


def write_data(folder: Path, images: int) -> None:
    (train_x, train_y), (test_x, test_y) = cifar10()
    np.savez(folder / "train.npz", x=train_x[:images], y=train_y[:images])
    np.savez(folder / "calibration.npz", x=test_x[:CALIBRATION], y=test_y[:CALIBRATION])
    np.savez(folder / "test.npz", x=test_x[CALIBRATION:], y=test_y[CALIBRATION:])


def cifar10() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Images (N, 32, 32, 3) uint8 and labels (N,) of the training and the test set."""
    if "EDGEPART_DATA" not in os.environ:
        try:
            (train_x, train_y), (test_x, test_y) = online().datasets.cifar10.load_data()
        except Exception as error:
            sys.exit(f"CIFAR-10 cannot be downloaded ({error}): set EDGEPART_DATA to the folder with images/cifar10")
        return (train_x, train_y.ravel()), (test_x, test_y.ravel())
    parts = []
    for name in ("train", "test"):
        with np.load(stored(Path("images") / "cifar10" / f"{name}.npz")) as arrays:
            parts.append((arrays["x"], arrays["y"]))
    return parts[0], parts[1]


if __name__ == "__main__":
    main()
