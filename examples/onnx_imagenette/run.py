"""MobileNetV2 from a plain ONNX file on Imagenette: over mobile, edge and cloud, all in ONNX Runtime.

    python examples/onnx_imagenette/run.py            # about 3 minutes on two cores
    python examples/onnx_imagenette/run.py --quick    # the same steps on fewer images

Needs ``pip install 'edgepart[onnx,torch,images,plots]'``: heads learn in PyTorch, on features recorded with ONNX
Runtime, and become part of the ONNX files. The network is ``$EDGEPART_DATA/onnx/mobilenet_v2_imagenet.onnx`` or the
file that ``--network`` names; ``model.py`` says why it is cut to ten classes. Images come from
``$EDGEPART_DATA/images/imagenette160/{train,test}.npz`` or, online, from ``datasets`` (frgfm/imagenette). By hand:

    python model.py mobilenet_v2_imagenet.onnx imagenette.onnx
    edgepart profile imagenette.onnx -o profile.json
    edgepart partition profile.json --tier mobile=raspberry-pi-4 … -o plan.json
    edgepart build imagenette.onnx plan.json --data train.npz --preprocessing preprocessing.yaml \\
                   --runtime mobile=onnxruntime --precision mobile=int8 -o bundle
    edgepart evaluate bundle --data test.npz -o report

The network has seen the training images, those that settings are chosen on among them; the test images are new to it.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from model import CLASSES, cut

PREPROCESSING = os.path.relpath(Path(__file__).with_name("preprocessing.yaml"))
CALIBRATION = 300
#: for lack of which the Raspberry Pi would run it all: there would be nothing to split
LIMITS = {"mobile.memory": "11MB", "edge.memory": "6MB"}
#: these are limits of the network's own memory: ONNX Runtime, some 90 MB on either tier, is left out
RUNTIME_MEMORY = ("mobile=0B", "edge=0B")
#: sums and bottlenecks, which are narrow; the layers inside a block have six times as many channels
EXITS = ("/Add", "/Conv_20", "/Add_6", "/Conv_41", "/Add_9")
PRECISIONS = ("float32", "int8")


def main() -> None:
    arguments = parse()
    work = arguments.output
    work.mkdir(parents=True, exist_ok=True)
    model = work / "imagenette.onnx"
    cut(arguments.network, model)
    write_data(work, 300 if arguments.quick else None)

    edgepart("profile", model, "-o", work / "profile.json", *(["--quick"] if arguments.quick else []))
    tiers = ["--tier", "mobile=raspberry-pi-4", "--tier", "edge=jetson-orin-nano", "--tier", "cloud=cloud-gpu"]
    links = ["--link", "mobile:edge=wifi", "--link", "edge:cloud=4g"]
    limits = [word for limit in LIMITS.items() for word in ("--limit", "=".join(limit))]
    limits += [word for tier in RUNTIME_MEMORY for word in ("--runtime-memory", tier)]
    exits = [word for layer in EXITS for word in ("--exit-after", layer)]
    edgepart("partition", work / "profile.json", *tiers, *links, *limits, *exits, "-o", work / "plan.json")
    data = ["--data", work / "train.npz", "--validation", work / "calibration.npz"]
    data += ["--preprocessing", PREPROCESSING, "--head", "conv_pool", "--epochs", "15"]
    threads = ["--threads", str(arguments.threads)]
    for precision in PRECISIONS:
        suffix = "" if precision == "float32" else f"_{precision}"
        runtimes = [word for tier in ("mobile", "edge", "cloud") for word in ("--runtime", f"{tier}=onnxruntime")]
        runtimes += ["--precision", f"mobile={precision}"]
        bundle = work / f"bundle{suffix}"
        edgepart("build", model, work / "plan.json", *data, *runtimes, *threads, "-o", bundle)
        edgepart("evaluate", bundle, "--data", work / "test.npz", *threads, "-o", work / f"report{suffix}")
    compare(work / "report", work / "report_int8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    usual = Path(os.environ.get("EDGEPART_DATA", ".")) / "onnx" / "mobilenet_v2_imagenet.onnx"
    parser.add_argument("--network", type=Path, default=usual, help="mobilenet_v2_imagenet.onnx, wherever it lies")
    parser.add_argument("--quick", action="store_true", help="300 training images and a short profile")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/onnx_imagenette"))
    arguments = parser.parse_args()
    if not arguments.network.is_file():
        parser.error(
            f"{arguments.network} does not exist: set EDGEPART_DATA to the folder that holds onnx/{usual.name}, or "
            "give the file with --network"
        )
    return arguments


def edgepart(*arguments: object) -> None:
    """Run one command and show it, so that it can be repeated by hand."""
    words = [str(argument) for argument in arguments]
    print("\n$ edgepart", *words, flush=True)
    done = subprocess.run([sys.executable, "-m", "edgepart", *words], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def compare(exact: Path, coarse: Path) -> None:
    """What 8 bits on the mobile cost, on the test images: every later tier reads what it made of them."""
    reports = [json.loads((folder / "report.json").read_text(encoding="utf-8")) for folder in (exact, coarse)]
    print(f"\n{'exit':10}{'tier':10}{'float32':>10}{'mobile in int8':>18}")
    for before, after in zip(*(report["exits"] for report in reports), strict=True):
        print(f"{before['name']:10}{before['tier']:10}{before['accuracy']:>10.1%}{after['accuracy']:>18.1%}")


def write_data(folder: Path, images: int | None) -> None:
    """The images with the labels and names of the ten classes, as edgepart reads them."""
    train, test = imagenette()
    write_images(folder / "train.npz", train[CALIBRATION:][:images])
    write_images(folder / "calibration.npz", train[:CALIBRATION])
    write_images(folder / "test.npz", test)


def write_images(path: Path, samples: list[tuple[bytes, int]]) -> None:
    offsets = np.cumsum([0, *(len(jpeg) for jpeg, _ in samples)])
    together = np.frombuffer(b"".join(jpeg for jpeg, _ in samples), np.uint8)
    labels = [label for _, label in samples]
    np.savez(path, jpeg=together, off=offsets, y=np.array(labels), classes=np.array(list(CLASSES.values())))


def imagenette() -> tuple[list[tuple[bytes, int]], list[tuple[bytes, int]]]:
    """(JPEG, class 0 … 9) of the training and the test images."""
    if "EDGEPART_DATA" in os.environ:
        folder = Path(os.environ["EDGEPART_DATA"]) / "images" / "imagenette160"
        return read(folder / "train.npz"), read(folder / "test.npz")
    try:
        from datasets import Image, load_dataset

        sets = load_dataset("frgfm/imagenette", "160px").cast_column("image", Image(decode=False))
    except ImportError:
        sys.exit("set EDGEPART_DATA to the folder with images/imagenette160, or, to download it: pip install datasets")
    except Exception as error:
        sys.exit(
            f"Imagenette cannot be downloaded ({error}): set EDGEPART_DATA to the folder with images/imagenette160"
        )
    parts = [
        [(row["image"]["bytes"] or Path(row["image"]["path"]).read_bytes(), row["label"]) for row in sets[part]]
        for part in ("train", "validation")
    ]
    # they come class by class
    order = np.random.default_rng(0).permutation(len(parts[0]))
    return [parts[0][index] for index in order], parts[1]


def read(path: Path) -> list[tuple[bytes, int]]:
    if not path.is_file():
        sys.exit(f"{path} does not exist: set EDGEPART_DATA to the folder that holds it, or unset it to download")
    numbers = list(CLASSES)
    with np.load(path) as stored:
        jpeg, offsets, labels = stored["jpeg"], stored["off"], stored["y"]
    return [
        (jpeg[start:end].tobytes(), numbers.index(int(label)))
        for start, end, label in zip(offsets[:-1], offsets[1:], labels, strict=True)
    ]


if __name__ == "__main__":
    main()
