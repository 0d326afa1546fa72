"""Parts on disk: torch's exported program."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgepart.errors import FileError
from edgepart.files import atomic_file
from edgepart.frameworks.base import Arrays
from edgepart.frameworks.signature import Signature
from edgepart.frameworks.torch.archive import require_safe
from edgepart.frameworks.torch.run import run_module, runner, storages
from edgepart.frameworks.torch.trace import require_varying, trace, vary
from edgepart.silence import quiet


class Artefact:
    """An exported module from a file. ``module`` is called and returns like :attr:`Part.module`.

    Its weights may change in place, not be replaced: where they lie is looked up once.
    """

    def __init__(self, module: nn.Module, signature: Signature) -> None:
        self.module, self.signature = module, signature
        self.inputs, self.outputs = signature.input_names, signature.output_names

    def run(self, arrays: Arrays) -> dict[str, NDArray[np.generic]]:
        """Compute the outputs; arrays that it does not read are ignored.

        Raises:
            GraphError: an input is missing, or has another dtype or shape than the signature says.
        """
        return run_module(self.module, self.signature, arrays, self._held)

    @cached_property
    def _held(self) -> frozenset[int]:
        return storages(self.module)

    def runner(self, arrays: Arrays) -> Callable[[], object]:
        """One inference on inputs that are converted and checked beforehand, to be timed."""
        return runner(self.module, self.signature, arrays)


def export_module(module: nn.Module, signature: Signature, path: str | Path) -> None:
    """Write a module as an exported program that takes any batch size, and any value of the other symbols.

    Args:
        module: called with one tensor for each input in order, returns a tuple with one for each output

    Raises:
        ExportError: torch.export cannot follow it, or it fixes a symbol.
        FileError: the folder is missing or the disk is full.
    """
    # A batch of 2: torch takes a size of 1 for a constant.
    exported = trace(module, signature, {**signature.symbols, "batch": 2}, vary)
    require_varying(exported, signature)
    save_exported(exported, path)


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
