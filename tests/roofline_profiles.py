"""Made-up profiles of chains of layers that take what a device's rates say."""

import math
import random
from itertools import pairwise

from sample_profiles import make_profile

from edgepart.graph import Graph, Layer, Tensor
from edgepart.hardware.kernels import kernels
from edgepart.hardware.roofline import roofline_s
from edgepart.testing.hardware import example_device

TRUE = {
    "peak_macs_per_s": 4e10,
    "grouped_macs_per_s": 8e9,
    "activation_bytes_per_s": 1.2e10,
    "memory_bytes_per_s": 6e9,
    "call_overhead_s": 6e-6,
    "fused_share": 0.7,
}


def chain(seed, blocks=8):
    """A chain of blocks: a convolution by points and a depthwise one with what follows them, GELU, a matrix product."""
    draw = random.Random(seed)
    tensors = [{"name": "x", "shape": ("batch", 32, 32, 32), "bytes": 4 * 32**3, "producer": None}]
    layers, parameters = [], {}

    def add(op, shape, macs=0, weights=0):
        name, size = f"{op}{len(layers)}", 4 * math.prod(shape[1:])
        named = {f"{name}.w": 4 * weights} if weights else {}
        parameters.update(named)
        made = {"inputs": (tensors[-1]["name"],), "outputs": (name,), "parameters": tuple(named)}
        made["activation_bytes"] = 0 if op == "view" else size
        layers.append(Layer(name=name, module=name, kind=op, ops=(f"aten.{op}.default",), macs=macs, **made))
        tensors.append({"name": name, "shape": shape, "bytes": size, "producer": name})

    width = 32
    for _ in range(blocks):
        side, wider, features = draw.choice((8, 16, 32)), draw.choice((32, 64, 96)), draw.choice((64, 256))
        maps, points = ("batch", wider, side, side), side**2
        add("conv2d", maps, width * wider * points, width * wider)
        add("batch_norm", maps, weights=2 * wider)
        add("relu", maps)
        add("conv2d", maps, 25 * wider * points, 25 * wider)
        add("relu", maps)
        add("gelu", maps)
        add("linear", ("batch", features), 2000 * features, 2000 * features)
        add("view", ("batch", features, 1, 1))
        width = features
    return Graph(
        name=f"chain{seed}",
        framework="torch",
        symbols={"batch": 1},
        layers=tuple(layers),
        tensors=tuple(
            Tensor(dtype="float32", feature=one["producer"] is not None, consumers=read, **one)
            for one, read in zip(tensors, [*((b["name"],) for _, b in pairwise(tensors)), ()], strict=True)
        ),
        inputs=("x",),
        outputs=(tensors[-1]["name"],),
        parameters=parameters,
    )


def measured(seed, noise=0.0, true=TRUE, every=3, device=None):
    """A profile whose segments of ``every`` layers take what the rates say, but for ``noise``.

    What a segment cuts off from the product that it would be fused into takes its whole time, as it does in a runtime.
    """
    graph, draw = chain(seed), random.Random(seed + 100)
    fused_s = roofline_s(graph, example_device(**true))
    alone_s = roofline_s(graph, example_device(**true | {"fused_share": 0.0}))
    joins = [one.joins for one in kernels(graph)]
    order = [layer.name for layer in graph.layers]
    segments = []
    for start in range(0, len(order), every):
        stop = min(start + every, len(order))
        inside = [joins[i] is not None and start <= joins[i] < stop for i in range(start, stop)]
        taken = [(fused_s if fused else alone_s)[x] for x, fused in zip(order[start:stop], inside, strict=True)]
        segments.append((start, stop, sum(taken) * draw.lognormvariate(0, noise)))
    profile = make_profile(graph, fused_s, device or example_device("this"), segments)
    whole_s = sum(fused_s.values()) * draw.lognormvariate(0, noise / 3)
    whole = profile.end_to_end.model_copy(update={"median_s": whole_s})
    return profile.model_copy(update={"end_to_end": whole})
