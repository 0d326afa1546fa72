"""Calling a module of tensors with arrays by name, after a check of their shapes and dtypes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgepart.errors import GraphError
from edgepart.frameworks.base import Arrays
from edgepart.frameworks.signature import Signature
from edgepart.frameworks.torch.arrays import from_numpy, to_numpy


def run_module(
    module: nn.Module, signature: Signature, arrays: Arrays, held: frozenset[int] | None = None
) -> dict[str, NDArray[np.generic]]:
    """Call a module that takes and returns tensors on arrays by name, without gradients.

    Args:
        held: :func:`storages` of the module, if known: going through all weights takes a per cent of a small part

    Raises:
        GraphError: an input is missing, or has another dtype or shape than the signature says.
    """
    given = _tensors(signature, arrays)
    with torch.no_grad():
        results = module(*given)
    outputs = signature.output_names
    if len(results) != len(outputs):
        raise GraphError(f"the part returned {len(results)} tensors, expected {len(outputs)}: {', '.join(outputs)}")
    taken = (storages(module) if held is None else held) | {tensor.untyped_storage().data_ptr() for tensor in given}
    return {name: _fresh(result, taken) for name, result in zip(outputs, results, strict=True)}


def runner(module: nn.Module, signature: Signature, arrays: Arrays) -> Callable[[], object]:
    """One call of a module on checked arrays, without gradients."""
    given = _tensors(signature, arrays)

    def run() -> object:
        with torch.no_grad():
            return module(*given)

    return run


def _tensors(signature: Signature, arrays: Arrays) -> list[torch.Tensor]:
    """The tensors that a module is called with, from arrays that are checked."""
    checked = zip(signature.inputs, signature.checked(arrays), strict=True)
    return [from_numpy(array, spec.dtype) for spec, array in checked]


def storages(module: nn.Module) -> frozenset[int]:
    """Where the weights of a module lie."""
    return frozenset(each.untyped_storage().data_ptr() for each in (*module.parameters(), *module.buffers()))


def _fresh(result: torch.Tensor, taken: frozenset[int]) -> NDArray[Any]:
    """The array of a result; a copy where a change to it would reach an input or a weight."""
    return to_numpy(result.clone() if result.untyped_storage().data_ptr() in taken else result)
