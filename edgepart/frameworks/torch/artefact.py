"""Parts on disk: torch's exported program with the names of its tensors inside the same file."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import fx, nn
from torch.export import Dim

from edgepart.errors import CaptureError, FileError
from edgepart.files import Record, atomic_file, explain
from edgepart.frameworks.base import Arrays
from edgepart.frameworks.torch.archive import require_safe
from edgepart.frameworks.torch.example import zeros
from edgepart.frameworks.torch.explain import is_fixed
from edgepart.frameworks.torch.quiet import quiet
from edgepart.frameworks.torch.run import run_module
from edgepart.graph import Tensor

_NAMES = "edgepart.json"


class _Signature(Record):
    """The names beside an exported program."""

    version: int = 1
    inputs: tuple[Tensor, ...]
    outputs: tuple[str, ...]


class Artefact:
    """An exported module from a file. ``module`` is called and returns like :attr:`Part.module`."""

    def __init__(self, module: nn.Module, inputs: Sequence[Tensor], outputs: Sequence[str]) -> None:
        self.module = module
        self.specs = tuple(inputs)
        self.inputs = tuple(tensor.name for tensor in inputs)
        self.outputs = tuple(outputs)

    def run(self, arrays: Arrays) -> dict[str, NDArray[np.generic]]:
        """Compute the outputs; arrays that it does not read are ignored.

        Raises:
            GraphError: an input is missing, or has another dtype or shape than the file says.
        """
        return run_module(self.module, self.specs, self.outputs, arrays)


def export_module(
    module: nn.Module,
    inputs: Sequence[Tensor],
    outputs: Sequence[str],
    path: str | Path,
    symbols: Mapping[str, int],
) -> None:
    """Write a module as an exported program that takes any batch size, and any value of the other symbols.

    Args:
        module: called with one tensor for each input in order, returns a tuple with one for each of ``outputs``
        inputs: name, shape (over the symbols) and dtype of every argument
        outputs: a name for every tensor returned
        symbols: value of every symbol to trace with (``Graph.symbols``); for batch, 2 is taken

    Raises:
        CaptureError: torch.export cannot write it, or it fixes a symbol.
        FileError: the folder is missing or the disk is full.
    """
    sizes = {**symbols, "batch": 2}
    example = tuple(zeros(spec.shape, spec.dtype, sizes) for spec in inputs)
    # A tuple around the specification because the module takes *arguments* in order, whatever it calls them.
    shapes = [{axis: Dim.AUTO for axis, size in enumerate(spec.shape) if isinstance(size, str)} for spec in inputs]
    dynamic = (tuple(shapes),) if shapes else None
    try:
        with quiet(), torch.no_grad():
            exported = torch.export.export(_Positional(module), example, dynamic_shapes=dynamic, strict=False)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise CaptureError(f"torch.export cannot write {path}: {type(error).__name__}: {reason}") from error
    _require_dynamic(exported, inputs, path)
    _forget_source(exported)
    specs = tuple(spec.model_copy(update={"producer": None, "consumers": ()}) for spec in inputs)
    save_exported(exported, path, {_NAMES: _Signature(inputs=specs, outputs=tuple(outputs)).model_dump_json()})


def _forget_source(exported: torch.export.ExportedProgram) -> None:
    """Drop the lines of source that operations came from: paths of this machine are nobody's business elsewhere."""
    for module in exported.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)


def save_exported(exported: torch.export.ExportedProgram, path: str | Path, extra: Mapping[str, str]) -> None:
    """Write an exported program atomically, without the example inputs (torch would pickle them)."""
    exported._example_inputs = None
    # Into memory first: torch's writer ends the process when it finds the disk full.
    whole = io.BytesIO()
    with quiet():
        torch.export.save(exported, whole, extra_files=dict(extra))
    with atomic_file(path) as temporary:
        temporary.write_bytes(whole.getbuffer())


def load_exported(path: str | Path, extra: Sequence[str]) -> tuple[torch.export.ExportedProgram, dict[str, str]]:
    """Read an exported program and the texts stored beside it.

    Raises:
        FileError: no such file, not a complete exported program, or one that could run code on being read.
    """
    if not Path(path).is_file():
        raise FileError(f"{path} does not exist")
    require_safe(path)
    texts: dict[str, Any] = dict.fromkeys(extra, "")
    try:
        with quiet(), open(path, "rb") as stream:
            exported = torch.export.load(stream, extra_files=texts)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise FileError(f"{path} is not a complete exported program (.pt2): {reason}") from error
    return exported, texts


def open_artefact(path: str | Path) -> Artefact:
    """Read what :func:`export_module` wrote; runs without the user's code.

    Raises:
        FileError: no such file, not complete, or not written by edgepart.
    """
    exported, texts = load_exported(path, [_NAMES])
    try:
        signature = _Signature.model_validate(json.loads(texts[_NAMES]))
    except json.JSONDecodeError:
        raise FileError(f"{path} holds an exported program that edgepart did not write: it lacks {_NAMES}") from None
    except ValidationError as error:
        raise FileError(f"{path} names its tensors in a way this edgepart cannot read: {explain(error)}") from error
    module: Any = exported.module(check_guards=False)
    # Artefact.run checks the inputs; torch would refuse one sample where it was shown two of 2 * batch rows.
    module.validate_inputs = False
    return Artefact(module, signature.inputs, signature.outputs)


class _Positional(nn.Module):
    """Takes arguments in order under names of its own, so that a part's names need not be Python's."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.module(*tensors))


def _require_dynamic(exported: torch.export.ExportedProgram, inputs: Sequence[Tensor], path: str | Path) -> None:
    places = {node.name: node for node in exported.graph.nodes if node.op == "placeholder"}
    values = [places[name].meta["val"] for name in exported.graph_signature.user_inputs if isinstance(name, str)]
    for spec, value in zip(inputs, values, strict=True):
        for wanted, size in zip(spec.shape, value.shape, strict=True):
            if isinstance(wanted, str) and is_fixed(size):
                raise CaptureError(
                    f"cannot write {path}: the module fixes '{wanted}' of its input '{spec.name}' to {size}; "
                    f"read the size from the tensor (x.shape) instead of writing it as a number"
                )
