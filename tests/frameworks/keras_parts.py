"""Small Keras networks captured as one part each, for the tests of what parts are written as."""

from __future__ import annotations

from functools import cache

import numpy as np

from edgepart.frameworks.keras import KerasFramework, require_keras
from edgepart.frameworks.signature import Signature

require_keras()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras import layers  # noqa: E402

from edgepart.frameworks.keras.export import export  # noqa: E402

#: captured with as many tokens, run with others
LENGTH, TOKENS = 5, 20


def convolutional():
    """Convolution, depthwise and separable ones, batch normalisation, pooling, softmax; two outputs."""
    x = keras.Input((16, 16, 3), name="image")
    y = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    y = layers.ReLU(6.0)(layers.BatchNormalization()(y))
    y = layers.DepthwiseConv2D(3, padding="same")(y)
    y = layers.SeparableConv2D(12, 3, name="maps")(y)
    z = layers.Flatten()(layers.AveragePooling2D(2)(layers.ReLU()(layers.Conv2D(12, 3)(y))))
    z = layers.Dense(12)(z) + layers.GlobalAveragePooling2D()(layers.MaxPooling2D(2)(y))
    return keras.Model(x, [layers.Softmax()(layers.Dense(4)(z)), y])


def attentive():
    """Token ids (int64) and a mask (bool) of any length, attention, layer normalisation, exact GELU; two outputs."""
    ids = keras.Input((None,), dtype="int64", name="ids")
    mask = keras.Input((None,), dtype="bool", name="mask")
    x = layers.Embedding(TOKENS, 48)(ids)
    y = layers.MultiHeadAttention(4, 12)(x, x, attention_mask=layers.Reshape((1, -1))(mask))
    y = layers.LayerNormalization()(y + x)
    y = layers.Dense(48, activation="gelu")(layers.Dense(96, activation="gelu")(y))
    return keras.Model([ids, mask], [layers.GlobalAveragePooling1D()(y), y])


def recurrent():
    """An LSTM over a fixed length."""
    x = keras.Input((6, 8), name="series")
    return keras.Model(x, layers.Dense(3)(layers.LSTM(24)(x)))


def masked_recurrent():
    """Token ids of any length whose zeros are masked, a GRU in both directions."""
    x = keras.Input((None,), dtype="int64", name="ids")
    y = layers.Bidirectional(layers.GRU(16))(layers.Embedding(TOKENS, 8, mask_zero=True)(x))
    return keras.Model(x, layers.Dense(3)(y))


def masked_sequence():
    """Token ids whose zeros are masked, an LSTM that gives out every step: the loop reads the embeddings."""
    x = keras.Input((None,), dtype="int64", name="ids")
    y = layers.LSTM(16, return_sequences=True)(layers.Embedding(TOKENS, 8, mask_zero=True)(x))
    return keras.Model(x, layers.Dense(3)(layers.Dense(16)(y)))


def gated():
    """Of functions that are written as they are read: silu has a gradient of its own, XLA compiles grouped ones."""
    x = keras.Input((8, 8, 4), name="image")
    y = layers.Conv2D(8, 3, groups=2, activation="silu")(x)
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling2D()(y)))


@keras.saving.register_keras_serializable("edgepart_tests")
class Spectrum(layers.Layer):
    """What LiteRT's converter writes, and LiteRT cannot load."""

    def call(self, x):
        return tf.math.real(tf.signal.fft(tf.cast(x, tf.complex64)))


def spectral():
    x = keras.Input((16,), name="x")
    return keras.Model(x, layers.Dense(3)(Spectrum(name="spectrum")(x)))


def several():
    """Three inputs of which one leaves as it came, four outputs of which two are equal."""
    a, b, c = (keras.Input((size,), name=name) for name, size in (("a", 3), ("b", 4), ("c", 2)))
    y = layers.Dense(4)(layers.Concatenate()([b, a]))
    return keras.Model([b, c, a], [y, a, y, layers.Dense(5)(layers.Concatenate()([c, y]))])


@keras.saving.register_keras_serializable("edgepart_tests")
class Strange(layers.Layer):
    """What neither LiteRT nor ONNX has."""

    def call(self, x):
        return tf.math.betainc(2.0, 3.0, tf.sigmoid(x))


def half():
    """Computes in float16, its input and output are float32."""
    x = keras.Input((8, 8, 3), name="image")
    y = layers.Conv2D(4, 3, dtype="mixed_float16")(x)
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling2D(dtype="mixed_float16")(y)))


def unsupported():
    x = keras.Input((4,), name="x")
    return keras.Model(x, layers.Dense(3)(Strange(name="strange")(layers.Dense(4)(x))))


def draw(model_inputs, batch, length=LENGTH, seed=0):
    """Arrays for the inputs of a model or of a signature: (name, shape without batch, dtype) each."""
    random = np.random.default_rng(seed)
    given = {}
    for name, shape, dtype in model_inputs:
        sizes = (batch, *(size if isinstance(size, int) else length for size in shape))
        if dtype == "float32":
            given[name] = random.normal(size=sizes).astype(np.float32)
        elif dtype == "bool":
            given[name] = random.random(sizes) < 0.7
            given[name][:, 0] = True
        else:
            given[name] = random.integers(0, TOKENS, sizes, dtype=np.int64)
    return given


@cache
def part(make):
    """The whole network as one part, its weights and statistics far from their first values."""
    keras.utils.set_random_seed(0)
    model = make()
    random = np.random.default_rng(1)
    for variable in model.variables:
        if "moving_variance" in variable.path:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
        elif variable.path.rpartition("/")[2] in ("bias", "beta", "moving_mean"):
            variable.assign(random.normal(0, 0.3, variable.shape))
    example = draw([(x.name, x.shape[1:], x.dtype) for x in model.inputs], 2)
    return KerasFramework().program(model, example).slice(None, None)


def arrays(of, batch, length=7, seed=3):
    """Inputs of a part."""
    return draw([(x.name, x.shape[1:], x.dtype) for x in of.signature.inputs], batch, length, seed)


class Renamed:
    """A part whose tensors have other names."""

    def __init__(self, of, inputs, outputs):
        self._of = of
        self.layers, self.function, self.variables, self.parameters = (
            of.layers,
            of.function,
            of.variables,
            of.parameters,
        )
        self.signature = Signature(
            inputs=_named(of.signature.inputs, inputs),
            outputs=_named(of.signature.outputs, outputs),
            symbols=of.signature.symbols,
        )
        self.inputs, self.outputs = self.signature.input_names, self.signature.output_names

    def run(self, given):
        made = self._of.run({old: given[new] for old, new in zip(self._of.inputs, self.inputs, strict=True)})
        return {new: made[old] for old, new in zip(self._of.outputs, self.outputs, strict=True)}

    def runner(self, given):
        return lambda: self.run(given)

    def export(self, form, path, *, precision="float32", samples=()):
        export(self, form, path, precision=precision, samples=samples)


def _named(tensors, names):
    return tuple(t.model_copy(update={"name": name}) for t, name in zip(tensors, names, strict=True))


def oddly_named():
    """Names with any character, in no order, and the names that tensors have inside artefacts, in the wrong places."""
    of = part(several)
    assert len(of.inputs) == 3
    assert len(of.outputs) == 4
    return Renamed(
        of,
        ["z:0", "a b/ü", "edgepart_output_0001"],
        ["o:1", "dense/MatMul:0", "edgepart_input_0000", 'p"\\'],
    )


def largest_difference(artefact, of, batch, **sizes):
    """Between artefact and part, relative to the largest value of each output; types and shapes are equal."""
    given = arrays(of, batch, **sizes)
    expected, found = of.run(given), artefact.run(given)
    assert tuple(found) == tuple(expected) == of.outputs
    worst = 0.0
    for name, want in expected.items():
        assert (found[name].dtype, found[name].shape) == (want.dtype, want.shape), name
        scale = np.abs(want).max()
        assert scale > 1e-2, f"{name} is near zero"
        worst = max(worst, float(np.abs(found[name] - want).max() / scale))
    return worst
