"""Small ONNX networks that branch in every way, and what ONNX Runtime makes of them as they are."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def make(nodes, inputs, outputs, weights, *, opset=17, functions=(), domains=(), ir_version=9):
    """A model. ``inputs``: name → (type, shape); ``outputs``: names, or name → (type, shape)."""
    known = outputs if isinstance(outputs, dict) else dict.fromkeys(outputs, (FLOAT, None))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, *spec) for name, spec in inputs.items()],
        [helper.make_tensor_value_info(name, *spec) for name, spec in known.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, functions=list(functions), ir_version=ir_version)


def node(operation, inputs, outputs, name="", **attributes):
    return helper.make_node(operation, inputs, outputs, name, **attributes)


def normal(*shape, seed=0, scale=None):
    """Random weights that keep the size of what passes through."""
    scale = 1 / np.sqrt(np.prod(shape[1:])) if scale is None and len(shape) > 1 else scale or 1.0
    return (np.random.default_rng([seed, *shape]).standard_normal(shape) * scale).astype(np.float32)


def whole(proto, arrays):
    """The outputs of a model as it is, node by node."""
    unnamed = onnx.ModelProto.FromString(proto.SerializeToString())
    for each in unnamed.graph.node:  # ONNX Runtime refuses names given twice
        each.name = ""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(unnamed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, arrays)


def draw(proto, batch, length=None, seed=0):
    """Inputs of a model at a batch size and a length; ids below 20, masks of ones and zeros."""
    rng = np.random.default_rng([seed, batch, length or 0])
    weights = {tensor.name for tensor in proto.graph.initializer}
    arrays = {}
    for value in proto.graph.input:
        if value.name in weights:
            continue
        kind = value.type.tensor_type
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        shape = [batch if not axis else size.dim_value or length for axis, size in enumerate(kind.shape.dim)]
        if dtype.kind == "f":
            arrays[value.name] = rng.standard_normal(shape).astype(dtype)
        elif "mask" in value.name:
            arrays[value.name] = (np.arange(shape[1]) < rng.integers(2, shape[1] + 1, (shape[0], 1))).astype(dtype)
        else:
            arrays[value.name] = rng.integers(0, 2 if dtype.kind == "b" else 20, shape).astype(dtype)
    return arrays


def image(channels=3, size=8, batch="batch"):
    return {"x": (FLOAT, [batch, channels, size, size])}


def norm(name, channels, seed=0):
    """Weights of a batch normalisation with statistics as after training."""
    return {
        f"{name}.weight": 1 + 0.1 * normal(channels, seed=seed),
        f"{name}.bias": 0.1 * normal(channels, seed=seed + 1),
        f"{name}.mean": 0.1 * normal(channels, seed=seed + 2),
        f"{name}.var": 1 + 0.2 * np.abs(normal(channels, seed=seed + 3)),
    }


def chain():
    nodes = [
        node("Conv", ["x", "stem.weight", "stem.bias"], ["c"], "/stem/Conv", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c", "bn.weight", "bn.bias", "bn.mean", "bn.var"], ["b"], "/bn/BatchNormalization"),
        node("Relu", ["b"], ["r"], "/act/Relu"),
        node("GlobalAveragePool", ["r"], ["p"], "/pool/GlobalAveragePool"),
        node("Flatten", ["p"], ["f"], "/Flatten"),
        node("Gemm", ["f", "fc.weight", "fc.bias"], ["logits"], "/fc/Gemm", transB=1),
    ]
    weights = {"stem.weight": normal(4, 3, 3, 3), "stem.bias": normal(4), **norm("bn", 4)}
    weights |= {"fc.weight": normal(5, 4), "fc.bias": normal(5)}
    return make(nodes, image(), ["logits"], weights)


def residual():
    """A skip over two layers, one of the input over all, and one tensor that three layers read."""
    nodes = [
        node("Conv", ["x", "a"], ["ca"], "/block/a/Conv", pads=[1, 1, 1, 1]),
        node("Relu", ["ca"], ["ra"], "/block/a/Relu"),
        node("Conv", ["ra", "b"], ["cb"], "/block/b/Conv", pads=[1, 1, 1, 1]),
        node("Add", ["cb", "ra"], ["sum"], "/block/Add"),
        node("Sigmoid", ["ra"], ["gate"], "/block/Sigmoid"),
        node("Mul", ["sum", "gate"], ["gated"], "/block/Mul"),
        node("Concat", ["gated", "x"], ["joined"], "/Concat", axis=1),
        node("ReduceMean", ["joined"], ["y"], "/ReduceMean", axes=[2, 3], keepdims=0),
    ]
    return make(nodes, image(), ["y"], {"a": normal(4, 3, 3, 3), "b": normal(4, 4, 3, 3)})


def two_inputs_two_outputs():
    """An output that is read on, one input used late, and an input that is an output as it is."""
    nodes = [
        node("MatMul", ["left", "w1"], ["h"], "first"),
        node("Relu", ["h"], ["hidden"], "relu"),
        node("MatMul", ["hidden", "w2"], ["g"], "second"),
        node("Mul", ["g", "right"], ["out"], "mix"),
    ]
    inputs = {"left": (FLOAT, ["N", 4]), "right": (FLOAT, ["N", 6])}
    return make(nodes, inputs, ["out", "hidden"], {"w1": normal(4, 5), "w2": normal(5, 6)})


def input_to_output():
    nodes = [node("MatMul", ["x", "w"], ["y"], "product"), node("Tanh", ["y"], ["z"], "tanh")]
    outputs = {"x": (FLOAT, ["batch", 4]), "z": (FLOAT, ["batch", 3])}
    return make(nodes, {"x": (FLOAT, ["batch", 4])}, outputs, {"w": normal(4, 3)})


def split_and_unused():
    """Several outputs of one node, of which one is read twice, one leaves, and one is not read at all."""
    nodes = [
        node("Split", ["x", "sizes"], ["a", "b", "c"], "split", axis=1),
        node("MatMul", ["a", "w"], ["m"], "product"),
        node("Add", ["m", "b"], ["s"], "sum"),
        node("Mul", ["s", "b"], ["t"], "times"),
        node("TopK", ["t", "k"], ["values", "places"], "top"),
        node("Cast", ["places"], ["as_float"], "cast", to=FLOAT),
        node("Concat", ["values", "as_float"], ["out"], "join", axis=1),
    ]
    weights = {"sizes": np.array([2, 3, 4]), "w": normal(2, 3), "k": np.array([2])}
    return make(nodes, {"x": (FLOAT, ["batch", 9])}, ["out", "s"], weights)


def shared_weights():
    """One weight read by three layers, once turned; weights computed from weights; a Constant node."""
    nodes = [
        node("Transpose", ["w"], ["wt"], "/decoder/Transpose", perm=[1, 0]),
        node("Constant", [], ["half"], "/Constant", value=numpy_helper.from_array(np.float32(0.5))),
        node("Mul", ["wt", "half"], ["small"], "/decoder/Mul"),
        node("MatMul", ["x", "w"], ["encoded"], "/encoder/MatMul"),
        node("Tanh", ["encoded"], ["code"], "/encoder/Tanh"),
        node("MatMul", ["code", "small"], ["decoded"], "/decoder/MatMul"),
        node("Mul", ["decoded", "half"], ["halved"], "/decoder/Mul_1"),
        node("MatMul", ["halved", "w"], ["again"], "/encoder_1/MatMul"),
        node("Add", ["again", "code"], ["out"], "/Add"),
    ]
    return make(nodes, {"x": (FLOAT, ["batch", 4])}, ["out"], {"w": normal(4, 3)})


def sizes_from_shapes():
    """Reshape to sizes computed from the input's, as torch's exporter writes it."""
    nodes = [
        node("Conv", ["x", "w"], ["c"], "/conv/Conv", pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["r"], "/Relu"),
        node("Shape", ["c"], ["shape"], "/Shape"),
        node("Gather", ["shape", "zero"], ["size"], "/Gather", axis=0),
        node("Unsqueeze", ["size", "axes"], ["sizes"], "/Unsqueeze"),
        node("Concat", ["sizes", "rest"], ["target"], "/Concat", axis=0),
        node("Reshape", ["r", "target"], ["flat"], "/Reshape"),
        node("MatMul", ["flat", "fc"], ["logits"], "/fc/MatMul"),
    ]
    weights = {"w": normal(2, 3, 3, 3), "zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1])}
    return make(nodes, image(size=4), ["logits"], weights | {"fc": normal(32, 3)})


def transformer(layers=2, width=8, heads=2):
    """Token ids and a mask of any length, position embeddings cut to it, attention, tied decoder."""
    weights = {
        "words.weight": normal(20, width, scale=1),
        "positions.weight": normal(32, width, scale=1),
        "one": np.array([1]),
        "zero": np.array([0]),
        "two": np.array([2]),
        "axes": np.array([1, 2]),
        "unit": np.float32(1),
        "large": np.float32(-1e4),
        "scale": np.float32(np.sqrt(width / heads)),
        "heads": np.array([0, 0, heads, width // heads]),
        "joined": np.array([0, 0, width]),
    }
    nodes = [
        node("Gather", ["words.weight", "input_ids"], ["e"], "/embeddings/words/Gather"),
        node("Shape", ["input_ids"], ["shape"], "/embeddings/Shape"),
        node("Gather", ["shape", "one"], ["length"], "/embeddings/Gather", axis=0),
        node("Slice", ["positions.weight", "zero", "length"], ["p"], "/embeddings/Slice"),
        node("Add", ["e", "p"], ["h0"], "/embeddings/Add"),
        node("Cast", ["attention_mask"], ["m"], "/Cast", to=FLOAT),
        node("Unsqueeze", ["m", "axes"], ["mu"], "/Unsqueeze"),
        node("Sub", ["unit", "mu"], ["ms"], "/Sub"),
        node("Mul", ["ms", "large"], ["mask"], "/Mul"),
    ]
    for index in range(layers):
        more, names = _block(index, width)
        weights |= names
        nodes += more
    nodes += [
        node("Transpose", ["words.weight"], ["tied"], "/decoder/Transpose", perm=[1, 0]),
        node("MatMul", [f"h{layers}", "tied"], ["logits"], "/decoder/MatMul"),
    ]
    inputs = {name: (INT64, ["batch_size", "seq_len"]) for name in ("input_ids", "attention_mask")}
    return make(nodes, inputs, ["logits"], weights)


def _block(index, width):
    at, source, path = f"l{index}.", f"h{index}", f"/encoder/layer.{index}"
    weights = {f"{at}{name}": normal(width, width, seed=index + place) for place, name in enumerate("qkvo")}
    weights |= {f"{at}gain": 1 + 0.1 * normal(width, seed=index), f"{at}shift": 0.1 * normal(width, seed=index + 9)}
    nodes = []
    for name, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes += [
            node("MatMul", [source, at + name], [f"{at}{name}1"], f"{path}/attention/{name}/MatMul"),
            node("Reshape", [f"{at}{name}1", "heads"], [f"{at}{name}2"], f"{path}/attention/{name}/Reshape"),
            node("Transpose", [f"{at}{name}2"], [f"{at}{name}3"], f"{path}/attention/{name}/Transpose", perm=order),
        ]
    nodes += [
        node("MatMul", [f"{at}q3", f"{at}k3"], [f"{at}s"], f"{path}/attention/MatMul"),
        node("Div", [f"{at}s", "scale"], [f"{at}sd"], f"{path}/attention/Div"),
        node("Add", [f"{at}sd", "mask"], [f"{at}sm"], f"{path}/attention/Add"),
        node("Softmax", [f"{at}sm"], [f"{at}a"], f"{path}/attention/Softmax", axis=-1),
        node("MatMul", [f"{at}a", f"{at}v3"], [f"{at}c"], f"{path}/attention/MatMul_1"),
        node("Transpose", [f"{at}c"], [f"{at}ct"], f"{path}/attention/Transpose", perm=[0, 2, 1, 3]),
        node("Reshape", [f"{at}ct", "joined"], [f"{at}cj"], f"{path}/attention/Reshape"),
        node("MatMul", [f"{at}cj", f"{at}o"], [f"{at}co"], f"{path}/output/MatMul"),
        node("Add", [f"{at}co", source], [f"{at}r"], f"{path}/output/Add"),
        node("LayerNormalization", [f"{at}r", f"{at}gain", f"{at}shift"], [f"h{index + 1}"], f"{path}/norm/Norm"),
    ]
    return nodes, weights


def conditional():
    """If, whose branches read from around them, one of them a weight and one a tensor that nothing else reads."""
    then = helper.make_graph(
        [node("MatMul", ["h", "w2"], ["then_out"], "inner"), node("Constant", [], ["unused"], value_float=1.0)],
        "then",
        [],
        [helper.make_tensor_value_info("then_out", FLOAT, None)],
    )
    otherwise = helper.make_graph(
        [node("Sub", ["side", "h"], ["else_out"], "inner")],
        "else",
        [],
        [helper.make_tensor_value_info("else_out", FLOAT, None)],
    )
    nodes = [
        node("MatMul", ["x", "w1"], ["h"], "first"),
        node("Sigmoid", ["x"], ["side"], "side"),
        node("ReduceSum", ["x"], ["total"], "total", keepdims=0),
        node("Greater", ["total", "zero"], ["positive"], "compare"),
        node("If", ["positive"], ["chosen"], "choose", then_branch=then, else_branch=otherwise),
        node("Add", ["chosen", "x"], ["out"], "last"),
    ]
    weights = {"w1": normal(4, 4), "w2": normal(4, 4, seed=1), "zero": np.float32(0)}
    return make(nodes, {"x": (FLOAT, ["batch", 4])}, ["out"], weights)


def scan():
    """A Scan over the second dimension whose body reads a weight and a tensor from around it."""
    body = helper.make_graph(
        [
            node("MatMul", ["state", "w"], ["moved"], "product"),
            node("Add", ["moved", "step"], ["summed"], "sum"),
            node("Mul", ["summed", "gate"], ["next"], "gated"),
            node("Identity", ["next"], ["seen"], "seen"),
        ],
        "body",
        [helper.make_tensor_value_info(name, FLOAT, None) for name in ("state", "step")],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in ("next", "seen")],
    )
    nodes = [
        node("ReduceMean", ["x"], ["mean"], "mean", axes=[1], keepdims=0),
        node("Sigmoid", ["mean"], ["gate"], "gate"),
        node("Scan", ["mean", "x"], ["last", "all"], "scan", body=body, num_scan_inputs=1, scan_input_axes=[1],
             scan_output_axes=[1]),
        node("Relu", ["all"], ["shown"], "relu"),
    ]  # fmt: skip
    return make(nodes, {"x": (FLOAT, ["batch", 5, 4])}, ["shown", "last"], {"w": normal(4, 4)})


def quantised():
    """Weights and activations as int8 with QuantizeLinear and DequantizeLinear around each operation."""
    rng = np.random.default_rng(0)
    weights = {
        "wq": rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
        "wscale": np.full(4, 0.01, np.float32),
        "wzero": np.zeros(4, np.int8),
        "scale": np.float32(0.05),
        "zero": np.int8(0),
        "fq": rng.integers(-127, 128, (4, 5)).astype(np.int8),
    }
    nodes = [
        node("QuantizeLinear", ["x", "scale", "zero"], ["xq"], "q0"),
        node("DequantizeLinear", ["xq", "scale", "zero"], ["xd"], "dq0"),
        node("DequantizeLinear", ["wq", "wscale", "wzero"], ["wd"], "dqw", axis=0),
        node("Conv", ["xd", "wd"], ["c"], "conv"),
        node("Relu", ["c"], ["r"], "relu"),
        node("GlobalAveragePool", ["r"], ["p"], "pool"),
        node("Flatten", ["p"], ["f"], "flatten"),
        node("QuantizeLinear", ["f", "scale", "zero"], ["fq8"], "q1"),
        node("QLinearMatMul", ["fq8", "scale", "zero", "fq", "scale", "zero", "scale", "zero"], ["m"], "product"),
        node("DequantizeLinear", ["m", "scale", "zero"], ["logits"], "dq1"),
    ]
    return make(nodes, image(), ["logits"], weights)


def with_function():
    """A function of the model's own, called twice, with another one inside."""
    inner = helper.make_function(
        "own", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"], "double")], [helper.make_opsetid("", 17)]
    )
    outer = helper.make_function(
        "own",
        "Dense",
        ["a", "w"],
        ["c"],
        [node("MatMul", ["a", "w"], ["m"], "product"), helper.make_node("Twice", ["m"], ["c"], "twice", domain="own")],
        [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)],
    )
    nodes = [
        helper.make_node("Dense", ["x", "w1"], ["h"], "one", domain="own"),
        helper.make_node("Dense", ["h", "w2"], ["y"], "two", domain="own"),
    ]
    weights = {"w1": normal(4, 5), "w2": normal(5, 3)}
    return make(nodes, {"x": (FLOAT, ["batch", 4])}, ["y"], weights, functions=[inner, outer], domains=["own"])


def badly_named():
    """Nodes without names, with the same name, named like inputs, weights and other values."""
    nodes = [
        node("MatMul", ["x", "w"], ["product"]),
        node("Relu", ["product"], ["same"], "x"),
        node("MatMul", ["same", "v"], ["w:0"], "w"),
        node("Relu", ["w:0"], ["y"], "twice"),
        node("Split", ["y"], ["a", "b"], "twice", axis=1, num_outputs=2),
        node("MatMul", ["a", "u"], ["c"], "twice:0"),
        node("MatMul", ["b", "u"], ["d"]),
        node("Add", ["c", "d"], ["twice:1"], "twice"),
    ]
    weights = {"w": normal(4, 4), "v": normal(4, 4, seed=1), "u": normal(2, 3)}
    return make(nodes, {"x": (FLOAT, ["batch", 4])}, ["twice:1"], weights, opset=18)


def constant_outputs():
    """Outputs that are a weight, a Constant and a computation on weights, beside one that is computed."""
    nodes = [
        node("Constant", [], ["made"], "constant", value_floats=[1.0, 2.0]),
        node("Mul", ["w", "w"], ["square"], "square"),
        node("MatMul", ["x", "w"], ["y"], "product"),
    ]
    return make(nodes, {"x": (FLOAT, ["batch", 4])}, ["y", "w", "made", "square"], {"w": normal(4, 4)})


def recurrent():
    """An LSTM over the sequence, batch first made batch second and back."""
    size = 5
    weights = {"w": normal(1, 4 * size, 3), "r": normal(1, 4 * size, size), "b": normal(1, 8 * size)}
    nodes = [
        node("Transpose", ["x"], ["xt"], "/lstm/Transpose", perm=[1, 0, 2]),
        node("LSTM", ["xt", "w", "r", "b"], ["all", "", "cell"], "/lstm/LSTM", hidden_size=size),
        node("Squeeze", ["all", "one"], ["flat"], "/lstm/Squeeze"),
        node("Transpose", ["flat"], ["y"], "/lstm/Transpose_1", perm=[1, 0, 2]),
        node("Transpose", ["cell"], ["c"], "/Transpose", perm=[1, 0, 2]),
    ]
    inputs = {"x": (FLOAT, ["batch", "frames", 3])}
    return make(nodes, inputs, ["y", "c"], weights | {"one": np.array([1])})


def made_for_one():
    """Made for a batch of one: sizes of Reshapes, a class token, positions, heads folded into the batch."""
    weights = {
        "patch": normal(8, 3, 2, 2),
        "to_tokens": np.array([1, 8, 16]),
        "token": normal(1, 1, 8, scale=1),
        "positions": normal(1, 17, 8, scale=1),
        "w": normal(8, 8),
        "fold": np.array([17, 2, 4]),
        "unfold": np.array([17, 8]),
        "rows": np.array([17, 1, 8]),
        "first": np.array(0),
        "fc": normal(8, 3),
    }
    nodes = [
        node("Conv", ["x", "patch"], ["c"], "/patch/Conv", strides=[2, 2]),
        node("Reshape", ["c", "to_tokens"], ["f"], "/patch/Reshape"),
        node("Transpose", ["f"], ["t"], "/patch/Transpose", perm=[0, 2, 1]),
        node("Concat", ["token", "t"], ["with_token"], "/Concat", axis=1),
        node("Add", ["with_token", "positions"], ["e"], "/Add"),
        node("Transpose", ["e"], ["et"], "/attention/Transpose", perm=[1, 0, 2]),
        node("MatMul", ["et", "w"], ["q"], "/attention/MatMul"),
        node("Reshape", ["q", "fold"], ["folded"], "/attention/Reshape"),
        node("Transpose", ["folded"], ["k"], "/attention/Transpose_1", perm=[1, 2, 0]),
        node("Transpose", ["folded"], ["v"], "/attention/Transpose_2", perm=[1, 0, 2]),
        node("MatMul", ["v", "k"], ["s"], "/attention/MatMul_1"),
        node("Softmax", ["s"], ["a"], "/attention/Softmax", axis=-1),
        node("MatMul", ["a", "v"], ["av"], "/attention/MatMul_2"),
        node("Transpose", ["av"], ["avt"], "/attention/Transpose_3", perm=[1, 0, 2]),
        node("Reshape", ["avt", "unfold"], ["rows2"], "/attention/Reshape_1"),
        node("MatMul", ["rows2", "w"], ["o"], "/attention/out/MatMul"),
        node("Reshape", ["o", "rows"], ["or"], "/attention/Reshape_2"),
        node("Transpose", ["or"], ["ob"], "/attention/Transpose_4", perm=[1, 0, 2]),
        node("Gather", ["ob", "first"], ["cls"], "/Gather", axis=1),
        node("MatMul", ["cls", "fc"], ["logits"], "/fc/MatMul"),
    ]
    return make(nodes, image(batch=1), {"logits": (FLOAT, [1, 3])}, weights)


def recurrent_made_for_one():
    """An LSTM with first states for one sample, and a Resize to sizes for one image."""
    weights = {
        "sizes": np.array([1, 3, 4, 4]),
        "flat": np.array([1, 4, 12]),
        "w": normal(1, 20, 12),
        "r": normal(1, 20, 5),
        "h": normal(1, 1, 5, scale=1),
        "c": normal(1, 1, 5, scale=1),
        "axis": np.array([1]),
    }
    nodes = [
        node("Resize", ["x", "", "", "sizes"], ["small"], "resize"),
        node("Reshape", ["small", "flat"], ["steps"], "reshape"),
        node("Transpose", ["steps"], ["xt"], "transpose", perm=[1, 0, 2]),
        node("LSTM", ["xt", "w", "r", "", "", "h", "c"], ["", "last"], "lstm", hidden_size=5),
        node("Squeeze", ["last", "zero"], ["y"], "squeeze"),
    ]
    return make(nodes, image(batch=1), ["y"], weights | {"zero": np.array([0])})


def older():
    """Opset 9 with weights listed among the inputs, as early exporters wrote it."""
    proto = make(
        [
            node("ConstantOfShape", ["shape"], ["w"], value=numpy_helper.from_array(np.array([0.1], np.float32))),
            node("Conv", ["x", "w"], ["c"]),
            node("Conv", ["c", "v"], ["d"]),
            node("Dropout", ["d"], ["kept", "mask"]),
            node("Reshape", ["kept", "flat"], ["f"]),
            node("Gemm", ["f", "fc", "bias"], ["y"]),
        ],
        image(batch=1) | {"shape": (INT64, [4]), "v": (FLOAT, [2, 4, 3, 3])},
        ["y"],
        {
            "shape": np.array([4, 3, 3, 3]),
            "v": normal(2, 4, 3, 3),
            "flat": np.array([1, 32]),
            "fc": normal(32, 3),
            "bias": normal(3),
        },
        opset=9,
        ir_version=3,
    )
    for name, dims in (("flat", [2]), ("fc", [32, 3]), ("bias", [3])):
        kind = INT64 if name == "flat" else FLOAT
        proto.graph.input.append(helper.make_tensor_value_info(name, kind, dims))
    return proto


#: name → network; those in MADE_FOR_ONE run at a batch of one as they are
NETWORKS = {
    function.__name__: function
    for function in (
        chain, residual, two_inputs_two_outputs, input_to_output, split_and_unused, shared_weights, sizes_from_shapes,
        transformer, conditional, scan, quantised, with_function, badly_named, constant_outputs, recurrent,
        made_for_one, recurrent_made_for_one, older,
    )
}  # fmt: skip
MADE_FOR_ONE = ("made_for_one", "recurrent_made_for_one", "older")
WITH_LENGTHS = ("transformer", "recurrent")


def expected(name, proto, arrays):
    """The outputs of a network; of one that is made for one sample, put together sample by sample."""
    if name not in MADE_FOR_ONE:
        return whole(proto, arrays)
    batch = len(next(iter(arrays.values())))
    singles = [whole(proto, {key: array[[row]] for key, array in arrays.items()}) for row in range(batch)]
    return [np.concatenate(parts) for parts in zip(*singles, strict=True)]


def draw_constants(proto):
    """Let weights that ConstantOfShape makes be random: with constant ones, a network answers the same to anything."""
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    positive = {name for each in proto.graph.node if each.op_type == "BatchNormalization" for name in each.input[1:5:3]}
    made = [each for each in proto.graph.node if each.op_type == "ConstantOfShape" and each.input[0] in shapes]
    for seed, each in enumerate(made):
        shape = [int(size) for size in shapes[each.input[0]]]
        weight = normal(*shape, seed=seed, scale=None if len(shape) > 1 else 0.1) * np.float32(np.sqrt(2))
        if each.output[0] in positive:
            weight = 1 + np.abs(weight)
        proto.graph.initializer.append(numpy_helper.from_array(weight, each.output[0]))
        proto.graph.node.remove(each)
    return proto
