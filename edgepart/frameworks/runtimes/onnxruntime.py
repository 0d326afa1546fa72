"""ONNX Runtime, on the processor. Importing this module imports neither it nor onnx; only using it does."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepart.errors import ExportError, FileError, MissingExtra
from edgepart.files import require_parent
from edgepart.frameworks.base import Arrays, Part
from edgepart.frameworks.runtimes.base import PRECISIONS, Precision, SignedArtefact
from edgepart.frameworks.signature import Signature

#: severity of ONNX Runtime's own logging that leaves only what ends the process
_FATAL = 4

#: Measured on 100 images, MobileNetV2 with its real weights differs by 0.022 in float16 and by 0.08 in int8, where it
#: gives another class for 2 or 3 of them. Of ten networks with random weights, and their halves, MobileBERT differs
#: most, by 0.03 and 0.34. These bounds find a part that is wrong; the user's data show what a precision costs.
_TOLERANCE: dict[Precision, float] = {"float32": 1e-4, "float16": 0.05, "int8": 0.5}


class OnnxRuntime:
    """One ``.onnx`` file a part; weights of parts over 2 GB lie in ``<file>.data`` beside it.

    Runs any part whose framework exports ``onnx``. Libraries of custom operations are never loaded.
    """

    name = "onnxruntime"
    form = "onnx"
    suffix = ".onnx"
    precisions = PRECISIONS
    #: of every session in this process, also of those that a new OnnxRuntime() opens
    _threads = 1

    def write(
        self, part: Part, path: Path, *, precision: Precision = "float32", samples: Sequence[Arrays] = ()
    ) -> None:
        """Write a part as ``.onnx`` and its signature beside it.

        Args:
            samples: batches of what enters the part in real use; int8 takes the ranges of a convolutional part from
                them

        Raises:
            ExportError: ONNX Runtime lacks an operation of the part, or it cannot be written in the precision.
            MissingExtra: onnx or onnxruntime is not installed.
            FileError: the folder is missing or the disk is full.
        """
        require_parent(path)
        with _moved(path) as written:
            write_model(part, written, precision=precision, samples=samples)
        part.signature.save(Signature.beside(path))

    def open(self, path: Path) -> OnnxArtefact:
        """Read back what :meth:`write` wrote.

        Raises:
            FileError: no such file, damaged, or its weights lie outside its folder.
            MissingExtra: onnx or onnxruntime is not installed.
        """
        return OnnxArtefact(path, Signature.load(Signature.beside(path)))

    def tolerance(self, precision: Precision) -> float:
        """Largest difference to the part that is taken for rounding, relative to the largest value."""
        return _TOLERANCE[precision]

    def version(self) -> str:
        """Version of onnxruntime."""
        return str(require_onnxruntime().__version__)

    def set_threads(self, count: int) -> None:
        """Threads that one operation may use, in sessions opened from now on."""
        OnnxRuntime._threads = count


class OnnxArtefact(SignedArtefact):
    """A session on an ``.onnx`` file."""

    def __init__(self, path: Path, signature: Signature) -> None:
        super().__init__(signature)
        self._session = open_session(path)
        for what, named, wanted in (
            ("reads", self._session.get_inputs(), self.inputs),
            ("makes", self._session.get_outputs(), self.outputs),
        ):
            names = [node.name for node in named]
            if sorted(names) != sorted(wanted):
                raise FileError(
                    f"{path} {what} {', '.join(names)}, but {Signature.beside(path).name} says {', '.join(wanted)}: "
                    "they are not of one part, write it again"
                )

    def compute(self, arrays: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        native = [np.asarray(array, array.dtype.newbyteorder("="), order="C") for array in arrays]
        made = self._session.run(list(self.outputs), dict(zip(self.inputs, native, strict=True)))
        return [np.asarray(array) for array in made]


def write_model(part: Part, path: Path, *, precision: Precision, samples: Sequence[Arrays]) -> None:
    """Write a part's ``.onnx`` in a precision, in a folder that has only it, and try to load it.

    Raises:
        ExportError: ONNX Runtime lacks an operation of the part, or it cannot be written in the precision.
    """
    require_onnxruntime()
    part.export("onnx", path)
    _try_session(path)
    if precision != "float32":
        from edgepart.frameworks.runtimes.onnx_precision import to_float16, to_int8

        if precision == "float16":
            to_float16(path)
        else:
            to_int8(path, part.signature, samples)
        _try_session(path, half=precision == "float16")


def session_options() -> Any:
    """Options of every session that edgepart opens: quiet, and with the threads that :class:`OnnxRuntime` was told."""
    options = require_onnxruntime().SessionOptions()
    options.intra_op_num_threads = OnnxRuntime._threads
    options.inter_op_num_threads = 1  # operations run one after the other
    # Waiting threads would otherwise spin, and take time from whatever else is measured on the device.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _FATAL
    return options


def make_session(path: Path, *, half: bool = False) -> Any:
    """An ``onnxruntime.InferenceSession`` on a file.

    Args:
        half: the file computes in half precision; ONNX Runtime 1.31 crashes on some such files when it arranges
            channels in blocks

    Raises whatever ONNX Runtime does.
    """
    left_out = ["NchwcTransformer"] if half else None
    return require_onnxruntime().InferenceSession(
        str(path), session_options(), providers=["CPUExecutionProvider"], disabled_optimizers=left_out
    )


def open_session(path: Path) -> Any:
    """A session on a file that may come from anywhere.

    Raises:
        FileError: no such file, damaged, or its weights lie outside its folder.
    """
    require_onnxruntime()
    if not path.is_file():
        raise FileError(f"{path} does not exist")
    model = _model(path)
    _check_external_data(path, model)
    half = any(tensor.data_type == tensor.FLOAT16 for tensor in model.graph.initializer)
    try:
        return make_session(path, half=half)
    except Exception as error:  # ONNX Runtime has a dozen classes for it, with no common base
        raise FileError(f"{path} cannot be loaded by ONNX Runtime: {_reason(error)}") from error


def require_onnxruntime() -> Any:
    """The module onnxruntime.

    Raises:
        MissingExtra: onnx or onnxruntime is not installed.
    """
    for package in ("onnx", "onnxruntime"):
        try:
            __import__(package)
        except ImportError as error:
            raise MissingExtra(package, "onnx") from error
    import onnxruntime

    return onnxruntime


@contextlib.contextmanager
def _moved(path: Path) -> Iterator[Path]:
    """Yield ``path`` in a new folder beside it; what the block writes there takes its place on success only.

    A file of weights must have its final name while the model that names it is written, so files move as they are.
    """
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield folder / path.name
        weights = path.with_name(f"{path.name}.data")
        stale = weights.exists() and not (folder / weights.name).exists()
        # The model last: it never lies there without its weights.
        for file in sorted(folder.iterdir(), key=lambda file: file.name == path.name):
            os.replace(file, path.with_name(file.name))
        if stale:
            weights.unlink()
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}") from error
    except FileError as error:  # of what was called with the path in the new folder
        raise FileError(str(error).replace(str(folder / path.name), str(path))) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _model(path: Path) -> Any:
    """The ``onnx.ModelProto`` in a file, without the weights beside it."""
    import onnx

    try:
        return onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's DecodeError among others
        raise FileError(f"{path} is not an ONNX model, or is damaged: write it again") from error


def _check_external_data(path: Path, model: Any) -> None:
    """Refuse weights that a model wants to read from outside its own folder."""
    from onnx.external_data_helper import ExternalDataInfo, _get_all_tensors, uses_external_data

    folder = path.parent.resolve()
    for tensor in filter(uses_external_data, _get_all_tensors(model)):
        location = ExternalDataInfo(tensor).location
        if not (folder / location).resolve().is_relative_to(folder):
            raise FileError(
                f"{path} keeps the weights '{tensor.name}' in {location}, outside its own folder: a part brings its "
                "weights with it"
            )


def _try_session(path: Path, *, half: bool = False) -> None:
    try:
        make_session(path, half=half)
    except Exception as error:
        raise ExportError(_what_it_lacks(path, error)) from error


def _what_it_lacks(path: Path, error: Exception) -> str:
    """One sentence that names the operation and the node that ONNX Runtime refuses."""
    import onnx

    reason = _reason(error)
    missing = re.search(r"implementation for (\S+)\(\d+\) node with name '([^']*)'", reason)
    unknown = re.search(r"(?:([\w.]+):)?(\w+)\(-?\d+\) is not a registered function/op", reason)
    operation, node = missing.groups() if missing else (unknown.group(2) if unknown else "", "")
    if unknown:
        nodes = onnx.load(str(path), load_external_data=False).graph.node
        node = next((each.name or each.output[0] for each in nodes if each.op_type == operation), "")
    if operation:
        return (
            f"ONNX Runtime lacks the operation '{operation}' of '{node}': run this part in its own framework's runtime"
        )
    return f"ONNX Runtime cannot hold the part: {reason}"


def _reason(error: Exception) -> str:
    """The first line of ONNX Runtime's message, without its codes and paths."""
    line = str(error).strip().partition("\n")[0]
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from \S+ failed:)?", "", line).strip()
