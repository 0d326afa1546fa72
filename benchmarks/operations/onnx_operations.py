"""Operations of ONNX networks: name → function that makes (network, example)."""

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper
from onnxruntime import InferenceSession

IMAGE, TOKENS = ("batch", 4, 12, 12), ("batch", 6, 8)
_FLOAT, _INT = TensorProto.FLOAT, TensorProto.INT64


def random(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def network(given, nodes, weights, opset=18, kind=_FLOAT):
    """A graph from ``x`` to ``y``; nodes are (operation, inputs, outputs, attributes)."""

    def model(shape):
        graph = helper.make_graph(
            [helper.make_node(op, reads, makes, **attributes) for op, reads, makes, attributes in nodes],
            "operation",
            [helper.make_tensor_value_info("x", kind, given)],
            [helper.make_tensor_value_info("y", _FLOAT, shape)],
            [numpy_helper.from_array(value, name) for name, value in weights.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)

    session = InferenceSession(model(None).SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.zeros([2, *given[1:]], np.float32 if kind == _FLOAT else np.int64)
    made = model(["batch", *session.run(["y"], {"x": x})[0].shape[1:]])
    checker.check_model(made)
    return made


def image(*nodes, **weights):
    """Nodes from ``c`` to ``y`` after a convolution."""
    first = ("Conv", ["x", "w"], ["c"], {"pads": [1, 1, 1, 1]})
    held = {"w": random(4, 4, 3, 3) / 3} | weights
    return lambda: (network(IMAGE, [first, *nodes], held), random(2, 4, 12, 12))


def tokens(*nodes, **weights):
    first = ("MatMul", ["x", "w"], ["c"], {})
    held = {"w": random(8, 8) / 3} | weights
    return lambda: (network(TOKENS, [first, *nodes], held), random(2, 6, 8))


def one(operation, *inputs, **attributes):
    return (operation, ["c", *inputs], ["y"], attributes)


def words():
    nodes = [("Gather", ["table", "x"], ["e"], {}), ("MatMul", ["e", "w"], ["y"], {})]
    held = {"table": random(30, 8), "w": random(8, 3)}
    return network(("batch", 6), nodes, held, kind=_INT), np.arange(12).reshape(2, 6)


def conditional():
    branch = [
        helper.make_graph(
            [helper.make_node(op, ["c"], [f"{op}_out"])],
            op,
            [],
            [helper.make_tensor_value_info(f"{op}_out", _FLOAT, None)],
        )
        for op in ("Relu", "Neg")
    ]
    nodes = [
        ("MatMul", ["x", "w"], ["c"], {}),
        ("ReduceMax", ["x"], ["m"], {"keepdims": 0}),
        ("Greater", ["m", "zero"], ["positive"], {}),
        ("If", ["positive"], ["y"], {"then_branch": branch[0], "else_branch": branch[1]}),
    ]
    return network(TOKENS, nodes, {"w": random(8, 8), "zero": np.array(0, np.float32)}), random(2, 6, 8)


def recurrent(operation, gates):
    weights = {"W": random(1, gates * 6, 8) / 2, "R": random(1, gates * 6, 6) / 2}
    steps = ("Transpose", ["c"], ["t"], {"perm": [1, 0, 2]})
    layer = (operation, ["t", "W", "R"], ["y"], {"hidden_size": 6})
    return tokens(steps, layer, **weights)


def quantised():
    held = {"scale": np.array(0.05, np.float32), "zero": np.array(0, np.int8)}
    nodes = (
        ("QuantizeLinear", ["c", "scale", "zero"], ["q"], {}),
        ("DequantizeLinear", ["q", "scale", "zero"], ["y"], {}),
    )
    return image(*nodes, **held)


def ints(*values):
    return np.array(values, np.int64)


OPERATIONS = {
    "convolution": image(one("Conv", "k", strides=[2, 2]), k=random(6, 4, 3, 3)),
    "dilated convolution": image(one("Conv", "k", dilations=[2, 2]), k=random(6, 4, 3, 3)),
    "depthwise convolution": image(one("Conv", "k", group=4), k=random(4, 1, 3, 3)),
    "grouped convolution": image(one("Conv", "k", group=2), k=random(4, 2, 3, 3)),
    "transposed convolution": image(one("ConvTranspose", "k", strides=[2, 2]), k=random(4, 6, 2, 2)),
    "fully connected": tokens(
        ("Flatten", ["c"], ["f"], {}), ("Gemm", ["f", "k", "b"], ["y"], {}), k=random(48, 5), b=random(5)
    ),
    "matrix product": tokens(("Transpose", ["c"], ["t"], {"perm": [0, 2, 1]}), ("MatMul", ["c", "t"], ["y"], {})),
    "einsum": tokens(("Einsum", ["c", "c"], ["y"], {"equation": "bij,bkj->bik"})),
    "batch normalisation": image(
        one("BatchNormalization", "g", "b", "m", "v"), g=random(4), b=random(4), m=random(4), v=random(4) ** 2 + 0.5
    ),
    "layer normalisation": tokens(one("LayerNormalization", "g", axis=-1), g=random(8)),
    "group normalisation": lambda: (
        network(
            IMAGE,
            [("Conv", ["x", "w"], ["c"], {}), one("GroupNormalization", "g", "b", num_groups=2)],
            {"w": random(4, 4, 3, 3), "g": random(4), "b": random(4)},
            opset=21,
        ),
        random(2, 4, 12, 12),
    ),
    "instance normalisation": image(one("InstanceNormalization", "g", "b"), g=random(4), b=random(4)),
    "max pooling": image(one("MaxPool", kernel_shape=[2, 2], strides=[2, 2])),
    "average pooling": image(one("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])),
    "global pooling": image(one("GlobalAveragePool")),
    "ReLU, ReLU6": image(one("Clip", "low", "high"), low=np.array(0, np.float32), high=np.array(6, np.float32)),
    "GELU": lambda: (
        network(TOKENS, [("MatMul", ["x", "w"], ["c"], {}), one("Gelu")], {"w": random(8, 8)}, opset=20),
        random(2, 6, 8),
    ),
    "SiLU": image(("Sigmoid", ["c"], ["s"], {}), ("Mul", ["c", "s"], ["y"], {})),
    "hard swish, hard sigmoid": image(("HardSwish", ["c"], ["h"], {}), ("HardSigmoid", ["h"], ["y"], {})),
    "sigmoid, tanh": image(("Sigmoid", ["c"], ["s"], {}), ("Tanh", ["s"], ["y"], {})),
    "leaky ReLU, ELU": image(("LeakyRelu", ["c"], ["l"], {}), ("Elu", ["l"], ["y"], {})),
    "softmax": tokens(one("Softmax")),
    "add, multiply, divide": image(
        ("Mul", ["c", "c"], ["s"], {}),
        ("Add", ["s", "one"], ["p"], {}),
        ("Div", ["c", "p"], ["y"], {}),
        one=random(1) ** 2 + 1,
    ),
    "concatenate": image(("Relu", ["c"], ["r"], {}), ("Concat", ["c", "r"], ["y"], {"axis": 1})),
    "split": image(("Split", ["c"], ["a", "b"], {"axis": 1, "num_outputs": 2}), ("Mul", ["a", "b"], ["y"], {})),
    "reshape, transpose": tokens(
        ("Reshape", ["c", "shape"], ["r"], {}),
        ("Transpose", ["r"], ["y"], {"perm": [0, 2, 1, 3]}),
        shape=ints(0, 0, 2, 4),
    ),
    "a shape computed from the input": tokens(
        ("Shape", ["c"], ["s"], {"start": 0, "end": 1}),
        ("Concat", ["s", "rest"], ["shape"], {"axis": 0}),
        ("Reshape", ["c", "shape"], ["y"], {}),
        rest=ints(48),
    ),
    "pad": image(one("Pad", "pads"), pads=ints(0, 0, 1, 2, 0, 0, 3, 0)),
    "nearest resize": image(
        ("Resize", ["c", "", "scales"], ["y"], {"mode": "nearest"}), scales=np.array([1, 1, 2, 2], np.float32)
    ),
    "bilinear resize": image(
        ("Resize", ["c", "", "scales"], ["y"], {"mode": "linear"}), scales=np.array([1, 1, 2, 2], np.float32)
    ),
    "mean, max over dimensions": image(one("ReduceMean", "axes"), axes=ints(2, 3)),
    "cumulative sum": tokens(one("CumSum", "axis"), axis=np.array(1, np.int64)),
    "top k": tokens(("TopK", ["c", "k"], ["y", "places"], {}), k=ints(3)),
    "slice, gather": tokens(
        ("Slice", ["c", "start", "stop"], ["s"], {}),
        ("Gather", ["s", "first"], ["y"], {"axis": 1}),
        start=ints(0, 1),
        stop=ints(99, 5),
        first=np.array(0, np.int64),
    ),
    "embedding": words,
    "where, masks": tokens(
        ("Greater", ["c", "zero"], ["p"], {}), ("Where", ["p", "c", "zero"], ["y"], {}), zero=np.array(0, np.float32)
    ),
    "LSTM": recurrent("LSTM", 4),
    "GRU": recurrent("GRU", 3),
    "quantise, dequantise": quantised(),
    "a branch on a value": conditional,
}
