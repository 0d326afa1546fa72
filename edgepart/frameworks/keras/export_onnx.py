"""Parts as ``.onnx`` files, through tf2onnx."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from edgepart.errors import ExportError, MissingExtra
from edgepart.files import atomic_file
from edgepart.frameworks.keras.traced import INPUT, OUTPUT, Exportable, Traced
from edgepart.frameworks.messages import first_line
from edgepart.frameworks.signature import Signature
from edgepart.graph import Tensor
from edgepart.silence import silence

#: the newest that tf2onnx knows well; ONNX Runtime reads any from 7 upwards
_OPSET = 17
#: one protobuf message holds at most so much
_MOST_BYTES = 2**31 - 1


def write_onnx(part: Exportable, path: Path) -> None:
    """Write a part with inputs and outputs named and ordered as its signature says.

    Raises:
        ExportError: tf2onnx lacks an operation, or the part computes in bfloat16; named with its layer.
        MissingExtra: tf2onnx is not installed.
        FileError: the folder is missing or the disk is full.
    """
    try:
        with silence():
            import tf2onnx  # noqa: F401
    except ImportError as error:
        raise MissingExtra("tf2onnx", "onnx") from error
    traced = Traced(part)
    if traced.variable_bytes > _MOST_BYTES:
        raise ExportError(
            f"the part holds {traced.variable_bytes / 1e9:.1f} GB of weights, and tf2onnx writes at most 2.1 GB into "
            "one file: split it, or run it on tensorflow"
        )
    _require_known_types(traced)
    model = _convert(traced)
    _require_onnx(model, traced)
    _fold_shapes(model.graph)
    _rename(model.graph, part.signature)
    with atomic_file(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


def _require_known_types(traced: Traced) -> None:
    for operation in traced.concrete.graph.get_operations():
        if any(tensor.dtype == tf.bfloat16 for tensor in operation.outputs):
            raise ExportError(
                f"the layer '{traced.layer(operation.name)}' computes in bfloat16, which ONNX Runtime cannot: give the "
                "network the dtype policy float32 or mixed_float16, or keep this part in tensorflow"
            )


def _convert(traced: Traced) -> Any:
    from tf2onnx import optimizer, tf_loader, tfonnx

    concrete = traced.concrete
    # captured variables are inputs too, until the graph is frozen
    inputs = [tensor.name for tensor in concrete.inputs[: len(traced.specs)]]
    outputs = [tensor.name for tensor in concrete.outputs]
    named = {name: INPUT.format(place) for place, name in enumerate(inputs)}
    named |= {name: OUTPUT.format(place) for place, name in enumerate(outputs)}
    for operation in concrete.graph.get_operations():
        # Keras has XLA compile grouped convolutions, which keeps them a function; ONNX has them as they are
        if "_XlaMustCompile" in operation.node_def.attr:
            operation._clear_attr("_XlaMustCompile")
    try:
        with silence(), tf.device("/cpu:0"):
            frozen = tf_loader.from_function(concrete, inputs, outputs)
            with tf.Graph().as_default() as graph:
                tf.import_graph_def(frozen, name="")
                # an operation that it has no handler for stays as it is; one whose handler fails is raised
                converted = tfonnx.process_tf_graph(
                    graph,
                    opset=_OPSET,
                    input_names=inputs,
                    output_names=outputs,
                    tensors_to_rename=named,
                    custom_op_handlers={"Erfc": (_erfc, [])},
                )
            return optimizer.optimize_graph(converted).make_model("edgepart")
    except Exception as error:
        node = _handled(error)
        where = f"the layer '{traced.layer(node)}'" if node else f"the part with {', '.join(traced.part.layers[:3])}"
        raise ExportError(f"tf2onnx cannot write {where}: {type(error).__name__}: {first_line(error)}") from error


def _handled(error: BaseException) -> str:
    """Name of the node that tf2onnx was at: the innermost ``node`` of its functions."""
    found, trace = "", error.__traceback__
    while trace is not None:
        name = getattr(trace.tb_frame.f_locals.get("node"), "name", "")
        # of the loop over all nodes the variable has gone on since
        if trace.tb_frame.f_code.co_name != "tensorflow_onnx_mapping" and isinstance(name, str) and name:
            found = name
        trace = trace.tb_next
    return found


def _erfc(context: Any, node: Any, name: str, arguments: Any) -> None:
    """1 - erf(x), which ONNX has; Keras computes its exact GELU with erfc."""
    made = node.output[0]
    shape, dtype = context.get_shape(made), context.get_dtype(made)
    read = node.input[0]
    context.remove_node(name)
    one = context.make_const(f"{name}_one", np.array(1, _NUMPY[dtype]))
    error_function = context.make_node("Erf", [read], shapes=[shape], dtypes=[dtype])
    context.make_node(
        "Sub", [one.output[0], error_function.output[0]], outputs=[made], shapes=[shape], dtypes=[dtype], name=name
    )


#: TensorProto.DataType of the floating-point types that erfc takes
_NUMPY = {1: "float32", 10: "float16", 11: "float64"}


def _require_onnx(model: Any, traced: Traced) -> None:
    """Raises ExportError at the first operation that is still TensorFlow's."""
    from onnx import defs

    for graph in _graphs(model.graph):
        for node in graph.node:
            if not node.domain and not defs.has(node.op_type, _OPSET):
                raise traced.blame("ONNX", node.op_type, node.name)


def _fold_shapes(graph: Any) -> None:
    """Replace the shape of a weight by numbers: tf2onnx keeps reshaped copies of weights for no more than that."""
    from onnx import numpy_helper

    weights = {weight.name: weight for weight in graph.initializer}
    for node in [each for each in graph.node if each.op_type == "Shape" and each.input[0] in weights]:
        if not node.attribute:  # all of the shape
            sizes = np.array(weights[node.input[0]].dims, np.int64)
            graph.initializer.append(numpy_helper.from_array(sizes, node.output[0]))
            graph.node.remove(node)
    read = {name for inside in _graphs(graph) for node in inside.node for name in node.input}
    read |= {value.name for inside in _graphs(graph) for value in inside.output}
    for weight in [each for each in graph.initializer if each.name not in read]:
        graph.initializer.remove(weight)


def _graphs(graph: Any) -> Iterator[Any]:
    """A graph and those of its loops and branches."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)


def _rename(graph: Any, signature: Signature) -> None:
    """Give inputs and outputs the names and sizes of the signature, and values inside that bear one of them another."""
    wanted = {INPUT.format(place): tensor for place, tensor in enumerate(signature.inputs)}
    made = {OUTPUT.format(place): tensor for place, tensor in enumerate(signature.outputs)}
    names = {inner: tensor.name for inner, tensor in (wanted | made).items()}
    taken = set(names.values())
    for inside in list(_graphs(graph)):
        for name in _values(inside):
            if name in taken and name not in names:
                names[name] = f"edgepart_inner_{len(names)}"
    for inside in list(_graphs(graph)):
        _replace(inside, names)
    _declare(graph.input, wanted)
    _declare(graph.output, made)


def _values(graph: Any) -> Iterator[str]:
    for node in graph.node:
        yield from (*node.input, *node.output)
    for named in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        yield named.name


def _replace(graph: Any, names: Mapping[str, str]) -> None:
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(name, name) for name in values]
    for named in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        named.name = names.get(named.name, named.name)


def _declare(values: Any, tensors: Mapping[str, Tensor]) -> None:
    """The inputs or outputs in the order of the signature, those that nothing reads included."""
    from onnx import helper

    declared = [
        helper.make_tensor_value_info(tensor.name, _element_type(tensor.dtype), tensor.shape)
        for tensor in tensors.values()
    ]
    del values[:]
    values.extend(declared)


def _element_type(dtype: str) -> int:
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(np.dtype(tf.dtypes.as_dtype(dtype).as_numpy_dtype)))
