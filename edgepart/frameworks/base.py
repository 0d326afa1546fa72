"""What edgepart asks of a framework. Only the folders below this one know one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgepart.frameworks.signature import Signature
from edgepart.graph import Boundary, Graph
from edgepart.graph.graph import Layout

if TYPE_CHECKING:
    from edgepart.frameworks.builder import Builder, HeadSize
    from edgepart.frameworks.runtimes.base import Precision

Arrays = Mapping[str, NDArray[np.generic]]


class Part(Protocol):
    """A slice of a network that owns its weights and runs at any batch size.

    ``inputs`` and ``outputs`` are names of the graph's tensors: what crosses into the part (or enters the network)
    and is read by it; what it makes that a later layer reads, or that leaves the network.
    """

    layers: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    #: names and bytes of the parameters and buffers it owns
    parameters: Mapping[str, int]
    signature: Signature

    def run(self, arrays: Arrays) -> dict[str, NDArray[np.generic]]:
        """Compute the outputs; arrays that the part does not read are ignored.

        Raises:
            GraphError: an input is missing, or has another dtype or shape than the graph says.
        """
        ...

    def runner(self, arrays: Arrays) -> Callable[[], object]:
        """One inference on inputs that are converted and checked beforehand, to be timed."""
        ...

    def export(
        self, form: str, path: Path, *, precision: Precision = "float32", samples: Sequence[Arrays] = ()
    ) -> None:
        """Write the part in one of :attr:`Framework.forms`, such that it runs without the user's code.

        A :class:`edgepart.frameworks.runtimes.Runtime` calls this; users call ``Runtime.write``. ``onnx`` is always
        written in the network's own precision, the runtime converts it.

        Args:
            samples: batches of what enters the part in real use, which int8 takes its ranges from

        Raises:
            ExportError: it cannot be written so; names the operation and the layer.
        """
        ...


@runtime_checkable
class Program(Protocol):
    """A captured network: its graph, and slices of it."""

    graph: Graph

    def slice(self, start: Boundary | None, stop: Boundary | None) -> Part:
        """The part between two boundaries (None: the network's input, its output)."""
        ...

    def example(self) -> dict[str, NDArray[np.generic]]:
        """One sample of the inputs that the network was captured with, by the names of the graph's inputs."""
        ...

    def update(self, model: object) -> None:
        """Take the weights that the captured model holds now, where it has replaced the tensors captured.

        Raises:
            GraphError: the model has changed its modules or shapes since it was captured.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write the program such that another process can :meth:`Framework.open_program` it."""
        ...


class Framework(Protocol):
    """One framework (entry-point group ``edgepart.frameworks``)."""

    name: str
    #: the runtime that its own parts are measured on and that tiers get where nothing else is asked for
    runtime: str
    #: what its parts export to, see :class:`edgepart.frameworks.runtimes.Runtime`
    forms: tuple[str, ...]
    #: the framework whose exit templates its heads are made from: its own name, unless heads learn in another one
    templates: str
    #: where maps have their channels: (batch, channels, height, width) or (batch, height, width, channels)
    layout: Layout
    #: files of networks that :meth:`load` reads, such as ``.onnx``
    suffixes: tuple[str, ...]

    def accepts(self, model: object) -> bool:
        """Whether the model is one of this framework's; must not import the framework to say no."""
        ...

    def load(self, path: Path) -> tuple[object, object]:
        """A network from a file with one of :attr:`suffixes`, and an example of its inputs, batch first.

        Nothing in the file is executed.

        Raises:
            ModelError: not such a file, damaged, or holding what cannot be loaded without running its code.
            FileError: it cannot be read.
        """
        ...

    def program(self, model: object, example: object) -> Program:
        """Capture a network.

        Args:
            example: a tensor or array, a tuple of them (positional) or a dict (by keyword); first dimension: batch

        Raises:
            CaptureError: the framework cannot export it; names the module and what to try.
        """
        ...

    def builder(self, model: object, example: object) -> Builder:
        """Copy and capture a network, to add heads to it, train them and write its parts.

        Raises:
            CaptureError: as :meth:`program`.
        """
        ...

    def recapture(self, model: object, graph: Graph) -> Program:
        """Capture a network with an example made from the inputs that a graph lists.

        Raises:
            CaptureError: as :meth:`program`.
        """
        ...

    def open_program(self, folder: Path) -> Program:
        """Read back what :meth:`Program.save` wrote."""
        ...

    def try_head(self, source: str, shape: Sequence[int], classes: int, name: str) -> HeadSize:
        """Compile the rendered head of an exit and hold it to the contract of templates (:attr:`templates`).

        Args:
            shape: of one sample of the tensor it reads, all sizes known
            name: what messages call it

        Raises:
            TemplateError: it does not compile or run, or breaks the contract; says which in one sentence.
        """
        ...

    def version(self) -> str:
        """Version of the framework."""
        ...

    def set_threads(self, count: int) -> None:
        """Threads that one operation may use in this process."""
        ...

    def reference(self) -> Mapping[str, tuple[int, Callable[[], object]]]:
        """The reference networks of ``Device.macs_per_s``: name → multiply-accumulates, one inference at batch 1."""
        ...


def slices(program: Program, boundaries: Sequence[Boundary]) -> list[Part]:
    """The parts between nested boundaries, one more than there are boundaries.

    Raises:
        GraphError: the boundaries do not nest or are not closed.
    """
    program.graph.chain(boundaries)
    edges: list[Boundary | None] = [None, *boundaries, None]
    return [program.slice(start, stop) for start, stop in itertools.pairwise(edges)]
