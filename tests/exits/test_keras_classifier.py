"""The classifier of a Keras network as source: exact at its own place, fitted elsewhere, refused where it cannot be."""

import numpy as np
import pytest

from edgepart.errors import TemplateError
from edgepart.exits.render import render
from edgepart.exits.template import load_template
from edgepart.frameworks.keras import KerasFramework, require_keras

require_keras()

import keras  # noqa: E402 (after the backend is chosen)

from edgepart.frameworks.keras.classifier import describe_classifier  # noqa: E402
from edgepart.frameworks.keras.heads import check_head, compile_head  # noqa: E402

layers, ops = keras.layers, keras.ops


def resnet(x):
    """As keras.applications have it."""
    x = layers.GlobalAveragePooling2D()(x)
    return layers.Dense(5, activation="softmax")(x)


def mobilenet(x):
    """A convolution on one place gives the classes."""
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Conv2D(5, (1, 1), padding="same")(layers.Dropout(0.3)(x))
    return layers.Activation("softmax")(layers.Reshape((5,))(x))


def inception(x):
    """Branches join, and a hidden layer with an activation of its own follows."""
    x = layers.Concatenate()([layers.Conv2D(3, 1)(x), layers.MaxPooling2D(3, 1, padding="same")(x)])
    x = layers.AveragePooling2D(8)(x)
    x = layers.Dense(7, activation="relu", use_bias=False)(layers.Flatten()(x))
    return layers.Dense(5, kernel_regularizer="l2")(layers.LeakyReLU(negative_slope=0.2)(x))


def vgg(x):
    """The classifier reads every place of the last map."""
    x = layers.Flatten()(layers.MaxPooling2D(2)(x))
    x = layers.BatchNormalization(epsilon=1e-4)(layers.Dense(9)(x))
    return layers.Softmax()(layers.Dense(5)(ops.relu(x)))


def squeezenet(x):
    """A convolution gives one map a class."""
    x = layers.Conv2D(5, 1, activation="relu")(layers.Dropout(0.5)(x))
    return ops.softmax(ops.mean(x, axis=(1, 2)))


IMAGES = {f.__name__: f for f in (resnet, mobilenet, inception, vgg, squeezenet)}


def network(tail):
    keras.utils.set_random_seed(0)
    x = image = keras.Input((16, 16, 3), name="image")
    for number, width in enumerate((6, 8)):
        x = layers.Conv2D(width, 3, padding="same", name=f"conv_{number}")(x)
        x = layers.ReLU(name=f"active_{number}")(layers.BatchNormalization(name=f"norm_{number}")(x))
        x = layers.MaxPooling2D(2, name=f"pool_{number}")(x) if number == 0 else x
    return keras.Model(image, tail(x), name="net")


def captured(model, shape=(16, 16, 3)):
    return KerasFramework().program(model, np.zeros((2, *shape), np.float32))


def head_for(program, shape):
    lines = describe_classifier(program, shape)
    template = load_template("replicate_classifier", "keras")
    source = render(template, shape=shape, classes=5, name="e", parameters={}, classifier=lines, layout="channels_last")
    return lines, compile_head(source, "e.py")


@pytest.mark.parametrize("name", IMAGES)
def test_at_the_classifiers_own_place_it_is_the_network(name):
    model = network(IMAGES[name])
    program = captured(model)
    # the last map: what the tail begins with, or the branches that join in it
    last = "concatenate" if name == "inception" else "active_1"
    boundary = program.graph.boundary([layer for layer in program.graph.position if layer.startswith(last)])
    [tensor] = boundary.tensors
    image = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype(np.float32)
    feature = program.slice(None, boundary).run({"image": image})[tensor]
    _, head = head_for(program, feature.shape[1:])
    head(feature)
    after = [layer for layer in model.layers if layer.weights][
        -sum(bool(x.weights) for x in head._flatten_layers(False)) :
    ]
    ours = [layer for layer in head._flatten_layers(include_self=False) if layer.weights]
    for layer, other in zip(ours, after, strict=True):
        layer.set_weights(other.get_weights())
    logits, own = head(feature).numpy(), model(image).numpy()
    odds = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    assert np.allclose(logits if name == "inception" else odds, own, atol=1e-6)
    assert own.std() > 1e-3


@pytest.mark.parametrize("name", IMAGES)
def test_at_every_exit_it_runs(name):
    program = captured(network(IMAGES[name]))
    for tensor in ("conv_0", "pool_0", "norm_1"):
        shape = program.graph.tensor(tensor).shape[1:]
        _, head = head_for(program, shape)
        check_head(head, shape, 5)


def test_the_layers_fit_the_tensor():
    assert describe_classifier(captured(network(mobilenet)), (16, 16, 6)) == [
        "keras.layers.GlobalAveragePooling2D(keepdims=True)",
        "keras.layers.Dropout(0.3)",
        "keras.layers.Conv2D(5, (1, 1), padding='same')",
        "keras.layers.Flatten()",
    ]
    assert describe_classifier(captured(network(inception)), (16, 16, 6)) == [
        "keras.layers.AveragePooling2D((16, 16), data_format='channels_last')",
        "keras.layers.Flatten()",
        "keras.layers.Dense(7, use_bias=False)",
        "keras.layers.Activation('relu')",
        "keras.layers.LeakyReLU(negative_slope=0.2)",
        "keras.layers.Dense(5)",
    ]
    flat = captured(network(vgg))
    assert describe_classifier(flat, (16, 16, 6))[:3] == [
        "keras.layers.MaxPooling2D((4, 4), data_format='channels_last')",
        "keras.layers.Flatten()",
        "keras.layers.Dense(9)",
    ]
    assert describe_classifier(flat, (11,))[0] == "keras.layers.Dense(9)"
    assert describe_classifier(flat, (9, 16, 6))[0] == (
        "keras.layers.AdaptiveMaxPooling2D((4, 4), data_format='channels_last')"
    )
    with pytest.raises(TemplateError, match=r"reads maps of 4x4, to which a tensor \(2, 2, 6\) cannot be pooled"):
        describe_classifier(flat, (2, 2, 6))


def test_a_transformer_pools_its_first_token():
    keras.utils.set_random_seed(0)
    ids = keras.Input((None,), dtype="int64", name="ids")
    x = layers.Embedding(20, 8, name="embedding")(ids)
    x = layers.LayerNormalization(name="norm")(x + layers.MultiHeadAttention(2, 4, name="attention")(x, x))
    x = layers.Dropout(0.1)(layers.Dense(8, activation="tanh", name="pooler")(x[:, 0]))
    model = keras.Model(ids, layers.Dense(5, name="classifier")(x))
    given = np.random.default_rng(0).integers(0, 20, (3, 7))
    program = KerasFramework().program(model, given)
    lines, head = head_for(program, ("sequence", 8))
    assert lines == [
        "Token(0)",
        "keras.layers.Dense(8)",
        "keras.layers.Activation('tanh')",
        "keras.layers.Dropout(0.1)",
        "keras.layers.Dense(5)",
    ]
    check_head(head, (9, 8), 5)
    for place, name in ((0, "pooler"), (3, "classifier")):
        head.classifier[place].set_weights(model.get_layer(name).get_weights())
    feature = keras.Model(ids, model.get_layer("norm").output)(given)
    assert np.allclose(head(feature), model(given), atol=1e-6)


def test_a_network_of_vectors_gives_its_last_layer():
    image = keras.Input((3, 4))
    x = layers.Dense(9, activation="relu")(layers.Flatten()(image))
    program = captured(keras.Model(image, layers.Dense(4, activation="softmax")(x)), (3, 4))
    assert describe_classifier(program, (9,)) == ["keras.layers.Dense(4)"]


def test_a_classifier_of_other_tensors_is_refused():
    with pytest.raises(
        TemplateError, match=r"reads \(8, 8, 8\) a sample and cannot be fitted to a tensor \(sequence, 4\)"
    ):
        describe_classifier(captured(network(resnet)), ("sequence", 4))
    with pytest.raises(TemplateError, match="'linear'"):
        describe_classifier(captured(network(squeezenet)), (4,))


class Dense(layers.Dense):
    """Of the user's own, called as one of Keras's."""


def test_an_operation_that_cannot_be_repeated_is_named():
    for tail, name in (
        (lambda x: ops.cumsum(layers.Dense(5)(ops.mean(x, axis=(1, 2))), axis=1), "Cumsum"),
        (lambda x: Dense(5)(ops.mean(x, axis=(1, 2))), "Dense"),
        (lambda x: layers.Dense(5, activation=lambda y: y * y)(ops.mean(x, axis=(1, 2))), "Dense"),
    ):
        with pytest.raises(TemplateError, match=f"'{name}' cannot be repeated.*'linear'"):
            describe_classifier(captured(network(tail)), (8, 8, 8))
