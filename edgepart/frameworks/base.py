"""What edgepart asks of a framework. Only the folders below this one know one."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgepart.graph import Boundary, Graph

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

    def run(self, arrays: Arrays) -> dict[str, NDArray[np.generic]]:
        """Compute the outputs; arrays that the part does not read are ignored.

        Raises:
            GraphError: an input is missing, or has another dtype or shape than the graph says.
        """
        ...

    def save(self, path: Path) -> None:
        """Write the part as one artefact that :meth:`Framework.open_artefact` runs without the user's code."""
        ...


class Program(Protocol):
    """A captured network: its graph, and slices of it."""

    graph: Graph

    def slice(self, start: Boundary | None, stop: Boundary | None) -> Part:
        """The part between two boundaries (None: the network's input, its output)."""
        ...

    def save(self, folder: Path) -> None:
        """Write the program such that another process can :meth:`Framework.open_program` it."""
        ...


class Framework(Protocol):
    """One framework (entry-point group ``edgepart.frameworks``)."""

    name: str

    def accepts(self, model: object) -> bool:
        """Whether the model is one of this framework's; must not import the framework to say no."""
        ...

    def program(self, model: object, example: object) -> Program:
        """Capture a network.

        Args:
            example: a tensor or array, a tuple of them (positional) or a dict (by keyword); first dimension: batch

        Raises:
            CaptureError: the framework cannot export it; names the module and what to try.
        """
        ...

    def open_program(self, folder: Path) -> Program:
        """Read back what :meth:`Program.save` wrote."""
        ...

    def runtime_version(self) -> str:
        """Version of the runtime that runs parts."""
        ...

    def set_threads(self, count: int) -> None:
        """Threads that one operation may use in this process."""
        ...


def slices(program: Program, boundaries: Sequence[Boundary]) -> list[Part]:
    """The parts between nested boundaries, one more than there are boundaries.

    Raises:
        GraphError: the boundaries do not nest or are not closed.
    """
    program.graph.chain(boundaries)
    edges: list[Boundary | None] = [None, *boundaries, None]
    return [program.slice(start, stop) for start, stop in itertools.pairwise(edges)]
