"""Example inputs of a Keras model, matched to the inputs that it declares."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgepart.errors import CaptureError
from edgepart.frameworks.signature import array_dtype
from edgepart.units import dimensions

_GIVE = "give a tuple for inputs in order or a dict by name, batch first"


@dataclass(frozen=True)
class Example:
    """Arrays by the names of the inputs, in order, with the same batch in front; and how ``call`` takes them."""

    arrays: dict[str, NDArray[Any]]
    #: what ``call`` is given, with names in the place of tensors
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def sample(self) -> dict[str, NDArray[np.generic]]:
        """The first sample."""
        return {name: array[:1].copy() for name, array in self.arrays.items()}

    def filled(self, tensors: Mapping[str, Any]) -> tuple[Any, Any]:
        """Arguments with tensors in the place of their names."""
        filled: tuple[Any, Any] = keras.tree.map_structure(
            lambda leaf: tensors.get(leaf, leaf) if isinstance(leaf, str) else leaf, (self.args, self.kwargs)
        )
        return filled


def of_declared(names: Sequence[str], inputs: Sequence[Any], given: object) -> Example:
    """For a model that lists its inputs, symbolic tensors.

    Raises:
        CaptureError: another number of arrays, or one of another rank or type.
    """
    if isinstance(given, Mapping):
        by_name = {symbol.name: name for symbol, name in zip(inputs, names, strict=True)} | {n: n for n in names}
        flat = {by_name.get(str(key), str(key)): value for key, value in given.items()}
        missing, unknown = [n for n in names if n not in flat], [n for n in flat if n not in names]
        if missing or unknown:
            wrong = f"lacks the input '{missing[0]}'" if missing else f"has an input '{unknown[0]}' that there is not"
            raise CaptureError(f"the example {wrong}: the network takes {', '.join(names)}; {_GIVE}")
        leaves = [flat[name] for name in names]
    else:
        leaves = keras.tree.flatten(given) if isinstance(given, tuple | list) else [given]
    if len(leaves) != len(names):
        raise CaptureError(
            f"the example holds {len(leaves)} arrays, the network takes {len(names)} ({', '.join(names)}): {_GIVE}"
        )
    arrays = {n: _fitted(n, _array(leaf), s) for n, leaf, s in zip(names, leaves, inputs, strict=True)}
    _require_batch(arrays)
    return Example(arrays, (), {})


def of_call(model: Any, given: object) -> Example:
    """For a model that is a class of its own: the arguments of its ``call``.

    Raises:
        CaptureError: the arguments do not fit ``call``.
    """
    parameters = _parameters(model, given)
    by_keyword = isinstance(given, Mapping) and len(parameters) > 1 and set(given) <= set(parameters)
    args: tuple[Any, ...] = () if by_keyword else given if isinstance(given, tuple) else (given,)
    kwargs = dict(given) if by_keyword and isinstance(given, Mapping) else {}
    single = len(parameters) == 1 and isinstance(given, Mapping) and set(given) == set(parameters)
    if single and isinstance(given, Mapping):
        args = (given[parameters[0]],)
    elif len(parameters) == 1 and len(args) > 1:
        args = (list(args),)  # call(self, inputs) of several
    arrays: dict[str, NDArray[Any]] = {}

    def named(path: tuple[Any, ...], leaf: Any) -> Any:
        if leaf is None or isinstance(leaf, bool | int | float | str):
            return leaf
        first = parameters[path[0]] if isinstance(path[0], int) and path[0] < len(parameters) else str(path[0])
        rest = [str(piece) for piece in path[1:]]
        name = rest[-1] if rest and isinstance(path[-1], str) else "_".join([first, *rest])
        array = _array(leaf)
        arrays[name] = array.astype("float32") if array.dtype == np.float64 else array
        return name

    placed_args = _walk(args, named)
    placed_kwargs = {key: _walk((value,), named, key)[0] for key, value in kwargs.items()}
    if not arrays:
        raise CaptureError(f"the example holds no array: {_GIVE}")
    _require_batch(arrays)
    return Example(arrays, placed_args, placed_kwargs)


def _parameters(model: Any, given: object) -> list[str]:
    """Names of the arguments of ``call`` that tensors may be given for."""
    named = set(given) if isinstance(given, Mapping) else set[str]()
    own = inspect.signature(model.call).parameters.values()
    # Keras fills in these two itself, unless the class asks for a mask
    return [
        p.name
        for p in own
        if p.name != "training" and (p.name != "mask" or p.default is inspect.Parameter.empty or p.name in named)
    ]


def _walk(values: Sequence[Any], named: Any, key: str | None = None) -> tuple[Any, ...]:
    def walk(path: tuple[Any, ...], value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: walk((*path, k), v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(walk((*path, i), v) for i, v in enumerate(value))
        return named(path, value)

    return tuple(walk((index if key is None else key,), value) for index, value in enumerate(values))


def _array(value: Any) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except Exception:  # not numbers, which the next lines say
        array = np.asarray(None)
    if array.dtype.kind not in "biuf" and array.dtype.name not in ("bfloat16", "complex64"):
        kind = f"{type(value).__name__} objects" if array.dtype == object else f"text ({array.dtype})"
        raise CaptureError(f"the example holds {kind}: give arrays of numbers, batch first")
    return array


def _fitted(name: str, array: NDArray[Any], symbol: Any) -> NDArray[Any]:
    shape = tuple(symbol.shape)
    fits = array.ndim == len(shape) and all(
        declared in (None, size) for declared, size in zip(shape[1:], array.shape[1:], strict=True)
    )
    if not fits:
        wanted = dimensions(["batch", *("any" if size is None else size for size in shape[1:])])
        raise CaptureError(f"the example of the input '{name}' has the shape {array.shape}, expected {wanted}")
    if symbol.dtype == "string" or symbol.sparse or getattr(symbol, "ragged", False):
        raise CaptureError(
            f"the input '{name}' is {'sparse' if symbol.sparse else 'text'}: give dense numbers, prepared before the "
            "network"
        )
    dtype = array_dtype(symbol.dtype)
    if array.dtype.kind == "f" and dtype.kind in "biu" and symbol.dtype != "bfloat16":
        raise CaptureError(f"the example of the input '{name}' is {array.dtype}, the network takes {symbol.dtype}")
    if symbol.dtype == "bfloat16":
        import ml_dtypes

        return array if array.dtype == dtype else array.astype(ml_dtypes.bfloat16).view(dtype)
    return array.astype(dtype)


def _require_batch(arrays: Mapping[str, NDArray[Any]]) -> None:
    batches = [array.shape[0] if array.ndim else 0 for array in arrays.values()]
    if min(batches) != max(batches) or not batches[0]:
        raise CaptureError(
            f"the first dimension of the example inputs is {', '.join(map(str, batches))}: it must be the batch, the "
            "same for every input and at least 1"
        )
