"""ONNX networks. Importing this package imports neither onnx nor ONNX Runtime; only using it does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgepart.errors import MissingExtra
from edgepart.frameworks.runtimes.onnxruntime import OnnxRuntime
from edgepart.frameworks.signature import array_dtype
from edgepart.graph import Graph
from edgepart.graph.graph import Layout
from edgepart.graph.sizes import evaluate_size

if TYPE_CHECKING:
    from edgepart.frameworks.builder import HeadSize
    from edgepart.frameworks.onnx.building import OnnxBuilder
    from edgepart.frameworks.onnx.program import Program


class OnnxFramework:
    """Captures the nodes of a model file, without the framework it came from; runs parts in ONNX Runtime."""

    name = "onnx"
    runtime = "onnxruntime"
    forms: tuple[str, ...] = ("onnx",)
    templates = "torch"
    layout: Layout = "channels_first"
    suffixes: tuple[str, ...] = (".onnx",)

    def accepts(self, model: object) -> bool:
        """Whether the model is an onnx.ModelProto or an onnx_ir.Model; one of a package that is not imported is not."""
        onnx, ir = sys.modules.get("onnx"), sys.modules.get("onnx_ir")
        return (onnx is not None and isinstance(model, onnx.ModelProto)) or (
            ir is not None and isinstance(model, ir.Model)
        )

    def load(self, path: Path) -> tuple[object, object]:
        """A network from a ``.onnx`` file, its weights left on disk, and an example of its inputs.

        Raises:
            ModelError: not such a file, damaged, or weights that it keeps in other files are missing.
            FileError: it cannot be read.
        """
        require_onnx()
        from edgepart.frameworks.onnx.load import load

        return load(Path(path))

    def program(self, model: object, example: object) -> Program:
        """Capture a network.

        Args:
            model: an onnx.ModelProto or onnx_ir.Model; it is not changed
            example: an array, a tuple of them (positional) or a dict (by the names of the inputs); first dimension:
                batch

        Raises:
            CaptureError: it is not valid, or ONNX Runtime does not run it with any batch; names the node.
        """
        require_onnx()
        from edgepart.frameworks.onnx.capture import capture

        return capture(model, example)

    def builder(self, model: object, example: object) -> OnnxBuilder:
        """Capture a network, to add heads to it, train them and write its parts.

        Raises:
            CaptureError: as :meth:`program`.
            MissingExtra: torch, in which heads learn, is not installed.
        """
        require_onnx()
        from edgepart.frameworks.torch import require_torch

        require_torch()
        from edgepart.frameworks.onnx.building import OnnxBuilder

        return OnnxBuilder(model, example)

    def recapture(self, model: object, graph: Graph) -> Program:
        """Capture a network with an example made from the inputs that a graph lists.

        Raises:
            CaptureError: as :meth:`program`.
        """
        sizes = graph.symbols | {"batch": 2}
        specs = [graph.tensor(name) for name in graph.inputs]
        return self.program(
            model,
            {
                spec.name: np.zeros([evaluate_size(size, sizes) for size in spec.shape], array_dtype(spec.dtype))
                for spec in specs
            },
        )

    def open_program(self, folder: Path) -> Program:
        """Read back what :meth:`Program.save` wrote.

        Raises:
            FileError: a file is missing or damaged.
        """
        require_onnx()
        from edgepart.frameworks.onnx.program import Program

        return Program.open(folder)

    def try_head(self, source: str, shape: Sequence[int], classes: int, name: str) -> HeadSize:
        """Compile the rendered head of an exit; heads of ONNX networks learn in torch.

        Raises:
            TemplateError: it does not compile or run, or breaks the contract of templates.
        """
        from edgepart.frameworks.torch import require_torch

        require_torch()
        from edgepart.frameworks.torch.heads import try_head

        return try_head(source, shape, classes, name)

    def version(self) -> str:
        """Version of the package onnx."""
        require_onnx()
        import onnx

        return str(onnx.__version__)

    def set_threads(self, count: int) -> None:
        """Threads that one operation may use, in sessions opened from now on."""
        OnnxRuntime().set_threads(count)

    def reference(self) -> Mapping[str, tuple[int, Callable[[], object]]]:
        """The reference networks of :attr:`Device.macs_per_s`: name → multiply-accumulates, one inference."""
        require_onnx()
        from edgepart.frameworks.onnx.reference import references

        return references()


def require_onnx() -> None:
    """Raise MissingExtra where onnx, onnx_ir or ONNX Runtime is not installed."""
    for package in ("onnx", "onnx_ir", "onnxruntime"):
        try:
            __import__(package)
        except ImportError as error:
            raise MissingExtra(package, "onnx") from error
