"""What edgepart asks of a runtime: parts of any framework that exports to its form, written, read back and run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepart.errors import EdgepartError, GraphError
from edgepart.frameworks.base import Arrays, Part
from edgepart.frameworks.signature import Signature

#: of the arithmetic inside an artefact; what goes in and out keeps the network's own types
Precision = Literal["float32", "float16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "int8")


class Artefact(Protocol):
    """A part read back from its file; runs without the user's code and without the framework it was made with."""

    signature: Signature
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def run(self, arrays: Arrays) -> dict[str, NDArray[np.generic]]:
        """As :meth:`edgepart.frameworks.base.Part.run`."""
        ...

    def runner(self, arrays: Arrays) -> Callable[[], object]:
        """As :meth:`edgepart.frameworks.base.Part.runner`."""
        ...


class Runtime(Protocol):
    """One runtime (entry-point group ``edgepart.runtimes``)."""

    name: str
    #: what a part is asked to export itself to (``Framework.forms``): ``onnx``, ``tflite`` …
    form: str
    #: how the artefact's name ends; empty where it is a folder
    suffix: str
    precisions: tuple[Precision, ...]

    def write(
        self, part: Part, path: Path, *, precision: Precision = "float32", samples: Sequence[Arrays] = ()
    ) -> None:
        """Write a part as one artefact, a file or folder, and its :class:`Signature` beside it.

        Args:
            samples: batches of what enters the part in real use, which int8 takes its ranges from

        Raises:
            ExportError: the runtime cannot hold the part; names the operation and the layer.
            MissingExtra: a package that it needs is not installed.
            FileError: the folder is missing or the disk is full.
        """
        ...

    def open(self, path: Path) -> Artefact:
        """Read back what :meth:`write` wrote.

        Raises:
            FileError: no such file, not complete, or not written by edgepart.
            MissingExtra: a package that it needs is not installed.
        """
        ...

    def tolerance(self, precision: Precision) -> float:
        """Largest difference between artefact and part that is taken for rounding.

        Relative to the largest value; for int8, where ``edgepart build`` asks, of the root mean square over a sample.
        """
        ...

    def version(self) -> str:
        """Version of the package that runs artefacts.

        Raises:
            MissingExtra: it is not installed.
        """
        ...

    def set_threads(self, count: int) -> None:
        """Threads that one operation may use, for artefacts opened from now on."""
        ...


class SignedArtefact(ABC):
    """An artefact that checks its arrays against its signature; a runtime only says how to compute."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self.inputs, self.outputs = signature.input_names, signature.output_names

    @abstractmethod
    def compute(self, arrays: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        """The outputs in order, from the inputs in order."""

    def run(self, arrays: Arrays) -> dict[str, NDArray[np.generic]]:
        """Compute the outputs; arrays that it does not read are ignored.

        Raises:
            GraphError: an input is missing, or has another dtype or shape than the signature says, or holds values that
                cannot be computed with, such as a token outside of the vocabulary.
        """
        given = self.signature.checked(arrays)
        try:
            made = self.compute(given)
        except EdgepartError:
            raise
        except Exception as error:  # runtimes have no common base for what they raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise GraphError(
                f"the part cannot compute {', '.join(self.outputs)} from these inputs ({reason}): check the data, such "
                "as that tokens lie within the vocabulary, or take smaller batches if memory ran out"
            ) from error
        return dict(zip(self.outputs, made, strict=True))

    def runner(self, arrays: Arrays) -> Callable[[], object]:
        """One inference on inputs that are checked beforehand, to be timed."""
        given = self.signature.checked(arrays)
        return lambda: self.compute(given)
