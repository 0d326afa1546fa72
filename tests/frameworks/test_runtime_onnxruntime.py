"""Parts as .onnx files: what comes back equals the part, in every precision; what is wrong is refused."""

import logging
import os
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
from edgepart.frameworks.runtimes import runtime
from edgepart.frameworks.runtimes.onnxruntime import OnnxRuntime
from edgepart.frameworks.signature import Signature
from edgepart.testing.runtimes import RuntimeContract


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


def test_control_flow_is_not_quantised(tmp_path):
    proto = onnx_zoo.conditional()
    proto.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, ["batch", 4]))
    part = ModelPart(proto)
    with pytest.raises(ExportError, match=r"'choose' \(If\) into int8, as it holds a graph of its own"):
        OnnxRuntime().write(part, tmp_path / "x.onnx", precision="int8")
    assert not list(tmp_path.iterdir())
    OnnxRuntime().write(part, tmp_path / "x.onnx", precision="float16")


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
