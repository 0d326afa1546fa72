"""PyTorch itself: parts as exported programs (``.pt2``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgepart.frameworks.base import Arrays, Part
from edgepart.frameworks.runtimes.base import Precision
from edgepart.frameworks.signature import Signature
from edgepart.frameworks.torch import require_torch

if TYPE_CHECKING:
    from edgepart.frameworks.torch.artefact import Artefact


class TorchRuntime:
    """Runs exported programs eagerly. Of the precisions only float32: on a CPU torch is slower in the others."""

    name = "torch"
    form = "pt2"
    suffix = ".pt2"
    precisions: tuple[Precision, ...] = ("float32",)

    def write(
        self, part: Part, path: Path, *, precision: Precision = "float32", samples: Sequence[Arrays] = ()
    ) -> None:
        """Write a part, and its signature beside it.

        Raises:
            ExportError: torch.export cannot write it.
            FileError: the folder is missing or the disk is full.
        """
        require_torch()
        part.export(self.form, path)
        part.signature.save(Signature.beside(path))

    def open(self, path: Path) -> Artefact:
        """Read what :meth:`write` wrote; runs without the user's code.

        Raises:
            FileError: no such file, not complete, or one that could run code on being read.
        """
        require_torch()
        from edgepart.frameworks.torch.artefact import open_artefact

        return open_artefact(path)

    def tolerance(self, precision: Precision) -> float:
        """The same operations, in an order that torch may choose anew."""
        return 1e-4

    def version(self) -> str:
        """Version of torch."""
        require_torch()
        import torch

        return str(torch.__version__)

    def set_threads(self, count: int) -> None:
        """Threads that one operation may use in this process."""
        require_torch()
        import torch

        torch.set_num_threads(count)
