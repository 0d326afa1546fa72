"""Programs and parts of ONNX networks: kept, brought up to date, written and run elsewhere."""

import resource
import subprocess
import sys

import numpy as np
import onnx
import onnx_ir as ir
import onnx_zoo
import onnxruntime
import pytest

from edgepart.errors import ExportError, FileError, GraphError
from edgepart.frameworks import capture, slices, split
from edgepart.frameworks.onnx import OnnxFramework
from edgepart.frameworks.onnx.reference import references
from edgepart.frameworks.torch.reference import references as torch_references

FRAMEWORK = OnnxFramework()


def captured(name):
    proto = onnx_zoo.NETWORKS[name]()
    return proto, FRAMEWORK.program(proto, onnx_zoo.draw(proto, 1, 6 if name in onnx_zoo.WITH_LENGTHS else None))


@pytest.mark.parametrize("name", ["transformer", "made_for_one", "badly_named", "conditional", "input_to_output"])
def test_a_program_comes_back_from_its_folder(name, tmp_path):
    proto, program = captured(name)
    program.save(tmp_path / "program")
    opened = FRAMEWORK.open_program(tmp_path / "program")
    assert opened.graph == program.graph
    assert opened.weights_digest() == program.weights_digest()
    inputs = onnx_zoo.draw(proto, 2, 5)
    boundary = program.graph.boundaries()[len(program.graph.layers) // 2 - 1]
    for mine, theirs in zip(slices(program, [boundary]), slices(opened, [boundary]), strict=True):
        made = mine.run(inputs)
        for output, array in theirs.run(inputs).items():
            np.testing.assert_array_equal(made[output], array)
        inputs |= made
    for name, array in program.example().items():
        np.testing.assert_array_equal(opened.example()[name], array)
    opened.update(proto)


@pytest.mark.parametrize("damage", ["model.onnx", "graph.json", "example.safetensors"])
def test_a_damaged_folder_is_refused(damage, tmp_path):
    captured("chain")[1].save(tmp_path / "program")
    (tmp_path / "program" / damage).write_bytes(b"nothing")
    with pytest.raises(FileError, match=damage):
        FRAMEWORK.open_program(tmp_path / "program")


def test_weights_that_changed_are_taken_over():
    proto, program = captured("shared_weights")
    before = program.weights_digest()
    inputs = onnx_zoo.draw(proto, 2)
    old = program.slice(None, None)
    made = old.run(inputs)
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(onnx_zoo.normal(4, 3, seed=7), "w"))
    program.update(proto)
    assert program.weights_digest() != before
    np.testing.assert_allclose(
        program.slice(None, None).run(inputs)["/Add"], onnx_zoo.whole(proto, inputs)[0], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(old.run(inputs)["/Add"], made["/Add"])


def test_a_network_with_other_nodes_or_shapes_is_not_taken_over():
    proto, program = captured("chain")
    other = onnx_zoo.chain()
    other.graph.node[2].op_type = "Sigmoid"
    with pytest.raises(GraphError, match="have changed: capture the network again"):
        program.update(other)
    other = onnx_zoo.chain()
    other.graph.initializer[-2].CopyFrom(onnx.numpy_helper.from_array(onnx_zoo.normal(6, 4), "fc.weight"))
    with pytest.raises(GraphError, match="have changed"):
        program.update(other)
    program.update(proto)


def test_a_network_is_split_again_from_its_graph():
    proto, model = onnx_zoo.residual(), ir.from_proto(onnx_zoo.residual())
    inputs = onnx_zoo.draw(proto, 2)
    for network in (proto, model):
        graph = capture(network, inputs)
        first, second = split(network, graph, [graph.after("block.a")])
        made = first.run(inputs)
        np.testing.assert_allclose(
            second.run(inputs | made)["/ReduceMean"], onnx_zoo.whole(proto, inputs)[0], rtol=1e-5, atol=1e-6
        )


def test_a_network_of_tokens_is_captured_again_from_its_graph():
    proto, program = captured("transformer")
    assert FRAMEWORK.recapture(proto, program.graph).graph.fingerprint == program.graph.fingerprint


@pytest.mark.parametrize("name", onnx_zoo.NETWORKS)
def test_parts_are_files_that_the_checker_accepts_and_onnxruntime_runs(name, tmp_path):
    proto, program = captured(name)
    inputs = onnx_zoo.draw(proto, 3, 4 if name in onnx_zoo.WITH_LENGTHS else None)
    boundaries = program.graph.boundaries()
    for number, part in enumerate(slices(program, boundaries[len(boundaries) // 2 :][:1])):
        path = tmp_path / f"{number}.onnx"
        part.export("onnx", path)
        onnx.checker.check_model(str(path), full_check=True)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        assert [value.name for value in session.get_inputs()] == list(part.inputs)
        made = part.run(inputs)
        results = session.run(list(part.outputs), {name: inputs[name] for name in part.inputs})
        for output, array in zip(part.outputs, results, strict=True):
            np.testing.assert_allclose(array, made[output], rtol=1e-5, atol=1e-6)
        inputs |= made
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0.onnx", "1.onnx"]


def test_parts_are_written_as_onnx_into_folders_that_exist(tmp_path):
    [part] = slices(captured("chain")[1], [])
    with pytest.raises(ExportError, match="cannot be written as pt2"):
        part.export("pt2", tmp_path / "part.pt2")
    with pytest.raises(FileError, match="does not exist"):
        part.export("onnx", tmp_path / "missing" / "part.onnx")
    assert not list(tmp_path.iterdir())


def test_wrong_inputs_are_refused():
    proto, program = captured("transformer")
    [part] = slices(program, [])
    inputs = onnx_zoo.draw(proto, 2, 5)
    with pytest.raises(GraphError, match="the input 'attention_mask' is missing"):
        part.run({"input_ids": inputs["input_ids"]})
    with pytest.raises(GraphError, match="is int32"):
        part.run(inputs | {"input_ids": inputs["input_ids"].astype(np.int32)})
    with pytest.raises(GraphError, match=r"has the shape \(2, 4\)"):
        part.run(inputs | {"attention_mask": inputs["attention_mask"][:, :4]})


def test_inputs_may_lie_in_memory_in_any_order():
    proto, program = captured("chain")
    [part] = slices(program, [])
    inputs = onnx_zoo.draw(proto, 2)["x"]
    turned = np.asfortranarray(inputs)
    np.testing.assert_array_equal(part.run({"x": turned})["/fc/Gemm"], part.run({"x": inputs})["/fc/Gemm"])
    part.runner({"x": turned})()


def test_reference_networks_are_those_of_torch():
    networks, torchs = references(), torch_references()
    assert {name: macs for name, (macs, _) in networks.items()} == {name: macs for name, (macs, _) in torchs.items()}
    for _, run in networks.values():
        [logits] = run()
        assert logits.shape == (1, 1000)


def test_the_package_is_imported_without_onnx():
    code = "import sys, edgepart.frameworks.onnx; assert not {'onnx', 'onnx_ir', 'onnxruntime'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_is_printed_while_a_network_is_captured_and_run(tmp_path):
    onnx.save(onnx_zoo.made_for_one(), tmp_path / "model.onnx")
    code = (
        "import sys; from pathlib import Path; from edgepart.frameworks.onnx import OnnxFramework as F;"
        "model, example = F().load(Path(sys.argv[1])); program = F().program(model, example);"
        "program.slice(None, None).run(example)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model.onnx")], check=True, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("", "")


def large(path, layers=9, width=8192):
    """More than 2 GB: matrices of which all but a corner is zero, written as holes in a sparse file."""
    nodes, tensors = [], []
    size = width * width * 4
    with open(f"{path}.data", "wb") as stream:
        for index in range(layers):
            nodes.append(onnx_zoo.node("MatMul", [f"h{index}", f"w{index}"], [f"m{index}"], f"/{index}/MatMul"))
            nodes.append(onnx_zoo.node("Tanh", [f"m{index}"], [f"h{index + 1}"], f"/{index}/Tanh"))
            for row in range(4):
                stream.seek(index * size + row * width * 4)
                stream.write(onnx_zoo.normal(4, seed=[index, row][row % 2] + row).tobytes())
            tensor = onnx.TensorProto(name=f"w{index}", data_type=onnx.TensorProto.FLOAT, dims=[width, width])
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", f"{path.name}.data"), ("offset", index * size), ("length", size)):
                tensor.external_data.add(key=key, value=str(value))
            tensors.append(tensor)
        stream.truncate(layers * size)
    proto = onnx_zoo.make(nodes, {"h0": (onnx_zoo.FLOAT, ["batch", width])}, [f"h{layers}"], {})
    proto.graph.initializer.extend(tensors)
    path.write_bytes(proto.SerializeToString())


@pytest.mark.slow
def test_networks_of_more_than_2_gb_are_captured_sliced_run_and_written(tmp_path):
    path = tmp_path / "large.onnx"
    large(path)
    model, example = FRAMEWORK.load(path)
    program = FRAMEWORK.program(model, example)
    assert sum(program.graph.parameters.values()) > 2**31
    boundary = program.graph.boundaries()[3]
    first, second = slices(program, [boundary])
    assert sum(first.parameters.values()) == 2 * 8192 * 8192 * 4
    inputs = {"h0": onnx_zoo.normal(2, 8192, scale=1)}
    made = second.run(first.run(inputs))
    expected = inputs["h0"]
    for index in range(9):
        tensor = model.graph.initializers[f"w{index}"].const_value.numpy()
        corner = np.tanh(expected[:, :4] @ tensor[:4, :4])
        assert not tensor[4:].any()
        expected = np.concatenate([corner, np.zeros((2, 8188), np.float32)], axis=1)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(made["/8/Tanh"], expected, rtol=1e-4, atol=1e-6)
    whole = program.slice(None, None)
    whole.export("onnx", tmp_path / "whole.onnx")
    assert (tmp_path / "whole.onnx.data").stat().st_size > 2**31
    session = onnxruntime.InferenceSession(str(tmp_path / "whole.onnx"), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, inputs)[0], expected, rtol=1e-4, atol=1e-6)
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert peak_bytes < 9 * 2**30
