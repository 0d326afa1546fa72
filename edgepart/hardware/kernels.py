"""What a graph says about the kernels that its layers become: how much they compute and move, and which are fused."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from edgepart.graph import Graph, Layer
from edgepart.graph.sizes import evaluate_size

#: operations that go over their input several times, in the names of layers and operations of all frameworks:
#: normalisations over features (batch normalisation is none), softmax, windows of a pooling
_REDUCES = re.compile(r"softmax|(layer|group|instance|rms)norm|(?<!adaptive)(?<!global)(max|avg|average)pool")
#: how many times: for a mean, for a variance, and to apply them
_PASSES = 3
#: activations with exponentials, which runtimes seldom fuse
_EXPONENTIAL = re.compile(r"(?<!hard)(gelu|softplus|sigmoid|silu|swish|mish|tanh|(?<![a-z])(erfc?|exp)(?![a-z]))")
#: kinds of layers that move every value to another place, which is not fused
_REORDERS = re.compile("transpose|permute|shuffle")
#: a product of fewer values than this share of the channels it could read is a grouped one
_ALL = 0.99


@dataclass(frozen=True)
class Kernel:
    """What a layer computes and moves for one sample.

    Attributes:
        macs: multiply-accumulates
        is_grouped: whether they are of a depthwise or grouped convolution, which reuses little of what it reads
        parameter_bytes: parameters read
        activation_bytes: inputs and outputs, as often as they are moved
        is_view: whether it only gives another view of what is there: no kernel
        joins: position of the layer whose kernel a runtime that fuses takes it into; None if there is none
    """

    macs: int
    is_grouped: bool
    parameter_bytes: int
    activation_bytes: int
    is_view: bool
    joins: int | None


def read_parameter_bytes(graph: Graph, layer: Layer) -> int:
    """Bytes of parameters that a layer reads for one sample.

    One without multiply-accumulates looks some of them up (an embedding) or applies them to its input one by one: of
    these it reads no more than it writes.
    """
    read = graph.parameter_bytes([layer.name])
    return read if layer.macs or layer.uncounted else min(read, _bytes(graph, layer.outputs))


def kernels(graph: Graph) -> tuple[Kernel, ...]:
    """Of every layer, in topological order.

    Fused are layers that work on each element of what a product (a layer with multiply-accumulates) made, or a fused
    layer after it, where nobody else reads that: batch normalisation, ReLU, residual sum. So is padding before a
    product. What reduces, or has an exponential (softmax, layer normalisation, GELU), remains a kernel.
    """
    joins = _joins(graph)
    return tuple(_kernel(graph, layer, joins.get(position)) for position, layer in enumerate(graph.layers))


def _kernel(graph: Graph, layer: Layer, joins: int | None) -> Kernel:
    if _is_view(layer):
        return Kernel(0, False, 0, 0, True, None)
    moved = _bytes(graph, layer.inputs) + _bytes(graph, layer.outputs)
    return Kernel(
        macs=layer.macs,
        is_grouped=layer.macs > 0 and _is_grouped(graph, layer),
        parameter_bytes=read_parameter_bytes(graph, layer),
        activation_bytes=moved * (_PASSES if _REDUCES.search(_names(layer)) and not layer.macs else 1),
        is_view=False,
        joins=joins,
    )


def _joins(graph: Graph) -> dict[int, int]:
    """Position of every layer that can be fused → that of the product that it goes into."""
    product = {position: position for position, layer in enumerate(graph.layers) if layer.macs}
    joins: dict[int, int] = {}
    for position, layer in enumerate(graph.layers):
        if layer.macs or _stays(layer) or len(layer.outputs) != 1:
            continue
        before = next((x for x in map(graph.position.get, _makers(graph, layer)) if x in product), None)
        if before is not None:
            product[position] = product[before]
        else:
            before = _padded(graph, layer)
        if before is not None and not _is_view(layer):
            joins[position] = product[before]
    return joins


def _makers(graph: Graph, layer: Layer) -> list[str]:
    """The layers that make, for this one only, a tensor of the size of its output."""
    inputs = [graph.tensor(name) for name in layer.inputs if name not in graph.outputs]
    size = graph.tensor(layer.outputs[0]).bytes
    return [x.producer for x in inputs if x.producer and x.bytes == size and x.consumers == (layer.name,)]


def _padded(graph: Graph, layer: Layer) -> int | None:
    """Position of the product that alone reads what a layer has padded."""
    consumers = graph.tensor(layer.outputs[0]).consumers
    if len(consumers) != 1 or not re.search(r"(?<![a-z])(zero)?pad", _names(layer)):
        return None
    return graph.position[consumers[0]] if graph.layer(consumers[0]).macs else None


def _is_view(layer: Layer) -> bool:
    return not layer.macs and not layer.uncounted and layer.activation_bytes == 0


def _stays(layer: Layer) -> bool:
    """Whether a layer without multiply-accumulates is never fused."""
    names = _names(layer)
    return bool(_REDUCES.search(names) or _EXPONENTIAL.search(names) or _REORDERS.search(layer.kind.lower()))


def _names(layer: Layer) -> str:
    return " ".join((layer.kind, *layer.ops)).lower().replace("_", "")


def _is_grouped(graph: Graph, layer: Layer) -> bool:
    """Whether fewer values are multiplied for an output than there are channels: it does not see all of them."""
    made = sum(math.prod(_sizes(graph, name)) for name in layer.outputs)
    read = [_channels(graph, name) for name in layer.inputs if graph.tensor(name).is_float]
    return bool(read) and layer.macs < _ALL * min(read) * made


def _channels(graph: Graph, name: str) -> int:
    return evaluate_size(graph.channels(name), graph.symbols) if graph.tensor(name).shape else 1


def _sizes(graph: Graph, name: str) -> list[int]:
    """Of one sample: the batch is 1 in the graph's symbols."""
    return [evaluate_size(size, graph.symbols) for size in graph.tensor(name).shape]


def _bytes(graph: Graph, names: tuple[str, ...]) -> int:
    return sum(graph.tensor(name).bytes for name in names)
