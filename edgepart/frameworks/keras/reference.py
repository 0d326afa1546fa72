"""The reference networks that a machine's effective rate is measured with (``Device.macs_per_s``).

MobileNetV2 (Sandler et al., CVPR 2018), SqueezeNet 1.1 (Iandola et al., 2016) and ResNet-50 (He et al., CVPR 2016) with
random weights: only their speed matters. Multiply-accumulates are those of convolutions and fully connected layers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from edgepart.frameworks.keras.capture import capture
from edgepart.silence import quiet

_IMAGE = (224, 224, 3)


def references() -> dict[str, tuple[int, Callable[[], object]]]:
    """Name → multiply-accumulates, one inference at batch 1 of an image of 224 x 224 pixels."""
    networks: dict[str, Callable[[], Any]] = {
        "mobilenet_v2": lambda: keras.applications.MobileNetV2(weights=None, input_shape=_IMAGE),
        "squeezenet": _squeezenet,
        "resnet50": lambda: keras.applications.ResNet50(weights=None, input_shape=_IMAGE),
    }
    found = {}
    for name, build in networks.items():
        with quiet():
            program = capture(build(), np.zeros((1, *_IMAGE), "float32"))
        macs = sum(layer.macs for layer in program.graph.layers)
        found[name] = (macs, program.slice(None, None).runner(program.example()))
    return found


def _squeezenet() -> Any:
    def fire(x: Any, squeeze: int, expand: int) -> Any:
        """SqueezeNet's module: few channels first, then two convolutions side by side."""
        x = layers.Conv2D(squeeze, 1, activation="relu")(x)
        one = layers.Conv2D(expand, 1, activation="relu")(x)
        three = layers.Conv2D(expand, 3, padding="same", activation="relu")(x)
        return layers.Concatenate()([one, three])

    image = keras.Input(_IMAGE)
    x = layers.Conv2D(64, 3, 2, activation="relu")(image)
    for widths in (((16, 64), (16, 64)), ((32, 128), (32, 128)), ((48, 192), (48, 192), (64, 256), (64, 256))):
        x = layers.MaxPooling2D(3, 2)(x)
        for squeeze, expand in widths:
            x = fire(x, squeeze, expand)
    x = layers.Conv2D(1000, 1, activation="relu")(x)
    return keras.Model(image, layers.GlobalAveragePooling2D()(x))
