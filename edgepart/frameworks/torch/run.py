"""Calling a module of tensors with arrays by name, after a check of their shapes and dtypes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgepart.errors import GraphError
from edgepart.frameworks.base import Arrays
from edgepart.frameworks.torch.arrays import from_numpy, numpy_dtype, to_numpy
from edgepart.graph import Tensor
from edgepart.graph.sizes import evaluate_size
from edgepart.units import dimensions


def run_module(
    module: nn.Module, inputs: Sequence[Tensor], outputs: Sequence[str], arrays: Arrays
) -> dict[str, NDArray[np.generic]]:
    """Call a module that takes and returns tensors on arrays by name, without gradients.

    Raises:
        GraphError: an input is missing, or has another dtype or shape than ``inputs`` say.
    """
    given = _tensors(inputs, arrays)
    with torch.no_grad():
        results = module(*given)
    if len(results) != len(outputs):
        raise GraphError(f"the part returned {len(results)} tensors, expected {len(outputs)}: {', '.join(outputs)}")
    taken = {tensor.untyped_storage().data_ptr() for tensor in (*given, *_held(module))}
    return {name: _fresh(result, taken) for name, result in zip(outputs, results, strict=True)}


def runner(module: nn.Module, inputs: Sequence[Tensor], arrays: Arrays) -> Callable[[], object]:
    """One call of a module on checked arrays, without gradients."""
    given = _tensors(inputs, arrays)

    def run() -> object:
        with torch.no_grad():
            return module(*given)

    return run


def _tensors(inputs: Sequence[Tensor], arrays: Arrays) -> list[torch.Tensor]:
    """The tensors that a module is called with, from arrays that are checked."""
    _check_arrays(inputs, arrays)
    return [from_numpy(np.asarray(arrays[spec.name]), spec.dtype) for spec in inputs]


def _check_arrays(inputs: Sequence[Tensor], arrays: Arrays) -> None:
    """Compare arrays with the tensors they stand for.

    Raises:
        GraphError: names the tensor, what was given and what was expected.
    """
    symbols: dict[str, int] = {}
    for spec in inputs:
        if spec.name not in arrays:
            raise GraphError(f"the input '{spec.name}' is missing: given are {', '.join(arrays) or 'none'}")
        array = np.asarray(arrays[spec.name])
        expected = f"expected {spec.dtype} {dimensions(spec.shape)}"
        if array.dtype.newbyteorder("=") != numpy_dtype(spec.dtype):
            raise GraphError(f"the input '{spec.name}' is {array.dtype} {array.shape}: {expected}")
        if array.ndim != len(spec.shape):
            raise GraphError(f"the input '{spec.name}' has the shape {array.shape}: {expected}")
        symbols.update((s, n) for s, n in zip(spec.shape, array.shape, strict=True)
                       if isinstance(s, str) and s.isidentifier() and s not in symbols)  # fmt: skip
    for spec in inputs:
        _check_shape(spec, np.asarray(arrays[spec.name]).shape, symbols)


def _check_shape(spec: Tensor, given: tuple[int, ...], symbols: Mapping[str, int]) -> None:
    for size, expected in zip(given, spec.shape, strict=True):
        try:
            wanted = evaluate_size(expected, symbols)
        except GraphError:
            continue  # a symbol that no input shows by itself
        if size != wanted or size < 1:
            known = ", ".join(f"{name} = {value}" for name, value in symbols.items() if value >= 0)
            raise GraphError(
                f"the input '{spec.name}' has the shape {given}: expected {dimensions(spec.shape)}"
                + (f" with {known}" if known else "")
            )


def _held(module: nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()]


def _fresh(result: torch.Tensor, taken: set[int]) -> NDArray[Any]:
    """The array of a result; a copy where a change to it would reach an input or a weight."""
    return to_numpy(result.clone() if result.untyped_storage().data_ptr() in taken else result)
