"""What the Graph says of an ONNX network."""

import os
import time
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnx_zoo
import pytest
import torch
from onnx import helper
from onnx_zoo import FLOAT, INT64, make, node, normal

from edgepart.errors import CaptureError
from edgepart.frameworks import capture, slices
from edgepart.frameworks.onnx import OnnxFramework
from edgepart.frameworks.onnx.shapes import fit, fit_floor
from edgepart.graph.sizes import evaluate_size

FRAMEWORK = OnnxFramework()


def graph_of(name):
    proto = onnx_zoo.NETWORKS[name]()
    return FRAMEWORK.program(proto, onnx_zoo.draw(proto, 1, 6 if name in onnx_zoo.WITH_LENGTHS else None)).graph


def test_a_node_is_a_layer_and_what_only_reads_weights_is_none():
    graph = graph_of("shared_weights")
    names = ["/encoder/MatMul", "/encoder/Tanh", "/decoder/MatMul", "/decoder/Mul_1", "/encoder_1/MatMul", "/Add"]
    assert [layer.name for layer in graph.layers] == names
    assert graph.layer("/encoder/MatMul").parameters == ("w",)
    assert graph.layer("/decoder/MatMul").parameters == ("half", "w")
    assert graph.parameters == {"w": 48, "half": 4}
    assert graph.layer("/decoder/MatMul").ops == ("MatMul",)


def test_layers_are_found_by_the_modules_they_come_from():
    graph = graph_of("transformer")
    assert graph.layer("/encoder/layer.0/attention/q/MatMul").module == "encoder.layer.0.attention.q"
    after = graph.after("encoder.layer.0")
    inside = {layer.name for layer in graph.layers if layer.module.startswith("encoder.layer.0")}
    assert inside <= after.layers
    assert not any(layer.startswith(("/encoder/layer.1", "/decoder")) for layer in after.layers)


@pytest.mark.parametrize(
    ("name", "metadata", "module"),
    [
        ("/layer1/layer1.0/conv1/Conv", {}, "layer1.0.conv1"),
        ("/features/features.0/features.0.0/Conv", {}, "features.0.0"),
        ("StatefulPartitionedCall/model/block1/conv/Conv2D", {}, "model.block1.conv"),
        ("Conv_12", {}, ""),
        ("node_conv", {"pkg.torch.onnx.name_scopes": "['', 'body', 'body.0', 'conv2d']"}, "body.0"),
        ("node_sym", {"pkg.torch.onnx.name_scopes": "['', '_empty_nn_module_stack_from_metadata_hook', 'sym']"}, ""),
        ("/a/Conv", {"pkg.torch.onnx.name_scopes": "not a list"}, "a"),
    ],
)
def test_modules_are_read_off_names_and_metadata(name, metadata, module):
    each = node("Relu", ["x"], ["y"], name)
    for key, value in metadata.items():
        each.metadata_props.add(key=key, value=value)
    graph = capture(make([each], {"x": (FLOAT, ["batch", 3])}, ["y"], {}, ir_version=10), np.ones((1, 3), np.float32))
    assert graph.layers[0].module == module


def test_names_that_are_taken_get_a_number():
    graph = graph_of("badly_named")
    names = [layer.name for layer in graph.layers]
    assert len(set(names)) == len(names)
    assert names[:4] == ["MatMul", "x_1", "w_1", "twice"]
    assert len({tensor.name for tensor in graph.tensors}) == len(graph.tensors)


def test_shapes_are_expressions_over_batch_and_sequence():
    graph = graph_of("transformer")
    assert graph.symbols == {"batch": 1, "sequence": 6}
    assert graph.tensor("input_ids").shape == ("batch", "sequence")
    assert graph.tensor("/encoder/layer.0/attention/MatMul").shape == ("batch", 2, "sequence", "sequence")
    assert graph.tensor("/embeddings/Slice").shape == ("sequence", 8)
    assert graph.tensor("/encoder/layer.1/norm/Norm").bytes == 6 * 8 * 4
    assert graph.tensor("/embeddings/Shape").dtype == "int64"


def test_features_are_what_data_and_weights_went_into():
    graph = graph_of("transformer")
    features = {tensor.name for tensor in graph.tensors if tensor.feature}
    assert "/embeddings/words/Gather" in features
    assert "/decoder/MatMul" in features
    masks = {"/Cast", "/Unsqueeze", "/Sub", "/Mul"}
    assert not features & {*masks, "input_ids", "/embeddings/Shape", "/embeddings/Slice"}
    sizes = graph_of("sizes_from_shapes")
    assert {t.name for t in sizes.tensors if t.feature} == {"/conv/Conv", "/Relu", "/Reshape", "/fc/MatMul"}


def test_sizes_are_computed_as_soon_as_they_can_be():
    """So that a small size waits for the Reshape, not the map that it was read off."""
    names = [layer.name for layer in graph_of("sizes_from_shapes").layers]
    assert names.index("/Concat") < names.index("/Relu")


def test_outputs_of_a_node_that_are_read_are_numbered():
    graph = graph_of("split_and_unused")
    assert graph.layer("split").outputs == ("split:0", "split:1")
    assert graph.layer("split").activation_bytes == (2 + 3 + 4) * 4
    assert graph.outputs == ("join", "sum")


def test_control_flow_reads_what_its_branches_read():
    graph = graph_of("conditional")
    assert set(graph.layer("choose").inputs) == {"compare", "first", "side"}
    assert graph.layer("choose").parameters == ("w2",)
    assert graph.layer("choose").uncounted == ("If",)
    assert set(graph_of("scan").layer("scan").inputs) == {"mean", "gate", "x"}


@pytest.mark.parametrize(
    ("operation", "read", "weights", "attributes", "shape", "macs"),
    [
        ("Conv", ["x", "w"], {"w": normal(6, 1, 3, 3)}, {"group": 2}, [2, 5, 5], 3 * 3 * 6 * 9),
        ("ConvTranspose", ["x", "w"], {"w": normal(2, 4, 2, 2)}, {"strides": [2, 2]}, [2, 5, 5], 50 * 16),
        ("Gemm", ["x", "w"], {"w": normal(3, 7)}, {"transB": 1}, [7], 21),
        ("MatMul", ["x", "w"], {"w": normal(4, 5)}, {}, [3, 4], 60),
        ("Einsum", ["x", "w"], {"w": normal(4, 5)}, {"equation": "bij,jk->bik"}, [3, 4], 60),
        ("GRU", ["x", "w", "r"], {"w": normal(1, 15, 4), "r": normal(1, 15, 5)}, {"hidden_size": 5}, [7, 4], 7 * 135),
        ("ConvInteger", ["q", "w"], {"w": np.ones((6, 2, 3, 3), np.uint8)}, {}, [2, 5, 5], 6 * 9 * 18),
        ("LayerNormalization", ["x", "w"], {"w": normal(4)}, {}, [3, 4], 0),
    ],
)
def test_multiply_accumulates_of_one_sample(operation, read, weights, attributes, shape, macs):
    # the first two dimensions of a recurrent layer's input are length and batch
    inputs = {"x" if "x" in read else "q": (FLOAT if "x" in read else onnx.TensorProto.UINT8, ["batch", *shape])}
    name, (kind, dims) = next(iter(inputs.items()))
    proto = make([node(operation, read, ["y"], "layer", **attributes)], inputs, ["y"], weights)
    proto.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT32 if name == "q" else FLOAT
    given = np.ones((1, *dims[1:]), helper.tensor_dtype_to_np_dtype(kind))
    layer = FRAMEWORK.program(proto, given).graph.layer("layer")
    assert (layer.macs, layer.uncounted) == (macs, ())


def test_multiply_accumulates_of_attention():
    inputs = {name: (FLOAT, ["batch", 6, 8]) for name in "qkv"}
    nodes = [node("Attention", ["q", "k", "v"], ["y"], "attention", q_num_heads=2, kv_num_heads=2)]
    proto = make(nodes, inputs, ["y"], {}, opset=23, ir_version=11)
    given = {name: normal(1, 6, 8, seed=place) for place, name in enumerate("qkv")}
    assert FRAMEWORK.program(proto, given).graph.layer("attention").macs == 2 * 6 * 6 * 8


def test_quantised_networks_are_counted():
    graph = graph_of("quantised")
    assert graph.layer("conv").macs == 4 * 6 * 6 * 27
    assert graph.layer("product").macs == 4 * 5
    assert graph.layer("conv").parameters == ("wq", "wscale", "wzero")
    assert graph.tensor("q0").dtype == "int8"
    assert graph.tensor("conv").feature


def test_a_batch_of_one_becomes_any_batch():
    graph = graph_of("made_for_one")
    assert graph.tensor("x").shape == ("batch", 3, 8, 8)
    assert graph.tensor("/fc/MatMul").shape == ("batch", 3)
    assert graph.tensor("/attention/Reshape").shape == (17, "2*batch", 4)


def test_networks_are_captured_alike_from_either_package_and_are_not_changed():
    proto = onnx_zoo.made_for_one()
    before = proto.SerializeToString()
    example = onnx_zoo.draw(proto, 1)
    model = ir.from_proto(onnx_zoo.made_for_one())
    unchanged = ir.to_proto(model).SerializeToString()
    first, second = FRAMEWORK.program(proto, example), FRAMEWORK.program(model, example)
    assert first.graph == second.graph
    assert proto.SerializeToString() == before
    assert ir.to_proto(model).SerializeToString() == unchanged


@pytest.mark.parametrize("form", ["array", "tuple", "tensors", "dict"])
def test_examples_are_arrays_tensors_tuples_or_dicts(form):
    proto = onnx_zoo.two_inputs_two_outputs()
    arrays = onnx_zoo.draw(proto, 2)
    given = {
        "array": None,
        "tuple": tuple(arrays.values()),
        "tensors": tuple(torch.from_numpy(array) for array in arrays.values()),
        "dict": arrays,
    }[form]
    if form == "array":
        proto, given = onnx_zoo.chain(), np.ones((1, 3, 8, 8), np.float32)
        arrays = {"x": given}
    program = FRAMEWORK.program(proto, given)
    example = program.example()
    assert list(example) == list(program.graph.inputs)
    for name, array in example.items():
        np.testing.assert_array_equal(array, arrays[name][:1])


def test_a_length_that_is_fixed_inside_is_told():
    proto = make(
        [node("MatMul", ["x", "w"], ["y"], "product"), node("Add", ["y", "p"], ["z"], "positions")],
        {"x": (FLOAT, ["batch", "frames", 3])},
        ["z"],
        {"w": normal(3, 4), "p": normal(6, 4)},
    )
    with pytest.raises(CaptureError, match=r"a length of 6 alone: .* --dim_param frames --dim_value 6 MODEL"):
        FRAMEWORK.program(proto, normal(2, 6, 3))
    proto.graph.input[0].type.tensor_type.shape.dim[1].ClearField("dim_param")
    with pytest.raises(CaptureError, match="--input_name x --input_shape 1,6,3 MODEL"):
        FRAMEWORK.program(proto, normal(2, 6, 3))
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 6
    graph = FRAMEWORK.program(proto, normal(2, 6, 3)).graph
    assert graph.symbols == {"batch": 1}


@pytest.mark.parametrize("length", [4, 16, 40])
def test_a_length_that_strides_divide(length):
    nodes = [
        node("Gather", ["e", "ids"], ["h"], "embed"),
        node("Transpose", ["h"], ["t"], "turn", perm=[0, 2, 1]),
        node("Conv", ["t", "k"], ["c"], "first", strides=[2], pads=[1, 1]),
        node("Conv", ["c", "k"], ["d"], "second", strides=[2], pads=[1, 1]),
        node("GlobalAveragePool", ["d"], ["y"], "pool"),
    ]
    proto = make(nodes, {"ids": (INT64, ["n", "len"])}, ["y"], {"e": normal(20, 4), "k": normal(4, 4, 3)})
    program = FRAMEWORK.program(proto, onnx_zoo.draw(proto, 1, length))
    graph = program.graph
    assert graph.tensor("second").bytes == 16 * -(-length // 4)
    first, second = slices(program, [graph.after("second")])
    for batch, other in [(1, 3), (3, 18), (2, 33)]:
        given = onnx_zoo.draw(proto, batch, other)
        sent = first.run(given)
        np.testing.assert_allclose(second.run(sent)["pool"], onnx_zoo.whole(proto, given)[0], rtol=1e-4, atol=1e-6)
        size = evaluate_size(graph.tensor("second").shape[2], {"batch": batch, "sequence": other})
        assert sent["second"].shape == (batch, 4, size)


@pytest.mark.parametrize("size", ["sequence//2", "(sequence + 3)//4 - 1", "batch*(3*((sequence + 1)//3) + 2)"])
def test_divided_lengths_are_fitted(size):
    settings = [(1, 9), (2, 9), (1, 8), (2, 8), (3, 7)]
    seen = [evaluate_size(size, {"batch": b, "sequence": n}) for b, n in settings]
    lengths = {n: evaluate_size(size, {"batch": 1, "sequence": n}) for n in range(1, 24)}
    fitted = fit_floor(lengths, seen, settings)
    for batch, length in [(4, 31), (7, 50)]:
        symbols = {"batch": batch, "sequence": length}
        assert evaluate_size(fitted, symbols) == evaluate_size(size, symbols)
    assert fit_floor({n: n * n for n in range(1, 24)}, seen, settings) is None
    assert fit_floor({9: 4, 8: 4}, seen, settings) is None


@pytest.mark.parametrize("operation", ["Gather", "GatherND"])
def test_masks_that_are_picked_with_the_index_of_one_sample(operation):
    """As transformers' models pick them, exported for a batch of 1: every sample would get the mask of the first."""
    places = np.arange(5).reshape(1, 1, 5)
    if operation == "GatherND":
        places = np.stack([np.zeros_like(places), places], -1)
    read = "flat" if operation == "Gather" else "numbers"
    nodes = [
        node("Cast", ["mask"], ["numbers"], "cast", to=FLOAT),
        node("Reshape", ["numbers", "all"], ["flat"], "flatten"),
        node(operation, [read, "places"], ["picked"], "pick"),
        node("Gather", ["e", "ids"], ["h"], "embed"),
        node("MatMul", ["picked", "h"], ["y"], "pool"),
    ]
    weights = {"e": normal(20, 4), "places": places, "all": np.array([-1])}
    proto = make(nodes, {"ids": (INT64, [1, 5]), "mask": (INT64, [1, 5])}, ["y"], weights)
    example = {"ids": np.array([[1, 2, 3, 4, 5]]), "mask": np.ones((1, 5), np.int64)}
    part = FRAMEWORK.program(proto, example).slice(None, None)
    given = {"ids": np.arange(15).reshape(3, 5), "mask": np.tril(np.ones((3, 5), np.int64), 1)}
    single = [onnx_zoo.whole(proto, {name: a[i : i + 1] for name, a in given.items()})[0] for i in range(3)]
    np.testing.assert_allclose(part.run(given)["pool"], np.concatenate(single), rtol=1e-5)


def test_a_loop():
    body = helper.make_graph(
        [node("MatMul", ["v", "w"], ["m"]), node("Tanh", ["m"], ["o"]), node("Identity", ["c"], ["go"])],
        "body",
        [
            helper.make_tensor_value_info("i", INT64, []),
            helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", FLOAT, ["n", 4]),
        ],
        [
            helper.make_tensor_value_info("go", onnx.TensorProto.BOOL, []),
            helper.make_tensor_value_info("o", FLOAT, ["n", 4]),
        ],
    )
    nodes = [node("Loop", ["times", "yes", "x"], ["h"], "loop", body=body), node("Relu", ["h"], ["y"], "relu")]
    weights = {"w": normal(4, 4), "times": np.array(3), "yes": np.array(True)}
    proto = make(nodes, {"x": (FLOAT, ["n", 4])}, ["y"], weights)
    made = FRAMEWORK.program(proto, normal(1, 4)).slice(None, None).run({"x": normal(3, 4)})
    np.testing.assert_array_equal(made["relu"], onnx_zoo.whole(proto, {"x": normal(3, 4)})[0])


def test_nodes_out_of_order_and_a_graph_without_a_name(tmp_path):
    """As ONNX Runtime's own conversion to float16 leaves them."""
    proto = onnx_zoo.chain()
    nodes = list(proto.graph.node)
    proto.graph.ClearField("node")
    proto.graph.node.extend(nodes[::-1])
    proto.graph.name = ""
    onnx.save(proto, tmp_path / "net.onnx")
    given = onnx_zoo.draw(proto, 2)
    expected = onnx_zoo.whole(onnx_zoo.chain(), given)
    for model in (proto, FRAMEWORK.load(tmp_path / "net.onnx")[0]):
        program = FRAMEWORK.program(model, given)
        made = program.slice(None, None).run(given)
        np.testing.assert_allclose(made[program.graph.outputs[0]], expected[0], rtol=1e-5)


def test_masks_over_pairs_of_positions_share_the_length():
    nodes = [node("Gather", ["w", "ids"], ["e"], "embed"), node("MatMul", ["mask", "e"], ["y"], "mix")]
    inputs = {"ids": (INT64, ["n", "len"]), "mask": (FLOAT, ["n", "len", "len"])}
    program = FRAMEWORK.program(
        make(nodes, inputs, ["y"], {"w": normal(9, 4)}), {"ids": np.ones((1, 5), int), "mask": normal(1, 5, 5)}
    )
    assert program.graph.tensor("mask").shape == ("batch", "sequence", "sequence")
    assert program.slice(None, None).run({"ids": np.ones((2, 7), int), "mask": normal(2, 7, 7)})["mix"].shape[1] == 7


def test_tensors_of_no_size_cross_too():
    """Such as the sizes in front of the first dimension, as torch's older exporter cuts them off."""
    nodes = [
        node("Shape", ["x"], ["s"], "shape"),
        node("Slice", ["s", "zero", "zero"], ["none"], "front"),
        node("Concat", ["none", "s"], ["target"], "join", axis=0),
        node("Tanh", ["x"], ["t"], "tanh"),
        node("Reshape", ["t", "target"], ["y"], "reshape"),
    ]
    proto = make(nodes, {"x": (FLOAT, ["batch", 4])}, ["y"], {"zero": np.array([0])})
    program = FRAMEWORK.program(proto, normal(1, 4))
    inputs = {"x": normal(3, 4)}
    for part in slices(program, program.graph.boundaries()):
        inputs |= part.run(inputs)
    assert program.graph.tensor("front").shape == (0,)
    np.testing.assert_array_equal(inputs["reshape"], onnx_zoo.whole(proto, {"x": normal(3, 4)})[0])


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 2])
def test_networks_as_torch_exports_them(batch):
    """Made for one sample, or for any; the names of modules are those of the network in torch."""

    class Tagger(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(30, 16)
            layer = torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
            self.encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.lstm = torch.nn.LSTM(16, 8, batch_first=True, bidirectional=True)
            self.head = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))

        def forward(self, ids, mask):
            hidden = self.encoder(self.embed(ids), src_key_padding_mask=mask == 0)
            return self.head(self.lstm(hidden)[0])

    network = Tagger().eval()
    ids, mask = torch.arange(7 * batch).reshape(batch, 7), torch.ones(batch, 7, dtype=torch.long)
    free = {0: torch.export.Dim.DYNAMIC}
    shapes = {"ids": free, "mask": free} if batch > 1 else None
    exported = torch.onnx.export(network, (ids, mask), dynamo=True, dynamic_shapes=shapes, verbose=False)
    program = FRAMEWORK.program(exported.model_proto, {"ids": ids.numpy(), "mask": mask.numpy()})
    graph = program.graph
    assert {"embed", "encoder.layers.0.self_attn", "encoder.layers.1.linear2", "lstm", "head.2"} <= set(graph.modules)
    length = 5 if "sequence" in graph.symbols else 7
    given = {
        "ids": torch.arange(3 * length).reshape(3, length),
        "mask": torch.ones(3, length, dtype=torch.long).tril(3),
    }
    expected = network(**given).detach().numpy()
    for boundary in (graph.after("encoder.layers.0"), graph.after("lstm")):
        inputs = {name: tensor.numpy() for name, tensor in given.items()}
        for part in slices(program, [boundary]):
            inputs |= part.run(inputs)
        np.testing.assert_allclose(inputs[graph.outputs[0]], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "size", [3, "batch", "sequence", "2*batch", "batch*sequence + 3", "4*sequence - 1", "batch*sequence + 2*batch + 5"]
)
def test_sizes_are_fitted(size):
    settings = [(1, 9), (2, 9), (1, 8), (2, 8), (3, 7)]
    seen = [evaluate_size(size, {"batch": b, "sequence": n}) for b, n in settings]
    fitted = fit(seen, settings)
    for batch, length in [(4, 11), (7, 2)]:
        symbols = {"batch": batch, "sequence": length}
        assert evaluate_size(fitted, symbols) == evaluate_size(size, symbols)


@pytest.mark.parametrize("size", ["sequence*sequence", "batch*batch", "sequence//2"])
def test_sizes_that_are_none_of_batch_and_length_are_not_fitted(size):
    settings = [(1, 9), (2, 9), (1, 8), (2, 8), (3, 7)]
    assert fit([evaluate_size(size, {"batch": b, "sequence": n}) for b, n in settings], settings) is None


@pytest.mark.slow
def test_a_graph_of_a_thousand_nodes_is_captured_cut_and_sliced_in_time():
    path = Path(os.environ["EDGEPART_DATA"]) / "onnx" / "light" / "light_densenet121.onnx"
    model, example = FRAMEWORK.load(path)
    start = time.perf_counter()
    program = FRAMEWORK.program(model, example)
    captured = time.perf_counter()
    boundaries = program.graph.boundaries()
    listed = time.perf_counter()
    program.slice(None, boundaries[len(boundaries) // 2])
    sliced = time.perf_counter()
    assert captured - start < 10
    assert listed - captured < 0.5
    assert sliced - listed < 2
