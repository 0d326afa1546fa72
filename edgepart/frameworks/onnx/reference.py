"""The reference networks that a machine's effective rate is measured with (``Device.macs_per_s``).

MobileNetV2 (Sandler et al., CVPR 2018), SqueezeNet 1.1 (Iandola et al., 2016) and ResNet-50 (He et al., CVPR 2016) with
random weights, batch normalisation folded into convolutions as every exporter leaves it: only their speed matters.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from edgepart.frameworks.onnx.session import open_session

#: factor, channels, blocks, stride of each stage of MobileNetV2
_INVERTED = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
#: width and blocks of each stage of ResNet-50
_BOTTLENECKS = ((64, 3), (128, 4), (256, 6), (512, 3))


def references() -> dict[str, tuple[int, Callable[[], object]]]:
    """Name → multiply-accumulates, one inference at batch 1 of an image of 224 x 224 pixels."""
    networks = {"mobilenet_v2": _mobilenet_v2(), "squeezenet": _squeezenet(), "resnet50": _resnet50()}
    return {name: (network.macs, network.inference()) for name, network in networks.items()}


class _Network:
    """Nodes put one after another; ``channels`` and ``size`` are those of the last square map."""

    def __init__(self) -> None:
        self.tape = ir.tape.Tape()
        self.image = ir.val("image", dtype=ir.DataType.FLOAT, shape=(1, 3, 224, 224))
        self.last, self.channels, self.size = self.image, 3, 224
        self.macs = 0
        self._draw = np.random.default_rng(0)
        self._weights: list[ir.Value] = []

    def weight(self, *shape: int) -> ir.Value:
        """Random, such that values neither grow nor vanish from layer to layer."""
        scale = math.sqrt(2 / math.prod(shape[1:])) if len(shape) > 1 else 0.0
        array = (self._draw.standard_normal(shape) * scale).astype(np.float32)
        name = f"weight_{len(self._weights)}"
        self._weights.append(ir.val(name, const_value=ir.tensor(array, name=name)))
        return self._weights[-1]

    def op(self, operation: str, *more: ir.Value, **attributes: int | list[int]) -> None:
        self.last = self.tape.op(operation, [self.last, *more], attributes)

    def conv(self, channels: int, size: int = 1, stride: int = 1, groups: int = 1, pad: int | None = None) -> None:
        kernel, pad = self.channels // groups * size**2, size // 2 if pad is None else pad
        weights = (self.weight(channels, self.channels // groups, size, size), self.weight(channels))
        self.op("Conv", *weights, strides=[stride] * 2, pads=[pad] * 4, group=groups)
        self.channels, self.size = channels, (self.size + 2 * pad - size) // stride + 1
        self.macs += kernel * channels * self.size**2

    def pool(self, pad: int = 0, ceil: bool = False) -> None:
        self.op("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[pad] * 4, ceil_mode=int(ceil))
        self.size = (self.size + 2 * pad - 3 + ceil) // 2 + 1

    def relu6(self) -> None:
        limits = [ir.val(name, const_value=ir.tensor(np.float32(value), name=name)) for name, value in _LIMITS.items()]
        known = {value.name: value for value in self._weights}
        self._weights += [limit for limit in limits if limit.name not in known]
        self.op("Clip", *(known.get(limit.name, limit) for limit in limits))

    def classify(self, classes: int) -> None:
        self.op("GlobalAveragePool")
        self.op("Flatten")
        if classes != self.channels:
            self.op("Gemm", self.weight(classes, self.channels), self.weight(classes), transB=1)
            self.macs += classes * self.channels

    def inference(self) -> Callable[[], object]:
        self.last.name = "logits"
        graph = ir.Graph(
            [self.image],
            [self.last],
            nodes=self.tape.nodes,
            initializers=self._weights,
            opset_imports={"": 17},
            name="reference",
        )
        session = open_session(ir.Model(graph, ir_version=8))
        given = {"image": np.zeros((1, 3, 224, 224), np.float32)}
        return lambda: session.run(None, given)


_LIMITS = {"zero": 0.0, "six": 6.0}


def _mobilenet_v2() -> _Network:
    network = _Network()
    network.conv(32, 3, 2)
    network.relu6()
    for factor, width, blocks, first in _INVERTED:
        for stride in (first, *[1] * (blocks - 1)):
            before, hidden = (network.last, network.channels), network.channels * factor
            if factor > 1:
                network.conv(hidden)
                network.relu6()
            network.conv(hidden, 3, stride, hidden)
            network.relu6()
            network.conv(width)
            if stride == 1 and before[1] == width:
                network.op("Add", before[0])
    network.conv(1280)
    network.relu6()
    network.classify(1000)
    return network


def _squeezenet() -> _Network:
    network = _Network()

    def fire(squeeze: int, expand: int) -> None:
        network.conv(squeeze)
        network.op("Relu")
        start = network.last
        network.conv(expand)
        one, network.last, network.channels = network.last, start, squeeze
        network.conv(expand, 3)
        three, network.last, network.channels = network.last, one, 2 * expand
        network.op("Concat", three, axis=1)
        network.op("Relu")

    network.conv(64, 3, 2, pad=0)
    network.op("Relu")
    for stage in (((16, 64), (16, 64)), ((32, 128), (32, 128)), ((48, 192), (48, 192), (64, 256), (64, 256))):
        network.pool(ceil=True)
        for squeeze, expand in stage:
            fire(squeeze, expand)
    network.conv(1000)
    network.op("Relu")
    network.classify(1000)
    return network


def _resnet50() -> _Network:
    network = _Network()
    network.conv(64, 7, 2)
    network.op("Relu")
    network.pool(pad=1)
    for stage, (width, blocks) in enumerate(_BOTTLENECKS):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            start, channels, size = network.last, network.channels, network.size
            network.conv(width, 1, stride)
            network.op("Relu")
            network.conv(width, 3)
            network.op("Relu")
            network.conv(4 * width)
            branch = network.last
            network.last, network.channels, network.size = start, channels, size
            if not block:
                network.conv(4 * width, 1, stride)
            network.channels, network.size = 4 * width, size // stride
            network.op("Add", branch)
            network.op("Relu")
    network.classify(1000)
    return network
