"""Models on disk: written atomically, with their weights in a second file where they are large."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from edgepart.errors import FileError

#: more than this does not fit in one file of protobuf's
_LARGE_BYTES = 2**31 - 2**20


def save_model(model: ir.Model, path: Path) -> None:
    """Write a model; weights of more than 2 GB in ``<path>.data`` beside it.

    Raises:
        OSError: the folder is missing or the disk is full.
    """
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    if size > _LARGE_BYTES:
        ir.save(model, path, external_data=f"{path.name}.data")
    else:
        ir.save(model, path)


def load_model(path: Path) -> ir.Model:
    """Read a model; weights in another file stay there, mapped into memory when they are used.

    Raises:
        FileError: it cannot be read or is no model.
    """
    if not path.is_file():
        raise FileError(f"{path} is a folder, give the file in it" if path.is_dir() else f"{path} does not exist")
    try:
        return ir.load(path)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # protobuf's DecodeError, and whatever onnx_ir makes of nonsense
        raise FileError(f"{path} is not an ONNX model, or is damaged: export it again") from error
