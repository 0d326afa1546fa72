"""The two networks: where they are cut, where samples may leave, and the images.

Images and weights are those of ``examples/resnet_cifar10`` and ``examples/onnx_imagenette``, whose files are used here.
"""

import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

EXAMPLES = Path(__file__).resolve().parents[1]
#: where it lies unless it is named
MOBILENET = Path(os.environ.get("EDGEPART_DATA", ".")) / "onnx" / "mobilenet_v2_imagenet.onnx"
#: on the validation images right on 3 to 8 % more of them than with a single convolution, in the early exits
HEAD = ("--head", "conv_pool", "--head-parameter", "convolutions=2")
PREPROCESSING = os.path.relpath(EXAMPLES / "onnx_imagenette" / "preprocessing.yaml")


@dataclass(frozen=True)
class Network:
    """A network and how it is spread over the tiers.

    Attributes:
        title: of its task
        note: on its images
        split: tier → the last module or layer of its part
        exits: modules or layers after which a head is added
        prepare: writes train.npz, calibration.npz and test.npz into a folder, and returns what MODEL is
        epochs: of the heads
        build: more words for ``edgepart build``
    """

    title: str
    note: str
    split: dict[str, str]
    exits: tuple[str, ...]
    prepare: Callable[[Path, bool, Path], str]
    epochs: int
    build: tuple[str, ...]


def resnet_images(folder: Path, quick: bool, _: Path) -> str:
    example = neighbour("resnet_cifar10")
    example.write_data(folder, 1_500 if quick else 25_000)
    return str(example.MODEL)


def mobilenet_images(folder: Path, quick: bool, file: Path) -> str:
    example = neighbour("onnx_imagenette")
    model = folder / "imagenette.onnx"
    example.cut(file, model)
    example.write_data(folder, 300 if quick else None)
    return str(model)


def neighbour(example: str) -> ModuleType:
    """``run.py`` of another example."""
    folder = EXAMPLES / example
    spec = importlib.util.spec_from_file_location(f"{example}_run", folder / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(folder))  # for what it imports from its own folder
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    return module


NETWORKS = {
    "resnet56": Network(
        title="ResNet-56 on CIFAR-10",
        note="all of them new to the network, which knows its training images by heart",
        # the first block of the last stage has made the map small: half of what would cross before it
        split={"mobile": "layer3.0", "edge": "layer3.4"},
        exits=("layer1.8", "layer2.2", "layer2.5", "layer2.8", "layer3.0", "layer3.2", "layer3.4", "layer3.6"),
        prepare=resnet_images,
        epochs=15,
        build=HEAD,
    ),
    "mobilenetv2": Network(
        title="MobileNetV2 on Imagenette",
        note="few images: an interval of several points; those for choosing are new to the heads, not to the network",
        # sums and bottlenecks, which are narrow; the layers inside a block have six times as many channels
        split={"mobile": "/Conv_20", "edge": "/Conv_41"},
        exits=("/Add_2", "/Conv_20", "/Add_4", "/Add_6", "/Conv_41", "/Add_9"),
        prepare=mobilenet_images,
        epochs=20,
        build=(*HEAD, "--preprocessing", PREPROCESSING),
    ),
}
