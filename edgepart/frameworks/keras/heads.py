"""From the source of a rendered head to a Keras model that has been tried on the real tensor's shape."""

from __future__ import annotations

import contextlib
import inspect
import random
import re
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edgepart.errors import TemplateError
from edgepart.frameworks.builder import HeadSize
from edgepart.frameworks.keras.macs import count_macs
from edgepart.silence import quiet
from edgepart.units import dimensions

#: class that the source must define, and its methods with what they take besides self
CLASS = "Head"
METHODS = {"reduce": ("x",), "classify": ("reduced", "training"), "call": ("x", "training")}


def compile_head(source: str, path: str | Path) -> Any:
    """Run the source of a head and make the ``Head`` in it; its weights come to be when it is first called.

    The source is the user's own code and can do anything. ``path`` names it in messages; it need not exist.

    Raises:
        TemplateError: it is not Python, raises, or does not define a proper ``Head``; names the line.
    """
    namespace = ModuleType("edgepart_head")
    with _blamed(path, path, "compile"):
        exec(compile(source, str(path), "exec"), namespace.__dict__)
    head_class = getattr(namespace, CLASS, None)
    if not (isinstance(head_class, type) and issubclass(head_class, keras.layers.Layer)):
        raise TemplateError(f"{path} defines no class {CLASS} derived from keras.Model or keras.layers.Layer")
    for name, arguments in METHODS.items():
        method = getattr(head_class, name, None)
        if method in (None, keras.Model.call, keras.layers.Layer.call):
            needed = ", ".join(METHODS)
            raise TemplateError(f"the class {CLASS} in {path} has no method {name}: it needs {needed}")
        if "training" in arguments and "training" not in inspect.signature(method).parameters:
            raise TemplateError(f"{name}() of the class {CLASS} in {path} has no argument training=False: add it")
    with _blamed(path, path, "make its Head"), _single_precision():
        return head_class()


def check_head(head: Any, shape: Sequence[int], classes: int, name: str = "the head") -> None:
    """Try a head on random tensors of the real shape, in batches of 3 and 2, and hold it to its contract.

    It is built by that, if it was not before; weights that it has are not changed.

    Args:
        shape: of the tensor without the batch dimension, all sizes known
        name: what messages call it

    Raises:
        TemplateError: it fails on the shape, gives something else than finite (batch, classes) logits, or breaks the
            contract of ``reduce`` and ``classify``; says which in one sentence.
    """
    x = tf.constant(np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32))
    with _blamed(name, _filename(head), _run_on(shape)), _single_precision():
        _check_answers(head, x, classes, name)
    with _blamed(name, _filename(head), f"{_run_on(shape)} in a compiled function"):
        _check_variables(head, shape, name)


def head_macs(head: Any, shape: Sequence[int]) -> int:
    """Multiply-accumulates of one sample, convolutions and matrix products only."""
    return count_macs(_traced(head, (1, *shape)).graph)


def head_size(head: Any, shape: Sequence[int]) -> HeadSize:
    """What a head that has been built costs for a sample of that shape, and how many numbers it learns."""
    numbers = sum(int(np.prod(weight.shape)) for weight in head.trainable_weights)
    return HeadSize(head_macs(head, shape), numbers)


def try_head(source: str, shape: Sequence[int], classes: int, name: str) -> HeadSize:
    """Compile the rendered head of an exit and hold it to the contract of templates.

    Raises:
        TemplateError: as :func:`compile_head` and :func:`check_head`.
    """
    with drawn_from(0):
        head = compile_head(source, f"{name}.py")
        check_head(head, shape, classes, name)
    return head_size(head, shape)


@contextlib.contextmanager
def _single_precision() -> Iterator[None]:
    """Layers made inside compute in float32, whatever policy the user's code has set for all layers."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Layers made inside get the weights of that seed; Python's and NumPy's generators are left as they were.

    An initialiser or dropout without a seed of its own takes one from Python's generator when it is made.
    """
    before = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


class Kept:
    """The values of a layer's variables, moving statistics and seeds among them, to go back to."""

    def __init__(self, layer: Any) -> None:
        self._values = [(variable, tf.identity(variable.value)) for variable in layer.variables]

    def restore(self) -> None:
        for variable, value in self._values:
            variable.assign(value)


class _InTraining(keras.layers.Layer):  # type: ignore[misc]
    """Calls a function where layers learn from their surroundings that they are in training."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self._function = function

    def call(self, x: Any, training: bool = False) -> Any:
        return self._function(x)


def _check_answers(head: Any, x: Any, classes: int, name: str) -> None:
    answer = head(x, training=False)
    _check_answer(answer, len(x), classes, name)
    kept, reduced = Kept(head), head.reduce(x)
    if not tf.is_tensor(reduced):
        raise TemplateError(f"reduce() of {name} gives {type(reduced).__name__}, expected a tensor")
    differs = not _close(reduced, _InTraining(head.reduce)(x, training=True), 1e-6, 1e-6)
    kept.restore()
    if differs:
        raise TemplateError(
            f"reduce() of {name} gives something else in training: move dropout and normalisation to classify()"
        )
    if not _close(answer, head.classify(reduced)):
        raise TemplateError(f"call(x) of {name} is not classify(reduce(x)), which training on stored features uses")
    if not _close(answer[1:], head(x[1:], training=False)):
        raise TemplateError(f"{name} gives a sample another answer when other samples are in the batch")
    in_training = head(x, training=True)
    kept.restore()
    by_steps = head.classify(reduced, training=True)
    kept.restore()
    if not _close(in_training, by_steps):
        raise TemplateError(
            f"call(x, training=True) of {name} is not classify(reduce(x), training=True): pass training on to every "
            "layer that classify() calls, and give random functions a keras.random.SeedGenerator of the head"
        )


def _check_answer(answer: object, batch: int, classes: int, name: str) -> None:
    if not tf.is_tensor(answer):
        raise TemplateError(f"{name} gives {type(answer).__name__}, expected a tensor of logits (batch, {classes})")
    shape = tuple(answer.shape)  # type: ignore[attr-defined]
    if shape != (batch, classes):
        raise TemplateError(
            f"{name} gives {dimensions(shape)} for a batch of {batch}, expected {dimensions((batch, classes))}: "
            f"its last layer must have {classes} outputs"
        )
    if not np.isfinite(np.asarray(answer)).all():
        raise TemplateError(f"{name} gives NaN or infinite logits for random input")


def _check_variables(head: Any, shape: Sequence[int], name: str) -> None:
    """That ``reduce`` reads no variable, and the head none that is not its own."""
    spec = tf.TensorSpec((None, *shape), tf.float32)
    if tf.function(head.reduce, autograph=False).get_concrete_function(spec).variables:
        raise TemplateError(
            f"reduce() of {name} must give a tensor made without parameters, as it is computed once for all epochs: "
            "move layers with parameters to classify()"
        )
    own = {id(variable.value) for variable in head.variables}
    for variable in _traced(head, (None, *shape), training=True).variables:
        if id(variable) not in own:
            title = variable.name.split("/")[-1].split(":")[0]
            raise TemplateError(
                f"{name} reads the variable '{title}', which is not among its weights: make weights with "
                "add_weight() and give random functions a keras.random.SeedGenerator of the head"
            )


def _traced(head: Any, shape: Sequence[int | None], training: bool = False) -> Any:
    function = tf.function(lambda x: head(x, training=training), autograph=False)
    return function.get_concrete_function(tf.TensorSpec(tuple(shape), tf.float32))


def _close(a: Any, b: Any, relative: float = 1e-4, absolute: float = 1e-5) -> bool:
    return tuple(a.shape) == tuple(b.shape) and np.allclose(np.asarray(a), np.asarray(b), relative, absolute)


def _run_on(shape: Sequence[int]) -> str:
    return f"run on a tensor {dimensions(('batch', *shape))}"


def _filename(head: Any) -> str:
    code = getattr(type(head).call, "__code__", None)
    return code.co_filename if code else ""


@contextlib.contextmanager
def _blamed(name: str | Path, filename: str | Path, what: str) -> Iterator[None]:
    """Turn whatever the user's code in ``filename`` raises into one sentence with the line at fault."""
    try:
        with quiet():
            yield
    except TemplateError:
        raise
    except SyntaxError as error:
        raise TemplateError(f"{name} does not {what}: {error.msg} in line {error.lineno}") from error
    except Exception as error:
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(filename)]
        where = f" in line {own[-1].lineno} ({own[-1].name})" if own else ""
        raise TemplateError(f"{name} does not {what}: {type(error).__name__}{where}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The first line of what is wrong; Keras writes it in bold between where it happened and the arguments."""
    bold = re.search(r"\x1b\[1m(.+?)\x1b\[0m", str(error), re.DOTALL)
    return (bold[1] if bold else str(error)).strip().partition("\n")[0]
