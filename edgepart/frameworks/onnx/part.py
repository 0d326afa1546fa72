"""A slice of a network as a model of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from edgepart.errors import ExportError, FileError
from edgepart.files import require_parent
from edgepart.frameworks.base import Arrays
from edgepart.frameworks.onnx.files import save_model
from edgepart.frameworks.onnx.session import open_session, reason
from edgepart.frameworks.runtimes.base import Precision
from edgepart.frameworks.signature import Signature
from edgepart.graph import Tensor


class Part:
    """Some layers of a captured network.

    Attributes:
        model: its inputs and outputs bear the names of the graph's tensors, in order; weights the names that they have
            in the network
        parameters: name → bytes of the weights that it holds
        fused: whether ONNX Runtime may fuse operations; without it, parts compute bit by bit what the network does
    """

    def __init__(
        self,
        model: ir.Model,
        layers: Sequence[str],
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        parameters: Mapping[str, int],
        symbols: Mapping[str, int],
    ) -> None:
        self.model = model
        self.layers = tuple(layers)
        self.parameters = dict(parameters)
        self.signature = Signature.of(inputs, outputs, symbols)
        self.inputs, self.outputs = self.signature.input_names, self.signature.output_names
        self.fused = True

    def run(self, arrays: Arrays) -> dict[str, NDArray[np.generic]]:
        """Compute the outputs; arrays that the part does not read are ignored.

        Raises:
            GraphError: an input is missing, or has another dtype or shape than the graph says.
        """
        made = self._session.run(list(self.outputs), self._given(arrays))
        return {name: np.asarray(array) for name, array in zip(self.outputs, made, strict=True)}

    def runner(self, arrays: Arrays) -> Callable[[], object]:
        """One inference on inputs that are checked beforehand, to be timed.

        Raises:
            GraphError: as :meth:`run`.
        """
        session, given, outputs = self._session, self._given(arrays), list(self.outputs)
        return lambda: session.run(outputs, given)

    def unfused(self) -> Part:
        """The same part, computed operation by operation."""
        signature = self.signature
        part = Part(self.model, self.layers, signature.inputs, signature.outputs, self.parameters, signature.symbols)
        part.fused = False
        return part

    def export(
        self, form: str, path: Path, *, precision: Precision = "float32", samples: Sequence[Arrays] = ()
    ) -> None:
        """Write the model, in its own precision; weights of more than 2 GB in ``<path>.data`` beside it.

        Raises:
            ExportError: another form than ``onnx``.
            FileError: the folder is missing or the disk is full.
        """
        if form != "onnx":
            raise ExportError(f"parts of ONNX networks cannot be written as {form}: choose a runtime that reads onnx")
        require_parent(path)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            # A file of weights must have its final name when the model that names it is written.
            save_model(self.model, folder / path.name)
            for file in sorted(folder.iterdir(), key=lambda file: file.name == path.name):
                os.replace(file, path.with_name(file.name))
        except OSError as error:
            raise FileError(f"cannot write {path}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        try:
            return open_session(self.model, fuse=self.fused)
        except Exception as error:  # ONNX Runtime has a dozen classes for it, with no common base
            raise ExportError(f"ONNX Runtime cannot hold the part of '{self.layers[0]}': {reason(error)}") from error

    def _given(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        checked = zip(self.inputs, self.signature.checked(arrays), strict=True)
        return {name: np.asarray(array, array.dtype.newbyteorder("="), order="C") for name, array in checked}
