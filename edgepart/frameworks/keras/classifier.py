"""The network's own classifier as source lines, fitted to another tensor (template ``replicate_classifier``).

EdgeLessPart's default head. The classifier is what follows the last image or token sequence: pooling, flattening and
the layers on one vector a sample. It is read off the calls that were captured; softmax is left out of it, as heads give
logits.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from edgepart.errors import TemplateError
from edgepart.frameworks.builder import is_single
from edgepart.units import dimensions

if TYPE_CHECKING:
    from edgepart.frameworks.keras.program import Program
    from edgepart.frameworks.keras.tracing import Call, Value

Size = int | str
Shape = tuple[Size, ...]
Fit = Callable[[Shape], tuple[list[str], Shape]]

#: operations that change no value (in inference, of one type), and what turns logits into probabilities
_IDENTITY = frozenset({"Identity", "Cast", "Copy", "ActivityRegularization", "Softmax", "LogSoftmax", "StopGradient"})
_LINEAR = frozenset({"linear", "softmax", "log_softmax"})
#: layers of activations, and functions that Keras knows by the name of the operation in lower case
_ACTIVATION_LAYERS = frozenset({"ReLU", "LeakyReLU", "ELU"})
_ACTIVATION_FUNCTIONS = {
    name.replace("_", ""): name
    for name in ("relu", "relu6", "tanh", "sigmoid", "silu", "gelu", "elu", "selu", "hard_sigmoid", "hard_silu", "mish")
}
#: settings of a layer that say nothing about what it computes once it is trained
_UNSAID = ("name", "dtype", "trainable", "activation", "data_format", "axis", "seed", "noise_shape")


@dataclass(frozen=True)
class _Step:
    """One operation of the classifier: ``fit`` maps the shape it is given (no batch) to its lines and its output."""

    role: Literal["reduce", "activation", "dropout", "norm", "trained"]
    before: tuple[int | None, ...]
    fit: Fit


def describe_classifier(program: Program, shape: Sequence[int | str]) -> list[str]:
    """Constructors of the layers that do to a tensor what the network's own classifier does to its features.

    Lines are ``keras.layers.…(…)``, or ``Token(index)``, which the template defines. Layers take the width of what they
    are given; maps of another size are pooled to the original one.

    Args:
        shape: of the tensor, without the batch dimension; a dimension that varies is a string

    Raises:
        TemplateError: the classifier holds an operation that cannot be repeated elsewhere, or reads another kind of
            tensor; names it.
    """
    now: Shape = tuple(shape)
    steps = _steps(program)
    if len(now) == 1:
        steps = list(itertools.dropwhile(lambda step: step.role == "reduce", steps))
    if len(now) != len(steps[0].before):
        reads = tuple(size if size is not None else "sequence" for size in steps[0].before)
        raise TemplateError(
            f"the network's own classifier reads {dimensions(reads)} a sample and cannot be fitted to a "
            f"tensor {dimensions(now)}: use the template 'linear' for this exit"
        )
    lines = []
    for step in steps:
        more, now = step.fit(now)
        lines += more
    return lines


def _steps(program: Program) -> list[_Step]:
    """The classifier's operations, from the first to the logits."""
    steps: list[_Step] = []
    calls = [step.call for step in program.steps if step.call is not None]
    makers = {made: call for call in calls for made in call.makes}
    value, stopped = _output(program), ""
    # Of one number a sample heads make the logits of two classes, and no probability.
    single = is_single(program.graph)
    while value in makers:
        call = makers[value]
        found = _found(call, value, 2 if single else 0) if len(call.values()) == 1 else None
        if found is None:
            stopped = type(call.operation).__name__
            break
        # A second layer with weights on an image or a sequence belongs to the features.
        if any(len(step.before) > 1 and step.role in ("trained", "norm") for step in found) and _has_trained(steps):
            break
        if single:
            found = [step for step in found if step.role != "activation"]
            single = not _has_trained(found)
        steps = [*found, *steps]
        [value] = call.values()
    else:
        # Nothing but layers on vectors up to the network's input: only the last one is the classifier.
        steps = steps[max((i for i, step in enumerate(steps) if step.role == "trained"), default=len(steps)) :]
    steps = list(itertools.dropwhile(lambda step: step.role == "activation", steps))
    if not _has_trained(steps):
        reason = f" ('{stopped}' cannot be repeated)" if stopped else ""
        raise TemplateError(
            f"the classifier of '{program.graph.name}' cannot be replicated{reason}: use the template 'linear'"
        )
    return steps


def _output(program: Program) -> Value:
    wanted = program.graph.outputs[0]
    return next(value for value, name in program.steps[0].names.items() if name == wanted)


def _has_trained(steps: Sequence[_Step]) -> bool:
    return any(step.role == "trained" for step in steps)


def _found(call: Call, made: Value, classes: int = 0) -> list[_Step] | None:
    """What a call is in a classifier, its activation apart; None if it is nothing known.

    Args:
        classes: what the last layer has to give instead of the one number that it does; 0 leaves it
    """
    operation = call.operation
    # a class of the user's own may be called as one of Keras's
    if not type(operation).__module__.startswith("keras."):
        return None
    name, [read] = type(operation).__name__, call.values()
    before, after = tuple(read.shape[1:]), tuple(made.shape[1:])
    activation = _activation(operation, name, before, after)
    if name in _IDENTITY or (activation is not None and name.lower() in ("activation", *_ACTIVATION_FUNCTIONS)):
        return activation or []
    if name == "Reshape" and before == after:
        return []
    if classes and name in ("Reshape", "Squeeze", "Flatten") and set(before) <= {1}:
        return []
    if classes and name in ("Dense", "Conv2D"):
        after = (*after[:-1], classes)
    maker = _MAKERS.get(name)
    step = maker(call, before, after) if maker and activation is not None else None
    return [step, *(activation or ())] if step is not None else None


def _activation(
    operation: Any, name: str, before: tuple[int | None, ...], after: tuple[int | None, ...]
) -> list[_Step] | None:
    """The activation inside a layer, or the one that an operation is; None if it is not one of Keras's."""
    if name.lower() in _ACTIVATION_FUNCTIONS:
        function = _ACTIVATION_FUNCTIONS[name.lower()]
        if name == "Gelu" and operation.approximate:
            return None
    else:
        inner = getattr(operation, "activation", None)
        function = getattr(inner, "__name__", "linear") if inner is not None else "linear"
        if inner is not None and not getattr(inner, "__module__", "").startswith("keras."):
            return None
    if function in _LINEAR:
        return []
    if function not in _ACTIVATION_FUNCTIONS.values():
        return None
    return [_Step("activation", after, _same(f"keras.layers.Activation({function!r})"))]


def _same(line: str) -> Fit:
    return lambda shape: ([line], shape)


def _line(layer: Any, first: str = "", **instead: int) -> str | None:
    """The constructor of a layer of Keras's own, its settings where they are not the default.

    Args:
        instead: settings that it does not have
    """
    settings = [first] if first else []
    defaults = inspect.signature(type(layer).__init__).parameters
    for name, value in (layer.get_config() | instead).items():
        if name in _UNSAID or name.endswith(("_initializer", "_regularizer", "_constraint")) or name not in defaults:
            continue
        default = defaults[name].default
        if value is None or value == default or (isinstance(default, tuple) and tuple(value) == default):
            continue
        if isinstance(value, dict):
            return None
        value = tuple(value) if isinstance(value, list) else value
        settings.append(f"{name}={value!r}" if default is not inspect.Parameter.empty else repr(value))
    return f"keras.layers.{type(layer).__name__}({', '.join(settings)})"


def _last_axis(layer: Any, rank: int) -> bool:
    """Whether a layer works on the last dimension of (batch, …); ``rank`` does not count the batch."""
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    return axes in ([-1], [rank])


def _dense(call: Call, before: tuple[int | None, ...], after: tuple[int | None, ...]) -> _Step | None:
    width = after[-1] or call.operation.units
    line = _line(call.operation, units=width)
    return _Step("trained", before, lambda shape: ([line], (*shape[:-1], width))) if line else None


def _convolution(call: Call, before: tuple[int | None, ...], after: tuple[int | None, ...]) -> _Step | None:
    layer = call.operation
    width = after[-1] or layer.filters
    line = _line(layer, filters=width)
    if layer.groups != 1 or layer.data_format != "channels_last" or line is None:
        return None
    # Its padding keeps the map's size, or else what pools the map next does not care.
    return _Step("trained", before, lambda shape: ([line], (*shape[:-1], width)))


def _norm(call: Call, before: tuple[int | None, ...], after: tuple[int | None, ...]) -> _Step | None:
    line = _line(call.operation) if _last_axis(call.operation, len(before)) else None
    return _Step("norm", before, _same(line)) if line else None


def _dropout(call: Call, before: tuple[int | None, ...], after: tuple[int | None, ...]) -> _Step | None:
    if call.operation.noise_shape is not None:
        return None
    return _Step("dropout", before, _same(f"keras.layers.Dropout({call.operation.rate})"))


def _activation_layer(call: Call, before: tuple[int | None, ...], after: tuple[int | None, ...]) -> _Step | None:
    line = _line(call.operation)
    return _Step("activation", before, _same(line)) if line else None


def _global_pool(call: Call, before: tuple[int | None, ...], after: tuple[int | None, ...]) -> _Step | None:
    layer, line = call.operation, _line(call.operation)
    if layer.data_format != "channels_last" or line is None:
        return None
    ones = (1,) * (len(before) - 1) if layer.keepdims else ()
    return _Step("reduce", before, lambda shape: ([line], (*ones, shape[-1])))


def _reduction(call: Call, before: tuple[int | None, ...], after: tuple[int | None, ...]) -> _Step | None:
    operation = call.operation
    given = operation.axis if operation.axis is not None else []
    axes = sorted(axis % (len(before) + 1) for axis in ([given] if isinstance(given, int) else given))
    if axes != list(range(1, len(before))):
        return None
    kind = "Average" if type(operation).__name__ == "Mean" else "Max"
    keeps = "keepdims=True" if operation.keepdims else ""
    ones = (1,) * (len(before) - 1) if operation.keepdims else ()
    line = f"keras.layers.Global{kind}Pooling{len(before) - 1}D({keeps})"
    return _Step("reduce", before, lambda shape: ([line], (*ones, shape[-1])))


def _pool(call: Call, before: tuple[int | None, ...], after: tuple[int | None, ...]) -> _Step | None:
    if call.operation.data_format != "channels_last" or None in after:
        return None
    kind = "Max" if type(call.operation).__name__.startswith("Max") else "Average"

    # Not with its own window: on a map of another size it must give the same number of features.
    def fit(shape: Shape) -> tuple[list[str], Shape]:
        return _pooled(kind, shape, after)

    return _Step("reduce", before, fit)


def _pooled(kind: str, shape: Shape, wanted: Sequence[int | None]) -> tuple[list[str], Shape]:
    """What brings (height, width, channels) to the height and width that are wanted, and the shape then."""
    height, width, channels = shape
    rows, columns = wanted[:2]
    if (height, width) == (rows, columns):
        return [], shape
    if not isinstance(height, int) or not isinstance(width, int) or not rows or not columns:
        fits = False
    elif height % rows == 0 and width % columns == 0:
        line, fits = f"keras.layers.{kind}Pooling2D(({height // rows}, {width // columns}))", True
    else:
        # windows that overlap; Keras makes none for a single row or column
        line, fits = f"keras.layers.Adaptive{kind}Pooling2D(({rows}, {columns}))", 1 < rows <= height
        fits = fits and 1 < columns <= width
    if not fits:
        raise TemplateError(
            f"the network's own classifier reads maps of {rows}x{columns}, to which a tensor {dimensions(shape)} "
            "cannot be pooled: use the template 'linear' for this exit"
        )
    return [line.replace("))", "), data_format='channels_last')")], (rows or 0, columns or 0, channels)


def _token(call: Call, before: tuple[int | None, ...], after: tuple[int | None, ...]) -> _Step | None:
    key = call.args[1] if len(call.args) > 1 else call.kwargs.get("key")
    whole = slice(None)
    if len(before) != 2 or not isinstance(key, tuple) or len(key) not in (2, 3) or not isinstance(key[1], int):
        return None
    if any(part != whole for part in (key[0], *key[2:])):
        return None
    return _Step("reduce", before, lambda shape: ([f"Token({key[1]})"], shape[1:]))


def _flatten(call: Call, before: tuple[int | None, ...], after: tuple[int | None, ...]) -> _Step | None:
    # channels first are flattened in another order
    if len(after) != 1 or getattr(call.operation, "data_format", "channels_last") != "channels_last":
        return None

    def fit(shape: Shape) -> tuple[list[str], Shape]:
        lines, shape = _pooled("Average", shape, before) if len(shape) == 3 else ([], shape)
        if not all(isinstance(size, int) for size in shape):
            raise TemplateError(
                "the network's own classifier flattens a sequence, whose length varies: use the template 'linear'"
            )
        return [*lines, "keras.layers.Flatten()"], (math.prod(size for size in shape if isinstance(size, int)),)

    return _Step("reduce", before, fit)


_MAKERS: dict[str, Callable[[Call, tuple[int | None, ...], tuple[int | None, ...]], _Step | None]] = {
    "Dense": _dense,
    "Conv2D": _convolution,
    "BatchNormalization": _norm,
    "LayerNormalization": _norm,
    "Dropout": _dropout,
    "Mean": _reduction,
    "Max": _reduction,
    "Amax": _reduction,
    "GetItem": _token,
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze"), _flatten),
    **dict.fromkeys(("AveragePooling2D", "MaxPooling2D"), _pool),
    **dict.fromkeys((f"Global{kind}Pooling{rank}D" for kind in ("Average", "Max") for rank in (1, 2)), _global_pool),
    **dict.fromkeys(_ACTIVATION_LAYERS, _activation_layer),
}
