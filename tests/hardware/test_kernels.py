"""What a graph says about the kernels that its layers become."""

import numpy as np
import pytest
import torch
from torch import nn

from edgepart.frameworks import framework_of
from edgepart.hardware.kernels import kernels
from edgepart.hardware.roofline import moved_bytes, roofline_s
from edgepart.testing.hardware import example_device

#: a separable convolution: dense, depthwise, by points, with all that can follow them
KINDS = ["dense", "fused", "fused", "depthwise", "fused", "apart", "dense", "fused", "plain", "view", "dense"]


class TorchNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(32, 32, 3, groups=32, padding=1), nn.BatchNorm2d(32))
        self.gelu = nn.GELU()
        self.points = nn.Sequential(nn.Conv2d(32, 64, 1), nn.Hardtanh())
        self.pool, self.flatten, self.head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)

    def forward(self, x):
        return self.head(self.flatten(self.pool(self.points(self.gelu(self.depthwise(self.stem(x)))))))


def torch_graph():
    torch.manual_seed(0)
    example = torch.randn(2, 3, 16, 16)
    net = TorchNet().eval()
    return framework_of(net).program(net, example).graph


def kind(kernel):
    if kernel.is_view:
        return "view"
    if kernel.macs:
        return "depthwise" if kernel.is_grouped else "dense"
    return "fused" if kernel.joins is not None else "other"


def expected(kinds):
    return ["other" if one in ("apart", "plain") else one for one in kinds]


def test_layers_are_told_apart_in_torch():
    graph = torch_graph()
    found = kernels(graph)
    assert [kind(one) for one in found] == expected(KINDS)
    assert [one.joins for one in found] == [None, 0, 0, None, 3, None, None, 6, None, None, None]
    at = {layer.kind: one for layer, one in zip(graph.layers, found, strict=True)}
    maps, points = 4 * 32 * 16 * 16, 4 * 64 * 16 * 16
    assert at["GELU"].activation_bytes == 2 * maps
    assert at["Hardtanh"].activation_bytes == 2 * points
    assert at["AdaptiveAvgPool2d"].activation_bytes == points + 4 * 64
    assert at["Linear"].parameter_bytes == 4 * (64 * 10 + 10)


def test_layers_are_told_apart_in_keras():
    import keras

    keras.utils.set_random_seed(0)
    given = keras.Input((16, 16, 3))
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(keras.layers.Conv2D(32, 3, padding="same")(given)))
    x = keras.layers.BatchNormalization()(keras.layers.DepthwiseConv2D(3, padding="same")(x))
    x = keras.layers.ReLU(6)(keras.layers.Conv2D(64, 1)(keras.layers.Activation("gelu")(x)))
    x = keras.layers.Flatten()(keras.layers.GlobalAveragePooling2D(keepdims=True)(x))
    net = keras.Model(given, keras.layers.Dense(10)(x))
    found = kernels(framework_of(net).program(net, np.zeros((2, 16, 16, 3), "float32")).graph)
    assert [kind(one) for one in found] == expected(KINDS)


def test_layers_are_told_apart_in_onnx(tmp_path):
    import onnx
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(0)
    shapes = {"a": (32, 3, 3, 3), "b": (32, 1, 3, 3), "c": (64, 32, 1, 1), "d": (64, 10)}
    weights = [numpy_helper.from_array(rng.standard_normal(s).astype("float32"), n) for n, s in shapes.items()]
    for name, values in (("scale", np.ones(32)), ("bias", np.zeros(32)), ("mean", np.zeros(32)), ("var", np.ones(32))):
        weights.append(numpy_helper.from_array(values.astype("float32"), name))
    normal = ["scale", "bias", "mean", "var"]
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["1"], "1", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["1", *normal], ["2"], "2"),
        helper.make_node("Relu", ["2"], ["3"], "3"),
        helper.make_node("Conv", ["3", "b"], ["4"], "4", pads=[1, 1, 1, 1], group=32),
        helper.make_node("BatchNormalization", ["4", *normal], ["5"], "5"),
        helper.make_node("Gelu", ["5"], ["6"], "6"),
        helper.make_node("Conv", ["6", "c"], ["7"], "7"),
        helper.make_node("HardSwish", ["7"], ["8"], "8"),
        helper.make_node("GlobalAveragePool", ["8"], ["9"], "9"),
        helper.make_node("Flatten", ["9"], ["10"], "10"),
        helper.make_node("Gemm", ["10", "d"], ["y"], "11"),
    ]
    ends = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in
            (("x", ["n", 3, 16, 16]), ("y", ["n", 10]))]  # fmt: skip
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    from edgepart.frameworks import framework

    net, example = framework("onnx").load(path)
    found = kernels(framework_of(net).program(net, example).graph)
    assert [kind(one) for one in found] == expected(KINDS)


def test_padding_joins_the_product_after_it_and_a_shared_tensor_joins_nothing():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu = nn.Conv2d(3, 3, 3), nn.ReLU()

        def forward(self, x):
            made = self.conv(nn.functional.pad(x, (1, 1, 1, 1)))
            return self.relu(made) + made

    net = Net().eval()
    found = kernels(framework_of(net).program(net, torch.randn(2, 3, 8, 8)).graph)
    assert [one.joins for one in found] == [1, None, None, None]


def board(**fields):
    rates = {"peak_macs_per_s": 1e9, "grouped_macs_per_s": 1e8, "activation_bytes_per_s": 1e8}
    rest = {"memory_bytes_per_s": 1e7, "call_overhead_s": 1e-4, "fused_share": 0.5}
    return example_device("board", **rates | rest | fields)


def test_a_layer_takes_what_its_kind_costs():
    graph = torch_graph()
    taken = roofline_s(graph, board())
    seconds = list(taken.values())
    stem, norm, depthwise, view = seconds[0], seconds[1], seconds[3], seconds[9]
    assert stem == pytest.approx(4 * (3 + 32) * 256 / 1e8 + 4 * (27 * 32 + 32) / 1e7 + 1e-4)
    assert depthwise == pytest.approx(9 * 32 * 256 / 1e8 + 4 * (9 * 32 + 32) / 1e7 + 1e-4)
    parameters = graph.parameter_bytes([graph.layers[1].name])
    assert norm == pytest.approx(0.5 * (2 * 4 * 32 * 256 / 1e8 + parameters / 1e7 + 1e-4))
    assert view == 0


@pytest.mark.parametrize(
    "better",
    [
        {"peak_macs_per_s": 4e8},
        {"grouped_macs_per_s": 2e8},
        {"activation_bytes_per_s": 6e8},
        {"memory_bytes_per_s": 5e7},
        {"call_overhead_s": 0.0},
        {"fused_share": 0.9},
    ],
)
def test_faster_never_makes_a_layer_slower(better):
    graph = torch_graph()
    # computing takes longer than moving activations, so that each of the numbers matters
    rates = {"activation_bytes_per_s": 3e8, "peak_macs_per_s": 2e8, "grouped_macs_per_s": 1e8}
    before, after = roofline_s(graph, board(**rates)), roofline_s(graph, board(**rates | better))
    assert all(after[name] <= before[name] for name in before)
    assert sum(after.values()) < sum(before.values())


def test_a_device_without_the_finer_rates_means_what_it_always_meant():
    graph = torch_graph()
    old = example_device("old", peak_macs_per_s=1e9, memory_bytes_per_s=1e7, call_overhead_s=1e-4)
    assert roofline_s(graph, old) == pytest.approx(
        {x.name: max(x.macs / 1e9, moved_bytes(graph, x) / 1e7) + 1e-4 for x in graph.layers}
    )
