"""Torch parts as ONNX models: what they compute, what they are called, what cannot be written."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from network_zoo import NETWORKS, TOKENS, inputs, program
from torch import nn

from edgepart.errors import ExportError, FileError
from edgepart.frameworks import slices
from edgepart.frameworks.signature import Signature
from edgepart.frameworks.torch import to_onnx
from edgepart.frameworks.torch.capture import capture
from edgepart.frameworks.torch.to_onnx import write_onnx
from edgepart.graph import Tensor


def session(path):
    onnx.checker.check_model(str(path), full_check=True)
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def assert_written(path, part, known, tolerance=1e-5):
    found = session(path).run(list(part.outputs), {name: known[name] for name in part.inputs})
    specs = part.signature.outputs
    for spec, (name, expected), array in zip(specs, part.run(known).items(), found, strict=True):
        assert (array.dtype, array.shape) == (expected.dtype, expected.shape), name
        assert np.abs(expected).max() > 0 or not spec.feature, name  # a mask may be nought everywhere
        assert np.abs(array.astype(float) - expected.astype(float)).max() <= tolerance * np.abs(expected).max(), name


def middle(name):
    boundaries = program(name).graph.boundaries()
    return slices(program(name), [boundaries[len(boundaries) // 2]])


def compare(name, folder):
    sizes = [{"length": 4}, {"length": 13}] if name in TOKENS else [{}]
    for number, part in enumerate(middle(name)):
        path = folder / f"{number}.onnx"
        part.export("onnx", path)
        for batch in (1, 2, 5):
            for size in sizes:
                known = {key: tensor.numpy() for key, tensor in inputs(name, batch, **size).items()}
                for before in middle(name)[:number]:
                    known |= before.run(known)
                assert_written(path, part, known)


@pytest.mark.parametrize("name", ["several", "chunks", "tied", "separable"])
def test_a_part_computes_the_same_in_onnx_runtime(name, tmp_path):
    compare(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "brain_float"])
def test_the_zoo_in_onnx_runtime(name, tmp_path):
    compare(name, tmp_path)


def test_tensors_and_sizes_have_the_names_of_the_signature(tmp_path):
    part = middle("tied")[1]
    part.export("onnx", tmp_path / "part.onnx")
    graph = onnx.load(tmp_path / "part.onnx").graph
    for values, specs in ((graph.input, part.signature.inputs), (graph.output, part.signature.outputs)):
        for value, spec in zip(values, specs, strict=True):
            shape = tuple(size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim)
            assert (value.name, shape) == (spec.name, spec.shape)


def test_nodes_are_called_after_modules_and_nothing_tells_where_it_was_written(tmp_path):
    program("separable").slice(None, None).export("onnx", tmp_path / "part.onnx")
    model = onnx.load(tmp_path / "part.onnx")
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert any(name.startswith("features.1.layers.0") for name in names)
    assert b".py" not in model.SerializeToString()
    assert model.opset_import[0].version >= 18


@pytest.mark.parametrize("name", ["tied", "residual"])
def test_weights_are_written_once(name, tmp_path):
    """Also those that the network reads transposed; normalisation is folded into convolutions."""
    part = program(name).slice(None, None)
    part.export("onnx", tmp_path / "part.onnx")
    held = sum(len(weight.raw_data) for weight in onnx.load(tmp_path / "part.onnx").graph.initializer)
    assert 0.9 * sum(part.parameters.values()) < held <= sum(part.parameters.values())
    assert list(tmp_path.iterdir()) == [tmp_path / "part.onnx"]


def test_weights_that_one_file_cannot_hold_lie_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(to_onnx, "_LARGEST_MODEL_BYTES", 100)
    part = middle("separable")[0]
    part.export("onnx", tmp_path / "part.onnx")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["part.onnx", "part.onnx.data"]
    known = {key: tensor.numpy() for key, tensor in inputs("separable", 2).items()}
    assert_written(tmp_path / "part.onnx", part, known)


class Passing(nn.Module):
    """Gives back what it is given, under the same name and another one, and one result twice."""

    def forward(self, tokens, keep, x):
        y = x * keep.to(torch.float32)
        return tokens, tokens, y, y, y.sum(1)


def test_any_names_and_inputs_that_are_outputs(tmp_path):
    odd = "layer.1/weird: näme 'quoted'"
    tensors = {
        "tokens": Tensor(name="tokens", shape=("batch", "sequence"), dtype="int64", bytes=0),
        "mul": Tensor(name="mul", shape=("batch", 4), dtype="bool", bytes=0),  # what torch calls the product
        odd: Tensor(name=odd, shape=("batch", 4), dtype="float32", bytes=0),
    }
    outs = ("tokens", "tokens again", "0", "y:1", "sum")
    shapes = [("batch", "sequence")] * 2 + [("batch", 4)] * 2 + [("batch",)]
    made = [Tensor(name=n, shape=s, dtype="float32", bytes=0) for n, s in zip(outs, shapes, strict=True)]
    signature = Signature.of(list(tensors.values()), made, {"batch": 1, "sequence": 3})
    write_onnx(Passing(), signature, tmp_path / "part.onnx")
    tokens, keep = np.arange(10).reshape(2, 5), np.array([[True, False, True, True]] * 2)
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    found = session(tmp_path / "part.onnx").run(list(outs), {"tokens": tokens, "mul": keep, odd: x})
    for array, expected in zip(found, (tokens, tokens, x * keep, x * keep, (x * keep).sum(1)), strict=True):
        np.testing.assert_array_equal(array, expected)


class Bessel(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.inner = nn.Linear(4, 4), BesselLayer()

    def forward(self, x):
        return self.inner(self.first(x))


class BesselLayer(nn.Module):
    def forward(self, x):
        return torch.special.i1(x)


def test_an_operation_that_onnx_lacks_is_named_with_its_layer(tmp_path):
    part = capture(Bessel(), torch.ones(2, 4)).slice(None, None)
    with pytest.raises(ExportError, match=r"ONNX lacks the operation '\w*i1' of the layer 'inner'") as caught:
        part.export("onnx", tmp_path / "part.onnx")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_bfloat16_is_refused_with_its_layer(tmp_path):
    with pytest.raises(ExportError, match=r"'second' computes in bfloat16.*model\.float"):
        middle("brain_float")[1].export("onnx", tmp_path / "part.onnx")


def test_a_fixed_batch_and_a_missing_folder_are_refused(tmp_path):
    class Fixed(nn.Module):
        def forward(self, x):
            return (x.view(2, 4),)

    spec = Tensor(name="x", shape=("batch", 4), dtype="float32", bytes=16)
    signature = Signature.of([spec], [spec], {"batch": 1})
    with pytest.raises(ExportError, match="'batch' of its input 'x'"):
        write_onnx(Fixed(), signature, tmp_path / "part.onnx")
    with pytest.raises(FileError, match="does not exist"):
        middle("several")[0].export("onnx", tmp_path / "none" / "part.onnx")
