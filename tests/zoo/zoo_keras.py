"""The Keras networks of the zoo: five of keras.applications, full depth, small images, batch normalisation calibrated.

TensorFlow takes a second or two to trace a part of some hundred layers, at every boundary an hour in all. So most parts
run one layer after another: each layer's operations are compiled once, and a part's own list of layers, its own names
and its own copies of the weights say what is called on what (:func:`run_by_layer`). At a sample of the boundaries, and
at all in three parts, the part itself runs, as TensorFlow compiles it.
"""

import os
from functools import partial

import numpy as np
from equality import Subject, Way

from edgepart.frameworks import framework

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
for threads in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(threads, "1")

#: name → what its builder is called in keras.applications, size of the images, further arguments
KERAS = {
    "resnet50": ("ResNet50", 32, {}),
    "mobilenet_v2": ("MobileNetV2", 64, {"alpha": 0.35}),
    "inception_v3": ("InceptionV3", 107, {}),
    "densenet121": ("DenseNet121", 32, {}),
    "efficientnet_b0": ("EfficientNetB0", 48, {}),
}

#: TensorFlow fuses convolution, bias and activation, another way in a part than in the whole
TOLERANCE = 2e-4


def build(name):
    """The network, the same at every call."""
    import keras

    kind, size, more = KERAS[name]
    keras.utils.set_random_seed(7)
    model = getattr(keras.applications, kind)(
        weights=None, input_shape=(size, size, 3), classes=10, classifier_activation=None, **more
    )
    _calibrate(model, images(name, 16, seed=1))
    return model


def _calibrate(model, batch):
    """Batch normalisation takes the mean and variance of a random batch, and a scale and shift of its own."""
    import keras

    draw = np.random.default_rng(2)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momentum = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.beta.assign(draw.normal(0, 0.3, norm.beta.shape))
        if norm.gamma is not None:
            norm.gamma.assign(draw.uniform(0.5, 1.5, norm.gamma.shape))
    model(batch, training=True)
    for norm, before in zip(norms, momentum, strict=True):
        norm.momentum = before


def images(name, batch, seed):
    draw, size = np.random.default_rng(seed), KERAS[name][1]
    brightness = draw.uniform(0.5, 2, (batch, 1, 1, 1))
    scale = 64 if name == "efficientnet_b0" else 1  # it divides by 255
    return (scale * brightness * draw.standard_normal((batch, size, size, 3))).astype(np.float32)


def answers(model, arrays):
    (array,) = arrays.values()
    return [np.asarray(model(array, training=False))]


def held(part):
    """Names and bytes of a part's variables; fails where no layer of it reads one."""
    read = {name for step in part._steps for name in step.weights}
    assert read == part.variables.keys(), f"no layer reads {sorted(part.variables.keys() - read)}"
    return {name: variable.dtype.size * variable.shape.num_elements() for name, variable in part.variables.items()}


def run_by_layer(graph, compiled, part, arrays):
    """The part's layers one after another, each compiled once for all parts; see the top of this file."""
    import tensorflow as tf

    known = {name: tf.constant(arrays[name]) for name in part.inputs}
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})  # what calls of the model do without
    for step in part._steps:
        if step.layer not in compiled:
            compiled[step.layer] = _compile(graph, step, part.variables)
        given = [known[name] for name in step.inputs]
        results = compiled[step.layer](*given, *(part.variables[name].value() for name in step.weights))
        known |= zip(step.outputs, results, strict=True)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    return {name: known[name].numpy() for name in part.outputs}


def _compile(graph, step, variables):
    import tensorflow as tf

    tensors = [graph.tensor(name) for name in step.inputs]
    specs = [tf.TensorSpec([n if isinstance(n, int) else None for n in t.shape], t.dtype) for t in tensors]
    specs += [tf.TensorSpec(variables[name].shape, variables[name].dtype) for name in step.weights]

    @tf.function(autograph=False, input_signature=specs)
    def call(*given):
        known = dict(zip(step.inputs, given[: len(tensors)], strict=True))
        step.compute(known, dict(zip(step.weights, given[len(tensors) :], strict=True)))
        return [known[name] for name in step.outputs]

    return call.get_concrete_function()


def subject(name):
    model = build(name)
    captured = framework("keras").program(model, images(name, 2, seed=0))
    (entry,) = captured.graph.inputs
    return Subject(
        name=f"keras/{name}",
        program=captured,
        inputs=lambda batch, seed: {entry: images(name, batch, seed)},
        held=held,
        everywhere=Way(partial(answers, model), partial(run_by_layer, captured.graph, {})),
        sampled=(Way(partial(answers, model), tolerance=TOLERANCE),),
    )
