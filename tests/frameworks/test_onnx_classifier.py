"""The classifier of ONNX networks as torch lines: exact at its own place, fitted elsewhere, refused where it cannot be.

The oracle is the torch network that was exported: its own weights in the rendered head make its logits.
"""

import io
import os
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx_parts import single_output, texts, transformer
from torch import nn

from edgepart.errors import TemplateError
from edgepart.exits.render import render
from edgepart.exits.template import load_template
from edgepart.frameworks.onnx import OnnxFramework
from edgepart.frameworks.onnx.building import OnnxBuilder
from edgepart.frameworks.torch.heads import check_head, compile_head


class Images(nn.Module):
    """A convolution, and what it is given on top: (8, 6, 6) → logits."""

    def __init__(self, *classifier):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.classifier = nn.Sequential(*classifier)

    def features(self, x):
        return torch.tanh(self.stem(x)) + 0.1

    def forward(self, x):
        return self.classifier(self.features(x))


class Tokens(nn.Module):
    """(batch, sequence, 8) tokens, of which the first, the mean or the largest is classified."""

    def __init__(self, how):
        super().__init__()
        self.how, self.embed, self.norm = how, nn.Linear(3, 8), nn.LayerNorm(8)
        self.classifier = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 5))

    def features(self, x):
        return self.norm(self.embed(x) * torch.sigmoid(x.sum(-1, keepdim=True)))

    def forward(self, x):
        tokens = self.features(x)
        return self.classifier({"first": tokens[:, 0], "mean": tokens.mean(1), "max": tokens.amax(1)}[self.how])


class Mean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


class Max(nn.Module):
    def forward(self, x):
        return x.amax((2, 3))


class WithoutBackground(nn.Module):
    def forward(self, x):
        return x[:, 1:]


ACTIVATIONS = [nn.ReLU(), nn.ReLU6(), nn.Hardtanh(-0.5, 0.5), nn.SiLU(), nn.Hardswish(), nn.Hardsigmoid(), nn.ELU(0.7)]
POOLED = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
CLASSIFIERS = {
    "pooled": [*POOLED, nn.Dropout(0.3), nn.Linear(8, 5)],
    "mean": [Mean(), nn.Linear(8, 5, bias=False)],
    "max": [Max(), nn.Linear(8, 5), nn.Softmax(1)],
    "windows": [nn.MaxPool2d(3), nn.Flatten(), nn.Linear(32, 7), nn.LeakyReLU(0.2), nn.Linear(7, 5)],
    "normed": [*POOLED, nn.BatchNorm1d(8, eps=1e-3), nn.Linear(8, 7), nn.LayerNorm(7), nn.GELU(), nn.Linear(7, 5)],
    "convolution": [nn.Conv2d(8, 5, 3, stride=2, padding=1), nn.ReLU(), *POOLED],
    **{type(each).__name__: [*POOLED, nn.Linear(8, 7), each, nn.Linear(7, 5)] for each in ACTIVATIONS},
}


def exported(network, shape, *, dynamo=False, opset=20):
    """The network as ONNX, with free batch; the older exporter is ten times faster."""
    free = {0: "batch"}
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = {"input_names": ["x"], "output_names": ["y"], "opset_version": opset, "dynamo": dynamo}
        settings |= {"dynamic_shapes": ({0: torch.export.Dim.DYNAMIC},)} if dynamo else {"dynamic_axes": {"x": free}}
        if dynamo:
            return torch.onnx.export(network.eval(), (torch.randn(2, *shape),), verbose=False, **settings).model_proto
        torch.onnx.export(network.eval(), (torch.randn(2, *shape),), stream, **settings)
    return onnx.load_from_string(stream.getvalue())


def head_of(model, given, shape, classes=5):
    """The rendered head for a tensor of a shape."""
    builder = OnnxBuilder(model, given)
    source = render(
        load_template("replicate_classifier", "torch"),
        shape=shape,
        classes=classes,
        name="copy",
        parameters={},
        classifier=builder.classifier(shape),
    )
    return compile_head(source, "copy.py").eval()


def assert_exact(network, shape, features, **settings):
    torch.manual_seed(0)
    x = torch.randn(4, *shape) + torch.randn(4, *[1] * len(shape))  # maps whose means differ
    for module in network.modules():
        if hasattr(module, "reset_parameters"):  # they were drawn at whatever seed the import was made
            module.reset_parameters()
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    head = head_of(exported(network, shape, **settings), x.numpy(), features)
    weights = list(network.classifier.state_dict().values())
    assert [w.shape for w in head.state_dict().values()] == [w.shape for w in weights]
    head.load_state_dict(dict(zip(head.state_dict(), weights, strict=True)))
    with torch.no_grad():
        expected, made = network(x), head(network.features(x))
    if isinstance(getattr(network.classifier, "2", None), nn.Softmax):  # heads give logits
        made = made.softmax(1)
    assert expected.std(0).min() > 1e-3, "the network answers the same to everything"
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_it_is_exact_at_its_own_place(name):
    assert_exact(Images(*CLASSIFIERS[name]), (3, 6, 6), (8, 6, 6))


@pytest.mark.parametrize("how", ["first", "mean", "max"])
def test_it_is_exact_on_tokens(how):
    assert_exact(Tokens(how), (7, 3), (7, 8))


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_it_is_exact_whoever_exported_the_network(name):
    opset = 20 if name == "normed" else 18  # before, GELU is many operations
    assert_exact(Images(*CLASSIFIERS[name]), (3, 6, 6), (8, 6, 6), dynamo=True, opset=opset)


def test_older_operator_sets_say_it_otherwise():
    """Axes and ratios as attributes, a product and a sum for a layer."""
    for name in ("mean", "max", "pooled", "ReLU6"):
        assert_exact(Images(*CLASSIFIERS[name]), (3, 6, 6), (8, 6, 6), opset=13)


def test_only_the_kept_logits_are_made():
    """A background class that the network cuts off, as TensorFlow's classifiers have it."""
    network = Images(*POOLED, nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 6), WithoutBackground())
    model = exported(network, (3, 6, 6))
    lines = OnnxBuilder(model, np.zeros((2, 3, 6, 6), np.float32)).classifier((8, 6, 6))
    assert lines[-3:] == ["nn.Linear(8, 7)", "nn.ReLU()", "nn.Linear(7, 5)"]


@pytest.mark.parametrize("shape", [(4, 12, 12), (16, 3, 3), (20,)])
def test_it_fits_other_maps(shape):
    head = head_of(exported(Images(*CLASSIFIERS["windows"]), (3, 6, 6)), np.zeros((2, 3, 6, 6), np.float32), shape)
    check_head(head, shape, 5)


def test_a_product_and_a_sum_are_a_layer():
    """The transformer of the other tests: a token and a product, scaled by an input that no copy has."""
    model = single_output(transformer())
    with pytest.raises(TemplateError, match=r"'Mul' cannot be repeated\): use the template 'linear'"):
        OnnxBuilder(model, texts(2)).classifier(("sequence", 16))
    del model.graph.node[-1], model.graph.input[-1]
    bias = onnx.numpy_helper.from_array(np.zeros(4, np.float32), "out_bias")
    model.graph.initializer.append(bias)
    model.graph.node.append(onnx.helper.make_node("Add", ["out_bias", "product"], ["logits"], "plus"))
    given = {name: array for name, array in texts(2).items() if name != "temperature"}
    assert OnnxBuilder(model, given).classifier(("sequence", 16)) == ["Token(0)", "nn.Linear(16, 4)"]


def test_another_kind_of_tensor_is_refused():
    builder = OnnxBuilder(exported(Images(*CLASSIFIERS["pooled"]), (3, 6, 6)), np.zeros((2, 3, 6, 6), np.float32))
    with pytest.raises(TemplateError, match="cannot be fitted to a tensor"):
        builder.classifier(("sequence", 8))


@pytest.mark.slow
def test_a_real_network():
    """MobileNetV2 from TensorFlow: a mean, a convolution, and a background class that is cut off."""
    data = Path(os.environ["EDGEPART_DATA"]) / "onnx"
    model = onnx.load(data / "mobilenet_v2_imagenet.onnx")
    builder = OnnxFramework().builder(model, np.zeros((1, 3, 224, 224), np.float32))
    assert builder.classifier((64, 14, 14)) == [
        "nn.AdaptiveAvgPool2d(1)",
        "nn.Conv2d(64, 1000, (1, 1))",
        "nn.Flatten(1)",
    ]
