"""What one sample costs inside a call: multiply-accumulates and activations, from its operations at fixed sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgepart.frameworks.keras.macs import count_macs

#: operations that multiply weights with data in a way that is not counted
_UNCOUNTED = frozenset({
    "CudnnRNN", "CudnnRNNV2", "CudnnRNNV3", "Dilation2D", "FFT", "FFT2D", "IFFT", "IFFT2D", "IRFFT", "IRFFT2D", "RFFT",
    "RFFT2D", "SparseTensorDenseMatMul", "XlaConvV2", "XlaDotV2",
})  # fmt: skip
#: operations whose result looks at the memory of what they are given
_VIEWS = frozenset({
    "Const", "ExpandDims", "Identity", "NoOp", "Placeholder", "Reshape", "Shape", "Squeeze", "StopGradient",
    "StridedSlice",
})  # fmt: skip
_LOOPS = ("While", "StatelessWhile")


@dataclass(frozen=True)
class Cost:
    """Of one sample."""

    macs: int
    activation_bytes: int
    uncounted: tuple[str, ...]


@dataclass(frozen=True)
class _Needed:
    """The operations of a graph that results come from, in order; Keras also traces some that are never run."""

    operations: Sequence[Any]

    def get_operations(self) -> Sequence[Any]:
        return self.operations


def cost(graph: Any, results: Sequence[Any], steps: int | None) -> Cost:
    """Of a call traced at batch 1.

    Args:
        results: the tensors that it gives out
        steps: how often a loop inside runs (a recurrent layer: its sequence's length); None where it is not known
    """
    operations = _needed(graph, results)
    macs, uncounted = 0, [o.type for o in operations if o.type in _UNCOUNTED]
    try:
        macs = count_macs(_Needed(operations))
    except (TypeError, ValueError):  # a size that is not known
        uncounted.append("sizes that vary")
    for loop in (o for o in operations if o.type in _LOOPS):
        once, missing = _inside(graph, loop.get_attr("body").name)
        if missing or (once and steps is None):
            uncounted.append(loop.type)
        macs += once * (steps or 0)
    for call in (o for o in operations if "PartitionedCall" in o.type):
        once, missing = _inside(graph, call.get_attr("f").name)
        macs += once
        uncounted += missing
    return Cost(macs, _activation_bytes(operations), tuple(dict.fromkeys(uncounted)))


def _needed(graph: Any, results: Sequence[Any]) -> list[Any]:
    found: dict[str, None] = {}
    waiting = [tensor.op for tensor in results]
    while waiting:
        operation = waiting.pop()
        if operation.name not in found:
            found[operation.name] = None
            waiting += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    return [operation for operation in graph.get_operations() if operation.name in found]


def _inside(graph: Any, function: str) -> tuple[int, list[str]]:
    """Multiply-accumulates of a function that a graph calls, once."""
    found = getattr(graph._get_function(function), "graph", None)
    if found is None:
        return 0, [function]
    try:
        return count_macs(found), [o.type for o in found.get_operations() if o.type in (*_LOOPS, *_UNCOUNTED)]
    except (TypeError, ValueError):
        return 0, [function]


def _activation_bytes(operations: Any) -> int:
    """Most bytes alive at once, beyond the inputs: every result lives from its operation to its last reader."""
    order = list(operations)
    last: dict[str, int] = {}
    for place, operation in enumerate(order):
        for tensor in operation.inputs:
            last[tensor.name] = place
    for operation in reversed(order):  # what a view looks at lives as long as the view
        if operation.type in _VIEWS and operation.inputs and operation.outputs:
            source, view = operation.inputs[0].name, operation.outputs[0].name
            last[source] = max(last[source], last.get(view, len(order)))
    ends: dict[int, int] = {}
    alive = most = 0
    for place, operation in enumerate(order):
        if operation.type not in _VIEWS:
            for tensor in operation.outputs:
                if tensor.name not in last and tensor.op.type in ("FusedBatchNormV3", "FusedBatchNormV2"):
                    continue  # results for training
                size = _bytes(tensor)
                alive += size
                until = last.get(tensor.name, len(order))
                ends[until] = ends.get(until, 0) + size
        most = max(most, alive)
        alive -= ends.pop(place, 0)
    return most


def _bytes(tensor: Any) -> int:
    shape = tensor.shape
    if shape.rank is None or None in shape.as_list() or not tensor.dtype.size:
        return 0
    sizes: list[int] = shape.as_list()
    return math.prod(sizes) * int(tensor.dtype.size)
