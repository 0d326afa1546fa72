"""Networks from files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgepart.errors import FileError, ModelError
from edgepart.frameworks.onnx.example import Arrays, read_inputs
from edgepart.frameworks.onnx.files import load_model
from edgepart.frameworks.onnx.normal import require_files
from edgepart.frameworks.onnx.session import open_session, reason
from edgepart.silence import silence

#: positions of a sequence that are tried where the model takes any number: it may know no more than its table has
_LENGTHS = (16, 8, 4)


def load(path: Path) -> tuple[ir.Model, Arrays]:
    """A network from a file, its weights left on disk, and an example of its inputs: noise, for tokens zeros and ones.

    Raises:
        ModelError: not an ONNX model, or damaged, or weights that it keeps in other files are missing, or it runs with
            no length of sequences that is tried.
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
        if model.graph.outputs:
            raise ModelError(f"{path} holds no operations, so there is nothing to run or to cut: export a network")
        raise ModelError(f"{path} is not an ONNX model, or is damaged: export it again")
    require_files(model)
    return model, _example(model, path)


def _example(model: ir.Model, path: Path) -> Arrays:
    """Inputs of the first length that the model runs with; anything else that is wrong is for capturing to explain."""
    longest = _of_length(model, _LENGTHS[0])
    try:
        if "sequence" not in read_inputs(model.graph, longest).symbols:
            return longest
        session = open_session(model, fuse=False, prepack=False)
    except Exception:  # a CaptureError, or one of the dozen classes that ONNX Runtime has for it
        return longest
    why = ""
    for length in _LENGTHS:
        arrays = _of_length(model, length)
        try:
            session.run(None, arrays)
        except Exception as error:
            why = why or reason(error)
        else:
            return arrays
    raise ModelError(
        f"{path} runs with sequences of none of {', '.join(map(str, _LENGTHS))} positions ({why}): give a function "
        "(file.py:function) that returns the model and inputs that it runs on"
    )


def _of_length(model: ir.Model, length: int) -> Arrays:
    weights, draw = set(model.graph.initializers), np.random.default_rng(0)
    return {str(v.name): _drawn(v, length, draw) for v in model.graph.inputs if v.name not in weights}


def _drawn(value: ir.Value, length: int, draw: np.random.Generator) -> NDArray[Any]:
    dtype = np.dtype(np.float32) if value.dtype is None else value.dtype.numpy()
    sizes = enumerate(value.shape if value.shape is not None else ())
    shape = [size if isinstance(size, int) else length if axis else 1 for axis, size in sizes]
    if dtype.kind == "f":
        return draw.standard_normal(shape).astype(dtype)
    name = str(value.name).lower()
    if "ids" in name and "type" not in name:  # two tokens, so that positions differ
        return (np.arange(math.prod(shape)) % 2).reshape(shape).astype(dtype)
    return np.full(shape, "mask" in name, dtype)
