"""From a model whose values have shapes to the Graph."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from edgepart.frameworks.onnx import costs
from edgepart.frameworks.onnx.example import Inputs
from edgepart.frameworks.onnx.layers import module_of, rename
from edgepart.frameworks.onnx.shapes import Shaped
from edgepart.frameworks.onnx.sides import Sides, inputs, ordered
from edgepart.graph import Graph, Layer, Tensor


def lower(model: ir.Model, given: Inputs, shapes: Mapping[ir.Value, Shaped], name: str) -> Graph:
    """Every node that is more than a computation on weights is a layer; the model's nodes and values get its names."""
    graph = model.graph
    sides = Sides.of(graph)
    order = ordered(graph, sides)
    modules = {node: module_of(node) for node in order}
    rename(graph, order, sides)
    layers = [node for node in order if sides.is_layer(node)]
    readers = _readers(layers, sides)
    features = _features(layers, sides, shapes)
    made = [value for node in layers for value in node.outputs if value in readers or value in graph.outputs]
    described = [_layer(node, modules[node], sides, shapes, set(made)) for node in layers]
    used = {name: None for layer in described for name in layer.parameters}
    tensors = [_tensor(value, shapes[value], readers, value in features) for value in (*graph.inputs, *made)]
    _describe(model, shapes)
    return Graph(
        name=name,
        framework="onnx",
        symbols=given.symbols,
        layers=tuple(described),
        tensors=tuple(tensors),
        inputs=tuple(str(value.name) for value in graph.inputs),
        outputs=tuple(str(value.name) for value in graph.outputs),
        parameters={name: _bytes(graph.initializers[name]) for name in used},
    )


def _layer(node: ir.Node, module: str, sides: Sides, shapes: Mapping[ir.Value, Shaped], made: set[ir.Value]) -> Layer:
    read = [value for value in inputs(node) if value not in sides.constant]
    _, weights = sides.closure(node)
    macs = costs.macs(node, shapes)
    operation = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    return Layer(
        name=str(node.name),
        module=module,
        kind=node.op_type,
        ops=(operation,),
        inputs=tuple(str(value.name) for value in read),
        outputs=tuple(str(value.name) for value in node.outputs if value in made),
        parameters=tuple(sorted(str(value.name) for value in weights)),
        macs=macs or 0,
        activation_bytes=costs.activation_bytes(node, shapes),
        uncounted=(operation,) if macs is None else (),
    )


def _tensor(value: ir.Value, shaped: Shaped, readers: Mapping[ir.Value, list[str]], feature: bool) -> Tensor:
    maker = value.producer()
    return Tensor(
        name=str(value.name),
        shape=shaped.shape,
        dtype=shaped.dtype,
        bytes=shaped.bytes,
        producer=None if maker is None else maker.name,
        consumers=tuple(readers.get(value, ())),
        feature=feature,
    )


def _readers(layers: list[ir.Node], sides: Sides) -> dict[ir.Value, list[str]]:
    found: dict[ir.Value, list[str]] = {}
    for node in layers:
        for value in inputs(node):
            if value not in sides.constant:
                found.setdefault(value, []).append(str(node.name))
    return found


def _features(layers: list[ir.Node], sides: Sides, shapes: Mapping[ir.Value, Shaped]) -> set[ir.Value]:
    """Values that data and a weight went into; a number alone, as what a mask is scaled with, is no weight."""
    features: set[ir.Value] = set()
    for node in layers:
        read = inputs(node)
        weighted = any(value in sides.constant and _is_weight(shapes.get(value)) for value in read)
        data = any(value not in sides.constant and value not in sides.sizes for value in read)
        if (weighted and data) or features.intersection(read):
            features.update(node.outputs)
    return features - sides.sizes


def _is_weight(shaped: Shaped | None) -> bool:
    """Floating-point numbers, or the small integers of quantised weights; 64-bit integers are sizes and axes."""
    return shaped is not None and shaped.count > 1 and ("float" in shaped.dtype or shaped.dtype in ("int8", "uint8"))


def _describe(model: ir.Model, shapes: Mapping[ir.Value, Shaped]) -> None:
    """Leave the shapes found in the model, instead of those that its file claims."""
    for value, shaped in shapes.items():
        if not value.is_initializer():
            value.shape = ir.Shape(shaped.shape)
            value.type = ir.TensorType(ir.DataType.from_numpy(shaped.array_dtype))


def _bytes(value: ir.Value) -> int:
    assert value.const_value is not None
    return int(value.const_value.nbytes)
