"""Small Keras networks for every way networks branch; random weights, random statistics of batch normalisation."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache

import numpy as np

from edgepart.frameworks import framework
from edgepart.frameworks.keras import require_keras

require_keras()
import keras  # noqa: E402
from keras import layers, ops  # noqa: E402


@keras.saving.register_keras_serializable("edgepart_zoo")
class Scale(layers.Layer):
    """A layer of the user's own: weights, and keras.ops on the real batch size."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="random_normal", name="scale")

    def call(self, x):
        flat = ops.reshape(x, (ops.shape(x)[0], -1))
        return ops.reshape(flat, ops.shape(x)) * (1.0 + self.scale)


class Split(layers.Layer):
    """Returns several tensors."""

    def call(self, x):
        left, right = ops.split(x, 2, axis=-1)
        return {"left": left, "right": [right, left + right]}


class Tower(keras.Model):
    """A class of its own, with a list of layers, operations between them and a model inside."""

    def __init__(self, width=12, **kwargs):
        super().__init__(**kwargs)
        self.hidden = [layers.Dense(width, activation="relu", name=f"hidden_{i}") for i in range(2)]
        self.inner = keras.Sequential([layers.Dense(width), layers.LayerNormalization()], name="inner")
        self.dropout = layers.Dropout(0.3, name="dropout")
        self.head = layers.Dense(4, name="head")

    def call(self, x, training=False):
        for layer in self.hidden:
            x = layer(x)
        x = ops.tanh(x + self.inner(x)) * 2.0
        return self.head(self.dropout(x, training=training))


class Pair(keras.Model):
    """Takes a dict, returns one; holds a subclassed model."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.left, self.right = Tower(name="left"), Tower(name="right")

    def call(self, inputs):
        left, right = self.left(inputs["a"]), self.right(inputs["b"])
        return {"sum": left + right, "difference": ops.maximum(left, right)}


class Tokens(keras.Model):
    """Token ids with an attention mask, as transformers take them."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embed = layers.Embedding(50, 16, name="embed")
        self.attend = layers.MultiHeadAttention(2, 8, name="attend")
        self.norm = layers.LayerNormalization(name="norm")
        self.head = layers.Dense(3, name="head")

    def call(self, ids, mask):
        x = self.embed(ids)
        x = self.norm(x + self.attend(x, x, attention_mask=ops.expand_dims(mask, 1) > 0))
        weight = ops.cast(ops.expand_dims(mask, -1), "float32")
        return self.head(ops.sum(x * weight, axis=1) / ops.sum(weight, axis=1))


def _image(name="image", size=12):
    return keras.Input((size, size, 3), name=name)


def _sequential():
    return keras.Sequential([
        _image(), layers.Conv2D(6, 3, strides=2), layers.BatchNormalization(), layers.ReLU(), layers.MaxPooling2D(),
        layers.Flatten(), layers.Dropout(0.5), layers.Dense(5),
    ], name="sequential")  # fmt: skip


def _unbuilt():
    return keras.Sequential(
        [layers.Dense(8, activation="relu"), layers.BatchNormalization(), layers.Dense(3)], name="unbuilt"
    )


def _residual():
    image = _image()
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(image)
    for width in (8, 16):
        y = layers.BatchNormalization()(x)
        y = layers.Activation("relu")(y)
        y = layers.DepthwiseConv2D(3, padding="same", strides=width // 8)(y)
        y = layers.Conv2D(width, 1)(y)
        shortcut = x if width == 8 else layers.AveragePooling2D(2)(layers.Conv2D(width, 1)(x))
        x = layers.Add()([y, shortcut])
    return keras.Model(image, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)), name="residual")


def _inception():
    image = _image()
    x = layers.SeparableConv2D(8, 3)(image)
    branches = [layers.Conv2D(4, size, padding="same", activation="swish")(x) for size in (1, 3, 5)]
    pooled = layers.Conv2D(4, 1)(layers.MaxPooling2D(3, 1, padding="same")(x))
    x = layers.Concatenate()([*branches, pooled])
    x = layers.Conv2DTranspose(6, 2, strides=2)(x)
    return keras.Model(
        image, [layers.GlobalMaxPooling2D()(x), layers.Dense(3)(layers.Flatten()(pooled))], name="inception"
    )


def _nested():
    def block(name):
        x = keras.Input((12,), name="x")
        return keras.Model(x, layers.Dense(12, name="dense")(layers.Dense(12, "relu", name="hidden")(x)), name=name)

    x = keras.Input((12,), name="vector")
    first, second = block("first"), block("second")
    outer = keras.Input((12,), name="y")
    pair = keras.Model(outer, layers.Add(name="dense")([second(outer), outer]), name="pair")
    y = pair(first(x))
    return keras.Model(x, layers.Dense(3, name="dense")(first(y)), name="nested")


def _shared():
    a, b = keras.Input((10,), name="a"), keras.Input((10,), name="b")
    tower, norm = layers.Dense(6, "tanh", name="tower"), layers.BatchNormalization(name="norm")
    left, right = norm(tower(a)), norm(tower(b))
    return keras.Model([a, b], layers.Dot(1)([left, right]) + layers.Dense(2)(left - right), name="shared")


def _dicts():
    inputs = {"big": keras.Input((4, 4, 2), name="big"), "small": keras.Input((8,), name="small")}
    x = layers.Flatten()(inputs["big"])
    y = layers.Dense(8)(inputs["small"])
    x = layers.Dense(8)(x)
    return keras.Model(
        inputs, {"sum": x + y, "product": ops.matmul(ops.expand_dims(x, 2), ops.expand_dims(y, 1))}, name="dicts"
    )


def _operations():
    x = keras.Input((6, 8), name="x")
    y = ops.transpose(x, (0, 2, 1))
    weights = np.random.default_rng(5).normal(size=(6, 40)).astype("float32")
    y = ops.relu(ops.matmul(y, weights)) * 0.5 + 1.0
    first, second = ops.split(y, 2, axis=2)
    values, indices = ops.top_k(ops.max(first, axis=2), 3)
    y = ops.concatenate([values, ops.mean(second, axis=1)[:, :5], ops.cast(indices, "float32") * 0.1], axis=1)
    return keras.Model(x, [ops.softmax(y), ops.argmax(ops.mean(second, axis=1), axis=1)], name="operations")


def _lambda():
    x = keras.Input((8,), name="x")
    y = layers.Lambda(lambda t: ops.square(t) - 1.0, name="square")(x)
    y = Scale(name="scale")(y)
    parts = Split(name="split")(y)
    y = layers.Concatenate()([parts["left"], parts["right"][0]]) * parts["right"][1][:, :1]
    return keras.Model(x, [layers.Dense(3)(y), x], name="lambda")


def _recurrent():
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(50, 12, mask_zero=True)(ids)
    x, *_ = layers.LSTM(8, return_sequences=True, return_state=True)(x)
    x = layers.Bidirectional(layers.GRU(6, return_sequences=True))(x)
    x = layers.Dropout(0.2)(layers.Dense(8)(x))
    x = layers.SimpleRNN(5)(x)
    return keras.Model(ids, layers.Dense(3)(x), name="recurrent")


def _masked():
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(50, 16, mask_zero=True, name="embedding")(ids)
    y = layers.MultiHeadAttention(2, 8)(x, x)
    x = layers.LayerNormalization()(layers.Add()([x, y]))
    inner = keras.Input((None, 16), name="inner_in")
    block = keras.Model(inner, layers.Dense(16, "gelu")(layers.Dense(16)(inner)), name="block")
    x = layers.Add()([x, block(x)])
    return keras.Model(ids, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)), name="masked")


def _series():
    x = keras.Input((None, 6), name="series")
    y = layers.Conv1D(8, 3, padding="causal", activation="relu")(x)
    y = layers.MaxPooling1D(2)(layers.Conv1D(8, 3)(y))
    y = layers.Masking()(y)
    z = layers.Concatenate(axis=1)([y, layers.UpSampling1D(2)(y)])
    return keras.Model(x, [layers.GRU(4)(y), layers.GlobalMaxPooling1D()(z)], name="series")


class Positions(layers.Layer):
    """Adds learned positions, of which there are more than any sequence needs."""

    def build(self, shape):
        self.table = self.add_weight(shape=(64, shape[-1]), initializer="random_normal", name="table")

    def call(self, x):
        return x + self.table[: ops.shape(x)[1]]


def _transformer():
    ids, mask = keras.Input((None,), dtype="int32", name="ids"), keras.Input((None,), dtype="int32", name="mask")
    x = Positions(name="positions")(layers.Embedding(50, 16, name="tokens")(ids))
    for number in range(2):
        attention = layers.MultiHeadAttention(4, 4, name=f"attention_{number}")
        y = attention(x, x, attention_mask=ops.expand_dims(mask, 1) > 0)
        x = layers.LayerNormalization()(x + layers.Dropout(0.1)(y))
        x = layers.LayerNormalization()(x + layers.Dense(16)(layers.Dense(32, "gelu")(x)))
    return keras.Model([ids, mask], layers.Dense(3)(x[:, 0]), name="transformer")


def _mixed(policy):
    def build():
        image = _image()
        x = layers.Conv2D(8, 3, activation="relu", dtype=policy)(image)
        x = layers.BatchNormalization(dtype=policy)(x)
        x = layers.GlobalAveragePooling2D(dtype=policy)(x)
        return keras.Model(image, layers.Dense(4, dtype="float32")(x), name=policy)

    return build


def _volumes():
    x = keras.Input((6, 6, 6, 2), name="volume")
    y = layers.Conv3D(4, 3, activation="relu")(x)
    y = layers.Rescaling(2.0)(layers.GroupNormalization(2)(y))
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling3D()(y)), name="volumes")


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "sequential": _sequential,
    "unbuilt": _unbuilt,
    "residual": _residual,
    "inception": _inception,
    "nested": _nested,
    "shared": _shared,
    "dicts": _dicts,
    "operations": _operations,
    "lambda": _lambda,
    "recurrent": _recurrent,
    "masked": _masked,
    "series": _series,
    "transformer": _transformer,
    "mixed_float16": _mixed("mixed_float16"),
    "mixed_bfloat16": _mixed("mixed_bfloat16"),
    "volumes": _volumes,
    "tower": lambda: Tower(name="tower"),
    "pair": lambda: Pair(name="pair"),
    "tokens": lambda: Tokens(name="tokens"),
}
#: those with a sequence that varies
TOKENS = ("recurrent", "masked", "series", "transformer", "tokens")
_SHAPES = {
    "dicts": {"big": (4, 4, 2), "small": (8,)},
    "unbuilt": {"input_layer": (9,)},
    "nested": {"vector": (12,)},
    "shared": {"a": (10,), "b": (10,)},
    "operations": {"x": (6, 8)},
    "lambda": {"x": (8,)},
    "volumes": {"volume": (6, 6, 6, 2)},
    "tower": {"x": (7,)},
    "pair": {"a": (5,), "b": (9,)},
}


@cache
def network(name):
    """The network, built and called once, with weights and statistics that are not near what they start as."""
    keras.utils.set_random_seed(zlib.crc32(name.encode()) % 1000)
    model = NETWORKS[name]()
    call(model, inputs(name, 2))
    rng = np.random.default_rng(7)
    for weight in model.weights:
        if weight.path.endswith("variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif weight.path.endswith(("mean", "bias", "beta")):
            weight.assign(rng.normal(0, 0.3, weight.shape))
    return model


@cache
def program(name):
    given = inputs(name, 2)
    return framework("keras").program(network(name), next(iter(given.values())) if name == "unbuilt" else given)


def inputs(name, batch, seed=0, length=9):
    rng = np.random.default_rng(seed)
    if name == "series":
        series = rng.normal(size=(batch, length, 6)).astype("float32")
        series[0, length // 2 :] = 0
        return {"series": series}
    if name in TOKENS:
        ids = rng.integers(1, 50, (batch, length)).astype("int32")
        counts = rng.integers(2, length + 1, batch)
        mask = (np.arange(length) < counts[:, None]).astype("int32")
        return {"ids": ids * mask, "mask": mask} if name in ("transformer", "tokens") else {"ids": ids * mask}
    shapes = _SHAPES.get(name, {"image": (12, 12, 3)})
    return {key: rng.normal(size=(batch, *shape)).astype("float32") for key, shape in shapes.items()}


def call(model, given):
    if isinstance(model, Tokens):
        return model(given["ids"], given["mask"], training=False)
    if isinstance(model, Pair) or len(given) > 1:
        return model(given, training=False)
    return model(next(iter(given.values())), training=False)


@cache
def compiled(name):
    import tensorflow as tf

    model = network(name)
    given = inputs(name, 2)
    specs = {
        key: tf.TensorSpec([None, None, *array.shape[2:]] if name in TOKENS else [None, *array.shape[1:]], array.dtype)
        for key, array in given.items()
    }
    function = tf.function(lambda tensors: call(model, tensors), input_signature=[specs], autograph=False)
    return function, function.get_concrete_function()


def answers(name, given):
    """What the network itself makes, compiled by TensorFlow as its parts are; bfloat16 as float32."""
    import tensorflow as tf

    results = keras.tree.flatten(compiled(name)[0]({key: tf.constant(array) for key, array in given.items()}))
    return [np.array(tf.cast(t, "float32") if t.dtype == tf.bfloat16 else t) for t in results]


def final(graph, known):
    """The network's outputs among what parts have made, as :func:`answers` gives them."""
    specs = [graph.tensor(name) for name in graph.outputs]
    return [
        (known[t.name].astype(np.uint32) << 16).view(np.float32) if t.dtype == "bfloat16" else known[t.name]
        for t in specs
    ]


def run_parts(parts, given):
    """All tensors that parts in turn make, each given only what it reads."""
    known = dict(given)
    for part in parts:
        known |= part.run({name: known[name] for name in part.inputs})
    return known
