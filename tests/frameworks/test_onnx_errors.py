"""What cannot be captured is said in one sentence that names it."""

import sys

import numpy as np
import onnx
import onnx_zoo
import pytest
from onnx import TensorProto, helper
from onnx_zoo import FLOAT, make, node, normal

from edgepart.errors import CaptureError, FileError, MissingExtra, ModelError
from edgepart.frameworks.onnx import OnnxFramework

FRAMEWORK = OnnxFramework()
X = {"x": (FLOAT, ["batch", 4])}


def refused(proto, given=None, match="", error=CaptureError):
    with pytest.raises(error, match=match) as caught:
        FRAMEWORK.program(proto, onnx_zoo.draw(proto, 1) if given is None else given)
    message = str(caught.value)
    assert "\n" not in message
    assert "onnxruntime_src" not in message
    assert not message.endswith(".")
    return message


def test_a_model_that_the_checker_rejects():
    proto = make([node("Relu", ["missing"], ["y"], "relu")], X, ["y"], {})
    message = refused(proto, match="the model is not valid ONNX: Nodes in a graph must be topologically sorted")
    assert "'missing'" in message
    refused(make([node("Relu", ["x"], ["y"], wrong=1)], X, ["y"], {}), match="not valid ONNX: Unrecognized attribute")


def test_weights_that_are_not_as_large_as_they_say():
    proto = onnx_zoo.chain()
    proto.graph.initializer[0].raw_data = b"1234"
    refused(proto, match="not valid ONNX")


def test_an_operation_that_onnxruntime_lacks():
    proto = make(
        [helper.make_node("Magic", ["x"], ["y"], "wand", domain="far.away")], X, ["y"], {}, domains=["far.away"]
    )
    refused(proto, match=r"ONNX Runtime lacks the operation far.away.Magic of node 'wand'")
    proto = make(
        [node("Sigmoid", ["x"], ["y"], "half")],
        {"x": (TensorProto.BFLOAT16, ["n", 4])},
        {"y": (TensorProto.BFLOAT16, None)},
        {},
    )
    refused(proto, np.ones((1, 4), np.float32), match="'x' holds bfloat16")


def test_types_that_do_not_go_together():
    proto = make([node("Add", ["x", "w"], ["y"], "mix")], X, ["y"], {"w": np.ones(4, np.float16)})
    refused(proto, match=r"ONNX Runtime does not take the model: .*\(mix\)")


def test_values_that_are_no_tensors_of_numbers():
    nodes = [
        node("SplitToSequence", ["x"], ["pieces"], "cut", axis=1),
        node("ConcatFromSequence", ["pieces"], ["y"], "join", axis=1),
    ]
    refused(make(nodes, X, ["y"], {}), match=r"the node 'cut' \(SplitToSequence\) makes a seq\(tensor\(float\)\)")
    refused(
        make(
            [node("Identity", ["x"], ["y"])],
            {"x": (TensorProto.STRING, ["n", 4])},
            {"y": (TensorProto.STRING, None)},
            {},
        ),
        np.ones((1, 4), np.float32),
        match="the input 'x' holds string",
    )
    proto = make([node("SequenceAt", ["x", "zero"], ["y"])], X, ["y"], {"zero": np.array(0)})
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, ["n", 4]))
    proto.graph.input[0].type.CopyFrom(kind)
    refused(proto, np.ones((1, 4), np.float32), match="the input 'x' is a sequence")


def test_dimensions_of_any_size_other_than_batch_and_sequence():
    proto = onnx_zoo.chain()
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    message = refused(proto, np.ones((1, 3, 8, 8), np.float32), match=r"dimension 2 of the input 'x' \(height\)")
    assert "--input_name x --input_shape 1,3,8,8" in message


def test_sizes_that_depend_on_values():
    nodes = [
        node("NonZero", ["x"], ["places"], "find"),
        node("Transpose", ["places"], ["rows"], "turn"),
        node("GatherND", ["x", "rows"], ["found"], "gather"),
        node("ReduceSum", ["found"], ["y"], "sum"),
    ]
    refused(make(nodes, X, ["y"], {}), match=r"the node 'find' \(NonZero\) .* values")


def test_a_batch_that_is_fixed_inside():
    nodes = [node("MatMul", ["x", "w"], ["h"], "product"), node("Squeeze", ["h", "zero"], ["y"], "first")]
    weights = {"w": normal(4, 3), "zero": np.array([0])}
    message = refused(
        make(nodes, {"x": (FLOAT, [1, 4])}, ["y"], weights),
        match=r"made for a batch of 1, and its node 'first' \(Squeeze\)",
    )
    assert "export it again" in message
    mixed = [node("ReduceMean", ["x"], ["m"], "over", axes=[0]), node("Sub", ["x", "m"], ["y"], "minus")]
    refused(make(mixed, {"x": (FLOAT, [2, 4])}, ["y"], {}), normal(2, 4), match="made for a batch of 2")
    refused(make(nodes, X, ["y"], weights), match=r"the node 'first' \(Squeeze\) does not run on the inputs x \(2, 4\)")


def test_inputs_that_have_no_batch_in_common():
    proto = make([node("MatMul", ["x", "z"], ["y"])], {"x": (FLOAT, [2, 4]), "z": (FLOAT, [4, 3])}, ["y"], {})
    refused(proto, {"x": normal(2, 4), "z": normal(4, 3)}, match="the first dimensions of the inputs are 2, 4")
    scalar = make([node("Relu", ["x"], ["y"])], {"x": (FLOAT, [])}, ["y"], {})
    refused(scalar, np.float32(1), match="no tensor with a batch dimension")


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"left": normal(1, 4)}, "gives the inputs left, the network reads left, right"),
        (normal(1, 4), "holds 1 inputs, the network reads 2: left, right"),
        ((normal(1, 4), normal(2, 6)), "the batch of the example inputs is 1, 2"),
        ((normal(1, 5), normal(1, 6)), r"'left' has the shape \(1, 5\), the network reads \(batch, 4\)"),
        ((normal(1, 4)[0], normal(1, 6)), r"'left' has the shape \(4,\)"),
        ((normal(1, 4).astype(np.float64), normal(1, 6)), "'left' is float64, the network reads float32"),
        ((["a"], normal(1, 6)), "'left' is a list: give an array of numbers"),
        ((normal(0, 4, scale=1), normal(0, 6, scale=1)), "must be the same for every input and at least 1"),
    ],
)
def test_examples_that_do_not_fit(given, match):
    refused(onnx_zoo.two_inputs_two_outputs(), given, match=match)


def test_ids_outside_of_the_vocabulary():
    proto = onnx_zoo.transformer()
    given = {name: np.full((1, 6), 99) for name in ("input_ids", "attention_mask")}
    refused(proto, given, match=r"'/embeddings/words/Gather' \(Gather\) does not run .* out of")


def test_weights_in_files_that_are_missing_or_too_short(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(onnx_zoo.chain(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    model, example = FRAMEWORK.load(path)
    assert FRAMEWORK.program(model, example).graph.inputs == ("x",)
    (tmp_path / "weights.bin").write_bytes(b"short")
    with pytest.raises(ModelError, match=r"the file .*weights.bin ends before the weights 'stem.weight'"):
        FRAMEWORK.load(path)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelError, match=r"are in the file .*weights.bin, which does not exist"):
        FRAMEWORK.load(path)
    refused(onnx.load(path, load_external_data=False), example, match="weights.bin, which does not exist")


@pytest.mark.parametrize("place", ["../weights.bin", "{folder}/weights.bin", "inside/../../weights.bin"])
def test_weights_outside_the_folder_of_the_model(place, tmp_path):
    path = tmp_path / "folder" / "model.onnx"
    path.parent.mkdir()
    onnx.save(onnx_zoo.chain(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = place.format(folder=tmp_path)
    onnx.save(model, path)
    (path.parent / "weights.bin").rename(tmp_path / "weights.bin")
    with pytest.raises(ModelError, match=r"weights.bin, outside the model's folder"):
        FRAMEWORK.load(path)
    refused(model, np.ones((1, 3, 8, 8), np.float32), match="outside the model's folder")


def test_an_operator_set_that_onnxruntime_does_not_know_yet():
    proto = make([node("Relu", ["x"], ["y"])], X, ["y"], {}, opset=99)
    refused(proto, match=r"operator set 99, and ONNX Runtime knows those up to \d+: export it with an older one")


def test_a_damaged_file_says_nothing_besides(tmp_path, capfd):
    proto = onnx_zoo.chain()
    proto.graph.output[0].name = "nowhere"
    onnx.save(proto, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="'nowhere'"):
        FRAMEWORK.program(*FRAMEWORK.load(tmp_path / "model.onnx"))
    assert capfd.readouterr() == ("", "")


def positions(rows):
    """Vectors of a sequence of any length, to which rows of a table are added."""
    nodes = [
        node("Shape", ["x"], ["size"], "size", start=1, end=2),
        node("Squeeze", ["size"], ["length"], "length"),
        node("Range", ["zero", "length", "one"], ["places"], "places"),
        node("Gather", ["table", "places"], ["rows"], "rows"),
        node("Add", ["x", "rows"], ["y"], "sum"),
    ]
    weights = {"table": normal(rows, 4), "zero": np.int64(0), "one": np.int64(1)}
    return make(nodes, {"x": (onnx.TensorProto.FLOAT, ["batch", "length", 4])}, ["y"], weights)


@pytest.mark.parametrize(("rows", "length"), [(32, 16), (16, 16), (8, 8), (7, 4)])
def test_the_example_of_a_file_is_as_short_as_its_table_of_positions(rows, length, tmp_path):
    onnx.save(positions(rows), tmp_path / "model.onnx")
    model, example = FRAMEWORK.load(tmp_path / "model.onnx")
    assert example["x"].shape == (1, length, 4)
    graph = FRAMEWORK.program(model, example).graph
    assert graph.tensor("rows").shape == ("sequence", 4)


def test_a_file_that_runs_with_no_length_that_is_tried(tmp_path, capfd):
    onnx.save(positions(3), tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"sequences of none of 16, 8, 4 positions \(.*'rows'.*give a function"):
        FRAMEWORK.load(tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")


def test_files_that_are_no_models(tmp_path):
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(FileError, match=r"folder.onnx is a folder, give the file in it"):
        FRAMEWORK.load(tmp_path / "folder.onnx")
    with pytest.raises(FileError, match=r"missing.onnx does not exist"):
        FRAMEWORK.load(tmp_path / "missing.onnx")
    for content in (b"nothing", b"", b"\x08\x07"):
        (tmp_path / "damaged.onnx").write_bytes(content)
        with pytest.raises(ModelError, match=r"damaged.onnx is not an ONNX model, or is damaged"):
            FRAMEWORK.load(tmp_path / "damaged.onnx")


def test_what_is_no_onnx_model():
    assert not FRAMEWORK.accepts("model.onnx")
    assert FRAMEWORK.accepts(onnx_zoo.chain())
    refused("model.onnx", normal(1, 3), match="the model is a str, expected an onnx.ModelProto or an onnx_ir.Model")


def test_networks_that_compute_nothing():
    proto = make([], {"x": (FLOAT, ["n", 4])}, {"x": (FLOAT, ["n", 4])}, {})
    refused(proto, match="computes nothing")


def test_lengths_of_the_example_that_differ():
    inputs = {name: np.ones((1, length), np.int64) for name, length in (("input_ids", 4), ("attention_mask", 5))}
    refused(onnx_zoo.transformer(), inputs, match="the sequence of the example inputs is 4, 5")


def test_sparse_weights():
    proto = make([node("MatMul", ["x", "w"], ["y"])], X, ["y"], {})
    values, places = (onnx.numpy_helper.from_array(np.array(a), "w") for a in ([1.0, 2.0], [0, 5]))
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4, 3]))
    refused(proto, match="the weights 'w' are sparse")


@pytest.mark.parametrize("package", ["onnx", "onnx_ir", "onnxruntime"])
def test_a_package_that_is_not_installed(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"needs the package '{package}', .* pip install 'edgepart\[onnx\]'"):
        FRAMEWORK.version()


def test_a_model_without_operations(tmp_path):
    nothing = helper.make_graph(
        [],
        "empty",
        [helper.make_tensor_value_info("x", FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("x", FLOAT, ["batch", 4])],
    )
    onnx.save(helper.make_model(nothing), tmp_path / "empty.onnx")
    with pytest.raises(ModelError, match="holds no operations, so there is nothing to run or to cut"):
        FRAMEWORK.load(tmp_path / "empty.onnx")
    (tmp_path / "damaged.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match="is not an ONNX model, or is damaged"):
        FRAMEWORK.load(tmp_path / "damaged.onnx")
