"""What is tolerated of an artefact follows the coarsest type that its part computes in."""

import numpy as np
import onnx_parts
import pytest
import torch
from keras_small import EXAMPLE as KERAS_EXAMPLE
from keras_small import keras
from small_networks import SmallNet, network
from test_onnx_heads import half_precision

from edgepart.bundle.comparison import compare
from edgepart.bundle.targets import Target
from edgepart.errors import ExportError
from edgepart.frameworks import framework_of
from edgepart.frameworks.runtimes import runtime


class Coarse(SmallNet):
    """Takes and gives float32, and computes in another type."""

    def __init__(self, dtype=torch.float16):
        super().__init__()
        self.dtype = dtype

    def forward(self, image):
        return super().forward(image.to(self.dtype))


def of_torch(dtype=torch.float16):
    return network(lambda: Coarse(dtype)).to(dtype), torch.zeros(2, 1, 6, 6), "first"


def of_keras(policy="mixed_float16"):
    """The first two layers in half precision, the others in single precision."""
    keras.utils.set_random_seed(0)
    layers, image = keras.layers, keras.Input((6, 6, 1), name="image")
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="first", dtype=policy)(image)
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="second", dtype=policy)(x)
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="third")(x)
    x = layers.Dense(3, activation="softmax", name="classifier")(layers.GlobalAveragePooling2D(name="pool")(x))
    return keras.Model(image, x, name="mixed"), KERAS_EXAMPLE, "second"


def of_onnx():
    return half_precision(), onnx_parts.images(2), "relu1"


def parts(model, example, module):
    program = framework_of(model).program(model, example)
    boundary = program.graph.after(module)
    return program.graph, program.slice(None, boundary), program.slice(boundary, None)


def drawn(part, seed=0):
    generator = np.random.default_rng(seed)
    return {
        name: generator.normal(size=array.shape).astype(array.dtype)
        for name, array in part.signature.example(5).items()
    }


@pytest.mark.parametrize("make", [of_torch, of_keras, of_onnx])
def test_half_precision_is_held_to_its_own_rounding(make, tmp_path):
    graph, first, _ = parts(*make())
    target = Target(runtime("onnxruntime"))
    assert "float16" in {tensor.dtype for tensor in graph.tensors}
    assert target.tolerance(first, graph) == 16 * 2.0**-10
    target.runtime.write(first, tmp_path / "part.onnx")
    found, _ = compare(target, first, tmp_path / "part.onnx", [drawn(first)], target.tolerance(first, graph))
    assert 0 < found < 4e-3


def test_a_part_in_single_precision_of_a_mixed_network_is_held_to_single_precision():
    graph, first, rest = parts(*of_keras())
    inner = [graph.layer(name) for name in rest.layers]
    assert [graph.tensor(layer.inputs[0]).dtype for layer in inner[:2]] == ["float16", "float32"]
    program = framework_of(of_keras()[0]).program(*of_keras()[:2])
    last = program.slice(program.graph.after("third"), None)
    target = Target(runtime("onnxruntime"))
    assert target.tolerance(first, graph) == target.tolerance(rest, graph) > target.tolerance(last, graph) == 1e-4


@pytest.mark.parametrize(("name", "precision"), [("onnxruntime", "float16"), ("onnxruntime", "int8")])
def test_a_coarser_precision_counts_where_it_is_asked_for(name, precision):
    graph, first, _ = parts(*of_onnx())
    target = Target(runtime(name), precision)
    assert target.tolerance(first, graph) == target.runtime.tolerance(precision)


def test_bfloat16_is_compared_by_its_values_and_not_by_its_bits(tmp_path):
    graph, first, _ = parts(*of_torch(torch.bfloat16))
    target = Target(runtime("executorch"))
    target.runtime.write(first, tmp_path / "part.pte")
    tolerance = target.tolerance(first, graph)
    found, _ = compare(target, first, tmp_path / "part.pte", [drawn(first)], tolerance)
    assert tolerance == 16 * 2.0**-7
    assert 2e-4 < found < 0.05  # the bits as integers would differ by less
    with torch.no_grad():
        for parameter in first.module.parameters():
            parameter.mul_(1.5)
    with pytest.raises(ExportError, match=r"relative difference [^,]*, at most 0\.125 is tolerated"):
        compare(target, first, tmp_path / "part.pte", [drawn(first)], tolerance)


def test_onnx_runtime_lacks_bfloat16(tmp_path):
    _, first, _ = parts(*of_keras("mixed_bfloat16"))
    with pytest.raises(ExportError, match="the layer 'first' computes in bfloat16, which ONNX Runtime cannot"):
        runtime("onnxruntime").write(first, tmp_path / "part.onnx")
