"""What a Graph says of a network, against numbers worked out by hand or counted on the running network."""

import numpy as np
import pytest
import torch
from network_zoo import NETWORKS, answers, inputs, network, program
from torch import nn
from torch.nn import functional as F

from edgepart.frameworks.torch.capture import capture


class Small(nn.Module):
    """The layers of the tests below; every number is easy to check."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU()
        self.unused = nn.Linear(5, 5)
        self.head = nn.Linear(4, 2)

    def forward(self, image, mask):
        x = self.act(self.norm(self.conv(image)))
        x = self.act(x * mask.unsqueeze(1))
        flat = x.flatten(2)
        x = torch.softmax(flat, -1).mean(-1)
        torch.argmax(x)
        return self.head(x)


@pytest.fixture(scope="module")
def small():
    example = {"image": torch.zeros(2, 3, 8, 8), "mask": torch.ones(2, 8, 8)}
    return capture(Small(), example).graph


def test_layers_are_named_after_modules(small):
    assert [(layer.name, layer.module, layer.kind) for layer in small.layers] == [
        ("conv", "conv", "Conv2d"),
        ("norm", "norm", "BatchNorm2d"),
        ("act", "act", "ReLU"),
        ("mul", "", "mul"),
        ("act_2", "act", "ReLU"),
        ("mean", "", "mean"),
        ("head", "head", "Linear"),
    ]
    assert small.layer("mean").ops == ("aten.flatten.using_ints", "aten.softmax.int", "aten.mean.dim")


def test_tensors_say_shape_dtype_bytes_and_who_reads_them(small):
    mask, norm, mul = (small.tensor(name) for name in ("mask", "norm", "mul"))
    assert (mask.shape, mask.dtype, mask.bytes) == (("batch", 8, 8), "float32", 256)
    assert (mask.producer, mask.consumers, mask.feature) == (None, ("mul",), False)
    assert (norm.shape, norm.bytes, norm.producer, norm.consumers) == (("batch", 4, 8, 8), 1024, "norm", ("act",))
    assert norm.feature
    assert mul.feature
    assert small.inputs == ("image", "mask")
    assert small.outputs == ("head",)
    assert small.symbols == {"batch": 1}


def test_costs_of_one_sample(small):
    macs = {layer.name: layer.macs for layer in small.layers if layer.macs}
    assert macs == {"conv": 8 * 8 * 4 * 3 * 9, "head": 8}
    assert not any(layer.uncounted for layer in small.layers)
    assert small.layer("act").activation_bytes == 1024
    # flatten is a view; the softmax and then the mean of 4 numbers beside it
    assert small.layer("mean").activation_bytes == 1024 + 16


def test_an_operation_whose_products_are_not_counted_is_listed():
    class Distances(nn.Module):
        def __init__(self):
            super().__init__()
            self.centres = nn.Parameter(torch.randn(3, 4))

        def forward(self, x):
            return torch.cdist(x, self.centres)

    (layer,) = capture(Distances(), torch.randn(2, 4)).graph.layers
    assert layer.uncounted == ("aten.cdist.default",)


def test_parameters_include_buffers_and_leave_out_what_is_unused(small):
    assert small.parameters == {
        "conv.weight": 432,
        "conv.bias": 16,
        "norm.weight": 16,
        "norm.bias": 16,
        "norm.running_mean": 16,
        "norm.running_var": 16,
        "head.weight": 32,
        "head.bias": 8,
    }
    assert small.layer("norm").parameters == ("norm.weight", "norm.bias", "norm.running_mean", "norm.running_var")


def _counted(model, given):
    """Multiply-accumulates of the modules that multiply, counted while the network runs one sample."""
    total = 0

    def count(module, _, output):
        nonlocal total
        if isinstance(module, nn.Linear | nn.Conv2d):
            per_output = module.weight[0].numel()
            total += output.numel() * per_output

    hooks = [module.register_forward_hook(count) for module in model.modules()]
    answers(model, given)
    for hook in hooks:
        hook.remove()
    return total


@pytest.mark.parametrize("name", ["residual", "separable", "dense", "inception", "unet", "tied", "several"])
def test_macs_of_networks_of_linear_and_convolution(name):
    assert sum(layer.macs for layer in program(name).graph.layers) == _counted(network(name), inputs(name, 1))


def test_macs_of_attention_and_recurrence():
    """Attention multiplies twice with the sequence; an LSTM has four gates, in both directions here."""
    length, width, layers = 9, 16, 2
    bert = program("bert").graph
    linear = _counted(network("bert"), inputs("bert", 1))
    assert sum(layer.macs for layer in bert.layers) == linear + layers * 2 * length**2 * width
    lstm = program("recurrent").graph.layer("lstm")
    assert lstm.macs == 2 * length * 4 * 6 * (8 + 6)
    assert lstm.uncounted == ()


@pytest.mark.parametrize("name", NETWORKS)
def test_memory_inside_a_layer_holds_its_outputs_unless_they_are_views(name):
    graph = program(name).graph
    for layer in graph.layers:
        outputs = sum(graph.tensor(tensor).bytes for tensor in layer.outputs)
        views = {"flatten", "slice", "select", "transpose", "view", "detach", "squeeze", "Dropout", "expand", "and"}
        if layer.kind not in views and len(layer.ops) == 1:
            assert layer.activation_bytes >= outputs, layer.name


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_are_those_of_the_model(name):
    graph, model = program(name).graph, network(name)
    held = dict(model.named_parameters()) | dict(model.named_buffers())
    for parameter, size in graph.parameters.items():
        if parameter in held:
            assert size == held[parameter].numel() * held[parameter].element_size()
        else:
            assert "lifted_tensor" in parameter
    trained = sum(p.numel() * p.element_size() for p in model.parameters())
    assert sum(size for key, size in graph.parameters.items() if key in dict(model.named_parameters())) == trained


def test_a_tied_weight_has_one_name():
    graph = program("tied").graph
    assert graph.layer("embedding").parameters == graph.layer("out").parameters == ("embedding.weight",)
    assert "out.weight" not in graph.parameters


def test_symbols_of_a_transformer():
    graph = program("bert").graph
    assert graph.symbols == {"batch": 1, "sequence": 9}
    assert [graph.tensor(name).shape for name in graph.inputs] == [("batch", "sequence")] * 3
    mask = graph.tensor("bert.and")
    assert (mask.shape, mask.dtype, mask.feature) == (("batch", 1, "sequence", "sequence"), "bool", False)
    assert graph.layer("bert.and").inputs == ("attention_mask",)


def test_layers_read_sizes_from_what_they_read_anyway():
    """Views need the batch size; no layer of the encoder reads a network input for it."""
    graph = program("bert").graph
    for name in graph.inputs:
        assert not any(".encoder." in reader for reader in graph.tensor(name).consumers)


class Expand(nn.Module):
    """A layer that needs the batch size and reads no tensor that has it."""

    def __init__(self):
        super().__init__()
        self.token, self.head = nn.Parameter(torch.randn(1, 4)), nn.Linear(4, 2)
        self.project = nn.Linear(3, 4)

    def forward(self, x):
        projected = self.project(x)
        token = self.head(self.token).expand(x.shape[0] * 2, -1)
        return token[: x.shape[0]] + self.head(projected)


def test_a_size_that_no_input_of_the_layer_carries_is_an_honest_dependency():
    graph = capture(Expand(), torch.zeros(3, 3)).graph
    layer = next(layer for layer in graph.layers if "aten.expand.default" in layer.ops)
    assert "x" in layer.inputs
    assert layer.name in graph.tensor("x").consumers
    boundary = graph.boundary(["project"])
    assert set(boundary.tensors) == {"project", "x"}
    assert graph.tensor(layer.outputs[0]).shape == ("batch", 2)


class Grown(nn.Module):
    def forward(self, x):
        return (torch.cat([x, x, x[:, :1]], 1)[:, ::2] * 1.5, torch.cat([x, x]))


def test_shapes_are_arithmetic_over_symbols():
    graph = capture(Grown(), torch.zeros(3, 6, dtype=torch.int64)).graph
    # a matrix of integers has a sequence; five of its columns twice and one more, every other one
    assert graph.symbols == {"batch": 1, "sequence": 6}
    first, second = (graph.tensor(name) for name in graph.outputs)
    assert first.bytes == 7 * 4
    assert second.shape == ("2*batch", "sequence")
    assert second.bytes == 2 * 6 * 8


def test_an_example_of_one_sample_gives_the_same_graph():
    model = network("residual")
    one = capture(model, inputs("residual", 1)["x"].numpy()).graph
    assert one == program("residual").graph


def test_one_sample_of_the_example_is_kept():
    kept = program("bert").example()
    given = inputs("bert", 3)
    assert list(kept) == list(program("bert").graph.inputs)
    for name, array in kept.items():
        np.testing.assert_array_equal(array, given[name][:1].numpy())


@pytest.mark.parametrize(
    ("model", "example", "names"),
    [
        (nn.Linear(4, 2), torch.ones(2, 4), ("input",)),
        (nn.Linear(4, 2), np.ones((1, 4), dtype=np.float32), ("input",)),
        (nn.Bilinear(2, 3, 4), (torch.ones(2, 2), torch.ones(2, 3)), ("input1", "input2")),
        (nn.Bilinear(2, 3, 4), {"input2": torch.ones(2, 3), "input1": torch.ones(2, 2)}, ("input2", "input1")),
    ],
)
def test_examples_by_position_and_by_keyword(model, example, names):
    assert capture(model, example).graph.inputs == names


def test_signatures_that_collect_arguments():
    class Bag(nn.Module):
        def forward(self, *rows, scale=2, **more):
            return sum(rows, torch.zeros(())) + sum(more.values()) * scale

    ones = torch.ones(2, 3)
    assert capture(Bag(), (ones, ones)).graph.inputs == ("rows_0", "rows_1")
    by_name = capture(Bag(), {"a": ones, "b": ones})
    assert by_name.graph.inputs == ("a", "b")
    (found,) = by_name.slice(None, None).run({"a": ones.numpy(), "b": 3 * ones.numpy()}).values()
    assert (found == 8).all()


def test_capturing_leaves_the_model_as_it_was():
    class Writes(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.frozen = nn.BatchNorm1d(4), nn.BatchNorm1d(4).eval()

        def forward(self, x):
            x += 1
            return self.frozen(self.norm(F.relu(x, inplace=True)))

    model, given = Writes(), torch.zeros(2, 4)
    model.train()
    model.frozen.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    graph = capture(model, given).graph
    assert given.abs().max() == 0
    assert (model.training, model.norm.training, model.frozen.training) == (True, True, False)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    # and the operations that training needs are still what they were
    assert graph.layer("norm").ops == ("aten.batch_norm.default",)
    assert graph.layer("relu").ops == ("aten.add.Tensor", "aten.relu.default")


def test_dropout_survives():
    assert program("residual").graph.layer("dropout").ops == ("aten.dropout.default",)


def test_a_layer_may_be_called_like_an_input():
    class Same(nn.Module):
        def __init__(self):
            super().__init__()
            self.x = nn.Linear(3, 2)

        def forward(self, x):
            return self.x(x)

    graph = capture(Same(), torch.ones(2, 3)).graph
    assert [layer.name for layer in graph.layers] == ["x"]
    assert graph.outputs == ("x:0",)
    assert graph.tensor("x").producer is None


def test_two_captures_have_the_same_fingerprint():
    again = capture(network("bert"), inputs("bert", 2, length=11)).graph
    assert again.fingerprint == program("bert").graph.fingerprint
    assert capture(network("unet"), inputs("unet", 2)).graph.fingerprint != again.fingerprint


def test_a_tensor_concatenated_with_nothing_is_not_sent_beside_itself():
    class Dense(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.head = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(6, 2)

        def forward(self, x):
            features = [self.first(x)]
            features.append(self.second(torch.cat(features, 1)))
            return self.head(torch.cat(features, 1)), torch.cat([x], 1)

    graph = capture(Dense(), torch.ones(2, 3)).graph
    assert [boundary.tensors for boundary in graph.boundaries()][:2] == [("x", "first"), ("x", "first", "second")]
    assert len(graph.outputs) == 2
