"""An ``.onnx`` model computed in single precision, from which ONNX Runtime's tools make every coarser one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: attributes that name the type of what an operation makes
_TYPES = frozenset({"to", "dtype"})


def holds(model: onnx.ModelProto, types: Collection[int]) -> bool:
    """Whether weights, constants, inputs or outputs have one of the types."""
    held = (tensor.data_type for graph in _graphs(model.graph) for tensor in _tensors(graph.node, graph))
    return any(each in types for each in (*held, *map(_type, (*model.graph.input, *model.graph.output))))


def compute_in_single(model: onnx.ModelProto, types: Collection[int]) -> None:
    """Weights and operations of other floating-point types in float32, in place; inputs and outputs keep theirs.

    Args:
        types: numbers of ``TensorProto.DataType`` to replace; values that float32 cannot hold become its largest
    """
    ends = [*model.graph.input, *model.graph.output]
    inner = {value.name: f"{value.name}/single" for value in ends if _type(value) in types}
    for graph in _graphs(model.graph):
        _rename(graph, inner)
        for value in (*graph.value_info, *(() if graph is model.graph else (*graph.input, *graph.output))):
            if _type(value) in types:
                value.type.tensor_type.elem_type = TensorProto.FLOAT
        _retype(graph.node, graph, types)
    for function in model.functions:
        _retype(function.node, None, types)
    _cast_ends(model.graph, inner)


def _cast_ends(graph: onnx.GraphProto, inner: Mapping[str, str]) -> None:
    """Cast inputs to what is computed with, and back to the outputs."""
    first = [
        helper.make_node("Cast", [value.name], [inner[value.name]], f"{value.name}/to_single", to=TensorProto.FLOAT)
        for value in graph.input
        if value.name in inner
    ]
    last = [
        helper.make_node("Cast", [inner[value.name]], [value.name], f"{value.name}/from_single", to=_type(value))
        for value in graph.output
        if value.name in inner
    ]
    nodes = [*first, *graph.node, *last]
    del graph.node[:]
    graph.node.extend(nodes)


def _retype(nodes: Collection[onnx.NodeProto], graph: onnx.GraphProto | None, types: Collection[int]) -> None:
    for tensor in _tensors(nodes, graph):
        if tensor.data_type in types:
            limits = np.finfo(np.float32)
            values = numpy_helper.to_array(tensor)
            kept = np.where(np.isfinite(values), np.clip(values, limits.min, limits.max), values)
            tensor.CopyFrom(numpy_helper.from_array(kept.astype(np.float32), tensor.name))
    for node in nodes:
        for attribute in node.attribute:
            if attribute.name in _TYPES and attribute.i in types:
                attribute.i = TensorProto.FLOAT


def _tensors(nodes: Collection[onnx.NodeProto], graph: onnx.GraphProto | None) -> Iterator[onnx.TensorProto]:
    """Weights, and the constants in attributes."""
    yield from graph.initializer if graph is not None else ()
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and those of its loops and branches."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inside in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inside)


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(name, name) for name in values]
    for named in (*graph.initializer, *graph.value_info):
        named.name = names.get(named.name, named.name)


def _type(value: onnx.ValueInfoProto) -> int:
    return int(value.type.tensor_type.elem_type)
