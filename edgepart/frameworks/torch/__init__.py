"""PyTorch. Importing this package does not import torch; only using it does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgepart.errors import CaptureError, MissingExtra, ModelError
from edgepart.graph import Graph
from edgepart.graph.graph import Layout

if TYPE_CHECKING:
    from torch import nn

    from edgepart.frameworks.builder import HeadSize
    from edgepart.frameworks.torch.building import TorchBuilder
    from edgepart.frameworks.torch.program import Program


class TorchFramework:
    """Captures with torch.export, runs parts eagerly, writes them as exported programs, ONNX or ExecuTorch programs."""

    name = "torch"
    runtime = "torch"
    forms = ("pt2", "onnx", "pte")
    templates = "torch"
    layout: Layout = "channels_first"
    suffixes = ()

    def accepts(self, model: object) -> bool:
        """Whether the model is a torch.nn.Module; a model of a framework that is not imported cannot exist."""
        torch = sys.modules.get("torch")
        return torch is not None and isinstance(model, torch.nn.Module)

    def program(self, model: object, example: object) -> Program:
        """Capture a network.

        Args:
            model: a torch.nn.Module; it is captured in eval mode and left in the mode it was in
            example: a tensor or array, a tuple of them (positional) or a dict (by keyword); first dimension: batch

        Raises:
            CaptureError: torch.export cannot follow it; names the module and what to try.
        """
        require_torch()
        from edgepart.frameworks.torch.capture import capture

        return capture(_module(model), example)

    def builder(self, model: object, example: object) -> TorchBuilder:
        """Copy and capture a network, to add heads to it, train them and write its parts.

        Raises:
            CaptureError: as :meth:`program`.
        """
        require_torch()
        from edgepart.frameworks.torch.building import TorchBuilder

        return TorchBuilder(_module(model), example)

    def recapture(self, model: object, graph: Graph) -> Program:
        """Capture a network with an example made from the inputs that a graph lists, by keyword or else by position.

        Raises:
            CaptureError: torch.export cannot follow it, or it does not take those inputs.
        """
        require_torch()
        from edgepart.frameworks.torch.example import zeros

        sizes = graph.symbols | {"batch": 2}
        specs = [graph.tensor(name) for name in graph.inputs]
        tensors = {spec.name: zeros(spec.shape, spec.dtype, sizes) for spec in specs}
        try:
            return self.program(model, tensors)
        except CaptureError:  # a network that collects its inputs, forward(self, *inputs)
            return self.program(model, tuple(tensors.values()))

    def open_program(self, folder: Path) -> Program:
        """Read back what :meth:`Program.save` wrote.

        Raises:
            FileError: a file is missing or damaged.
        """
        require_torch()
        from edgepart.frameworks.torch.program import Program

        return Program.open(folder)

    def load(self, path: Path) -> tuple[object, object]:
        """Refuse: a torch network is code (``file.py:function``), its files hold weights only."""
        raise ModelError(f"{path} does not hold a whole torch network: give file.py:function that loads it")

    def try_head(self, source: str, shape: Sequence[int], classes: int, name: str) -> HeadSize:
        """Compile the rendered head of an exit and hold it to the contract of templates.

        Raises:
            TemplateError: it does not compile or run, or breaks the contract; says which in one sentence.
        """
        require_torch()
        from edgepart.frameworks.torch.heads import try_head

        return try_head(source, shape, classes, name)

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

    def reference(self) -> Mapping[str, tuple[int, Callable[[], object]]]:
        """The reference networks of :attr:`Device.macs_per_s`: name → multiply-accumulates, one inference."""
        require_torch()
        from edgepart.frameworks.torch.reference import references

        return references()


def _module(model: object) -> nn.Module:
    from torch import nn

    if not isinstance(model, nn.Module):
        raise CaptureError(f"the model is a {type(model).__name__}, expected a torch.nn.Module")
    return model


def require_torch() -> None:
    """Raise MissingExtra where torch is not installed."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtra("torch", "torch") from error
