"""A slice of a network as a module of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgepart.errors import ExportError
from edgepart.frameworks.base import Arrays
from edgepart.frameworks.signature import Signature
from edgepart.frameworks.torch.artefact import export_module
from edgepart.frameworks.torch.run import run_module, runner
from edgepart.graph import Tensor

if TYPE_CHECKING:
    from edgepart.frameworks.runtimes import Precision


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
        self.signature = Signature.of(inputs, outputs, symbols)
        self.inputs, self.outputs = self.signature.input_names, self.signature.output_names
        self.parameters = dict(parameters)

    def run(self, arrays: Arrays) -> dict[str, NDArray[np.generic]]:
        """Compute the outputs; arrays that the part does not read are ignored.

        bfloat16 tensors are uint16 arrays, see :mod:`edgepart.frameworks.torch.arrays`.

        Raises:
            GraphError: an input is missing, or has another dtype or shape than the graph says.
        """
        return run_module(self.module, self.signature, arrays)

    def runner(self, arrays: Arrays) -> Callable[[], object]:
        """One inference on inputs that are converted and checked beforehand, to be timed.

        Raises:
            GraphError: as :meth:`run`.
        """
        return runner(self.module, self.signature, arrays)

    def export(
        self, form: str, path: Path, *, precision: Precision = "float32", samples: Sequence[Arrays] = ()
    ) -> None:
        """Write the part as an exported program (``pt2``), ONNX (``onnx``) or an ExecuTorch program (``pte``).

        Raises:
            ExportError: it cannot be written so; names the operation and the layer.
            FileError: the folder is missing or the disk is full.
        """
        if form == "pt2":
            export_module(self.module, self.signature, path)
        elif form == "onnx":
            from edgepart.frameworks.torch.to_onnx import write_onnx

            write_onnx(self.module, self.signature, path)
        elif form == "pte":
            from edgepart.frameworks.torch.to_executorch import write_executorch

            write_executorch(self.module, self.signature, path, precision=precision, samples=samples)
        else:
            raise ExportError(f"a torch network cannot be written as '{form}', only as pt2, onnx or pte")
