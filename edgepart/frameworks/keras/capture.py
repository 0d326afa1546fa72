"""From a Keras model and an example to a Program."""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import KerasTensor

from edgepart.errors import CaptureError
from edgepart.frameworks.keras.describe import Described, describe
from edgepart.frameworks.keras.example import Example, of_call, of_declared
from edgepart.frameworks.keras.explain import reason
from edgepart.frameworks.keras.flatten import Flattener, Opened, called, functional_of, structure
from edgepart.frameworks.keras.part import tensor
from edgepart.frameworks.keras.program import Program
from edgepart.frameworks.keras.tracing import Value
from edgepart.graph import Graph
from edgepart.silence import quiet


def capture(model: Any, example: object) -> Program:
    """Capture a network as it computes in inference.

    Raises:
        CaptureError: its operations cannot be followed; names the layer and what to try.
    """
    with quiet():
        _build(model, example)
        functional = functional_of(model)
        described, given = _declared(functional, example) if functional is not None else _called(model, example)
        program = Program(described, given, structure(model))
        if len(program.graph.symbols) > 1:
            _require_equal(program, model, given)
    return program


def _require_equal(program: Program, model: Any, given: Example) -> None:
    """Check that the network computes the same where lengths vary; some layers of Keras do not."""
    tensors = {t.name: tensor(given.arrays[t.name], t.dtype) for t in map(program.graph.tensor, program.graph.inputs)}
    functional = functional_of(model)
    args: Any
    kwargs: Any
    if functional is not None:
        args, kwargs = (keras.tree.pack_sequence_as(functional.input, list(tensors.values())),), {}
    else:
        args, kwargs = given.filled(tensors)
    expected = keras.tree.flatten(model(*args, **kwargs, training=False))
    part = program.slice(None, None)
    try:
        made = dict(zip(part.outputs, part.compute([tensors[name] for name in part.inputs]), strict=True))
        found = [made[name] for name in program.graph.outputs]
        same = all(_close(f, e) for f, e in zip(found, expected, strict=True))
    except tf.errors.OpError:
        same = False
    if not same:
        raise CaptureError(
            f"the network '{program.graph.name}' computes something else when Keras is told that lengths vary "
            "(TimeDistributed layers with a mask do, for one): give its inputs a fixed length"
        )


_NAMED_BY_KERAS = re.compile(r"(input_layer|keras_tensor)(_\d+)?")


def _close(found: Any, expected: Any) -> bool:
    if found.shape != expected.shape:
        return False
    if not found.dtype.is_floating:
        return True  # a rounding may tip an index
    one, other = (np.asarray(tf.cast(t, "float64")) for t in (found, expected))
    if not np.array_equal(np.isnan(one), np.isnan(other)):
        return False
    largest = np.max(np.abs(np.nan_to_num(other)), initial=1e-6)
    return bool(np.max(np.abs(np.nan_to_num(one - other)), initial=0) <= 1e-2 * largest)


def _declared(functional: Any, example: object) -> tuple[Described, Example]:
    names = input_names(functional)
    given = of_declared(names, functional.inputs, example)
    symbols, inputs = _symbols(given, {n: tuple(s.shape) for n, s in zip(names, functional.inputs, strict=True)})
    values = [Value(symbol.dtype, _sizes(inputs[name])) for name, symbol in zip(names, functional.inputs, strict=True)]
    flattener = Flattener()
    made = flattener.run(Opened(functional.inputs, functional.outputs), values)
    described = describe(functional.name, flattener, dict(zip(names, values, strict=True)), made, inputs, symbols)
    _require_free_batch(functional, names, described.graph)
    return described, given


def _require_free_batch(functional: Any, names: list[str], graph: Graph) -> None:
    """A network declared for one batch size may still take any."""
    fixed = {n: s.shape[0] for n, s in zip(names, functional.inputs, strict=True) if s.shape[0] is not None}
    stuck = [name for name in graph.outputs if "batch" not in str(graph.tensor(name).shape[:1])]
    if fixed and stuck:
        name, size = next(iter(fixed.items()))
        raise CaptureError(
            f"the network is made for batches of {size} (input '{name}', batch_shape), and its output '{stuck[0]}' "
            "has no other size: build it with keras.Input(shape) and without sizes of the batch"
        )


def _called(model: Any, example: object) -> tuple[Described, Example]:
    """A model written as a class: its ``call`` on symbolic tensors, with lengths that vary where that works."""
    given = of_call(model, example)
    varying = {name: _varying(array) for name, array in given.arrays.items()}
    fixed = {name: (None, *array.shape[1:]) for name, array in given.arrays.items()}
    for shapes in [varying, fixed] if varying != fixed else [fixed]:
        try:
            return _recorded(model, given, shapes), given
        except CaptureError:
            if shapes is fixed:
                raise
    raise AssertionError


def _recorded(model: Any, given: Example, shapes: dict[str, Any]) -> Described:
    symbols, inputs = _symbols(given, shapes)
    tensors = {n: KerasTensor(_sizes(inputs[n]), array.dtype.name, name=n) for n, array in given.arrays.items()}
    values = {name: Value(tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
    flattener = Flattener()
    try:
        recording = called(model, *given.filled(tensors))
        with recording as outputs:
            made = flattener.run(Opened(list(tensors.values()), outputs), list(values.values()))
    except CaptureError:
        raise
    except Exception as error:
        raise CaptureError(_advice(model, error)) from error
    return describe(model.name, flattener, values, made, inputs, symbols)


def _advice(model: Any, error: Exception) -> str:
    return (
        f"call of the {type(model).__name__} cannot be recorded on Keras' symbolic tensors ({reason(error)}): use "
        "Keras layers and keras.ops in it instead of TensorFlow's functions and Python conditions on values, put the "
        "rest into a keras.layers.Layer of its own, or build the network with keras.Model(inputs, outputs)"
    )


def _build(model: Any, example: object) -> None:
    """Give a model that has not been called its weights, as its first call would."""
    if model.built and (not isinstance(model, keras.Sequential) or functional_of(model) is not None):
        return
    leaves = keras.tree.flatten(example)
    try:
        if isinstance(model, keras.Sequential) and len(leaves) == 1 and not model.built:
            model.build((None, *np.shape(leaves[0])[1:]))
        if not model.built or functional_of(model) is None:
            given = of_call(model, example)
            args, kwargs = given.filled({name: keras.ops.convert_to_tensor(a) for name, a in given.arrays.items()})
            model(*args, **kwargs)
    except CaptureError:
        raise
    except Exception as error:
        raise CaptureError(
            f"the {type(model).__name__} cannot be called on the example inputs ({reason(error)}): "
            "give an array, a tuple of them or a dict by name, batch first"
        ) from error


def input_names(functional: Any) -> list[str]:
    """Keys of the dict that the model takes, or else the names of its input layers.

    Names that Keras gave are counted anew: Keras counts them through the whole process.
    """
    struct = functional.input
    named = struct if isinstance(struct, dict) else {}
    keys = {id(tensor): str(key) for key, tensor in named.items() if isinstance(tensor, KerasTensor)}
    found = [keys.get(id(tensor), _layer_name(tensor)) for tensor in functional.inputs]
    given = [name for name in found if _NAMED_BY_KERAS.fullmatch(name)]
    fresh = {name: f"input_layer_{number}" if number else "input_layer" for number, name in enumerate(given)}
    return [fresh.get(name, name) for name in found]


def _layer_name(tensor: Any) -> str:
    history = getattr(tensor, "_keras_history", None)
    return str(history.operation.name if history and history.operation else tensor.name)


def _varying(array: Any) -> tuple[int | None, ...]:
    """Lengths of token sequences vary."""
    tokens = array.ndim == 2 and array.dtype.kind in "biu"
    return (None, None) if tokens else (None, *array.shape[1:])


def _symbols(given: Example, shapes: dict[str, tuple[int | None, ...]]) -> tuple[dict[str, int], dict[str, Any]]:
    """Values of the symbols at batch 1, and every input's shape over them; other sizes are those of the example.

    Inputs of the same length in the example are taken for sequences that belong together.
    """
    symbols, by_length = {"batch": 1}, dict[int, str]()
    inputs: dict[str, Any] = {}
    for name, declared in shapes.items():
        shape: list[int | str] = ["batch", *given.arrays[name].shape[1:]]
        dtype = given.arrays[name].dtype.kind
        tokens = len(declared) == 2 and dtype in "biu"
        if declared[1:2] == (None,) and (tokens or len(declared) == 3):
            length = int(shape[1])
            if length not in by_length:
                by_length[length] = f"sequence_{len(by_length)}" if by_length else "sequence"
                symbols[by_length[length]] = length
            shape[1] = by_length[length]
        inputs[name] = tuple(shape)
    return symbols, inputs


def _sizes(shape: tuple[int | str, ...]) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in shape)
