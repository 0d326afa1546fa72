"""Keras parts as ONNX: equal to the part in ONNX Runtime, under the names and sizes of the signature."""

import sys

import numpy as np
import onnx
import pytest
from keras_parts import (
    arrays,
    attentive,
    convolutional,
    gated,
    half,
    keras,
    largest_difference,
    masked_recurrent,
    masked_sequence,
    oddly_named,
    part,
    recurrent,
    several,
    unsupported,
)

from edgepart.errors import ExportError, MissingExtra
from edgepart.frameworks.runtimes import runtime

ONNX = runtime("onnxruntime")


def written(of, path):
    ONNX.write(of, path)
    return ONNX.open(path)


@pytest.mark.parametrize("make", [convolutional, attentive, recurrent, masked_recurrent, several, half, gated])
def test_equals_the_part(make, tmp_path):
    artefact = written(part(make), tmp_path / "part.onnx")
    differences = [largest_difference(artefact, part(make), batch) for batch in (1, 3, 1)]
    differences.append(largest_difference(artefact, part(make), 2, length=4))
    assert max(differences) < (1e-2 if make is half else 1e-5)


def test_odd_names_and_order(tmp_path):
    of = oddly_named()
    artefact = written(of, tmp_path / "part.onnx")
    graph = onnx.load(tmp_path / "part.onnx").graph
    assert [value.name for value in graph.input] == ["z:0", "a b/ü", "edgepart_output_0001"]
    assert [value.name for value in graph.output] == ["o:1", "dense/MatMul:0", "edgepart_input_0000", 'p"\\']
    assert largest_difference(artefact, of, 3) < 1e-6


@pytest.mark.parametrize("make", [convolutional, masked_recurrent])
def test_is_valid_and_says_its_sizes(make, tmp_path):
    of = part(make)
    of.export("onnx", tmp_path / "part.onnx")
    model = onnx.load(tmp_path / "part.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert {entry.domain: entry.version for entry in model.opset_import}[""] >= 13
    for values, specs in ((model.graph.input, of.signature.inputs), (model.graph.output, of.signature.outputs)):
        for value, spec in zip(values, specs, strict=True):
            kind = value.type.tensor_type
            assert value.name == spec.name
            assert onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type) == np.dtype(spec.dtype)
            assert tuple(size.dim_param or size.dim_value for size in kind.shape.dim) == spec.shape


@pytest.mark.parametrize("make", [convolutional, attentive, recurrent])
def test_weights_are_there_once(make, tmp_path):
    of = part(make)
    of.export("onnx", tmp_path / "part.onnx")
    content = (tmp_path / "part.onnx").read_bytes()
    held = sum(onnx.numpy_helper.to_array(each).nbytes for each in onnx.load(tmp_path / "part.onnx").graph.initializer)
    owned = sum(of.parameters.values())
    # batch normalisation goes into the convolutions before it
    assert 0.85 * owned < held < 1.05 * owned + 500
    assert sys.prefix.encode() not in content


def test_a_weight_that_two_layers_share_is_there_once(tmp_path):
    def sharing():
        x = keras.Input((32,), name="x")
        dense = keras.layers.Dense(32, activation="tanh")
        return keras.Model(x, keras.layers.Dense(3)(dense(dense(x))))

    of = part(sharing)
    artefact = written(of, tmp_path / "part.onnx")
    assert largest_difference(artefact, of, 3) < 1e-6
    held = sum(onnx.numpy_helper.to_array(each).nbytes for each in onnx.load(tmp_path / "part.onnx").graph.initializer)
    assert held < 1.05 * sum(of.parameters.values())


def test_an_operation_that_is_lacking_is_named_with_its_layer(tmp_path):
    with pytest.raises(ExportError, match="ONNX has no operation for 'Betainc' of the layer 'strange'"):
        part(unsupported).export("onnx", tmp_path / "part.onnx")
    assert not list(tmp_path.iterdir())


def test_an_unknown_form(tmp_path):
    with pytest.raises(ExportError, match="cannot be written as 'pte': it can as savedmodel, tflite or onnx"):
        part(several).export("pte", tmp_path / "part.pte")


def test_a_missing_package(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(MissingExtra, match=r"tf2onnx.*edgepart\[onnx\]"):
        part(several).export("onnx", tmp_path / "part.onnx")


def test_float16_of_a_keras_part(tmp_path):
    """The runtime converts what the part has written."""
    ONNX.write(part(attentive), tmp_path / "part.onnx", precision="float16")
    assert largest_difference(ONNX.open(tmp_path / "part.onnx"), part(attentive), 3) < ONNX.tolerance("float16")
    assert arrays(part(attentive), 1)["ids"].dtype == np.int64


def test_int8_of_a_loop(tmp_path):
    """ONNX Runtime would end the process on loading embeddings in 8 bits that a loop reads."""
    whole = part(masked_sequence)
    ONNX.write(whole, tmp_path / "part.onnx", precision="int8")
    ONNX.write(whole, tmp_path / "float32.onnx")
    written = onnx.load(str(tmp_path / "part.onnx"))
    assert "Loop" in {node.op_type for node in written.graph.node}
    assert any(tensor.data_type == onnx.TensorProto.INT8 for tensor in written.graph.initializer)
    assert 0 < largest_difference(ONNX.open(tmp_path / "part.onnx"), whole, 3) < ONNX.tolerance("int8")
