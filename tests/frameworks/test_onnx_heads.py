"""Heads merged into the stages of ONNX networks: a stage makes what the slice and the torch head make one by one."""

import copy
import sys
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from onnx_parts import at_opset, convolutional, images, single_output, texts, transformer

from edgepart.errors import ExportError, MissingExtra, PlanError, TemplateError
from edgepart.frameworks.onnx import OnnxFramework
from edgepart.frameworks.onnx.building import OnnxBuilder
from edgepart.frameworks.runtimes import runtime
from edgepart.partitioning.stages import Stage

HEAD = """
import torch
from torch import nn

class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.{norm}({width})
        self.linear = nn.Linear({width}, {classes})

    def reduce(self, x):
        return {reduce}

    def classify(self, reduced):
        return self.linear(torch.tanh(self.norm(reduced)))

    def forward(self, x):
        return self.classify(self.reduce(x))
"""
IMAGE_HEAD = HEAD.format(norm="BatchNorm1d", width=8, classes=5, reduce="torch.cat([x.mean((2, 3))]) + x.amax((2, 3))")
TEXT_HEAD = HEAD.format(norm="LayerNorm", width=16, classes=4, reduce="x[:, 0] + x.mean(1)")


def image_builder(model=None, exit_name="early"):
    """A builder, and the stages with an exit after the first ReLU."""
    builder = OnnxBuilder(model or single_output(convolutional()), images(2))
    return with_exit(builder, "relu1", IMAGE_HEAD, 5, exit_name)


@cache
def _image_builder():
    return image_builder()


@cache
def _text_builder():
    builder = OnnxBuilder(single_output(transformer()), texts(2))
    return with_exit(builder, "residual_add", TEXT_HEAD, 4, "early")


def small(kind):
    """A builder and its stages; the network is captured once for all tests, the head is the caller's to train."""
    builder, stages = _image_builder() if kind == "image" else _text_builder()
    own = copy.copy(builder)
    own._heads = copy.deepcopy(builder._heads)
    return own, stages


def with_exit(builder, tensor, source, classes, exit_name):
    graph = builder.program.graph
    builder.add_head(exit_name, source, tensor, classes, seed=1)
    head = builder._heads[exit_name]
    if isinstance(head.norm, torch.nn.BatchNorm1d):  # as training leaves it
        head.norm.running_mean.normal_(generator=torch.Generator().manual_seed(2))
        head.norm.running_var.uniform_(0.5, 2, generator=torch.Generator().manual_seed(2))
    boundary = graph.boundary([tensor])
    return builder, [Stage("a", None, boundary, exit_name, tensor), Stage("b", boundary, None, "final")]


def passed_on(builder, stage):
    graph = builder.program.graph
    return [name for name in graph.crossing(stage.stop.layers) if name not in graph.inputs]


def by_hand(builder, stages, given):
    """The slices one after the other, and the torch head: the oracle."""
    known = dict(given)
    for stage in stages:
        known |= builder.program.slice(stage.start, stage.stop).run(known)
    first = stages[0]
    with torch.no_grad():
        early = builder._heads[first.exit].eval()(torch.from_numpy(known[first.tensor]).float()).numpy()
    return known | {first.exit: early, "final": known[builder.program.graph.outputs[0]]}


def assert_stages_equal_the_oracle(builder, stages, *inputs):
    parts = [builder.stage(stage, passed_on(builder, stage) if stage.stop else []) for stage in stages]
    assert parts[0].outputs == (*passed_on(builder, stages[0]), stages[0].exit)
    assert parts[1].outputs == ("final",)
    for given in inputs:
        expected, known = by_hand(builder, stages, given), dict(given)
        for part in parts:
            made = part.run(known)
            for name, array in made.items():
                assert np.abs(expected[name]).max() > 0.05
                np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-5)
            known |= made


@pytest.mark.parametrize(
    "version",
    [13, 21, 25, *(pytest.param(v, marks=pytest.mark.slow) for v in (14, 15, 16, 17, 18, 19, 20, 22, 23, 24))],
)
def test_a_merged_head_makes_the_same_at_every_opset(version):
    builder, stages = image_builder(at_opset(single_output(convolutional()), version))
    assert_stages_equal_the_oracle(builder, stages, *(images(batch, seed=batch) for batch in (1, 2, 5)))


def test_a_merged_head_on_tokens_of_any_length():
    builder, stages = small("text")
    assert_stages_equal_the_oracle(
        builder, stages, *(texts(batch, length) for batch in (1, 2, 5) for length in (3, 11))
    )


def test_the_network_is_not_changed_by_its_stages():
    builder, stages = small("image")
    digest, before = builder.weights_digest(), builder.program.slice(None, None).run(images(3))
    builder.stage(stages[0], ["relu1"])
    builder.router(stages[0].stop, "relu1", None)
    after = builder.program.slice(None, None).run(images(3))
    assert digest == builder.weights_digest()
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)


def test_a_stage_holds_the_weights_of_its_layers_and_its_head():
    builder, stages = small("image")
    part = builder.stage(stages[0], ["relu1"])
    own = builder.program.slice(None, stages[0].stop).parameters
    assert own.items() <= part.parameters.items()
    learned = {name: size for name, size in part.parameters.items() if name.startswith("early/")}
    assert sum(learned.values()) >= 4 * (8 * 5 + 5)
    assert {*own, *learned} == set(part.parameters)
    assert set(part.model.graph.initializers) == set(part.parameters)


@pytest.mark.parametrize("name", ["w1", "last"])
def test_an_exit_may_be_called_like_anything_inside(name):
    """A weight, or an output of the network: what leaves under that name is the head's logits."""
    builder, stages = image_builder(exit_name=name)
    part = builder.stage(stages[0], ["relu1"])
    assert part.outputs == ("relu1", name)
    made, expected = part.run(images(3)), by_hand(builder, stages, images(3))
    np.testing.assert_allclose(made[name], expected[name], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(made["relu1"], expected["relu1"], rtol=1e-5, atol=1e-5)


def test_merged_stages_run_as_artefacts(tmp_path):
    builder, stages = small("text")
    part = builder.stage(stages[0], passed_on(builder, stages[0]))
    runtime("onnxruntime").write(part, tmp_path / "stage.onnx")
    onnx.checker.check_model(tmp_path / "stage.onnx", full_check=True)
    for batch, sequence in ((1, 3), (4, 9)):
        made = runtime("onnxruntime").open(tmp_path / "stage.onnx").run(texts(batch, sequence))
        for name, array in part.run(texts(batch, sequence)).items():
            np.testing.assert_allclose(made[name], array, rtol=1e-5, atol=1e-5)


def test_the_router_averages_over_maps_and_tokens():
    builder, stages = small("image")
    router = builder.router(stages[0].stop, "relu1", None)
    map_ = builder.program.slice(None, stages[0].stop).run(images(3))["relu1"]
    assert router.outputs == ("embedding",)
    np.testing.assert_allclose(router.run(images(3))["embedding"], map_.mean((2, 3)), rtol=1e-5, atol=1e-6)

    builder, _ = small("text")
    start = builder.program.graph.boundary(["embed"])
    given, tokens = texts(3), builder.program.slice(None, start).run(texts(3))["embed"]
    given["mask"][1] = 0  # nothing counts: not divided by zero
    mask = given["mask"][..., None]
    masked = builder.router(start, "embed", "mask")
    assert masked.inputs == ("ids", "mask")
    expected = (tokens * mask).sum(1) / np.maximum(mask.sum(1), 1)
    np.testing.assert_allclose(masked.run(given)["embedding"], expected, rtol=1e-5, atol=1e-6)
    plain = builder.router(start, "embed", None)
    assert plain.inputs == ("ids",)
    np.testing.assert_allclose(plain.run(given)["embedding"], tokens.mean(1), rtol=1e-5, atol=1e-6)


def half_precision():
    """A network that computes in float16 from its first layer on."""
    model = single_output(convolutional())
    graph = model.graph
    for tensor in graph.initializer:
        array = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    graph.node.insert(0, helper.make_node("Cast", ["image"], ["half"], "half", to=TensorProto.FLOAT16))
    graph.node[1].input[0] = "half"
    graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    del graph.value_info[:]
    return model


def test_heads_and_logits_are_single_precision():
    builder, stages = image_builder(half_precision())
    assert builder.program.graph.tensor("relu1").dtype == "float16"
    expected = by_hand(builder, stages, images(2))
    made = builder.stage(stages[0], ["relu1"]).run(images(2))
    final = builder.stage(stages[1], []).run(made)["final"]
    assert (made["relu1"].dtype, made["early"].dtype, final.dtype) == (np.float16, np.float32, np.float32)
    np.testing.assert_allclose(made["early"], expected["early"], atol=5e-3)
    np.testing.assert_allclose(final, expected["final"], atol=5e-2)
    assert builder.router(stages[0].stop, "relu1", None).run(images(2))["embedding"].dtype == np.float32


def test_the_same_seed_draws_the_same_head():
    weights = [image_builder()[0]._heads["early"].linear.weight for _ in range(2)]
    assert torch.equal(*weights)


def test_a_head_that_onnx_cannot_hold_is_refused_before_it_is_trained():
    source = IMAGE_HEAD.replace("torch.tanh(", "torch.special.zeta(torch.tensor(2.0), 2 + ")
    builder = OnnxBuilder(single_output(convolutional()), images(2))
    with pytest.raises(TemplateError, match=r"the head of exit 'odd' cannot be written as ONNX nodes"):
        builder.add_head("odd", source, "relu1", 5, seed=0)


def test_a_head_for_another_width_is_refused():
    builder = OnnxBuilder(single_output(convolutional()), images(2))
    with pytest.raises(TemplateError, match="does not run on a tensor"):
        builder.add_head("early", TEXT_HEAD, "relu1", 5, seed=0)


def test_a_stage_that_makes_nothing_is_refused():
    builder, stages = small("image")
    with pytest.raises(PlanError, match="leads to no exit"):
        builder.stage(Stage("a", None, stages[0].stop), [])


def test_a_network_that_cannot_be_raised_is_refused(monkeypatch):
    """Where the version converter of onnx has no rule, it leaves the model as it is."""
    builder, stages = small("image")
    monkeypatch.setattr("edgepart.frameworks.onnx.merge.ConvertVersionPass", lambda *args, **kwargs: lambda model: None)
    with pytest.raises(ExportError, match="operator set 17 and cannot be raised to 18"):
        builder.stage(stages[0], ["relu1"])


def test_without_torch_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"edgepart\[torch\]"):
        OnnxFramework().builder(single_output(convolutional()), images(2))
