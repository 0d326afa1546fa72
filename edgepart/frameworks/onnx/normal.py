"""A copy of the user's model in one plain form: valid, without functions, constants as weights, only what is used."""

from __future__ import annotations

import hashlib
import heapq
import os
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from edgepart.errors import CaptureError
from edgepart.frameworks.onnx.layers import Names
from edgepart.frameworks.onnx.session import is_native, skeleton

#: types of sizes, axes and places, unlike those of (quantised) weights
_INTEGERS = frozenset({ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL, ir.DataType.STRING})
#: smaller weights are read from external files at once
_LARGE_BYTES = 2**20


def normalise(given: object) -> ir.Model:
    """Check a model and copy it: functions inlined, constants turned into weights, unused nodes and weights left out.

    Weights in memory are copied, those in external files stay there, mapped into memory.

    Raises:
        CaptureError: it is no ONNX model, the checker of onnx rejects it, or an external file is missing.
    """
    model = _checked_copy(given)
    model.ir_version = max(model.ir_version, 4)  # before, weights had to be inputs too
    common.InlinePass()(model)
    common.RemoveInitializersFromInputsPass()(model)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.LiftSubgraphInitializersToMainGraphPass()(model)
    common.RemoveUnusedNodesPass()(model)
    _drop_lone_concatenations(model)
    _own_weights(model)
    _make_constant_outputs(model)
    model.graph.sort()
    names = Names(())
    for node in model.graph:  # ONNX Runtime takes none twice
        node.name = names.take(node.name or node.op_type)
    if not model.graph.num_nodes():
        raise CaptureError("the network computes nothing from its inputs")
    return model


def structure(model: ir.Model) -> str:
    """Hash of everything but what may be trained: integers are sizes, axes and places."""
    serialised, _ = skeleton(model, lambda tensor: tensor.dtype in _INTEGERS)
    return hashlib.sha256(serialised).hexdigest()


def _checked_copy(given: object) -> ir.Model:
    if isinstance(given, onnx.ModelProto):
        if given.graph.sparse_initializer:
            raise CaptureError(
                f"the weights '{given.graph.sparse_initializer[0].values.name}' are sparse, which edgepart cannot cut: "
                "store them as dense tensors"
            )
        _check(given)
        model = ir.from_proto(given)
        require_files(model)
        return model
    if isinstance(given, ir.Model):
        require_files(given)
        serialised, _ = skeleton(given)
        _check(onnx.ModelProto.FromString(serialised))
        given.graph.sort()  # says the same; only sorted ones are copied
        return given.clone()
    raise CaptureError(f"the model is a {type(given).__name__}, expected an onnx.ModelProto or an onnx_ir.Model")


def _check(proto: onnx.ModelProto) -> None:
    try:
        for tensor in proto.graph.initializer:
            if tensor.data_location != onnx.TensorProto.EXTERNAL:
                onnx.checker.check_tensor(tensor)
        onnx.checker.check_model(_without_weights(proto))
    except onnx.checker.ValidationError as error:
        line = " ".join(str(error).strip().split("\n\n")[0].split())
        raise CaptureError(f"the model is not valid ONNX: {line.rstrip('. ')}; export it again") from error


def _without_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its weights as inputs: the checker takes neither 2 GB nor a file that is not yet there."""
    bare = onnx.ModelProto(ir_version=max(proto.ir_version, 4) if proto.ir_version else 0)
    bare.opset_import.extend(proto.opset_import)
    bare.functions.extend(proto.functions)
    graph = proto.graph
    bare.graph.name = graph.name or "graph"  # what else the checker wants, and nobody needs
    bare.graph.node.extend(_in_order(graph))
    bare.graph.input.extend(graph.input)
    bare.graph.output.extend(graph.output)
    for value in bare.graph.output:  # the checker wants their shapes, which nothing else needs
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    known = {each.name for each in graph.input}
    for tensor in graph.initializer:
        if tensor.name not in known:
            bare.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return bare


def _in_order(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes in topological order, which ONNX Runtime does not ask for, and its own tools do not always keep.

    Those that read what nobody makes are left at the end, where the checker names them.
    """
    made = {value for node in graph.node for value in node.output if value}
    waiting = {index: {v for v in _read(node) if v in made} for index, node in enumerate(graph.node)}
    readers: dict[str, list[int]] = {}
    for index, missing in waiting.items():
        for value in missing:
            readers.setdefault(value, []).append(index)
    ready = [index for index, missing in waiting.items() if not missing]
    heapq.heapify(ready)
    order: dict[int, None] = {}
    while ready:
        index = heapq.heappop(ready)
        order[index] = None
        for value in graph.node[index].output:
            for reader in readers.pop(value, ()):
                waiting[reader].discard(value)
                if not waiting[reader]:
                    heapq.heappush(ready, reader)
    return [graph.node[index] for index in [*order, *(each for each in waiting if each not in order)]]


def _read(node: onnx.NodeProto) -> Iterator[str]:
    """Names that a node reads, also in the graphs inside it."""
    yield from node.input
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            for each in inner.node:
                yield from _read(each)
            yield from (value.name for value in inner.output)


def require_files(model: ir.Model) -> None:
    """Look for the files that a model keeps weights in.

    Raises:
        CaptureError: one does not exist, is too short, or lies outside the model's folder: a file from somebody else
            must not name any file of this machine, which would then travel with the parts.
    """
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if not isinstance(tensor, ir.ExternalTensor):
                continue
            file, place = Path(tensor.path), os.path.normpath(tensor.location)
            if os.path.isabs(place) or place.split(os.sep)[0] == os.pardir:
                raise CaptureError(
                    f"the weights '{value.name}' are in the file {tensor.location}, outside the model's folder: put "
                    "it beside the model, and save the model with its place there"
                )
            if not file.is_file():
                raise CaptureError(
                    f"the weights '{value.name}' are in the file {file}, which does not exist: put it there, or load "
                    "the model from the folder that holds both"
                )
            end = (tensor.offset or 0) + (tensor.length or tensor.nbytes)
            if end > file.stat().st_size:
                raise CaptureError(
                    f"the file {file} ends before the weights '{value.name}': expected {end} bytes, it has "
                    f"{file.stat().st_size}; copy it again"
                )


def _own_weights(model: ir.Model) -> None:
    """Weights as arrays that nobody else writes to; large ones in external files as they are."""
    for value in model.graph.initializers.values():
        tensor = value.const_value
        assert tensor is not None
        if tensor.dtype == ir.DataType.STRING or (isinstance(tensor, ir.ExternalTensor) and _is_large(tensor)):
            continue
        array = tensor.numpy().copy()
        array.flags.writeable = False
        value.const_value = ir.Tensor(array, dtype=tensor.dtype, name=value.name)


def _is_large(tensor: ir.ExternalTensor) -> bool:
    return tensor.nbytes > _LARGE_BYTES and is_native(tensor.dtype) and tensor.dtype not in _INTEGERS


def _drop_lone_concatenations(model: ir.Model) -> None:
    """One tensor concatenated with nothing, as in the first layer of a dense block, must not be sent beside itself."""
    for node in list(model.graph):
        if node.op_type == "Concat" and len(node.inputs) == 1 and not node.outputs[0].is_graph_output():
            ir.convenience.replace_all_uses_with(node.outputs, node.inputs)  # type: ignore[arg-type]
            model.graph.remove(node, safe=True)


def _make_constant_outputs(model: ir.Model) -> None:
    """An output that is a weight is made by a node, as every other one."""
    graph = model.graph
    for index, value in enumerate(graph.outputs):
        if value.is_initializer():
            node = ir.node("Identity", [value], name=f"{value.name}/Identity")
            node.outputs[0].name = f"{value.name}/output"
            graph.append(node)
            graph.outputs[index] = node.outputs[0]
