"""Parts as .onnx files: what comes back equals the part, in every precision; what is wrong is refused."""

import logging
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_zoo
import pytest
from onnx_parts import ModelPart, convolutional, difference, images, perceptron, read_twice, texts, transformer, vectors

from edgepart.data import load_dataset
from edgepart.data.preprocessing import ImagePreprocessing
from edgepart.errors import ExportError, FileError, GraphError
from edgepart.frameworks import framework
from edgepart.frameworks.runtimes import runtime
from edgepart.frameworks.runtimes.onnxruntime import OnnxRuntime
from edgepart.frameworks.signature import Signature
from edgepart.testing.runtimes import RuntimeContract

FLOAT = onnx.TensorProto.FLOAT


class TestOnnxRuntime(RuntimeContract):
    def runtime(self):
        return OnnxRuntime()

    def parts(self):
        return [convolutional(), transformer(), perceptron()]


PARTS = {
    "convolutional": (convolutional, images),
    "transformer": (transformer, texts),
    "perceptron": (perceptron, vectors),
}


@pytest.fixture(params=PARTS)
def part_and_inputs(request):
    part, inputs = PARTS[request.param]
    return part(), inputs


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_an_artefact_equals_its_part(part_and_inputs, precision, tmp_path):
    part, inputs = part_and_inputs
    onnxruntime, path = runtime("onnxruntime"), tmp_path / "part.onnx"
    onnxruntime.write(part, path, precision=precision, samples=[inputs(8, seed=seed) for seed in range(4)])
    assert sorted(os.listdir(tmp_path)) == ["part.onnx", "part.onnx.json"]
    artefact = onnxruntime.open(path)
    assert (artefact.inputs, artefact.outputs) == (part.inputs, part.outputs)
    for batch in (1, 2, 5):
        given = inputs(batch, seed=9)
        made = artefact.run(given | {"other": np.zeros(1)})
        assert {array.dtype for array in made.values()} == {np.dtype(np.float32)}
        assert difference(made, part.run(given)) <= onnxruntime.tolerance(precision)
        artefact.runner(given)()


def test_a_precision_changes_the_arithmetic_and_the_size(part_and_inputs, tmp_path):
    part, inputs = part_and_inputs
    sizes, differences = {}, {}
    for precision in OnnxRuntime.precisions:
        path = tmp_path / f"{precision}.onnx"
        OnnxRuntime().write(part, path, precision=precision, samples=[inputs(8)])
        sizes[precision] = sum(
            onnx.numpy_helper.to_array(tensor).nbytes for tensor in onnx.load(path).graph.initializer
        )
        differences[precision] = difference(OnnxRuntime().open(path).run(inputs(4)), part.run(inputs(4)))
    assert sizes["float32"] * 0.45 < sizes["float16"] < sizes["float32"] * 0.55
    assert sizes["int8"] < sizes["float32"] * 0.5  # scales, zero points and biases are wider
    assert differences["float32"] < differences["float16"] < differences["int8"]


def test_convolutions_are_quantised_statically_and_transformers_dynamically(tmp_path):
    for part, inputs, operation in (
        (convolutional(), images, "QuantizeLinear"),
        (transformer(), texts, "MatMulInteger"),
    ):
        OnnxRuntime().write(part, tmp_path / "x.onnx", precision="int8", samples=[inputs(4)])
        operations = {node.op_type for node in onnx.load(tmp_path / "x.onnx").graph.node}
        assert operation in operations
        assert "BatchNormalization" not in operations


def test_a_tensor_that_several_single_precision_operations_read(tmp_path):
    """The conversion casts it twice under one name, which no model may."""
    part = read_twice()
    OnnxRuntime().write(part, tmp_path / "x.onnx", precision="float16")
    onnx.checker.check_model(onnx.load(tmp_path / "x.onnx"), full_check=False)
    made = OnnxRuntime().open(tmp_path / "x.onnx").run(vectors(3))
    assert difference(made, part.run(vectors(3))) <= OnnxRuntime().tolerance("float16")


def test_ranges_come_from_the_samples(tmp_path):
    part = convolutional()
    narrow = {"image": images(8)["image"] / 50}
    answers = []
    for samples in ([images(8)], [narrow]):
        OnnxRuntime().write(part, tmp_path / "x.onnx", precision="int8", samples=samples)
        answers.append(difference(OnnxRuntime().open(tmp_path / "x.onnx").run(images(8)), part.run(images(8))))
    assert answers[1] > 3 * answers[0]


def test_int8_of_convolutions_needs_samples(tmp_path):
    with pytest.raises(ExportError, match=r"needs samples of what enters it"):
        OnnxRuntime().write(convolutional(), tmp_path / "x.onnx", precision="int8")
    assert os.listdir(tmp_path) == []
    OnnxRuntime().write(transformer(), tmp_path / "x.onnx", precision="int8")  # takes its ranges as it runs


def test_a_part_in_8_bits_is_not_quantised_again(tmp_path):
    """ONNX Runtime's tools would not return."""
    part, samples = convolutional(), [images(4)]
    OnnxRuntime().write(part, tmp_path / "x.onnx", precision="int8", samples=samples)
    again = ModelPart(onnx.load(tmp_path / "x.onnx"))
    for precision in ("int8", "float16"):
        with pytest.raises(ExportError, match="quantised already, as its node"):
            OnnxRuntime().write(again, tmp_path / "y.onnx", precision=precision, samples=samples)
    OnnxRuntime().write(again, tmp_path / "y.onnx")


def filtered_twice():
    """Convolutions around an If whose branches read a weight and an activation that convolutions read as well."""
    value, node = onnx.helper.make_tensor_value_info, onnx.helper.make_node
    branches = {
        "then_branch": node("Conv", ["r", "w2"], ["then"], "inner", pads=[1, 1, 1, 1]),
        "else_branch": node("Neg", ["r"], ["else"], "inner"),
    }
    branches = {
        name: onnx.helper.make_graph([inner], name, [], [value(inner.output[0], FLOAT, None)])
        for name, inner in branches.items()
    }
    nodes = [
        node("Conv", ["x", "w1"], ["c"], "first", pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["r"], "relu"),
        node("ReduceMean", ["x"], ["mean"], "mean", keepdims=0),
        node("Less", ["mean", "zero"], ["dark"], "compare"),
        node("If", ["dark"], ["chosen"], "choose", **branches),
        node("Conv", ["chosen", "w2"], ["out"], "last", pads=[1, 1, 1, 1]),
    ]
    weights = {"w1": (8, 3, 3, 3), "w2": (8, 8, 3, 3)}
    held = [
        onnx.numpy_helper.from_array(np.random.default_rng(0).normal(size=size).astype(np.float32), name)
        for name, size in weights.items()
    ]
    held.append(onnx.numpy_helper.from_array(np.float32(0), "zero"))
    ends = value("x", FLOAT, ["batch", 3, 6, 6]), value("out", FLOAT, ["batch", 8, 6, 6])
    graph = onnx.helper.make_graph(nodes, "filtered", [ends[0]], [ends[1]], held)
    return ModelPart(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=10))


def chosen_product():
    proto = onnx_zoo.conditional()
    proto.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("out", FLOAT, ["batch", 4]))
    return ModelPart(proto)


@pytest.mark.parametrize(
    ("part", "shape", "operation"),
    [(chosen_product, (4,), "MatMulInteger"), (filtered_twice, (3, 6, 6), "QuantizeLinear")],
)
def test_what_lies_around_control_flow_is_quantised(part, shape, operation, tmp_path):
    """Both branches, with the weights and the activations that they read from around them."""
    part, draw = part(), np.random.default_rng(1)
    given = [{"x": draw.normal(mean, size=(3, *shape)).astype(np.float32)} for mean in (-1, 1)]
    OnnxRuntime().write(part, tmp_path / "x.onnx", precision="int8", samples=given)
    model = onnx.load(tmp_path / "x.onnx")
    onnx.checker.check_model(model, full_check=False)
    inside = [attribute.g for node in model.graph.node for attribute in node.attribute if attribute.HasField("g")]
    assert operation in {node.op_type for node in model.graph.node}
    assert operation not in {node.op_type for graph in inside for node in graph.node}
    artefact = OnnxRuntime().open(tmp_path / "x.onnx")
    for arrays in given:
        assert 0 < difference(artefact.run(arrays), part.run(arrays)) < 0.1
    OnnxRuntime().write(part, tmp_path / "x.onnx", precision="float16")


def test_a_full_disk_is_said_without_the_names_of_temporary_folders(tmp_path):
    """Whichever step it is that fills it."""
    part, path = convolutional(external=True), tmp_path / "x.onnx"
    proto = onnx_zoo.chain()
    program = framework("onnx").program(proto, onnx_zoo.draw(proto, 1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(FileError, match=f"^cannot write {re.escape(str(path))}: File too large$"):
            OnnxRuntime().write(part, path)
        with pytest.raises(FileError, match=f"^cannot write {re.escape(str(path))}: File too large$"):
            OnnxRuntime().write(program.slice(None, None), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(tmp_path.iterdir()) == []


def test_samples_must_fit(tmp_path):
    with pytest.raises(GraphError, match="'image' is missing"):
        OnnxRuntime().write(convolutional(), tmp_path / "x.onnx", precision="int8", samples=[texts(2)])


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_weights_beside_the_file_move_with_it(precision, tmp_path):
    part = convolutional(external=True)
    folder = tmp_path / "folder"
    folder.mkdir()
    OnnxRuntime().write(part, folder / "x.onnx", precision=precision, samples=[images(4)])
    assert sorted(os.listdir(folder)) == ["x.onnx", "x.onnx.data", "x.onnx.json"]
    moved = folder.rename(tmp_path / "moved")
    made = OnnxRuntime().open(moved / "x.onnx").run(images(3))
    assert difference(made, part.run(images(3))) <= OnnxRuntime().tolerance(precision)
    (moved / "x.onnx.data").unlink()
    with pytest.raises(FileError, match=r"x\.onnx"):
        OnnxRuntime().open(moved / "x.onnx")


@pytest.mark.parametrize("escape", ["../secret", "link"])
def test_weights_outside_the_folder_are_refused(escape, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    OnnxRuntime().write(convolutional(external=True), folder / "x.onnx")
    (folder / "x.onnx.data").rename(tmp_path / "secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    model = onnx.load(folder / "x.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        next(entry for entry in tensor.external_data if entry.key == "location").value = escape
    onnx.save(model, folder / "x.onnx")
    with pytest.raises(FileError, match="outside its own folder"):
        OnnxRuntime().open(folder / "x.onnx")


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "x.onnx"
    OnnxRuntime().write(convolutional(), path)
    whole = path.read_bytes()
    for damaged in (b"", b"nothing", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(FileError, match=r"x\.onnx"):
            OnnxRuntime().open(path)
    path.unlink()
    with pytest.raises(FileError, match="does not exist"):
        OnnxRuntime().open(path)


def test_a_signature_of_another_part_is_refused(tmp_path):
    OnnxRuntime().write(convolutional(), tmp_path / "x.onnx")
    transformer().signature.save(Signature.beside(tmp_path / "x.onnx"))
    with pytest.raises(FileError, match="not of one part"):
        OnnxRuntime().open(tmp_path / "x.onnx")


def test_an_operation_that_onnx_runtime_lacks_is_named(tmp_path):
    part = convolutional()
    part.model.graph.node[-1].op_type = "Vanish"
    part.model.graph.node[-1].domain = "acme"
    part.model.opset_import.append(onnx.helper.make_opsetid("acme", 1))
    with pytest.raises(ExportError, match=r"lacks the operation 'Vanish' of 'last'"):
        OnnxRuntime().write(part, tmp_path / "x.onnx")
    assert os.listdir(tmp_path) == []


def test_an_operation_without_kernel_is_named(tmp_path):
    part = convolutional()
    model = part.model
    model.graph.node.insert(0, onnx.helper.make_node("Cast", ["image"], ["d"], "to_double", to=onnx.TensorProto.DOUBLE))
    model.graph.node.insert(1, onnx.helper.make_node("Tan", ["d"], ["t"], "tangent"))
    with pytest.raises(ExportError, match=r"lacks the operation 'Tan' of 'tangent'"):
        OnnxRuntime().write(part, tmp_path / "x.onnx")


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "x.onnx"
    OnnxRuntime().write(convolutional(), path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ExportError):
        OnnxRuntime().write(convolutional(), path, precision="int8")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    with pytest.raises(FileError, match="does not exist"):
        OnnxRuntime().write(convolutional(), tmp_path / "missing" / "x.onnx")


def test_arrays_in_any_layout(tmp_path):
    part, given = convolutional(), images(2)
    OnnxRuntime().write(part, tmp_path / "x.onnx")
    artefact = OnnxRuntime().open(tmp_path / "x.onnx")
    expected = artefact.run(given)
    image = given["image"]
    turned = np.ascontiguousarray(image.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for other in (turned, image.astype(">f4")):
        np.testing.assert_array_equal(artefact.run({"image": other})["logits"], expected["logits"])


def test_threads_are_of_sessions_opened_from_now_on(tmp_path):
    OnnxRuntime().write(convolutional(), tmp_path / "x.onnx")
    try:
        runtime("onnxruntime").set_threads(2)
        artefact = runtime("onnxruntime").open(tmp_path / "x.onnx")
    finally:
        OnnxRuntime().set_threads(1)
    options = artefact._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert artefact._session.get_providers() == ["CPUExecutionProvider"]


def test_nothing_reaches_the_terminal(tmp_path, capfd):
    before = list(logging.root.handlers)
    for precision in OnnxRuntime.precisions:
        OnnxRuntime().write(convolutional(), tmp_path / "x.onnx", precision=precision, samples=[images(4)])
        OnnxRuntime().open(tmp_path / "x.onnx").run(images(2))
    assert capfd.readouterr() == ("", "")
    assert logging.root.handlers == before


def test_importing_it_imports_no_framework():
    code = (
        "import sys, edgepart.frameworks.runtimes.onnxruntime, edgepart.frameworks.runtimes.triton;"
        "assert not {'onnx', 'onnxruntime', 'torch', 'google.protobuf'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_real_weights_on_real_images(tmp_path):
    """MobileNetV2 on 100 images: float16 costs no answer (measured: none), int8 few (measured: 2 or 3)."""
    data = Path(os.environ["EDGEPART_DATA"])
    part = ModelPart(onnx.load(data / "onnx" / "mobilenet_v2_imagenet.onnx"))
    preprocessing = ImagePreprocessing(
        input="image", size=224, shorter_side=256, scale=127.5, mean=1.0, layout="NCHW", dtype="float32"
    )
    training, held_out = (
        load_dataset(
            data / "images" / "imagenette160" / f"{name}.npz", preprocessing, classes=list(map(str, range(1000)))
        )
        for name in ("train", "test")
    )
    samples = [training.batch(range(start, start + 8)) for start in range(0, 64, 8)]
    given = held_out.batch(range(100))
    answers = {}
    for precision in OnnxRuntime.precisions:
        OnnxRuntime().write(part, tmp_path / "x.onnx", precision=precision, samples=samples)
        answers[precision] = OnnxRuntime().open(tmp_path / "x.onnx").run(given)
    expected = answers["float32"]
    found = {precision: made["logits"].argmax(1) for precision, made in answers.items()}
    assert (found["float32"] == held_out.labels[:100]).mean() >= 0.7
    for precision, agreement in (("float16", 0.99), ("int8", 0.95)):
        assert (found[precision] == found["float32"]).mean() >= agreement
        assert difference(answers[precision], expected) <= OnnxRuntime().tolerance(precision)
