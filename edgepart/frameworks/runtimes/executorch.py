"""ExecuTorch with XNNPACK, on the processor. Importing this module imports neither it nor torch; only using it does."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepart.errors import ExportError, FileError, GraphError
from edgepart.frameworks.base import Arrays, Part
from edgepart.frameworks.rows import join, split
from edgepart.frameworks.runtimes.base import PRECISIONS, Precision, SignedArtefact
from edgepart.frameworks.signature import Signature
from edgepart.frameworks.torch import require_torch
from edgepart.silence import silence


class ExecuTorchRuntime:
    """One ``.pte`` file a part, which computes one sample: batches are run sample by sample.

    In float16, XNNPACK computes convolutions in half precision and keeps their weights in float32 in the file.
    Sequences are bounded, see :mod:`edgepart.frameworks.torch.to_executorch`. All artefacts of a process share threads.
    """

    name = "executorch"
    form = "pte"
    suffix = ".pte"
    precisions = PRECISIONS

    def write(
        self, part: Part, path: Path, *, precision: Precision = "float32", samples: Sequence[Arrays] = ()
    ) -> None:
        """Write a part as ``.pte``, and its signature beside it.

        Args:
            samples: batches of what enters the part in real use; int8 takes the ranges of a convolutional part from
                them

        Raises:
            ExportError: ExecuTorch lacks an operation of the part, or there are no samples for int8 with convolutions.
            MissingExtra: torch or executorch is not installed.
            FileError: the folder is missing or the disk is full.
        """
        path = Path(path)
        require_torch()
        part.export(self.form, path, precision=precision, samples=samples)
        try:
            _load(path.read_bytes(), path)
        except FileError as error:
            path.unlink()
            raise ExportError(f"ExecuTorch cannot open what it has written: {error}") from error
        part.signature.save(Signature.beside(path))

    def open(self, path: Path) -> ExecuTorchArtefact:
        """Read back what :meth:`write` wrote.

        Raises:
            FileError: no such file, damaged, or of another part than the signature beside it.
            MissingExtra: torch or executorch is not installed.
        """
        path = Path(path)
        return ExecuTorchArtefact(path, Signature.load(Signature.beside(path)))

    def tolerance(self, precision: Precision) -> float:
        """Largest difference to the part that is taken for rounding, relative to the largest value.

        Seen on parts of ResNet, MobileNet, BERT, GPT-2 and ViT: 2e-6 in float32, 6e-3 in float16; in int8 0.01 to 0.4.
        """
        return {"float32": 1e-4, "float16": 2e-2, "int8": 0.5}[precision]

    def version(self) -> str:
        """Version of executorch."""
        from importlib.metadata import version

        _executorch()
        return version("executorch")

    def set_threads(self, count: int) -> None:
        """Threads that one operation may use in this process."""
        with _pool.lock:
            _pool.threads = count
            _pool.apply()


class _Pool:
    """The threads of the process. ExecuTorch can only replace them, under methods that go on with what is freed."""

    def __init__(self) -> None:
        self.threads = 1
        #: how often they were replaced
        self.generation = 0
        #: held while a method runs or is loaded: meanwhile its threads must stay
        self.lock = threading.Lock()

    def apply(self) -> None:
        """Have as many threads as asked for; methods of an earlier generation must be loaded again."""
        _executorch()
        from executorch.extension.pybindings import portable_lib

        with silence():  # it looks at the processor and says what it does not find
            if portable_lib._threadpool_get_thread_count() != self.threads:
                portable_lib._unsafe_reset_threadpool(self.threads)
                self.generation += 1


_pool = _Pool()


class ExecuTorchArtefact(SignedArtefact):
    """A method of an ExecuTorch program; called for one sample after another."""

    def __init__(self, path: Path, signature: Signature) -> None:
        super().__init__(signature)
        self._path = path
        self._content = _content(path)
        self._method, self._generation = _load(self._content, path)
        self._bounds = _bounds(path, self._method.metadata, signature)

    def compute(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """The outputs in order.

        Raises:
            GraphError: a sequence is longer than the program has memory for.
        """
        from edgepart.frameworks.torch.arrays import from_numpy, to_numpy

        made = []
        for sample in split(self.signature, arrays):
            self._check_bounds(sample)
            tensors = [
                from_numpy(np.ascontiguousarray(array).reshape(array.shape), spec.dtype)
                for array, spec in zip(sample, self.signature.inputs, strict=True)
            ]
            made.append([to_numpy(tensor) for tensor in self._execute(tensors)])
        return join(self.signature, made)

    def _execute(self, tensors: Sequence[Any]) -> Sequence[Any]:
        with _pool.lock:
            if self._generation == _pool.generation:
                made: Sequence[Any] = self._method.execute(tensors)
                return made
        self._method, self._generation = _load(self._content, self._path)
        return self._execute(tensors)

    def _check_bounds(self, sample: Sequence[NDArray[Any]]) -> None:
        for spec, array, bounds in zip(self.signature.inputs, sample, self._bounds, strict=True):
            if any(size > bound for size, bound in zip(array.shape, bounds, strict=True)):
                raise GraphError(
                    f"the input '{spec.name}' has the shape {array.shape} for one sample, but {self._path.name} was "
                    f"written for {bounds} at most: cut longer sequences, or capture the network with a longer example"
                )


def _executorch() -> Any:
    require_torch()
    from edgepart.frameworks.torch.to_executorch import require_executorch

    require_executorch()
    import executorch.runtime

    return executorch.runtime


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise FileError(f"{path} does not exist")
    return path.read_bytes()


def _load(content: bytes, path: Path) -> tuple[Any, int]:
    """A method, and the generation of threads that it was loaded for."""
    runtime = _executorch()
    try:
        with _pool.lock, silence():
            _pool.apply()
            return runtime.Runtime.get().load_program(content).load_method("forward"), _pool.generation
    except (RuntimeError, KeyError) as error:
        raise FileError(f"{path} is not a complete ExecuTorch program (.pte): write it again") from error


def _bounds(path: Path, method: Any, signature: Signature) -> list[tuple[int, ...]]:
    """Largest shape of each input."""
    counted = method.num_inputs(), method.num_outputs()
    if counted != (len(signature.inputs), len(signature.outputs)):
        raise FileError(
            f"{path} takes {counted[0]} and gives {counted[1]} tensors, but {Signature.beside(path).name} says "
            f"{len(signature.inputs)} and {len(signature.outputs)}: they are not of one part, write it again"
        )
    return [tuple(method.input_tensor_meta(place).sizes()) for place in range(counted[0])]
