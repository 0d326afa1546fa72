"""Networks from ``.keras`` and ``.h5`` files, and an example of their inputs."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgepart.errors import FileError, ModelError
from edgepart.frameworks.keras.capture import input_names
from edgepart.frameworks.keras.flatten import functional_of
from edgepart.frameworks.signature import array_dtype
from edgepart.silence import silence
from edgepart.units import dimensions

_LENGTH = 16
_BY_HAND = "load it in a function of your own and give file.py:function"


def load(path: Path) -> tuple[Any, Any]:
    """A network without its optimiser, and inputs of a batch of two by name; code in the file is not executed.

    Raises:
        ModelError: no such file, damaged, or holding layers or code that only the user's program has.
        FileError: it cannot be read.
    """
    if not path.is_file():
        raise ModelError(f"the model file {path} {'is a folder' if path.is_dir() else 'does not exist'}")
    try:
        with path.open("rb") as stream:
            stream.read(1)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        with silence():
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        raise ModelError(_reason(path, error)) from error
    return model, _example(model, path)


def _reason(path: Path, error: Exception) -> str:
    said = str(error)
    if path.suffix == ".keras" and not zipfile.is_zipfile(path):
        return f"{path} is no .keras file, which is a zip archive: was it cut short?"
    first = next((line.strip() for line in said.splitlines() if line.strip()), type(error).__name__)
    names = re.findall(r"(?:class|function|layer:|object:?) '([^']+)'", said)
    if "lambda" in said.lower() and ("safe_mode" in said or "unsafe" in said.lower()):
        return (
            f"{path} holds a Lambda layer, which is Python code, and edgepart executes none from a file: {_BY_HAND}, "
            "or put a layer of keras.ops in its place"
        )
    if "No model config" in said or "No model found" in said:
        return f"{path} holds weights without a network: build the network, load_weights and give file.py:function"
    if any(phrase in said for phrase in ("Could not locate", "Unknown layer", "Unknown object", "not registered")):
        what = f"'{names[-1]}'" if names else "a class"
        return f"{path} holds {what}, a layer or function that is not Keras' own: {_BY_HAND}"
    return f"{path} is no {path.suffix} file that Keras {keras.__version__} can read, or it is damaged ({first[:160]})"


def _example(model: Any, path: Path) -> dict[str, NDArray[Any]]:
    """Random numbers and ones, of the sizes that the network declares."""
    functional = functional_of(model)
    if functional is None:
        raise ModelError(
            f"{path} holds the {type(model).__name__} '{model.name}', which does not say what it takes: {_BY_HAND}, "
            "which returns the network and an example of its inputs"
        )
    struct = functional.input
    named = struct if isinstance(struct, dict) else dict(zip(input_names(functional), functional.inputs, strict=True))
    rng = np.random.default_rng(0)
    return {str(name): _array(str(name), symbol, rng, path) for name, symbol in named.items()}


def _array(name: str, symbol: Any, rng: np.random.Generator, path: Path) -> NDArray[Any]:
    sizes = list(symbol.shape[1:])
    if None in sizes[1:] or (None in sizes and len(sizes) > 2):
        shown = dimensions("any" if size is None else size for size in ["batch", *sizes])
        raise ModelError(f"{path} leaves sizes of its input '{name}' {shown} open: {_BY_HAND}, with an example")
    shape = (2, *(_LENGTH if size is None else size for size in sizes))
    if symbol.dtype == "string":
        raise ModelError(f"the input '{name}' of {path} is text: give a network that takes numbers")
    dtype = array_dtype(symbol.dtype)
    if symbol.dtype == "bfloat16" or dtype.kind not in "fc":
        return np.ones(shape, "float32" if symbol.dtype == "bfloat16" else dtype)
    return rng.uniform(0, 1, shape).astype(dtype)
