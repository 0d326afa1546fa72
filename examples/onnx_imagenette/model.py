"""MobileNetV2 with ImageNet's 1,000 classes, cut down to the ten of Imagenette.

    python model.py mobilenet_v2_imagenet.onnx imagenette.onnx

The data has ten classes, the network a thousand logits. Heads trained on this data would choose among ten where the
network's own classifier still chooses among a thousand, and early exits would look better than they are: it is right
on 70.0 % of the test images among a thousand classes and on 96.8 % among the ten. So edgepart refuses data that lacks
classes of the network, and here the network gives up the other 990: the ten rows of its last layer stay, with the
weights that they have. Nothing in this file knows edgepart.
"""

import sys
from pathlib import Path

import numpy as np

try:
    import onnx
    from onnx import numpy_helper
except ImportError:
    sys.exit("onnx is not installed: pip install 'edgepart[onnx]'")

#: ILSVRC class of the original network → name, in the order of the new logits
CLASSES = {
    0: "tench",
    217: "English springer",
    482: "cassette player",
    491: "chain saw",
    497: "church",
    566: "French horn",
    569: "garbage truck",
    571: "gas pump",
    574: "golf ball",
    701: "parachute",
}


def cut(source: Path, target: Path) -> None:
    """Write the network with ten logits: Conv (1,001 rows, background first), Flatten, Slice becomes Conv, Flatten."""
    if not source.is_file():
        sys.exit(f"{source} does not exist: give the file mobilenet_v2_imagenet.onnx")
    model = onnx.load(source)
    graph, output = model.graph, model.graph.output[0]
    makers = {name: node for node in graph.node for name in node.output}
    drop = makers[output.name]
    if drop.op_type != "Slice":
        sys.exit(f"{source} does not end as mobilenet_v2_imagenet.onnx does: give that file")
    flatten = makers[drop.input[0]]
    last = flatten
    while last.op_type == "Flatten":
        last = makers[last.input[0]]
    rows = [1 + number for number in CLASSES]
    for initializer in graph.initializer:
        if initializer.name in last.input:
            kept = np.ascontiguousarray(numpy_helper.to_array(initializer)[rows])
            initializer.CopyFrom(numpy_helper.from_array(kept, initializer.name))
    graph.node.remove(drop)
    flatten.output[0] = output.name
    output.type.tensor_type.shape.dim[1].dim_value = len(CLASSES)
    # what tools noted about sizes in between no longer holds
    del graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("expected: python model.py mobilenet_v2_imagenet.onnx imagenette.onnx")
    cut(Path(sys.argv[1]), Path(sys.argv[2]))
