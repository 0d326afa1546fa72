"""What the Graph of a Keras network says, and what is refused in one sentence."""

import gc
import itertools
import math
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from keras_zoo import NETWORKS, TOKENS, Pair, Tower, inputs, network, program

from edgepart.errors import CaptureError
from edgepart.frameworks import framework
from edgepart.graph.sizes import evaluate_size

KERAS = framework("keras")


def numbers(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def functional(build, shape, **settings):
    x = keras.Input(shape, name="x", **settings)
    return keras.Model(x, build(x), name="network")


def refusal(model, example):
    with pytest.raises(CaptureError) as caught:
        KERAS.program(model, example)
    return str(caught.value)


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_and_bytes_are_those_of_what_parts_make(name):
    """At other sizes than those that were traced."""
    graph = program(name).graph
    sizes = {"length": 19} if name in TOKENS else {}
    given = inputs(name, 7, **sizes)
    symbols = graph.symbols | {"batch": 7} | ({"sequence": 19} if name in TOKENS else {})
    known = dict(given)
    boundaries = graph.boundaries()
    edges = [None, *boundaries[:: max(1, len(boundaries) // 5)], None]
    for start, stop in itertools.pairwise(edges):
        part = program(name).slice(start, stop)
        known |= part.run({key: known[key] for key in part.inputs})
    for key, array in known.items():
        tensor = graph.tensor(key)
        assert array.shape == tuple(evaluate_size(size, symbols) for size in tensor.shape), key
        one = math.prod(evaluate_size(size, graph.symbols) for size in tensor.shape)
        assert tensor.bytes == one * array.dtype.itemsize


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_are_the_network_s_own(name):
    graph, model = program(name).graph, network(name)
    weights = [weight for weight in model.weights if "seed_generator" not in weight.path]
    constants = sum(size for key, size in graph.parameters.items() if "constant" in key)
    assert sum(graph.parameters.values()) - constants == sum(
        math.prod(w.shape) * tf.as_dtype(w.dtype).size for w in weights
    )
    assert len(graph.parameters) >= len(weights)


def test_multiply_accumulates_are_counted():
    """By hand, for one sample."""
    layers_ = {layer.name.rpartition(".")[2]: layer for layer in program("sequential").graph.layers}
    convolution = next(layer for layer in layers_.values() if layer.kind == "Conv2D")
    assert convolution.macs == 5 * 5 * 6 * 3 * 3 * 3
    assert convolution.activation_bytes >= 5 * 5 * 6 * 4
    assert next(layer for layer in layers_.values() if layer.kind == "Dense").macs == 24 * 5
    recurrent = {layer.kind: layer for layer in program("recurrent").graph.layers}
    assert recurrent["LSTM"].macs == 9 * 4 * 8 * (12 + 8)
    assert not any(layer.uncounted for layer in program("recurrent").graph.layers)
    attention = next(x for x in program("transformer").graph.layers if x.kind == "MultiHeadAttention")
    assert attention.macs == 4 * 9 * 16 * 16 + 2 * 9 * 9 * 16
    volumes = {layer.kind: layer for layer in program("volumes").graph.layers}
    assert volumes["Conv3D"].macs == 4**3 * 4 * 3**3 * 2


@pytest.mark.parametrize(
    ("name", "millions", "parameters"),
    [("MobileNetV2", 300.8, 3_538_984), pytest.param("ResNet50", 3858.0, 25_636_712, marks=pytest.mark.slow)],
)
def test_published_counts(name, millions, parameters):
    """MobileNetV2: 300 M (Sandler et al., table 4); ResNet-50 v1: 3.8 G (He et al., table 1)."""
    model = getattr(keras.applications, name)(weights=None)
    graph = KERAS.program(model, np.zeros((1, 224, 224, 3), "float32")).graph
    assert sum(layer.macs for layer in graph.layers) / 1e6 == pytest.approx(millions, rel=1e-3)
    assert sum(graph.parameters.values()) == 4 * parameters


def test_layers_carry_the_paths_of_nested_models():
    graph = program("nested").graph
    assert set(graph.within("first")) == {"first.hidden", "first.dense", "first.hidden_1", "first.dense_1"}
    assert set(graph.within("pair.second")) == {"pair.second.hidden", "pair.second.dense"}
    assert graph.layer("pair.dense").kind == "Add"
    assert {layer.name for layer in graph.layers} >= {"dense", "pair.dense"}
    assert graph.layer("first.dense").parameters == graph.layer("first.dense_1").parameters


def test_a_shared_layer_is_a_layer_for_every_call_with_one_set_of_weights():
    graph = program("shared").graph
    assert graph.layer("tower").parameters == graph.layer("tower_1").parameters == ("tower.kernel", "tower.bias")
    assert graph.parameter_bytes(["tower", "tower_1"]) == 4 * (10 * 6 + 6)


def test_a_number_never_takes_the_name_of_another_layer():
    x = keras.Input((4,), name="x")
    twice, other = layers.Dense(4, name="dense"), layers.Dense(4, name="dense_1")
    graph = KERAS.program(keras.Model(x, other(twice(twice(x)))), numbers(2, 4)).graph
    assert [layer.name for layer in graph.layers] == ["dense", "dense_2", "dense_1"]
    assert graph.layer("dense_1").parameters == ("dense_1.kernel", "dense_1.bias")


def test_masks_cross_but_are_no_features():
    graph = program("masked").graph
    masks = [tensor for tensor in graph.tensors if tensor.dtype == "bool"]
    assert masks
    assert not any(mask.feature for mask in masks)
    assert graph.tensor("embedding:0").feature
    assert not graph.tensor("ids").feature


def test_subclassed_models_are_recorded_inside():
    assert [x.name for x in program("tower").graph.layers][:2] == ["hidden_0", "hidden_1"]
    assert {"left.hidden_0", "right.hidden_0", "left.inner", "left.head"} <= set(program("pair").graph.modules)
    assert program("pair").graph.layer("left.tanh").module == "left"
    assert program("pair").graph.inputs == ("a", "b")


def test_the_user_s_model_is_left_as_it_is():
    model = Pair(name="untouched")
    given = {"a": numbers(2, 5), "b": numbers(2, 9)}
    model(given)
    inner = list(model._flatten_layers())
    before = [w.numpy() for w in model.weights]
    nodes = [(len(layer._inbound_nodes), len(layer._outbound_nodes), layer.trainable) for layer in inner]
    KERAS.program(model, given)
    assert nodes == [(len(layer._inbound_nodes), len(layer._outbound_nodes), layer.trainable) for layer in inner]
    for now, was in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(now.numpy(), was)
    assert not model.losses


def test_a_program_does_not_keep_the_model():
    model = functional(layers.Dense(3), (4,))
    captured = KERAS.program(model, numbers(2, 4))
    forgotten = weakref.ref(model)
    del model
    gc.collect()
    assert forgotten() is None
    assert captured.graph.layers


class Raw(keras.Model):
    def call(self, x):
        return tf.nn.relu(x)


class Branching(keras.Model):
    def call(self, x):
        return x if ops.sum(x) > 0 else -x


class Reshaped(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(6)

    def call(self, x):
        return ops.reshape(self.dense(x), (ops.shape(x)[0], 2, -1))


class Holding(keras.Model):
    """TensorFlow's own functions in a model inside: it stays one layer."""

    def __init__(self):
        super().__init__()
        self.raw, self.dense = Raw(name="raw"), layers.Dense(2, name="dense")

    def call(self, x):
        return self.dense(self.raw(x))


def test_sizes_of_the_batch_in_a_subclassed_model():
    graph = KERAS.program(Reshaped(), numbers(2, 3)).graph
    assert graph.tensor(graph.outputs[0]).shape == ("batch", 2, 3)


def test_a_subclassed_model_inside_that_cannot_be_recorded_is_one_layer():
    graph = KERAS.program(Holding(), numbers(2, 3)).graph
    assert [(layer.name, layer.kind) for layer in graph.layers] == [("raw", "Raw"), ("dense", "Dense")]


@pytest.mark.parametrize("model", [Raw, Branching])
def test_subclassed_models_that_cannot_be_recorded(model):
    said = refusal(model(), numbers(2, 3))
    assert f"call of the {model.__name__}" in said
    assert "keras.Model(inputs, outputs)" in said
    assert "\n" not in said


class Foreign(layers.Layer):
    def __init__(self):
        super().__init__(name="foreign")
        self.own = tf.Variable(tf.ones(4))

    def call(self, x):
        return x * self.own


class Counting(layers.Layer):
    def build(self, shape):
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")

    def call(self, x):
        self.count.assign(self.count + 1.0)
        return x * self.count


class CallsPython(layers.Layer):
    def call(self, x):
        made = tf.py_function(lambda v: v * 2, [x], tf.float32)
        made.set_shape(x.shape)
        return made


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda x: Foreign()(x), ("'foreign'", "self.add_weight")),
        (
            lambda x: Counting(name="counting")(x),
            ("'counting'", "changes its state 'counting/count'", "stateful=False"),
        ),
        (lambda x: CallsPython(name="python")(x), ("'python'", "EagerPyFunc", "keras.ops")),
        (
            lambda x: layers.Lambda(lambda v: tf.boolean_mask(v, v > 0), name="choose")(x),
            ("'choose'", "depends on the values"),
        ),
    ],
)
def test_layers_that_no_part_could_hold(build, words):
    said = refusal(functional(build, (4,)), numbers(2, 4))
    assert all(word in said for word in words), said
    assert "\n" not in said


def test_a_network_that_keras_computes_wrongly_where_lengths_vary():
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(9, 4, mask_zero=True)(ids)
    model = keras.Model(ids, layers.Add()([x, layers.TimeDistributed(layers.Dense(4))(x)]))
    assert "fixed length" in refusal(model, np.ones((2, 7), "int32"))


def test_sizes_left_open_are_those_of_the_example():
    model = functional(lambda x: layers.GlobalAveragePooling2D()(layers.Conv2D(3, 3)(x)), (None, None, 3))
    graph = KERAS.program(model, numbers(2, 8, 9, 3)).graph
    assert graph.tensor("x").shape == ("batch", 8, 9, 3)
    assert graph.layers[0].macs == 6 * 7 * 3 * 3 * 3 * 3


def test_a_network_for_one_batch_size():
    x = keras.Input(batch_shape=(1, 4), name="x")
    assert "batches of 1" in refusal(keras.Model(x, ops.reshape(layers.Dense(4)(x), (1, 2, 2))), numbers(1, 4))
    x = keras.Input(batch_shape=(8, 4), name="x")
    captured = KERAS.program(keras.Model(x, layers.Dense(4)(x)), numbers(3, 4))
    assert captured.slice(None, None).run({"x": numbers(5, 4)})[captured.graph.outputs[0]].shape == (5, 4)


@pytest.mark.parametrize(
    ("example", "words"),
    [
        (numbers(2, 5), "shape (2, 5), expected (batch, 4)"),
        ((numbers(2, 4), numbers(2, 4)), "2 arrays, the network takes 1 (x)"),
        ({"y": numbers(2, 4)}, "lacks the input 'x'"),
        ("words", "text"),
        (object(), "object objects"),
        (numbers(0, 4), "must be the batch"),
    ],
)
def test_examples_that_do_not_fit(example, words):
    assert words in refusal(functional(layers.Dense(3), (4,)), example)


def test_what_is_no_keras_model():
    assert "expected a keras.Model" in refusal(object(), numbers(1, 1))
    assert not KERAS.accepts(object())
    assert KERAS.accepts(Tower())


def test_constants_in_the_code_belong_to_the_part_that_reads_them():
    held = tf.constant(numbers(4, 300))
    model = functional(lambda x: layers.Lambda(lambda v: v @ held, name="product")(x), (4,))
    captured = KERAS.program(model, numbers(2, 4))
    assert captured.graph.parameters == {"product.constant_0": 4 * 300 * 4}
    given = numbers(3, 4)
    np.testing.assert_allclose(captured.slice(None, None).run({"x": given})["product"], given @ held.numpy(), rtol=1e-5)


def test_references_say_how_much_they_multiply():
    found = KERAS.reference()
    assert set(found) == {"mobilenet_v2", "squeezenet", "resnet50"}
    assert found["squeezenet"][0] == pytest.approx(349.2e6, rel=1e-3)
    found["squeezenet"][1]()
