"""A slice of a network as a module of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgepart.frameworks.base import Arrays
from edgepart.frameworks.torch.artefact import export_module
from edgepart.frameworks.torch.run import run_module, runner
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
        export_module(self.module, self._specs, self.outputs, path, self._symbols)
