"""Small ONNX models as parts, for the tests of runtimes: no framework captures them."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgepart.frameworks.signature import Signature
from edgepart.graph import Tensor


class ModelPart:
    """A model that exports itself as it is."""

    layers = ()

    def __init__(self, model, external=False):
        self.parameters = {}
        self.model, self._external = model, external
        self.signature = Signature.of(
            [_tensor(value) for value in model.graph.input],
            [_tensor(value) for value in model.graph.output],
            {"batch": 1, "sequence": 6},
        )
        self.inputs, self.outputs = self.signature.input_names, self.signature.output_names

    def export(self, form, path, *, precision="float32", samples=()):
        assert form == "onnx"
        assert precision == "float32", "the runtime converts, the part does not"
        # onnx.save takes the weights out of the model that it is given
        model = onnx.ModelProto.FromString(self.model.SerializeToString())
        onnx.save(
            model, str(path), save_as_external_data=self._external, location=f"{path.name}.data", size_threshold=0
        )

    def run(self, arrays):
        """The oracle: ONNX Runtime as it comes, without optimisation."""
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(self.model.SerializeToString(), options)
        return dict(zip(self.outputs, session.run(list(self.outputs), arrays), strict=True))


def single_output(part):
    """The model of a part, without the outputs before the logits."""
    model = onnx.ModelProto.FromString(part.model.SerializeToString())
    del model.graph.output[0]
    return model


def at_opset(model, version):
    """Nodes that mean the same in all versions from 13 on, in one of these."""
    model.opset_import[0].version, model.ir_version = version, 10
    onnx.checker.check_model(model)
    return model


def convolutional(**kwargs):
    """image (batch, 3, 12, 12) → map (batch, 8, 12, 12), which is both passed on and read, and logits (batch, 5)."""
    weights = {
        "w1": _normal((8, 3, 3, 3), 27),
        "w2": _normal((16, 8, 3, 3), 72),
        "w3": _normal((16, 16, 1, 1), 16),
        "w4": _normal((16, 5), 16),
    }
    scale = {"scale": np.ones(8), "shift": np.zeros(8), "mean": _normal(8, 4), "variance": np.full(8, 0.8)}
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["c1"], "conv1", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c1", "scale", "shift", "mean", "variance"], ["b1"], "norm"),
        helper.make_node("Relu", ["b1"], ["map"], "relu1"),
        helper.make_node("Conv", ["map", "w2"], ["c2"], "conv2", strides=[2, 2]),
        helper.make_node("Relu", ["c2"], ["r2"], "relu2"),
        helper.make_node("Conv", ["r2", "w3"], ["c3"], "conv3"),
        helper.make_node("GlobalAveragePool", ["c3"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        helper.make_node("MatMul", ["flat", "w4"], ["matmul"], "classifier"),
        helper.make_node("Identity", ["matmul"], ["logits"], "last"),
    ]
    outputs = {"map": (TensorProto.FLOAT, ["batch", 8, 12, 12]), "logits": (TensorProto.FLOAT, ["batch", 5])}
    inputs = {"image": (TensorProto.FLOAT, ["batch", 3, 12, 12])}
    return ModelPart(_model(nodes, inputs, outputs, weights | scale), **kwargs)


def transformer(**kwargs):
    """ids and mask (batch, sequence), int64, and a scalar → tokens and logits by a layer of self-attention."""
    weights = {name: _normal((16, 16), 16) for name in ("query", "key", "value")}
    weights |= {
        "embedding": _normal((50, 16), 1),
        "norm": np.ones(16),
        "bias": np.zeros(16),
        "out": _normal((16, 4), 16),
    }
    constants = {"one": np.float32(1), "low": np.float32(-3.4e38), "axis": np.int64([1]), "first": np.int64(0)}
    nodes = [
        helper.make_node("Gather", ["embedding", "ids"], ["x"], "embed"),
        helper.make_node("MatMul", ["x", "query"], ["q"], "query_matmul"),
        helper.make_node("MatMul", ["x", "key"], ["k"], "key_matmul"),
        helper.make_node("MatMul", ["x", "value"], ["v"], "value_matmul"),
        helper.make_node("Transpose", ["k"], ["kt"], "transpose", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "kt"], ["scores"], "scores_matmul"),
        helper.make_node("Cast", ["mask"], ["float_mask"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Sub", ["one", "float_mask"], ["padding"], "sub"),
        helper.make_node("Mul", ["padding", "low"], ["masked"], "mul"),
        helper.make_node("Unsqueeze", ["masked", "axis"], ["bias_mask"], "unsqueeze"),
        helper.make_node("Add", ["scores", "bias_mask"], ["biased"], "add"),
        helper.make_node("Softmax", ["biased"], ["attention"], "softmax", axis=-1),
        helper.make_node("MatMul", ["attention", "v"], ["context"], "context_matmul"),
        helper.make_node("Add", ["context", "x"], ["residual"], "residual_add"),
        helper.make_node("LayerNormalization", ["residual", "norm", "bias"], ["encoder.norm:0"], "layer_norm"),
        helper.make_node("Gather", ["encoder.norm:0", "first"], ["token"], "token", axis=1),
        helper.make_node("MatMul", ["token", "out"], ["product"], "out_matmul"),
        helper.make_node("Mul", ["product", "temperature"], ["logits"], "scale"),
    ]
    inputs = {
        "ids": (TensorProto.INT64, ["batch", "sequence"]),
        "mask": (TensorProto.INT64, ["batch", "sequence"]),
        "temperature": (TensorProto.FLOAT, []),
    }
    outputs = {
        "encoder.norm:0": (TensorProto.FLOAT, ["batch", "sequence", 16]),
        "logits": (TensorProto.FLOAT, ["batch", 4]),
    }
    return ModelPart(_model(nodes, inputs, outputs, weights | constants), **kwargs)


def perceptron(**kwargs):
    """x (batch, 12) → logits (batch, 5); with the shapes of weights noted down, as torch does."""
    weights = {"w1": _normal((16, 12), 12), "b1": _normal(16, 4), "w2": _normal((5, 16), 16), "b2": _normal(5, 4)}
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["g1"], "linear1", transB=1),
        helper.make_node("Relu", ["g1"], ["r1"], "relu"),
        helper.make_node("Gemm", ["r1", "w2", "b2"], ["logits"], "linear2", transB=1),
    ]
    inputs = {"x": (TensorProto.FLOAT, ["batch", 12])}
    model = _model(nodes, inputs, {"logits": (TensorProto.FLOAT, ["batch", 5])}, weights)
    for name, array in weights.items():
        model.graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape))
    return ModelPart(model, **kwargs)


def read_twice():
    """x (batch, 12) → logits by two operations that float16 leaves in single precision and that read one tensor."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], "matmul"),
        helper.make_node("Softmax", ["m"], ["s"], "softmax"),
        helper.make_node("Exp", ["m"], ["e"], "exp"),
        helper.make_node("Add", ["s", "e"], ["logits"], "add"),
    ]
    inputs, outputs = {"x": (TensorProto.FLOAT, ["batch", 12])}, {"logits": (TensorProto.FLOAT, ["batch", 5])}
    return ModelPart(_model(nodes, inputs, outputs, {"w": _normal((12, 5), 12)}))


def vectors(batch, seed=0):
    return {"x": np.random.default_rng(seed).standard_normal((batch, 12)).astype(np.float32)}


def images(batch, seed=0):
    return {"image": np.random.default_rng(seed).standard_normal((batch, 3, 12, 12)).astype(np.float32)}


def texts(batch, sequence=6, seed=0):
    ids = np.random.default_rng(seed).integers(0, 50, (batch, sequence))
    mask = np.ones_like(ids)
    mask[0, -2:] = 0
    return {"ids": ids, "mask": mask, "temperature": np.array(2.0, np.float32)}


def difference(made, expected):
    """Largest difference, relative to the largest value, over all outputs."""
    assert list(made) == list(expected)
    assert all(np.abs(array).max() > 0.05 for array in expected.values()), "the network answers with nothing"
    return max(np.abs(made[name] - expected[name]).max() / np.abs(expected[name]).max() for name in expected)


def _normal(shape, fan):
    return np.random.default_rng(fan).standard_normal(shape) * np.sqrt(2 / fan)


def _model(nodes, inputs, outputs, weights):
    arrays = {n: w if w.dtype == np.int64 else w.astype(np.float32) for n, w in weights.items()}
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(name, *spec) for name, spec in inputs.items()],
        [helper.make_tensor_value_info(name, *spec) for name, spec in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def _tensor(value):
    kind = value.type.tensor_type
    shape = tuple(size.dim_param or size.dim_value for size in kind.shape.dim)
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    return Tensor(name=value.name, shape=shape, dtype=dtype.name, bytes=dtype.itemsize)
