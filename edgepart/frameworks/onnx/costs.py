"""What one sample costs in a node: multiply-accumulates from shapes, and bytes of what it makes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import onnx_ir as ir

from edgepart.frameworks.onnx.shapes import Shaped
from edgepart.frameworks.onnx.sides import subgraphs

Shapes = Mapping[ir.Value, Shaped]

#: operations that make no new memory of their own: another view of what they read
_VIEWS = frozenset({"Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})

#: operations that multiply by weights, or may, in a way that is not counted here
_PRODUCTS = frozenset({
    "Attention", "DecoderAttention", "DecoderMaskedMultiHeadAttention", "DecoderMaskedSelfAttention", "DeformConv",
    "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "GatedRelativePositionBias", "GroupQueryAttention",
    "LongformerAttention", "MatMulBnb4", "MatMulFpQ4", "MatMulIntegerToFloat", "MoE", "MultiHeadAttention",
    "PackedAttention", "PackedMultiHeadAttention", "QAttention", "QMoE", "QOrderedMatMul", "SparseAttention",
})  # fmt: skip


def macs(node: ir.Node, shapes: Shapes) -> int | None:
    """Multiply-accumulates of convolutions, matrix products and recurrent layers; None where they cannot be counted.

    Work on each element by itself and normalisations count nothing, as in published figures.
    """
    count = _COUNTS.get(node.op_type)
    if count is not None:
        return count(node, shapes)
    return None if _multiplies(node) else 0


def activation_bytes(node: ir.Node, shapes: Shapes) -> int:
    """Bytes of what a node makes, its outputs that nobody reads included."""
    if node.op_type in _VIEWS:
        return 0
    return sum(shapes[value].bytes for value in node.outputs if value in shapes)


def _multiplies(node: ir.Node) -> bool:
    inner = [each for graph in subgraphs(node) for each in ir.traversal.RecursiveGraphIterator(graph)]
    if inner:
        return any(each.op_type in _COUNTS or each.op_type in _PRODUCTS for each in inner)
    return node.op_type in _PRODUCTS


def _sample(node: ir.Node, index: int, shapes: Shapes) -> tuple[int, ...]:
    value = node.inputs[index]
    assert value is not None
    return shapes[value].sample


def _made(node: ir.Node, shapes: Shapes) -> int:
    return math.prod(shapes[node.outputs[0]].sample)


def _convolution(weight: int) -> Callable[[ir.Node, Shapes], int]:
    return lambda node, shapes: _made(node, shapes) * math.prod(_sample(node, weight, shapes)[1:])


def _transposed(node: ir.Node, shapes: Shapes) -> int:
    return math.prod(_sample(node, 0, shapes)) * math.prod(_sample(node, 1, shapes)[1:])


def _gemm(node: ir.Node, shapes: Shapes) -> int:
    transposed = node.attributes.get_int("transA", 0)
    return _made(node, shapes) * _sample(node, 0, shapes)[0 if transposed else 1]


def _matmul(node: ir.Node, shapes: Shapes) -> int:
    left = _sample(node, 0, shapes)
    transposed = len(left) > 1 and node.attributes.get_int("transA", 0) == 1  # of com.microsoft's FusedMatMul
    return _made(node, shapes) * left[-2 if transposed else -1]


def _packed(node: ir.Node, shapes: Shapes) -> int:
    """com.microsoft's MatMulNBits, whose weights are packed."""
    return _made(node, shapes) * node.attributes.get_int("K", 0)


def _recurrent(node: ir.Node, shapes: Shapes) -> int:
    steps = math.prod(_sample(node, 0, shapes)[:2])
    return steps * (math.prod(_sample(node, 1, shapes)) + math.prod(_sample(node, 2, shapes)))


def _einsum(node: ir.Node, shapes: Shapes) -> int | None:
    equation = node.attributes.get_string("equation", "").replace(" ", "")
    terms = equation.partition("->")[0].split(",")
    if "." in equation or len(terms) > 2:
        return None
    if len(terms) == 1:
        return 0
    sizes = {
        letter: size
        for index, term in enumerate(terms)
        for letter, size in zip(term, _sample(node, index, shapes), strict=True)
    }
    return math.prod(sizes.values())


def _attention(node: ir.Node, shapes: Shapes) -> int | None:
    """ONNX's own: scores and their product with the values, (batch, heads, positions, size) or heads packed in size."""
    if node.domain:
        return None
    query, key, value = (_sample(node, index, shapes) for index in range(3))
    if len(query) == 4:
        return math.prod(query[:2]) * query[2] * key[2] * (query[3] + value[3])
    heads = node.attributes.get_int("q_num_heads", 1)
    of_values = value[2] // max(1, node.attributes.get_int("kv_num_heads", 1))
    return query[0] * query[1] * key[1] * (query[2] + heads * of_values)


_COUNTS: dict[str, Callable[[ir.Node, Shapes], int | None]] = {
    "Attention": _attention,
    "Conv": _convolution(1),
    "ConvInteger": _convolution(1),
    "ConvTranspose": _transposed,
    "Einsum": _einsum,
    "FusedConv": _convolution(1),
    "FusedGemm": _gemm,
    "FusedMatMul": _matmul,
    "GRU": _recurrent,
    "Gemm": _gemm,
    "LSTM": _recurrent,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "MatMulNBits": _packed,
    "QGemm": _gemm,
    "QLinearConv": _convolution(3),
    "QLinearMatMul": _matmul,
    "RNN": _recurrent,
}
