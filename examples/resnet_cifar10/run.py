"""ResNet-56 with its published CIFAR-10 weights: split at 70 % of its memory, exits trained on the frozen network.

    python examples/resnet_cifar10/run.py            # about 10 minutes on two cores
    python examples/resnet_cifar10/run.py --quick    # the same steps on fewer images

Needs ``pip install 'edgepart[torch,images,plots]'``. Images and weights come from ``$EDGEPART_DATA``
(``images/cifar10/{train,test}.npz``, ``weights/cifar10_resnet``) or, online, from ``keras.datasets`` and the weights'
repository. The network was trained on the training images and knows them by heart, so thresholds are not chosen on
them: 2,000 of the test images are set aside for that and the rest is reported on.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

MODEL = f"{os.path.relpath(Path(__file__).with_name('model.py'))}:resnet56"
CALIBRATION = 2_000


def main() -> None:
    arguments = parse()
    work = arguments.output
    work.mkdir(parents=True, exist_ok=True)
    images = arguments.samples or (1_500 if arguments.quick else 25_000)
    write_data(work, images)

    threads = ["--threads", str(arguments.threads)]
    edgepart("profile", MODEL, "--device", "this", "-o", work / "profile.json")
    tiers = ["--tier", "edge=raspberry-pi-4", "--tier", "cloud=this", "--link", "edge:cloud=wifi"]
    rule = ["--method", "memory-share", "--share", "70%", "--exits", arguments.exits]
    edgepart("partition", work / "profile.json", *tiers, *rule, "-o", work / "plan.json")
    data = ["--data", work / "train.npz", "--validation", work / "calibration.npz"]
    build = [*data, "--head", "conv_pool", "--epochs", "2" if arguments.quick else "10", *threads]
    edgepart("build", MODEL, work / "plan.json", *build, "-o", work / "bundle")
    edgepart("evaluate", work / "bundle", "--data", work / "test.npz", *threads, "-o", work / "report")
    trace = ["--trace", work / "report" / "trace.safetensors", "--cost", "price=google-cloud-functions"]
    edgepart("evaluate", work / "bundle", *trace, "-o", work / "report_price")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1,500 images and 2 epochs")
    parser.add_argument("--samples", type=int, help="training images to use (default: 25,000)")
    parser.add_argument("--exits", choices=("linear", "pareto"), default="linear")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/resnet_cifar10"))
    return parser.parse_args()


def edgepart(*arguments: object) -> None:
    """Run one command and show it, so that it can be repeated by hand."""
    words = [str(argument) for argument in arguments]
    print("\n$ edgepart", *words, flush=True)
    done = subprocess.run([sys.executable, "-m", "edgepart", *words], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def write_data(folder: Path, images: int) -> None:
    (train_x, train_y), (test_x, test_y) = cifar10()
    np.savez(folder / "train.npz", image=train_x[:images], label=train_y[:images])
    np.savez(folder / "calibration.npz", image=test_x[:CALIBRATION], label=test_y[:CALIBRATION])
    np.savez(folder / "test.npz", image=test_x[CALIBRATION:], label=test_y[CALIBRATION:])


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


if __name__ == "__main__":
    main()
