"""Multiply-accumulates of a function that TensorFlow has traced with fixed sizes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any


def count_macs(graph: Any) -> int:
    """Those of convolutions and matrix products, from the shapes in a ``FuncGraph``."""
    return sum(
        _COUNTED[operation.type](operation) for operation in graph.get_operations() if operation.type in _COUNTED
    )


def _shape(tensor: Any) -> list[int]:
    return [int(size) for size in tensor.shape]


def _product(operation: Any) -> int:
    """Every number of the result is a sum over the last dimension of the first matrix (or its second to last)."""
    transposed = operation.get_attr("transpose_a" if operation.type == "MatMul" else "adj_x")
    return math.prod(_shape(operation.outputs[0])) * _shape(operation.inputs[0])[-2 if transposed else -1]


def _convolution(operation: Any) -> int:
    """The kernel is (…, channels in of a group, channels out)."""
    return math.prod(_shape(operation.outputs[0])) * math.prod(_shape(operation.inputs[1])[:-1])


def _depthwise(operation: Any) -> int:
    """The kernel is (height, width, channels, multiplier)."""
    return math.prod(_shape(operation.outputs[0])) * math.prod(_shape(operation.inputs[1])[:2])


def _transposed_convolution(operation: Any) -> int:
    """The kernel is (…, channels out, channels in); every number that is read meets all of it but the last."""
    return math.prod(_shape(operation.inputs[2])) * math.prod(_shape(operation.inputs[1])[:-1])


def _einsum(operation: Any) -> int:
    """The sizes of all letters multiplied."""
    terms = operation.get_attr("equation").decode().partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    rest = 1
    for term, tensor in zip(terms, operation.inputs, strict=True):
        shape, (before, dots, after) = _shape(tensor), term.partition("...")
        named = [*shape[: len(before)], *shape[len(shape) - len(after) :]]
        sizes |= dict(zip(before + after, named, strict=True))
        if dots:
            rest = max(rest, math.prod(shape[len(before) : len(shape) - len(after)]))
    return math.prod(sizes.values()) * rest


_COUNTED: dict[str, Callable[[Any], int]] = {
    "MatMul": _product,
    "BatchMatMulV2": _product,
    "BatchMatMulV3": _product,
    "Conv2D": _convolution,
    "Conv3D": _convolution,
    "DepthwiseConv2dNative": _depthwise,
    "Conv2DBackpropInput": _transposed_convolution,
    "Conv3DBackpropInputV2": _transposed_convolution,
    "Einsum": _einsum,
}
