"""One small network that gives one number a sample, in every framework, and data of two classes for it."""

import numpy as np
import onnx_zoo
import torch
from keras_small import keras
from onnx import TensorProto
from small_networks import plan_for
from torch import nn

from edgepart.data import Dataset
from edgepart.frameworks import framework_of

CLASSES = ("dark", "light")
#: what the network ends in → the end in Keras, torch and ONNX
ENDINGS = ("sigmoid", "squeezed sigmoid", "sigmoid squeezed", "logit")


class TorchBinary(nn.Module):
    def __init__(self, ending):
        super().__init__()
        self.ending = ending
        self.first = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU())
        self.classifier = nn.Linear(6, 1)

    def forward(self, image):
        z = self.classifier(self.second(self.first(image)).mean((2, 3)))
        if self.ending == "logit":
            return z
        if self.ending == "squeezed sigmoid":
            return torch.sigmoid(z).squeeze(1)
        return torch.sigmoid(z.squeeze(1) if self.ending == "sigmoid squeezed" else z)


def torch_binary(ending, bias=0.0):
    torch.manual_seed(0)
    model = TorchBinary(ending).eval()
    nn.init.constant_(model.classifier.bias, bias)
    return model


def keras_binary(ending, bias=0.0):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = keras.Input((6, 6, 1), name="image")
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="first")(image)
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="second")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    inside = "sigmoid" if ending in ("sigmoid", "squeezed sigmoid") else None
    start = keras.initializers.Constant(bias)
    x = layers.Dense(1, activation=inside, bias_initializer=start, name="classifier")(x)
    if ending == "squeezed sigmoid":
        x = keras.ops.squeeze(x, 1)
    if ending == "sigmoid squeezed":
        x = layers.Activation("sigmoid", name="probability")(keras.ops.squeeze(x, 1))
    return keras.Model(image, x, name="binary")


def onnx_binary(ending, bias=0.0):
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        onnx_zoo.node("Conv", ["image", "w1", "b1"], ["c1"], "conv1", **pads),
        onnx_zoo.node("Relu", ["c1"], ["first"], "first"),
        onnx_zoo.node("Conv", ["first", "w2", "b2"], ["c2"], "conv2", **pads),
        onnx_zoo.node("Relu", ["c2"], ["second"], "second"),
        onnx_zoo.node("GlobalAveragePool", ["second"], ["p"], "pool"),
        onnx_zoo.node("Flatten", ["p"], ["f"], "flatten"),
        onnx_zoo.node("Gemm", ["f", "w3", "b3"], ["z"], "classifier", transB=1),
    ]
    ends = {
        "sigmoid": [("Sigmoid", ["z"])],
        "squeezed sigmoid": [("Sigmoid", ["z"]), ("Squeeze", ["end0", "one"])],
        "sigmoid squeezed": [("Squeeze", ["z", "one"]), ("Sigmoid", ["end0"])],
        "logit": [],
    }[ending]
    nodes += [onnx_zoo.node(op, reads, [f"end{i}"], f"end{i}") for i, (op, reads) in enumerate(ends)]
    draw = onnx_zoo.normal
    weights = {"w1": draw(6, 1, 3, 3), "b1": draw(6), "w2": draw(6, 6, 3, 3, seed=1), "b2": draw(6, seed=2)}
    weights |= {"w3": draw(1, 6, seed=3), "b3": np.array([bias], np.float32), "one": np.array([1])}
    return onnx_zoo.make(nodes, {"image": (TensorProto.FLOAT, ["batch", 1, 6, 6])}, [nodes[-1].output[0]], weights)


MAKERS = {"torch": torch_binary, "keras": keras_binary, "onnx": onnx_binary}


def example(framework):
    """Two samples, all zero."""
    shape = (2, 6, 6, 1) if framework == "keras" else (2, 1, 6, 6)
    return torch.zeros(shape) if framework == "torch" else np.zeros(shape, np.float32)


def data(framework, count, seed=0, classes=CLASSES):
    """Noise around a brightness that tells the class."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % len(classes)
    shape = (count, *example(framework).shape[1:])
    images = generator.normal(size=shape) + 2.0 * (labels - 0.5).reshape(-1, 1, 1, 1)
    return Dataset([{"image": x} for x in images.astype(np.float32)], labels, classes, Stack(), "brightness")


class Stack:
    def __call__(self, samples):
        return {"image": np.stack([sample["image"] for sample in samples])}


def planned(framework, model):
    """Two parts, the first with an exit at its end and the second with one behind its convolution."""
    graph = framework_of(model).program(model, example(framework)).graph
    exits = (("early", "edge", "first"), ("late", "cloud", "second"))
    return plan_for(graph, (("edge", "first"), ("cloud", None)), exits)
