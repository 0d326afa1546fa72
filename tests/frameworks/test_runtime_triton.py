"""Model folders as Triton reads them: its message type parses the configuration, ONNX Runtime runs the model."""

import os

import onnx
import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from onnx_parts import convolutional, difference, images, texts, transformer
from tritonclient.grpc import model_config_pb2

from edgepart.errors import ExportError, FileError
from edgepart.frameworks.runtimes import runtime
from edgepart.frameworks.runtimes.triton import MAX_BATCH_SIZE, TritonRuntime, configuration
from edgepart.frameworks.signature import Signature
from edgepart.graph import Tensor
from edgepart.testing.runtimes import RuntimeContract


class TestTritonRuntime(RuntimeContract):
    def runtime(self):
        return TritonRuntime()

    def parts(self):
        return [convolutional(), transformer()]


def parsed(text):
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def signature(inputs, outputs):
    specs = (
        [Tensor(name=n, shape=s, dtype=d, bytes=0) for n, (d, s) in tensors.items()] for tensors in (inputs, outputs)
    )
    return Signature.of(*specs, {"batch": 1})


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_several_parts_make_a_repository(precision, tmp_path):
    triton = runtime("triton")
    parts = {"cnn": (convolutional(external=True), images), "text": (transformer(), texts)}
    for name, (part, inputs) in parts.items():
        triton.write(part, tmp_path / name, precision=precision, samples=[inputs(4)])
    # The server takes every folder for a model; files beside them are none of its business.
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cnn", "cnn.json", "text", "text.json"]
    assert sorted(os.listdir(tmp_path / "cnn")) == ["1", "config.pbtxt"]
    assert sorted(os.listdir(tmp_path / "cnn" / "1")) == ["model.onnx", "model.onnx.data"]
    for name, (part, inputs) in parts.items():
        artefact = triton.open(tmp_path / name)
        for batch in (1, 3):
            assert difference(artefact.run(inputs(batch)), part.run(inputs(batch))) <= triton.tolerance(precision)


@pytest.mark.parametrize("part", [convolutional(), transformer()])
def test_the_configuration_says_what_the_model_takes(part, tmp_path):
    TritonRuntime().write(part, tmp_path / "part")
    config = parsed((tmp_path / "part" / "config.pbtxt").read_text())
    assert (config.name, config.platform) == ("", "onnxruntime_onnx")
    graph = onnx.load(tmp_path / "part" / "1" / "model.onnx").graph
    for told, held in ((config.input, graph.input), (config.output, graph.output)):
        assert [tensor.name for tensor in told] == [value.name for value in held]
        for tensor, value in zip(told, held, strict=True):
            assert (
                model_config_pb2.DataType.Name(tensor.data_type)
                == {1: "TYPE_FP32", 7: "TYPE_INT64"}[value.type.tensor_type.elem_type]
            )
            whole = [size.dim_value or -1 for size in value.type.tensor_type.shape.dim]
            told_dims = list(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)
            assert ([-1] if config.max_batch_size else []) + told_dims == whole


def test_a_batch_is_left_to_the_server():
    config = parsed(configuration(convolutional().signature))
    assert config.max_batch_size == MAX_BATCH_SIZE
    assert config.HasField("dynamic_batching")
    assert list(config.input[0].dims) == [3, 12, 12]


@pytest.mark.parametrize(
    "shape", [("sequence", "batch"), (), ("batch*2", 4), ("batch", "batch + 1"), (3, 4)], ids=lambda shape: str(shape)
)
def test_what_is_no_batch_is_run_as_it_comes(shape):
    """Joined along the first dimension, requests with such a tensor would give nonsense."""
    config = parsed(configuration(signature({"x": ("float32", ("batch", 4)), "y": ("float32", shape)}, {})))
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert list(config.input[0].dims) == [-1, 4]
    assert list(config.input[1].dims) == ([size if isinstance(size, int) else -1 for size in shape] or [1])
    assert config.input[1].HasField("reshape") == (shape == ())


def test_one_number_a_sample_is_reshaped():
    config = parsed(configuration(signature({"x": ("int64", ("batch",))}, {"y": ("float32", ("batch", "sequence"))})))
    assert config.max_batch_size == MAX_BATCH_SIZE
    assert list(config.input[0].dims) == [1]
    assert config.input[0].HasField("reshape")
    assert list(config.input[0].reshape.shape) == []
    assert list(config.output[0].dims) == [-1]


@given(name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_name_survives(name):
    assert parsed(configuration(signature({name: ("bool", ("batch", 2))}, {}))).input[0].name == name


def test_a_type_that_the_server_lacks_is_refused():
    with pytest.raises(ExportError, match="'x' is bfloat16"):
        configuration(signature({"x": ("bfloat16", ("batch", 2))}, {}))


def test_folders_that_are_no_models_are_refused(tmp_path):
    for damage in ("config.pbtxt", "1/model.onnx"):
        TritonRuntime().write(convolutional(), tmp_path / "part")
        (tmp_path / "part" / damage).unlink()
        with pytest.raises(FileError, match="part"):
            TritonRuntime().open(tmp_path / "part")
    with pytest.raises(FileError, match="missing"):
        TritonRuntime().open(tmp_path / "missing")
