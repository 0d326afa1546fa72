"""A model repository of NVIDIA Triton Inference Server: one model folder a part, run by its ONNX Runtime backend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgepart.errors import ExportError, FileError
from edgepart.files import atomic_folder, write_text
from edgepart.frameworks.base import Arrays, Part
from edgepart.frameworks.runtimes.base import PRECISIONS, Precision
from edgepart.frameworks.runtimes.onnxruntime import OnnxArtefact, OnnxRuntime, write_model
from edgepart.frameworks.signature import Signature
from edgepart.graph import Tensor

#: largest batch that Triton may make of requests that arrive together
MAX_BATCH_SIZE = 64

#: dtype → Triton's name of it; the server has no others that ONNX Runtime takes as arrays
_DATA_TYPES = {
    "bool": "TYPE_BOOL",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
    **{f"int{bits}": f"TYPE_INT{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"TYPE_UINT{bits}" for bits in (8, 16, 32, 64)},
}


class TritonRuntime(OnnxRuntime):
    """A folder with ``config.pbtxt`` and ``1/model.onnx``; the folder that holds several is a model repository.

    A repository is served by ``tritonserver --model-repository FOLDER``. Opened here, the model runs in ONNX Runtime as
    it does inside the server.
    """

    name = "triton"
    suffix = ""
    precisions = PRECISIONS

    def write(
        self, part: Part, path: Path, *, precision: Precision = "float32", samples: Sequence[Arrays] = ()
    ) -> None:
        """Write a part as a model folder and its signature beside it, where the server does not look.

        Args:
            samples: as :meth:`OnnxRuntime.write`

        Raises:
            ExportError: as :meth:`OnnxRuntime.write`; or a tensor has a type that Triton lacks.
            MissingExtra: onnx or onnxruntime is not installed.
            FileError: the folder is missing or the disk is full.
        """
        config = configuration(part.signature)
        with atomic_folder(path) as folder:
            (folder / "1").mkdir()
            write_model(part, folder / "1" / "model.onnx", precision=precision, samples=samples)
            write_text(folder / "config.pbtxt", config)
        part.signature.save(Signature.beside(path))

    def open(self, path: Path) -> OnnxArtefact:
        """Read back what :meth:`write` wrote, in ONNX Runtime.

        Raises:
            FileError: no such folder, not complete or damaged.
            MissingExtra: onnx or onnxruntime is not installed.
        """
        if not (path / "config.pbtxt").is_file():
            raise FileError(f"{path} is no model folder of Triton: it has no config.pbtxt")
        return OnnxArtefact(path / "1" / "model.onnx", Signature.load(Signature.beside(path)))


def configuration(signature: Signature) -> str:
    """The text of ``config.pbtxt``, a message ``inference.ModelConfig``; the model is called as its folder.

    The server batches requests where the first dimension of every tensor is the batch and nothing else depends on it;
    its ``dims`` then leave that dimension out. Otherwise they are whole, and a request is run as it comes.

    Raises:
        ExportError: a tensor has a type that Triton lacks.
    """
    batched = all(_has_batch(tensor) for tensor in (*signature.inputs, *signature.outputs))
    lines = ['platform: "onnxruntime_onnx"', f"max_batch_size: {MAX_BATCH_SIZE if batched else 0}"]
    for field, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        lines += [line for tensor in tensors for line in _tensor(field, tensor, batched)]
    if batched:
        lines.append("dynamic_batching {\n}")
    return "\n".join(lines) + "\n"


def _has_batch(tensor: Tensor) -> bool:
    return tensor.shape[:1] == ("batch",) and not any("batch" in str(size) for size in tensor.shape[1:])


def _tensor(field: str, tensor: Tensor, batched: bool) -> list[str]:
    if tensor.dtype not in _DATA_TYPES:
        raise ExportError(
            f"the tensor '{tensor.name}' is {tensor.dtype}, which Triton's ONNX Runtime does not take: cut the network "
            "elsewhere"
        )
    sizes = [size if isinstance(size, int) else -1 for size in tensor.shape[1 if batched else 0 :]]
    # The server wants at least one dimension; a tensor without is said to be reshaped from one of size 1.
    dims = sizes or [1]
    lines = [
        f"{field} {{",
        f"  name: {_quoted(tensor.name)}",
        f"  data_type: {_DATA_TYPES[tensor.dtype]}",
        f"  dims: {dims}",
    ]
    if not sizes:
        lines.append("  reshape {\n    shape: []\n  }")
    return [*lines, "}"]


def _quoted(name: str) -> str:
    """A string of protobuf's text format; bytes that are not printable ASCII in octal."""
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03o}" for byte in name.encode())
    return f'"{"".join(plain)}"'
