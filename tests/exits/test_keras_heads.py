"""Keras heads: compiled from source, tried on the real shape, counted; each broken promise is one sentence."""

import random

import numpy as np
import pytest

from edgepart.errors import TemplateError
from edgepart.frameworks.keras import KerasFramework, require_keras

require_keras()

import keras  # noqa: E402

from edgepart.frameworks.keras.heads import check_head, compile_head, drawn_from, head_macs  # noqa: E402

GOOD = """
import keras


class Head(keras.Model):
    def __init__(self):
        super().__init__()
        self.norm = keras.layers.BatchNormalization()
        self.dropout = keras.layers.Dropout(0.5)
        self.linear = keras.layers.Dense(3)

    def reduce(self, x):
        return keras.ops.mean(x, axis=(1, 2))

    def classify(self, reduced, training=False):
        reduced = self.dropout(self.norm(reduced, training=training), training=training)
        return self.linear(reduced)

    def call(self, x, training=False):
        return self.classify(self.reduce(x), training=training)
"""
SHAPE = (4, 5, 6)
FUNCTION = "keras.ops.mean(x, axis=(1, 2))"


def changed(old, new):
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_good_head_passes_and_keeps_its_weights():
    head = compile_head(GOOD, "exit.py")
    head(np.zeros((1, *SHAPE)))
    before, drawn = [variable.numpy() for variable in head.variables], (random.getstate(), np.random.get_state()[1])
    check_head(head, SHAPE, 3)
    assert all(np.array_equal(v.numpy(), array) for v, array in zip(head.variables, before, strict=True))
    assert random.getstate() == drawn[0]
    assert np.array_equal(np.random.get_state()[1], drawn[1])


def test_weights_come_from_the_seed():
    weights = []
    drawn = random.getstate(), np.random.get_state()[1]
    for seed in (1, 1, 2):
        with drawn_from(seed):
            head = compile_head(GOOD, "exit.py")
            head(np.zeros((1, *SHAPE)))
        weights.append(head.linear.kernel.numpy())
    assert np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])
    assert random.getstate() == drawn[0]
    assert np.array_equal(np.random.get_state()[1], drawn[1])


def test_macs_and_parameters():
    size = KerasFramework().try_head(GOOD, SHAPE, 3, "e")
    assert (size.macs, size.parameters) == (6 * 3, 6 * 3 + 3 + 2 * 6)
    convolution = changed("keras.layers.Dense(3)", "keras.layers.Conv2D(3, 3, padding='same')")
    convolution = convolution.replace(FUNCTION, "x").replace(
        "self.linear(reduced)", FUNCTION.replace("x,", "self.linear(reduced),")
    )
    head = compile_head(convolution, "exit.py")
    check_head(head, SHAPE, 3)
    assert head_macs(head, SHAPE) == 6 * 3 * 9 * 4 * 5


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(:\n", "exit.py does not compile: invalid syntax in line 1"),
        ("import keras\n\n1 / 0\n", "exit.py does not compile: ZeroDivisionError in line 3"),
        ("x = 1\n", "exit.py defines no class Head"),
        ("class Head:\n    pass\n", "defines no class Head derived from keras.Model or keras.layers.Layer"),
        (changed("def reduce", "def pool"), "has no method reduce"),
        (changed("def call", "def run"), "has no method call"),
        (changed("classify(self, reduced, training=False)", "classify(self, reduced)"), "has no argument training"),
        (changed("Dense(3)", "Dense(three)"), "does not make its Head: NameError in line 10 (__init__)"),
        (changed("Dense(3)", "Dense('a')"), "does not make its Head: ValueError in line 10"),
    ],
)
def test_sources_that_do_not_compile(source, expected):
    with pytest.raises(TemplateError) as raised:
        compile_head(source, "exit.py")
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (changed("Dense(3)", "Dense(4)"), "gives (3, 4) for a batch of 3, expected (3, 3): its last layer"),
        (changed(FUNCTION, "keras.ops.mean(x, axis=9)"), "not run on a tensor (batch, 4, 5, 6): "),
        (changed(FUNCTION, "keras.ops.matmul(x, keras.ops.ones((2, 2)))"), " in line 13 (reduce): "),
        (changed("return self.linear(reduced)", "return self.linear(reduced)[:1]"), "gives (1, 3) for a batch of 3"),
        (changed("return self.linear(reduced)", "return self.linear(reduced) / 0"), "gives NaN or infinite logits"),
        (changed("return self.linear(reduced)", "return [self.linear(reduced)]"), "gives list, expected a tensor"),
        (changed(FUNCTION, f"self.dropout({FUNCTION})"), "reduce() of e gives something else in training"),
        (
            changed(FUNCTION, f"keras.ops.tile(self.linear({FUNCTION}), (1, 2))"),
            "reduce() of e must give a tensor made without parameters",
        ),
        (changed("self.classify(self.reduce(x)", f"self.classify(1 + {FUNCTION}"), "is not classify(reduce(x))"),
        (
            changed("reduced = self.dropout(", "reduced = self.dropout(-keras.ops.max(reduced) + "),
            "gives a sample another answer when other samples",
        ),
        (changed("(reduced, training=training)", "(reduced)"), "pass training on to every layer"),
        (
            changed("self.dropout(self.norm(reduced, training=training), training=training)", "reduced + noise()")
            + "\n\ndef noise():\n    return keras.random.normal((6,)) * 0\n",
            "reads the variable 'seed_generator_state', which is not among its weights",
        ),
        (changed("reduced = self", "reduced = float(reduced[0, 0]) * 0 + self"), "in a compiled function"),
    ],
)
def test_heads_that_break_their_contract(source, expected):
    with pytest.raises(TemplateError) as raised:
        KerasFramework().try_head(source, SHAPE, 3, "e")
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "\x1b" not in str(raised.value)


def test_heads_are_in_single_precision_whatever_the_users_code_has_set():
    """In half precision reduce() would round otherwise in training, and the contract refuse a good head."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        head = compile_head(GOOD, "head.py")
        check_head(head, SHAPE, 3)
        assert keras.config.dtype_policy().name == "mixed_float16"
    finally:
        keras.config.set_dtype_policy("float32")
    assert {head.linear.compute_dtype, head.norm.compute_dtype, head.compute_dtype} == {"float32"}
