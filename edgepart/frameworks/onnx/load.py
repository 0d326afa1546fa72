"""Networks from files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgepart.errors import FileError, ModelError
from edgepart.frameworks.onnx.example import Arrays
from edgepart.frameworks.onnx.files import load_model
from edgepart.frameworks.onnx.normal import require_files
from edgepart.frameworks.silence import silence

#: positions of a sequence where the model takes any number
_LENGTH = 16


def load(path: Path) -> tuple[ir.Model, Arrays]:
    """A network from a file, its weights left on disk, and an example of its inputs: noise, for tokens zeros and ones.

    Raises:
        ModelError: not an ONNX model, or damaged, or weights that it keeps in other files are missing.
        FileError: it does not exist or cannot be read.
    """
    try:
        with silence():
            model = load_model(path)
    except FileError as error:
        if path.is_file():
            raise ModelError(str(error)) from error
        raise
    if not model.graph.num_nodes():
        raise ModelError(f"{path} is not an ONNX model, or is damaged: export it again")
    require_files(model)
    weights = set(model.graph.initializers)
    draw = np.random.default_rng(0)
    return model, {str(v.name): _drawn(v, draw) for v in model.graph.inputs if v.name not in weights}


def _drawn(value: ir.Value, draw: np.random.Generator) -> NDArray[Any]:
    dtype = np.dtype(np.float32) if value.dtype is None else value.dtype.numpy()
    sizes = enumerate(value.shape if value.shape is not None else ())
    shape = [size if isinstance(size, int) else _LENGTH if axis else 1 for axis, size in sizes]
    if dtype.kind == "f":
        return draw.standard_normal(shape).astype(dtype)
    name = str(value.name).lower()
    if "ids" in name and "type" not in name:  # two tokens, so that positions differ
        return (np.arange(math.prod(shape)) % 2).reshape(shape).astype(dtype)
    return np.full(shape, "mask" in name, dtype)
