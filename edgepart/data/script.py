"""Samples and labels from the user's own function: ``file.py:function``."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgepart.data.raw import LABEL_KEYS, RawData, Rows, from_arrays, label_list
from edgepart.errors import DataError, UnknownName

TEXT_KEYS = ("text", "texts")


def read_script(file: Path, function: str, inputs: Sequence[str]) -> RawData:
    """Call the function without arguments; the user's code can do anything.

    It returns ``(inputs, labels)``, a list of ``(input, label)``, or a dict as an ``.npz`` would hold it (or with
    ``text``). Inputs are an array, a dict of arrays by the network's input names, or a list of texts, pairs of texts,
    image paths or images.

    Raises:
        DataError: the file or function is missing, it raises, or returns something else.
        UnknownName: the file has no such function; lists the nearest names.
    """
    source = f"{file}:{function}"
    value = _call(file, function, source)
    if isinstance(value, Mapping):
        text_key = next((key for key in TEXT_KEYS if key in value), None)
        label_key = next((key for key in LABEL_KEYS if key in value), None)
        if text_key is None or label_key is None:
            return from_arrays({str(key): np.asarray(column) for key, column in value.items()}, inputs, source)
        value = (value[text_key], value[label_key])
    elif isinstance(value, list) and value and all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        value = ([sample for sample, _ in value], [label for _, label in value])
    if not (isinstance(value, tuple) and len(value) == 2):
        raise DataError(
            f"{source} returned {type(value).__name__}, expected (inputs, labels), a list of (input, label), or a dict "
            "of arrays with 'labels'"
        )
    samples, labels = value
    return RawData(_samples(samples, inputs, source), label_list(np.asarray(labels), source), source)


def _samples(given: Any, inputs: Sequence[str], source: str) -> Sequence[object]:
    if isinstance(given, Mapping):
        arrays = {str(name): np.asarray(column) for name, column in given.items()}
        missing = [name for name in inputs if name not in arrays]
        if missing:
            raise DataError(f"{source} has no array for the network's input '{missing[0]}': found {', '.join(arrays)}")
        return Rows({name: arrays[name] for name in inputs})
    if isinstance(given, list | tuple):
        if (given and isinstance(given[0], str | tuple | bytes | Path)) or not _stackable(given):
            return list(given)
        if isinstance(given[0], Mapping):
            return Rows({str(name): np.stack([np.asarray(row[name]) for row in given]) for name in given[0]})
    array = np.asarray(given)
    if array.dtype.kind == "U":
        return [str(text) for text in array.tolist()]
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        raise DataError(f"{source} gives inputs of type {type(given).__name__}, expected arrays, texts or images")
    if len(inputs) != 1:
        raise DataError(f"{source} gives one array, but the network takes {', '.join(inputs)}: give a dict by name")
    return Rows({inputs[0]: array})


def _stackable(samples: Sequence[Any]) -> bool:
    """Whether the samples have equal shapes; images of various sizes, for one, have not."""
    try:
        if samples and isinstance(samples[0], Mapping):
            return len({(name, np.shape(row[name])) for row in samples for name in row}) == len(samples[0])
        return len({np.shape(sample) for sample in samples}) <= 1 and not hasattr(samples[0], "convert")
    except (ValueError, KeyError, IndexError):
        return False


def _call(file: Path, function: str, source: str) -> Any:
    if not file.is_file():
        raise DataError(f"{file} does not exist: --data {source} must name a Python file and a function in it")
    spec = importlib.util.spec_from_file_location(f"edgepart_data_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # As for a script, what lies beside the file can be imported.
    sys.path.insert(0, str(file.resolve().parent))
    try:
        spec.loader.exec_module(module)
        if not callable(getattr(module, function, None)):
            known = [name for name, thing in vars(module).items() if callable(thing) and not name.startswith("_")]
            raise UnknownName(f"function in {file}:", function, known)
        return getattr(module, function)()
    except UnknownName:
        raise
    except Exception as error:  # the user's code
        reason = str(error).strip().split("\n")[0]
        raise DataError(f"{source} raised {type(error).__name__}: {reason}") from error
    finally:
        sys.path.remove(str(file.resolve().parent))
