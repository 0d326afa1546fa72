"""Parts on disk: torch's exported program."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn
from torch.export import Dim

from edgepart.errors import ExportError, FileError
from edgepart.files import atomic_file
from edgepart.frameworks.base import Arrays
from edgepart.frameworks.signature import Signature
from edgepart.frameworks.torch.archive import require_safe
from edgepart.frameworks.torch.example import zeros
from edgepart.frameworks.torch.explain import is_fixed
from edgepart.frameworks.torch.quiet import quiet
from edgepart.frameworks.torch.run import run_module, runner


class Artefact:
    """An exported module from a file. ``module`` is called and returns like :attr:`Part.module`."""

    def __init__(self, module: nn.Module, signature: Signature) -> None:
        self.module, self.signature = module, signature
        self.inputs, self.outputs = signature.input_names, signature.output_names

    def run(self, arrays: Arrays) -> dict[str, NDArray[np.generic]]:
        """Compute the outputs; arrays that it does not read are ignored.

        Raises:
            GraphError: an input is missing, or has another dtype or shape than the signature says.
        """
        return run_module(self.module, self.signature, arrays)

    def runner(self, arrays: Arrays) -> Callable[[], object]:
        """One inference on inputs that are converted and checked beforehand, to be timed."""
        return runner(self.module, self.signature, arrays)


def export_module(module: nn.Module, signature: Signature, path: str | Path) -> None:
    """Write a module as an exported program that takes any batch size, and any value of the other symbols.

    Args:
        module: called with one tensor for each input in order, returns a tuple with one for each output

    Raises:
        ExportError: torch.export cannot write it, or it fixes a symbol.
        FileError: the folder is missing or the disk is full.
    """
    sizes = {**signature.symbols, "batch": 2}
    example = tuple(zeros(spec.shape, spec.dtype, sizes) for spec in signature.inputs)
    # A tuple around the specification because the module takes *arguments* in order, whatever it calls them.
    shapes = [
        {axis: Dim.AUTO for axis, size in enumerate(spec.shape) if isinstance(size, str)} for spec in signature.inputs
    ]
    dynamic = (tuple(shapes),) if shapes else None
    try:
        with quiet(), torch.no_grad():
            exported = torch.export.export(Positional(module), example, dynamic_shapes=dynamic, strict=False)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ExportError(f"torch.export cannot write {path}: {type(error).__name__}: {reason}") from error
    _require_dynamic(exported, signature, path)
    _forget_source(exported)
    save_exported(exported, path)


def _forget_source(exported: torch.export.ExportedProgram) -> None:
    """Drop the lines of source that operations came from: paths of this machine are nobody's business elsewhere."""
    for module in exported.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)


def save_exported(exported: torch.export.ExportedProgram, path: str | Path) -> None:
    """Write an exported program atomically, without the example inputs (torch would pickle them)."""
    exported._example_inputs = None
    # Into memory first: torch's writer ends the process when it finds the disk full.
    whole = io.BytesIO()
    with quiet():
        torch.export.save(exported, whole)
    with atomic_file(path) as temporary:
        temporary.write_bytes(whole.getbuffer())


def load_exported(path: str | Path) -> torch.export.ExportedProgram:
    """Read an exported program.

    Raises:
        FileError: no such file, not a complete exported program, or one that could run code on being read.
    """
    if not Path(path).is_file():
        raise FileError(f"{path} does not exist")
    require_safe(path)
    try:
        with quiet(), open(path, "rb") as stream:
            return torch.export.load(stream)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise FileError(f"{path} is not a complete exported program (.pt2): {reason}") from error


def open_artefact(path: str | Path) -> Artefact:
    """Read what :func:`export_module` wrote, with its signature beside it; runs without the user's code.

    Raises:
        FileError: no such file, not complete, or without its signature.
    """
    exported = load_exported(path)
    signature = Signature.load(Signature.beside(Path(path)))
    module: Any = exported.module(check_guards=False)
    # Artefact.run checks the inputs; torch would refuse one sample where it was shown two of 2 * batch rows.
    module.validate_inputs = False
    return Artefact(module, signature)


class Positional(nn.Module):
    """Takes arguments in order under names of its own, so that a part's names need not be Python's."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.module(*tensors))


def _require_dynamic(exported: torch.export.ExportedProgram, signature: Signature, path: str | Path) -> None:
    places = {node.name: node for node in exported.graph.nodes if node.op == "placeholder"}
    values = [places[name].meta["val"] for name in exported.graph_signature.user_inputs if isinstance(name, str)]
    for spec, value in zip(signature.inputs, values, strict=True):
        for wanted, size in zip(spec.shape, value.shape, strict=True):
            if isinstance(wanted, str) and is_fixed(size):
                raise ExportError(
                    f"cannot write {path}: the module fixes '{wanted}' of its input '{spec.name}' to {size}; "
                    f"read the size from the tensor (x.shape) instead of writing it as a number"
                )
