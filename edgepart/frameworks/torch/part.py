"""A slice of a network as a module of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgepart.errors import GraphError
from edgepart.frameworks.base import Arrays
from edgepart.frameworks.torch.arrays import from_numpy, numpy_dtype, to_numpy
from edgepart.frameworks.torch.artefact import export_module
from edgepart.frameworks.torch.sizes import evaluate
from edgepart.graph import Tensor


class Part:
    """Consecutive layers of a captured network.

    Attributes:
        module: called with the input tensors in the order of ``inputs``, returns the tuple of ``outputs``; gradients
            flow through it. Its parameters carry the names they have in the network.
        parameters: name → bytes of the parameters and buffers that it holds
    """

    def __init__(
        self,
        module: nn.Module,
        layers: Sequence[str],
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        parameters: Mapping[str, int],
        symbols: Mapping[str, int],
    ) -> None:
        self.module = module
        self.layers = tuple(layers)
        self.inputs = tuple(tensor.name for tensor in inputs)
        self.outputs = tuple(tensor.name for tensor in outputs)
        self.parameters = dict(parameters)
        self._specs = tuple(inputs)
        self._symbols = dict(symbols)

    def run(self, arrays: Arrays) -> dict[str, NDArray[np.generic]]:
        """Compute the outputs; arrays that the part does not read are ignored.

        bfloat16 tensors are uint16 arrays, see :mod:`edgepart.frameworks.torch.arrays`.

        Raises:
            GraphError: an input is missing, or has another dtype or shape than the graph says.
        """
        return run_module(self.module, self._specs, self.outputs, arrays)

    def runner(self, arrays: Arrays) -> Callable[[], object]:
        """One inference on inputs that are converted and checked beforehand, to be timed.

        Raises:
            GraphError: as :meth:`run`.
        """
        return runner(self.module, self._specs, arrays)

    def save(self, path: Path) -> None:
        """Write the part as an exported program (``.pt2``), which runs without the user's code.

        Raises:
            CaptureError: torch.export cannot write it.
            FileError: the folder is missing or the disk is full.
        """
        inputs = [(tensor.name, tensor) for tensor in self._specs]
        export_module(self.module, inputs, self.outputs, path, self._symbols)


def run_module(
    module: nn.Module, inputs: Sequence[Tensor], outputs: Sequence[str], arrays: Arrays
) -> dict[str, NDArray[np.generic]]:
    """Call a module that takes and returns tensors on arrays by name, without gradients.

    Raises:
        GraphError: an input is missing, or has another dtype or shape than ``inputs`` say.
    """
    given = tensors(inputs, arrays)
    with torch.no_grad():
        results = module(*given)
    if len(results) != len(outputs):
        raise GraphError(f"the part returned {len(results)} tensors, expected {len(outputs)}: {', '.join(outputs)}")
    taken = {tensor.untyped_storage().data_ptr() for tensor in (*given, *_held(module))}
    return {name: _fresh(result, taken) for name, result in zip(outputs, results, strict=True)}


def runner(module: nn.Module, inputs: Sequence[Tensor], arrays: Arrays) -> Callable[[], object]:
    """One call of a module on checked arrays, without gradients."""
    given = tensors(inputs, arrays)

    def run() -> object:
        with torch.no_grad():
            return module(*given)

    return run


def tensors(inputs: Sequence[Tensor], arrays: Arrays) -> list[torch.Tensor]:
    """The tensors that a module is called with, from arrays that are checked."""
    check_arrays(inputs, arrays)
    return [from_numpy(np.asarray(arrays[spec.name]), spec.dtype) for spec in inputs]


def check_arrays(inputs: Sequence[Tensor], arrays: Arrays) -> None:
    """Compare arrays with the tensors they stand for.

    Raises:
        GraphError: names the tensor, what was given and what was expected.
    """
    symbols: dict[str, int] = {}
    for spec in inputs:
        if spec.name not in arrays:
            raise GraphError(f"the input '{spec.name}' is missing: given are {', '.join(arrays) or 'none'}")
        array = np.asarray(arrays[spec.name])
        expected = f"expected {spec.dtype} ({', '.join(map(str, spec.shape))})"
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
            wanted = evaluate(expected, symbols)
        except GraphError:
            continue  # a symbol that no input shows by itself
        if size != wanted or size < 1:
            shown = ", ".join(map(str, spec.shape))
            known = ", ".join(f"{name} = {value}" for name, value in symbols.items() if value >= 0)
            raise GraphError(
                f"the input '{spec.name}' has the shape {given}: expected ({shown})"
                + (f" with {known}" if known else "")
            )


def _held(module: nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()]


def _fresh(result: torch.Tensor, taken: set[int]) -> NDArray[Any]:
    """The array of a result; a copy where a change to it would reach an input or a weight."""
    return to_numpy(result.clone() if result.untyped_storage().data_ptr() in taken else result)
