"""EdgeLessPart's three networks for CIFAR-10, as ``keras.applications`` builds them, and how they are trained.

A new classifier (global average pooling, one dense layer, softmax) takes the place of ImageNet's. Nothing in this file
knows edgepart.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

CLASSES = 10
BATCH = 64
#: RGB, what Caffe's networks subtract, and of which keras.applications takes blue first
CAFFE = {"scale": 1.0, "mean": [103.939, 116.779, 123.68], "color": "BGR"}
#: to -1 … 1
CENTRED = {"scale": 127.5, "mean": 1.0}


@dataclass(frozen=True)
class Network:
    """One of ``keras.applications``, the height and width of its images, and how ImageNet's weights want them."""

    title: str
    application: Any
    published_size: int
    reduced_size: int
    pixels: dict[str, Any]


NETWORKS = {
    "resnet50": Network("ResNet50", keras.applications.ResNet50, 224, 32, CAFFE),
    "mobilenetv2": Network("MobileNetV2", keras.applications.MobileNetV2, 224, 64, CENTRED),
    # it takes no smaller images
    "inceptionv3": Network("InceptionV3", keras.applications.InceptionV3, 299, 75, CENTRED),
}


def preprocessing(name: str, size: int) -> dict[str, Any]:
    """How edgepart prepares images of 32 x 32 for a network: the same as :func:`train` does."""
    return {"kind": "image", "size": size, "fit": "stretch", **NETWORKS[name].pixels}


def make(name: str, size: int, weights: str | None) -> Any:
    base = NETWORKS[name].application(include_top=False, weights=weights, input_shape=(size, size, 3))
    if weights is None:
        # Statistics over the last 1,000 steps suit long trainings only.
        for layer in base.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.9
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(base.output)
    return keras.Model(
        base.input, keras.layers.Dense(CLASSES, activation="softmax", name="classifier")(pooled), name=name
    )


def train(
    name: str, size: int, weights: str | None, images: np.ndarray, labels: np.ndarray, epochs: int, path: Path
) -> None:
    """Train by Adam with a falling learning rate on images (N, 32, 32, 3) and their mirror images; write a .keras."""
    keras.utils.set_random_seed(0)
    model = make(name, size, weights)
    steps = epochs * (len(images) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(1e-3 if weights is None else 1e-4, steps)
    # to compile the network takes longer than a few steps
    model.compile(
        keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=steps < 10
    )
    data = tf.data.Dataset.from_tensor_slices((images, labels.astype("int32"))).shuffle(len(images), seed=0)
    data = data.batch(BATCH, drop_remainder=True).map(lambda x, y: (prepared(x, size, NETWORKS[name].pixels), y))
    model.fit(data.prefetch(2), epochs=epochs, shuffle=False, verbose=2)
    model.save(path)


def prepared(images: Any, size: int, pixels: dict[str, Any]) -> Any:
    """Bytes (batch, 32, 32, 3) as the network takes them, some of them mirrored."""
    images = tf.image.random_flip_left_right(images)
    images = tf.round(tf.image.resize(images, (size, size)))
    if pixels.get("color") == "BGR":
        images = images[..., ::-1]
    return images / pixels["scale"] - tf.constant(pixels["mean"])
