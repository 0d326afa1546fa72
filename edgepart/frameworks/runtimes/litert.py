"""LiteRT (once TensorFlow Lite) on the processor. Importing this module does not import it; only using it does."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepart.errors import ExportError, FileError, MissingExtra
from edgepart.frameworks.base import Arrays, Part
from edgepart.frameworks.runtimes.base import PRECISIONS, Precision, SignedArtefact
from edgepart.frameworks.signature import Signature
from edgepart.silence import silence


class LiteRtRuntime:
    """One ``.tflite`` file a part, with LiteRT's own operations only; floating-point ones run in XNNPACK.

    ``float16`` stores the weights in half precision and computes in float32. ``int8`` computes parts with convolutions
    in integers, where LiteRT has the operation in integers; of other parts only matrix products.
    """

    name = "litert"
    form = "tflite"
    suffix = ".tflite"
    precisions = PRECISIONS
    #: of every artefact opened in this process from now on, also by another LiteRtRuntime()
    _threads = 1

    def write(
        self, part: Part, path: Path, *, precision: Precision = "float32", samples: Sequence[Arrays] = ()
    ) -> None:
        """Write a part as ``.tflite``, and its signature beside it.

        Args:
            samples: batches of what enters the part in real use; int8 takes the ranges of a part with convolutions from
                them

        Raises:
            ExportError: LiteRT lacks an operation of the part, or int8 needs samples and there are none.
            MissingExtra: ai-edge-litert is not installed.
            FileError: the folder is missing or the disk is full.
        """
        require_litert()
        path = Path(path)
        part.export(self.form, path, precision=precision, samples=samples)
        _require_loadable(path)
        part.signature.save(Signature.beside(path))

    def open(self, path: Path) -> LiteRtArtefact:
        """Read what :meth:`write` wrote; needs neither TensorFlow nor Keras.

        Raises:
            FileError: no such file, damaged, or of another part than the signature beside it.
            MissingExtra: ai-edge-litert is not installed.
        """
        path = Path(path)
        return LiteRtArtefact(path, Signature.load(Signature.beside(path)), self._threads)

    def tolerance(self, precision: Precision) -> float:
        """Largest difference to the part that is taken for rounding, relative to the largest value.

        Seen at the logits and in the middle of ResNet50, MobileNetV2 (random weights, batch normalisation calibrated)
        and a transformer encoder: 1e-5, 1e-2 and 0.2 (0.02 for the encoder). int8 is for the user's data to judge; this
        only finds what is broken.
        """
        return {"float32": 1e-4, "float16": 3e-2, "int8": 0.5}[precision]

    def version(self) -> str:
        """Version of ai-edge-litert."""
        from importlib.metadata import version

        require_litert()
        return version("ai-edge-litert")

    def set_threads(self, count: int) -> None:
        """Threads that one operation may use, in artefacts opened from now on."""
        LiteRtRuntime._threads = count


class LiteRtArtefact(SignedArtefact):
    """An interpreter on a ``.tflite`` file, laid out anew when the sizes of the inputs change.

    A file that takes one sample only (see :mod:`edgepart.frameworks.keras.export_tflite`) is run once for each.
    """

    def __init__(self, path: Path, signature: Signature, threads: int) -> None:
        super().__init__(signature)
        self._interpreter = _interpreter(path, threads)
        # one interpreter holds the tensors of one inference
        self._lock = threading.Lock()
        self._laid_out: list[tuple[int, ...]] = []
        with silence():
            runners = [self._interpreter.get_signature_runner(key) for key in self._interpreter.get_signature_list()]
        if len(runners) != 1:
            raise FileError(f"{path} was not written by edgepart: it has {len(runners)} signatures, expected one")
        self._reads = _in_order(path, runners[0].get_input_details(), "reads", self.inputs)
        self._makes = _in_order(path, runners[0].get_output_details(), "makes", self.outputs)
        self._single = any(
            spec.shape and spec.shape[0] == "batch" and detail["shape_signature"][0] == 1
            for spec, detail in zip(signature.inputs, self._reads, strict=True)
        )

    def compute(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        with self._lock:
            if not self._single:
                return self._invoke(arrays)
            rows = [self._invoke([array[row : row + 1] for array in arrays]) for row in range(len(arrays[0]))]
            return [np.concatenate(made) for made in zip(*rows, strict=True)]

    def _invoke(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        shapes = [array.shape for array in arrays]
        if shapes != self._laid_out:
            for detail, shape in zip(self._reads, shapes, strict=True):
                self._interpreter.resize_tensor_input(detail["index"], shape)
            self._interpreter.allocate_tensors()
            self._laid_out = shapes
        for detail, array in zip(self._reads, arrays, strict=True):
            self._interpreter.set_tensor(detail["index"], np.asarray(array, detail["dtype"]))
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(detail["index"]) for detail in self._makes]


def require_litert() -> Any:
    """The module of LiteRT's interpreter.

    Raises:
        MissingExtra: ai-edge-litert is not installed.
    """
    try:
        with silence():
            from ai_edge_litert import interpreter
    except ImportError as error:
        raise MissingExtra("ai-edge-litert", "litert") from error
    return interpreter


def _require_loadable(path: Path) -> None:
    """The converter also writes what LiteRT then refuses; such a file does not stay."""
    try:
        _interpreter(path, 1)
    except FileError as error:
        path.unlink()
        lines = [line.strip().rstrip(".") for line in str(error.__cause__).splitlines() if line.strip()]
        raise ExportError(
            f"LiteRT cannot load the part that its converter wrote ({lines[0][:200] if lines else 'no message'}): run "
            "the part on another runtime, or split the network elsewhere"
        ) from error


def _interpreter(path: Path, threads: int) -> Any:
    module = require_litert()
    if not path.is_file():
        raise FileError(f"{path} does not exist")
    try:
        # it says on the terminal that it has made its XNNPACK delegate
        with silence():
            interpreter = module.Interpreter(str(path), num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise FileError(f"{path} is not a complete .tflite file: write it again") from error
    return interpreter


def _in_order(path: Path, details: Mapping[str, Any], verb: str, names: Sequence[str]) -> list[Any]:
    """The tensors of a file in the order of the signature; inside they are numbered, and so sorted by name."""
    if len(details) != len(names):
        raise FileError(
            f"{path} {verb} {len(details)} tensors, but {Signature.beside(path).name} says {len(names)}: "
            "they are not of one part, write it again"
        )
    return [details[name] for name in sorted(details)]
