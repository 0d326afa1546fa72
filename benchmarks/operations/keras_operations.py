"""Operations of Keras networks: name → function that makes (network, example)."""

import numpy as np
from keras import Input, Model, Sequential, layers, ops

IMAGE, TOKENS = (12, 12, 4), (6, 8)


def example(shape, batch=2):
    return np.random.default_rng(0).normal(size=(batch, *shape)).astype(np.float32)


def image(*more):
    """Layers after a convolution."""
    made = lambda: Sequential([Input(IMAGE), layers.Conv2D(8, 3, padding="same"), *(one() for one in more)])  # noqa: E731
    return lambda: (made(), example(IMAGE))


def function(call):
    """Operations of keras.ops after a convolution."""

    def make():
        given = Input(IMAGE)
        return Model(given, call(layers.Conv2D(8, 3, padding="same")(given))), example(IMAGE)

    return make


def tokens(call):
    def make():
        given = Input(TOKENS)
        return Model(given, call(layers.Dense(8)(given))), example(TOKENS)

    return make


def words(mask):
    def make():
        given = Input((6,), dtype="int64")
        embedded = layers.Embedding(30, 8, mask_zero=mask)(given)
        pooled = layers.GlobalAveragePooling1D()(embedded)
        ids = np.array([[1, 2, 3, 0, 0, 0], [5, 6, 7, 8, 9, 0]], np.int64)
        return Model(given, layers.Dense(3)(pooled)), ids

    return make


def normalised():
    made = layers.BatchNormalization()
    made.build((None, 12, 12, 8))
    random = np.random.default_rng(0)
    gamma, beta = random.uniform(0.5, 1.5, 8), random.uniform(-0.5, 0.5, 8)
    made.set_weights([gamma, beta, random.uniform(-0.5, 0.5, 8), random.uniform(0.5, 1.5, 8)])
    return made


def attention(x):
    return layers.MultiHeadAttention(2, 4)(x, x)


OPERATIONS = {
    "convolution": image(lambda: layers.Conv2D(6, 3, strides=2)),
    "dilated convolution": image(lambda: layers.Conv2D(6, 3, dilation_rate=2)),
    "depthwise convolution": image(lambda: layers.DepthwiseConv2D(3)),
    "separable convolution": image(lambda: layers.SeparableConv2D(6, 3)),
    "grouped convolution": image(lambda: layers.Conv2D(8, 3, groups=2)),
    "transposed convolution": image(lambda: layers.Conv2DTranspose(6, 2, strides=2)),
    "convolution over a sequence": lambda: (Sequential([Input((12, 4)), layers.Conv1D(6, 3)]), example((12, 4))),
    "convolution over a volume": lambda: (
        Sequential([Input((6, 6, 6, 2)), layers.Conv3D(4, 3)]),
        example((6, 6, 6, 2)),
    ),
    "fully connected": lambda: (Sequential([Input((8,)), layers.Dense(5)]), example((8,))),
    "matrix product": tokens(lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1)))),
    "einsum": tokens(lambda x: ops.einsum("bij,bkj->bik", x, x)),
    "batch normalisation": image(normalised),
    "layer normalisation": tokens(lambda x: layers.LayerNormalization()(x)),
    "group normalisation": image(lambda: layers.GroupNormalization(2)),
    "max pooling": image(lambda: layers.MaxPooling2D(2)),
    "average pooling": image(lambda: layers.AveragePooling2D(3, 2, padding="same")),
    "global pooling": image(lambda: layers.GlobalAveragePooling2D()),
    "ReLU, ReLU6": image(lambda: layers.ReLU(max_value=6.0)),
    "GELU": function(lambda x: ops.gelu(x)),
    "SiLU": function(lambda x: ops.silu(x)),
    "hard swish, hard sigmoid": function(lambda x: ops.hard_silu(x) + ops.hard_sigmoid(x)),
    "sigmoid, tanh": function(lambda x: ops.sigmoid(x) + ops.tanh(x)),
    "leaky ReLU, ELU": function(lambda x: ops.leaky_relu(x) + ops.elu(x)),
    "softmax": tokens(lambda x: ops.softmax(x)),
    "add, multiply, divide": function(lambda x: (x + x * x) / (ops.abs(x) + 1)),
    "concatenate": function(lambda x: layers.Concatenate()([x, x * 2])),
    "split, channel shuffle": function(
        lambda x: ops.reshape(ops.transpose(ops.reshape(x, (-1, 12, 12, 2, 4)), (0, 1, 2, 4, 3)), (-1, 12, 12, 8))
    ),
    "reshape, transpose": tokens(lambda x: layers.Permute((2, 1))(layers.Reshape((12, 4))(x))),
    "pad": image(lambda: layers.ZeroPadding2D(((1, 2), (3, 0)))),
    "nearest resize": image(lambda: layers.UpSampling2D(2, interpolation="nearest")),
    "bilinear resize": image(lambda: layers.UpSampling2D(2, interpolation="bilinear")),
    "mean, max over dimensions": function(lambda x: ops.mean(x, (1, 2)) + ops.max(x, (1, 2))),
    "cumulative sum": tokens(lambda x: ops.cumsum(x, 1)),
    "top k": tokens(lambda x: ops.top_k(x, 3)[0]),
    "embedding": words(mask=False),
    "embedding with a mask": words(mask=True),
    "attention": tokens(attention),
    "LSTM": tokens(lambda x: layers.LSTM(6, return_sequences=True)(x)),
    "GRU": tokens(lambda x: layers.GRU(6, return_sequences=True)(x)),
    "dropout (inactive)": image(lambda: layers.Dropout(0.5)),
}
