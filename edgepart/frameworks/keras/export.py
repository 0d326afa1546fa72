"""What Keras parts can be written as, for :meth:`edgepart.frameworks.base.Part.export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgepart.errors import ExportError
from edgepart.files import require_parent
from edgepart.frameworks.base import Arrays
from edgepart.frameworks.keras.traced import Exportable

if TYPE_CHECKING:
    from edgepart.frameworks.runtimes.base import Precision


def export(
    part: Exportable, form: str, path: Path, *, precision: Precision = "float32", samples: Sequence[Arrays] = ()
) -> None:
    """Write a part as ``savedmodel`` (a folder), ``tflite`` or ``onnx``.

    Args:
        precision: of ``tflite``; the others are written in the network's own

    Raises:
        ExportError: the form does not exist or cannot hold the part; names the operation and the layer.
        MissingExtra: a package that the form needs is not installed.
        FileError: the folder is missing or the disk is full.
    """
    path = Path(path)
    require_parent(path)
    match form:
        case "savedmodel":
            from edgepart.frameworks.keras.export_savedmodel import write_savedmodel

            write_savedmodel(part, path)
        case "tflite":
            from edgepart.frameworks.keras.export_tflite import write_tflite

            write_tflite(part, path, precision, samples)
        case "onnx":
            from edgepart.frameworks.keras.export_onnx import write_onnx

            write_onnx(part, path)
        case _:
            raise ExportError(f"a Keras part cannot be written as '{form}': it can as savedmodel, tflite or onnx")
