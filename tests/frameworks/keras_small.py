"""Small Keras networks that learn in a second, data for them, and heads."""

import numpy as np
from small_networks import CLASSES, StackImages
from small_networks import images as maps

from edgepart.data import Dataset
from edgepart.frameworks.keras import require_keras
from edgepart.partitioning.stages import Stage

require_keras()

import keras  # noqa: E402 (after the backend is chosen)

layers = keras.layers
EXAMPLE = np.zeros((2, 6, 6, 1), np.float32)

HEAD = """
import keras

class Head(keras.Model):
    def __init__(self):
        super().__init__()
        self.dropout = keras.layers.Dropout({dropout})
        self.linear = keras.layers.Dense(3)

    def reduce(self, x):
        return keras.ops.mean(x, axis=(1, 2))

    def classify(self, reduced, training=False):
        return self.linear(self.dropout(reduced, training=training))

    def call(self, x, training=False):
        return self.classify(self.reduce(x), training=training)
"""


class Scaled(keras.layers.Layer):
    """Of the user's own, which Keras could not copy: no get_config, not registered."""

    def __init__(self, factor, name):
        super().__init__(name=name)
        self.factor = factor

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")

    def call(self, x):
        return x * self.scale * self.factor


def network(seed=0, dropout=0.3, activation="softmax"):
    """(batch, 6, 6, 1) → (batch, 3), with shortcuts, a nested model, a custom layer, batch normalisation, dropout."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((6, 6, 1), name="image")
    x = layers.Conv2D(6, 3, padding="same", use_bias=False, name="stem")(image)
    x = layers.ReLU(name="first")(layers.BatchNormalization(momentum=0.9, name="stem_norm")(x))
    inner = keras.Input((6, 6, 6))
    block = keras.Model(
        inner,
        layers.BatchNormalization(momentum=0.9, name="norm")(
            layers.Conv2D(6, 3, padding="same", use_bias=False, name="conv")(inner)
        ),
        name="block",
    )
    x = layers.ReLU(name="second")(layers.Add(name="add")([x, block(x)]))
    x = Scaled(1.5, name="third")(x)
    x = layers.Dropout(dropout, name="dropout")(layers.GlobalAveragePooling2D(name="pool")(x))
    model = keras.Model(image, layers.Dense(3, activation=activation, name="classifier")(x), name="small")
    generator = np.random.default_rng(seed)
    for norm in (model.get_layer("stem_norm"), block.get_layer("norm")):
        norm.moving_mean.assign(generator.uniform(-0.2, 0.2, 6))
        norm.moving_variance.assign(generator.uniform(0.5, 1.5, 6))
    return model


def stages(graph, exits=("first", "second")):
    """Cut after the layers named, with an exit "at …" behind each, and the network's own classifier."""
    found, start = [], None
    for name in exits:
        stop = graph.after(name)
        found.append(Stage("mobile", start, stop, f"at {name}", graph.layer(graph.within(name)[-1]).outputs[0]))
        start = stop
    return [*found, Stage("cloud", start, None, "final")]


def images(count, seed=0):
    """(count, 6, 6, 1) noise around a brightness that tells the class."""
    made = maps(count, seed)
    arrays = made.batch(range(count))["image"].transpose(0, 2, 3, 1)
    return Dataset([{"image": x} for x in arrays], made.labels, CLASSES, StackImages(), "images")


def batch(count=12, seed=0):
    dataset = images(count, seed)
    return dataset.batch(range(count)), dataset.labels
