"""A network that gives one number a sample decides between two classes, in training and in its parts."""

import numpy as np
import pytest
import torch
from binary_networks import ENDINGS, MAKERS, data, example, planned
from small_networks import plan_for
from torch import nn

from edgepart.bundle import build
from edgepart.bundle.answers import record_logits
from edgepart.bundle.comparison import compare
from edgepart.bundle.targets import Target
from edgepart.errors import DataError
from edgepart.frameworks import framework_of
from edgepart.frameworks.builder import class_count, is_single
from edgepart.frameworks.runtimes import runtime
from edgepart.partitioning.stages import chain
from edgepart.training import TrainingSettings

OPTIONS = {"head_learning_rate_ratio": 1.0, "weight_decay": 0.0, "gradient_norm": 1e9}


def whole(framework, model, ending, images):
    """(N,) the probability of the second class, by the framework itself."""
    builder = framework_of(model).builder(model, example(framework))
    [answer] = builder.program.slice(None, None).run({"image": images}).values()
    answer = answer.reshape(-1).astype(np.float64)
    return 1 / (1 + np.exp(-answer)) if ending == "logit" else answer


def of_parts(builder, stages, arrays):
    """The logits of the last stage, as it is written."""
    known = dict(arrays)
    for stage in stages:
        passes_on = tuple(name for name in stage.stop.tensors) if stage.stop else ()
        known |= builder.stage(stage, passes_on).run(known)
    return known["final"]


def softmax(logits):
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def lone_stages(framework, model):
    """Two parts without exits but the last."""
    graph = framework_of(model).program(model, example(framework)).graph
    return chain(plan_for(graph, (("edge", "first"), ("cloud", None)), ()), graph)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("framework", MAKERS)
def test_softmax_of_the_logits_is_the_probability(framework, ending):
    model = MAKERS[framework](ending)
    builder, stages = framework_of(model).builder(model, example(framework)), lone_stages(framework, model)
    arrays = data(framework, 7).batch(range(7))
    probability = whole(framework, model, ending, arrays["image"])
    assert probability.std() > 1e-3
    learner = builder.learner(stages, frozen=framework == "onnx", **OPTIONS)
    reduced = learner.features(arrays)
    for logits in (of_parts(builder, stages, arrays), reduced["final"]):
        assert (logits.shape, logits.dtype) == ((7, 2), np.float32)
        assert not logits[:, 0].any()
        np.testing.assert_allclose(softmax(logits), np.stack([1 - probability, probability], 1), atol=1e-6)
    assert is_single(builder.program.graph)
    assert class_count(builder.program.graph) == 2
    assert builder.ending == ("" if ending == "logit" else "sigmoid")


@pytest.mark.parametrize("ending", ENDINGS[:3])
@pytest.mark.parametrize("framework", MAKERS)
def test_the_logit_is_the_one_before_the_sigmoid(framework, ending):
    """Of a probability that float32 rounds to 1 the logit could not be calculated back."""
    arrays = data(framework, 4).batch(range(4))
    model, far = MAKERS[framework](ending), MAKERS[framework](ending, bias=50.0)
    assert (whole(framework, far, ending, arrays["image"]) == 1).all()
    near = of_parts(framework_of(model).builder(model, example(framework)), lone_stages(framework, model), arrays)
    found = of_parts(framework_of(far).builder(far, example(framework)), lone_stages(framework, far), arrays)
    np.testing.assert_allclose(found[:, 1] - 50, near[:, 1], atol=1e-4)


@pytest.mark.parametrize("ending", ["sigmoid", "logit"])
@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_joint_training_takes_the_binary_cross_entropy(framework, ending):
    model = MAKERS[framework](ending)
    builder, stages = framework_of(model).builder(model, example(framework)), lone_stages(framework, model)
    batch = data(framework, 16)
    arrays, labels = batch.batch(range(16)), batch.labels
    p = whole(framework, model, ending, arrays["image"])
    learner = builder.learner(stages, frozen=False, **OPTIONS)
    [loss] = learner.step(arrays, labels, (1.0,), 0.01, 0)
    assert loss == pytest.approx(-np.log(np.where(labels == 1, p, 1 - p)).mean(), rel=1e-5)
    for number in range(30):
        [last] = learner.step(arrays, labels, (1.0,), 0.01, number)
    assert last < 0.8 * loss


@pytest.mark.parametrize(
    ("framework", "mode"),
    [
        pytest.param("torch", "heads", marks=pytest.mark.slow),
        ("torch", "joint"),
        pytest.param("keras", "heads", marks=pytest.mark.slow),
        ("keras", "joint"),
        ("onnx", "heads"),
    ],
)
def test_a_bundle_of_a_binary_network(framework, mode, tmp_path):
    model, told = MAKERS[framework]("sigmoid"), []
    validation = data(framework, 30, seed=1)
    bundle = build(
        model,
        planned(framework, model),
        data(framework, 60),
        validation=validation,
        example=example(framework),
        settings=TrainingSettings.for_mode(mode, epochs=12, batch_size=16, learning_rate=0.05),
        head="replicate_classifier",
        runtimes={"cloud": "onnxruntime"},
        output=tmp_path / "bundle",
        threads=1,
        say=told.append,
    )
    assert "the network gives one number a sample, which is taken for the probability of 'light'" in told
    logits = record_logits(bundle.parts, bundle.plan, validation, 8)
    assert logits.shape == (30, 3, 2)
    np.testing.assert_allclose(logits, bundle.validation.logits, rtol=1e-4, atol=1e-5)
    right = (logits.argmax(-1) == validation.labels[:, None]).mean(0)
    assert (right[: 3 if mode == "joint" else 2] > 0.9).all(), right
    if mode == "heads":
        own = whole(framework, model, "sigmoid", validation.batch(range(30))["image"])
        np.testing.assert_allclose(softmax(logits[:, -1])[:, 1], own, atol=1e-5)


def test_data_of_three_classes_is_refused(tmp_path):
    model, three = MAKERS["torch"]("sigmoid"), data("torch", 30, classes=("a", "b", "c"))
    with pytest.raises(DataError, match=r"3 classes .* gives one number, for two classes"):
        build(model, planned("torch", model), three, example=example("torch"), output=tmp_path / "bundle")


class Early(nn.Module):
    """Its first output is made by the first of two parts."""

    def __init__(self, width, activation):
        super().__init__()
        self.first, self.second = nn.Sequential(nn.Linear(4, width), activation), nn.Linear(width, 3)

    def forward(self, x):
        answer = self.first(x)
        return answer, self.second(answer)


@pytest.mark.parametrize(("width", "activation"), [(1, nn.Sigmoid()), (3, nn.Softmax(1))])
@pytest.mark.parametrize("framework", MAKERS)
def test_an_output_that_an_earlier_part_makes(framework, width, activation):
    torch.manual_seed(0)
    model = Early(width, activation).eval()
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    expected = model(torch.from_numpy(x))[0].detach().numpy()
    model, given = as_framework(model, framework, width), torch.zeros(2, 4) if framework == "torch" else x[:2]
    builder = framework_of(model).builder(model, given)
    graph = builder.program.graph
    last = graph.tensor(graph.outputs[0]).producer
    stages = chain(plan_for(graph, (("edge", last), ("cloud", None)), ()), graph)
    [name] = graph.inputs
    logits = of_parts(builder, stages, {name: x})
    found = softmax(logits)[:, -width:]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    learner = builder.learner(stages, frozen=framework == "onnx", **OPTIONS)
    np.testing.assert_allclose(learner.features({name: x})["final"], logits, atol=1e-6)


def ending_in_softmax(framework):
    """A network whose probabilities are so far apart that most have no digits left, and what goes into its softmax."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3), nn.Softmax(-1)).eval()
    with torch.no_grad():
        model[2].bias.copy_(torch.tensor([0.0, 60.0, -60.0]))
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    expected = model[:3](torch.from_numpy(x)).detach().numpy()
    made = as_framework(model, framework, 3)
    return framework_of(made).builder(made, torch.zeros(2, 4) if framework == "torch" else x[:2]), x, expected


def two_stages(graph, last):
    """Two parts, the first of which ends with the layer ``last``."""
    return chain(plan_for(graph, (("edge", graph.layers[last].name), ("cloud", None)), ()), graph)


@pytest.mark.parametrize("last", [1, -2])
@pytest.mark.parametrize("framework", MAKERS)
def test_of_a_softmax_at_the_end_is_taken_what_goes_into_it(framework, last):
    builder, x, expected = ending_in_softmax(framework)
    stages = two_stages(builder.program.graph, last)
    [name] = builder.program.graph.inputs
    np.testing.assert_allclose(of_parts(builder, stages, {name: x}), expected, rtol=1e-5)
    learner = builder.learner(stages, frozen=framework == "onnx", **OPTIONS)
    np.testing.assert_allclose(learner.features({name: x})["final"], expected, rtol=1e-5)
    assert builder.ending == "softmax"


@pytest.mark.parametrize(
    ("framework", "name", "precision"),
    [
        pytest.param("torch", "executorch", "float16", marks=pytest.mark.slow),
        ("torch", "onnxruntime", "int8"),
        ("keras", "litert", "int8"),
        ("keras", "onnxruntime", "float16"),
        ("onnx", "onnxruntime", "float16"),
        ("onnx", "onnxruntime", "int8"),
    ],
)
def test_coarse_precisions_keep_the_logits_of_a_softmax(framework, name, precision, tmp_path):
    """The logarithm of a probability that they round to nought would be infinite."""
    builder, x, expected = ending_in_softmax(framework)
    first, last = (
        builder.stage(stage, tuple(stage.stop.tensors) if stage.stop else ())
        for stage in two_stages(builder.program.graph, 1)
    )
    [given] = first.inputs
    arrays, target = first.run({given: x}), Target(runtime(name), precision)
    path = tmp_path / f"part{target.runtime.suffix}"
    target.runtime.write(last, path, precision=precision, samples=[arrays])
    compare(target, last, path, [arrays], target.tolerance(last, builder.program.graph))
    found = target.runtime.open(path).run(arrays)["final"]
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


def as_framework(model, framework, width):
    """The same layers with the same weights in another framework."""
    if framework == "torch":
        return model
    if framework == "keras":
        return keras_of(model, width)
    return onnx_of(model)


def keras_of(model, width):
    from keras_small import keras

    x = keras.Input((4,), name="x")
    if not isinstance(model, Early):
        return keras_sequence(model, x)
    linear = model.first[0]
    first = keras.layers.Dense(width, activation="sigmoid" if width == 1 else "softmax", name="first")
    second = keras.layers.Dense(3, name="second")
    answer = first(x)
    made = keras.Model(x, [answer, second(answer)])
    first.set_weights([linear.weight.detach().numpy().T, linear.bias.detach().numpy()])
    return made


def keras_sequence(model, x):
    from keras_small import keras

    made = x
    for layer in model:
        if isinstance(layer, nn.Linear):
            dense = keras.layers.Dense(layer.out_features)
            made = dense(made)
            dense.set_weights([layer.weight.detach().numpy().T, layer.bias.detach().numpy()])
        else:
            made = keras.layers.Activation("relu" if isinstance(layer, nn.ReLU) else "softmax")(made)
    return keras.Model(x, made)


def onnx_of(model):
    import onnx_zoo
    from onnx import TensorProto

    layers = [*model.first, model.second] if isinstance(model, Early) else list(model)
    nodes, weights, read, outputs = [], {}, "x", []
    for number, layer in enumerate(layers):
        kind, made, name = type(layer).__name__, f"v{number}", f"layer{number}"
        if kind == "Linear":
            weights |= {f"w{number}": layer.weight.detach().numpy(), f"b{number}": layer.bias.detach().numpy()}
            nodes.append(onnx_zoo.node("Gemm", [read, f"w{number}", f"b{number}"], [made], name, transB=1))
        else:
            nodes.append(onnx_zoo.node({"ReLU": "Relu"}.get(kind, kind), [read], [made], name))
        read = made
        outputs.append(made)
    last = outputs[1:] if isinstance(model, Early) else outputs[-1:]
    return onnx_zoo.make(nodes, {"x": (TensorProto.FLOAT, ["batch", 4])}, last, weights)
