"""The ONNX networks of the zoo: what torch.onnx and tf2onnx make of the others, and those of ``$EDGEPART_DATA/onnx``.

Of these, ``exported/`` comes without weights and ``light/`` with constant ones, for which every network answers the
same to anything; both are filled with random ones. Their inputs have the size that the files fix.
"""

import os
import runpy
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from by_node import NodeByNode
from equality import Subject, Way

from edgepart.frameworks import framework

#: ONNX Runtime fuses and lays out in memory another way in a part than in the whole
TOLERANCE = 1e-4
#: a file made for one sample is compared with sample by sample, whose matrix products are summed in another order
ONE_BY_ONE = 1e-5
#: without normalisation, MobileBERT's 24 layers enlarge what is rounded
LOOSE = {"exported_mobilebert_cls": 2e-3}


def build(name):
    """The model, and what makes its inputs for a batch size and a seed."""
    source, _, rest = name.partition("_")
    if source == "torch":
        return _from_torch(rest)
    if source == "keras":
        return _from_keras(rest)
    folder = Path(os.environ["EDGEPART_DATA"]) / "onnx"
    if source == "light":
        model = _tempered(_random_constants(onnx.load(folder / "light" / f"{name}.onnx")))
    elif source == "exported":
        fill = runpy.run_path(str(folder / "fill_weights.py"))["fill"]
        model = _enlarged(fill(onnx.load(folder / "exported" / f"{rest}.onnx", load_external_data=False)))
    else:
        model = onnx.load(folder / f"{name}.onnx")
    # the exported ones, whose random weights make everything smaller, get values as in images; the others answer with
    # a softmax, which such values would drive to 0 and 1
    return model, partial(_made_up, model, 128 if source == "exported" else 2)


def _from_torch(name):
    import torch
    import zoo_torch

    model = zoo_torch.build(name)
    given = {key: torch.from_numpy(array) for key, array in zoo_torch.inputs(name, 3).items()}
    batch = {key: {0: torch.export.Dim.DYNAMIC} for key in given}
    exported = torch.onnx.export(model, (), kwargs=given, dynamic_shapes=batch, dynamo=True, verbose=False)
    return exported.model_proto, partial(zoo_torch.inputs, name)


def _from_keras(name):
    """By tf2onnx; frozen first, or it takes the constants of a Normalization layer for inputs (so does Keras)."""
    import tensorflow as tf
    import tf2onnx
    import zoo_keras
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    model = zoo_keras.build(name)
    spec = tf.TensorSpec([None, *model.input_shape[1:]], tf.float32, "x")
    call = tf.function(lambda x: model(x, training=False)).get_concrete_function(spec)
    frozen = convert_variables_to_constants_v2(call)
    made = {"input_names": [x.name for x in frozen.inputs], "output_names": [x.name for x in frozen.outputs]}
    converted, _ = tf2onnx.convert.from_graph_def(frozen.graph.as_graph_def(), **made, opset=17)
    return converted, lambda batch, seed: {made["input_names"][0]: zoo_keras.images(name, batch, seed)}


def _random_constants(model):
    """Weights that the file makes by ConstantOfShape become random ones, scaled as He et al. do."""
    draw = np.random.default_rng(0)
    shapes = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    variances = {node.input[4] for node in norms}
    scales = {node.input[1] for node in norms}
    factors = {value for node in model.graph.node if node.op_type == "Mul" for value in node.input}
    scales |= {node.input[0] for node in model.graph.node if node.op_type == "Unsqueeze" and node.output[0] in factors}
    kept = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] not in shapes:
            kept.append(node)
            continue
        shape = [int(size) for size in shapes[node.input[0]]]
        values = draw.standard_normal(shape) * np.sqrt(2 / max(1, np.prod(shape[1:])))
        if len(shape) == 1:
            values = draw.uniform(0.5, 1.5, shape) if node.output[0] in variances | scales else values * 0.1
        model.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32), node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


def _enlarged(model):
    """Kernels that fill_weights.py makes so small that no input gets through, as He et al. scale them."""
    for tensor in model.graph.initializer:
        read = int(np.prod(tensor.dims[1:]))
        if len(tensor.dims) == 4 and tensor.dims[0] > read:
            values = onnx.numpy_helper.to_array(tensor) * np.float32(np.sqrt(2 * tensor.dims[0] / read))
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return model


def _tempered(model):
    """The last weights scaled such that the softmax at the end is neither flat nor all of one class."""
    ends = [node for node in model.graph.node if node.output[0] == model.graph.output[0].name]
    last = [node for node in model.graph.node if node.op_type == "Gemm"][-1:]
    if ends[0].op_type != "Softmax" or not last or last[0].output[0] != ends[0].input[0]:
        return model
    seen = onnx.ModelProto.FromString(model.SerializeToString())
    seen.graph.output.append(onnx.helper.make_empty_tensor_value_info(last[0].output[0]))
    logits = answers(seen, fused=True)(_made_up(model, 2, 1, 0))[-1]
    for tensor in model.graph.initializer:
        if tensor.name in last[0].input:
            values = onnx.numpy_helper.to_array(tensor) * np.float32(3 / logits.std())
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return model


def _made_up(model, largest, batch, seed):
    """Arrays for the inputs that a file declares; its first dimension is the batch, whether fixed or not."""
    draw = np.random.default_rng(seed)
    given = {}
    for entry in _entries(model):
        shape = [batch, *(size.dim_value for size in entry.type.tensor_type.shape.dim[1:])]
        if entry.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            tint = draw.uniform(-1, 1, (*shape[:2], *[1] * len(shape[2:])))  # noise alone averages out
            given[entry.name] = (largest * (tint + 0.5 * draw.standard_normal(shape))).astype(np.float32)
        elif "mask" in entry.name:
            lengths = draw.integers(shape[1] // 2, shape[1], (batch, 1))
            given[entry.name] = (np.arange(shape[1]) < lengths).astype(np.int64)
        else:
            given[entry.name] = draw.integers(1, 100, shape)
    return given


def held(part):
    """Names and bytes of the weights in a part's model; fails where no node of it reads one."""
    weights = part.model.graph.initializers
    unread = [name for name, value in weights.items() if not value.uses()]
    assert not unread, f"no node reads {unread}"
    return {name: value.const_value.nbytes for name, value in weights.items()}


def answers(model, fused):
    """What one session of a model makes of arrays by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if not fused:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def answer(arrays):
        if not _fixes_batch(model):
            return session.run(None, arrays)
        batch = len(next(iter(arrays.values())))
        rows = [session.run(None, {name: array[i : i + 1] for name, array in arrays.items()}) for i in range(batch)]
        return [np.concatenate(values) for values in zip(*rows, strict=True)]

    return answer


def _fixes_batch(model):
    return all(entry.type.tensor_type.shape.dim[0].HasField("dim_value") for entry in _entries(model))


def _entries(model):
    weights = {tensor.name for tensor in model.graph.initializer}
    return [entry for entry in model.graph.input if entry.name not in weights]


def subject(name):
    """A network; with no operations fused, ONNX Runtime runs it and, at every boundary, the nodes of its parts one by
    one (:mod:`by_node`); at some boundaries also whole parts, without fusions and with them.
    """
    model, inputs = build(name)
    captured = framework("onnx").program(model, inputs(1 if _fixes_batch(model) else 2, 0))
    exact = answers(model, fused=False), ONE_BY_ONE if _fixes_batch(model) else 0.0
    return Subject(
        name=f"onnx/{name}",
        program=captured,
        inputs=inputs,
        held=held,
        everywhere=Way(exact[0], NodeByNode().run, exact[1]),
        sampled=(
            Way(exact[0], lambda part, arrays: part.unfused().run(arrays), exact[1]),
            Way(answers(model, fused=True), tolerance=LOOSE.get(name, TOLERANCE)),
        ),
        batches=(1, 2, 3) if "batch" in captured.graph.symbols else (1, 1, 1),
    )
