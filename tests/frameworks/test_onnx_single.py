"""Networks in double or half precision become as small as others in float16 and int8, and keep their types outside."""

import numpy as np
import onnx
import onnx_zoo
import pytest
from onnx import numpy_helper
from onnx_parts import ModelPart, convolutional, difference, images, perceptron, read_twice, texts, transformer, vectors

from edgepart.frameworks.runtimes import runtime

ONNX = runtime("onnxruntime")
FLOAT, NUMBERS = onnx.TensorProto.FLOAT, {np.float64: onnx.TensorProto.DOUBLE, np.float16: onnx.TensorProto.FLOAT16}
PARTS = {
    "convolutional": (convolutional, images),
    "transformer": (transformer, texts),
    "perceptron": (perceptron, vectors),
    "read twice": (read_twice, vectors),
}


def retyped(part, dtype):
    """The same network in another type throughout, its inputs and outputs included."""
    model = onnx.ModelProto.FromString(part.model.SerializeToString())
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            with np.errstate(over="ignore"):
                narrow = np.clip(array.astype(dtype), np.finfo(dtype).min, np.finfo(dtype).max)
            tensor.CopyFrom(numpy_helper.from_array(narrow, tensor.name))
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        if value.type.tensor_type.elem_type == FLOAT:
            value.type.tensor_type.elem_type = NUMBERS[dtype]
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == FLOAT:
                attribute.i = NUMBERS[dtype]
    return ModelPart(model)


def given(inputs, dtype, rows=4):
    arrays = {name: np.asarray(array) for name, array in inputs(rows).items()}
    return {name: array.astype(dtype) if array.dtype == np.float32 else array for name, array in arrays.items()}


#: ONNX Runtime has no convolution in double precision
CASES = [(np.float16, "int8", name) for name in PARTS]
CASES += [(np.float64, precision, name) for precision in ("float16", "int8") for name in PARTS if name[0] != "c"]


@pytest.mark.parametrize(("dtype", "precision", "name"), CASES)
def test_parts_are_as_small_as_from_single_precision(name, dtype, precision, tmp_path):
    make, inputs = PARTS[name]
    part, other = make(), retyped(make(), dtype)
    for number, each in enumerate((part, other)):
        arrays = given(inputs, np.float32 if each is part else dtype)
        (tmp_path / f"{number}").mkdir()
        ONNX.write(each, tmp_path / f"{number}" / "part.onnx", precision=precision, samples=[arrays])
    sizes = [(tmp_path / f"{number}" / "part.onnx").stat().st_size for number in range(2)]
    assert sizes[1] <= sizes[0] + 2_000  # the casts at its ends
    written = onnx.load(str(tmp_path / "1" / "part.onnx"))
    assert not any(tensor.data_type == onnx.TensorProto.DOUBLE for tensor in written.graph.initializer)
    arrays = given(inputs, dtype, 3)
    expected, made = other.run(arrays), ONNX.open(tmp_path / "1" / "part.onnx").run(arrays)
    assert {key: array.dtype for key, array in made.items()} == {key: array.dtype for key, array in expected.items()}
    assert np.dtype(dtype) in {array.dtype for array in made.values()}
    assert difference(made, expected) <= ONNX.tolerance(precision)


def test_branches_of_double_precision(tmp_path):
    """Their graphs read what is around them, and make what is typed where they end."""
    part = ModelPart(onnx_zoo.conditional())
    for node in part.model.graph.node:
        for attribute in node.attribute:
            for value in attribute.g.output:
                value.type.tensor_type.elem_type = NUMBERS[np.float64]
    double = retyped(part, np.float64)
    ONNX.write(double, tmp_path / "part.onnx", precision="float16")
    artefact = ONNX.open(tmp_path / "part.onnx")
    for sign in (1, -1):
        x = sign * np.abs(np.random.default_rng(0).normal(size=(3, 4)))
        expected = double.run({"x": x})
        assert difference(artefact.run({"x": x}), expected) <= ONNX.tolerance("float16")


def test_what_single_precision_cannot_hold_becomes_its_largest_number(tmp_path):
    part = retyped(perceptron(), np.float64)
    for tensor in part.model.graph.initializer:
        if tensor.name == "b1":
            values = numpy_helper.to_array(tensor).copy()
            values[0], values[1] = -1e300, -np.inf  # the ReLU behind it makes nought of both
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    ONNX.write(part, tmp_path / "part.onnx", precision="int8")
    arrays = given(vectors, np.float64)
    made, expected = ONNX.open(tmp_path / "part.onnx").run(arrays), part.run(arrays)
    assert np.isfinite(made["logits"]).all()
    assert difference(made, expected) <= ONNX.tolerance("int8")
