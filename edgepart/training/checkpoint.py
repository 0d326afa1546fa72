"""Arrays and a JSON record in one safetensors file: whole or not there at all, and nothing in it can execute."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgepart.errors import FileError
from edgepart.files import write_arrays

KIND = "edgepart.training-state"


def save(path: Path, arrays: Mapping[str, NDArray[Any]], record: Mapping[str, Any]) -> None:
    """Write arrays and record together, atomically.

    Raises:
        FileError: the folder is missing or the disk is full.
    """
    write_arrays(path, arrays, {"kind": KIND, "record": json.dumps(record)})


def load(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read back what :func:`save` wrote: (arrays, record).

    Raises:
        FileError: missing, cut short, or not written by :func:`save`.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as stored:
            header = stored.metadata() or {}
            if header.get("kind") != KIND:
                raise FileError(f"{path} is not a saved state of training: delete it to start afresh")
            arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a dict)
            return arrays, json.loads(header["record"])
    except FileNotFoundError:
        raise FileError(f"{path} does not exist") from None
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise FileError(f"{path} cannot be read ({error}): delete it to start afresh") from error
