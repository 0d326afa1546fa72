"""The MODEL argument: ``file.py:function``, ``package.module:function``, a network's file, or ``hf:FOLDER``."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from edgepart import plugins
from edgepart.errors import EdgepartError, MissingExtra, ModelError, UnknownName
from edgepart.frameworks import Framework, framework, framework_of
from edgepart.frameworks.keras.names import fresh_names
from edgepart.silence import silent_import

_FORMS = "file.py:function, package.module:function, a .onnx, .keras or .h5 file, or hf:FOLDER"
#: package → the extra that installs it
_EXTRAS = {
    "torch": "torch",
    "transformers": "text",
    "tokenizers": "text",
    "tensorflow": "tensorflow",
    "keras": "tensorflow",
    "onnx": "onnx",
    "onnxruntime": "onnx",
}


@dataclass(frozen=True)
class LoadedModel:
    """A network with what is needed to capture it and to feed it.

    Attributes:
        name: for people: the function's or folder's name
        model: a network of a framework that edgepart knows
        example: its inputs, as :meth:`edgepart.frameworks.base.Framework.program` takes them
        preprocessing: settings for ``edgepart.data``; None where arrays go in as they are
        classes: names of the classes in the order of the logits, where they are known
        notes: what the user should be told
    """

    name: str
    model: object
    example: object
    preprocessing: Mapping[str, Any] | None = None
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def load_model(spec: str) -> LoadedModel:
    """Load a network by the name given on the command line.

    A function is called without arguments and returns ``(model, example)``, ``(model, example, preprocessing)`` or
    ``(model, example, preprocessing, classes)``, where classes are names in the order of the logits.
    It is the user's own code and can do anything. A file is a whole network of a framework (``.onnx``, ``.keras``,
    ``.h5``), a folder a Hugging Face checkpoint of a text classifier with its tokenizer; nothing in them is executed.

    Raises:
        ModelError: not of one of these forms, the code raises, or it returns something else.
        UnknownName: no such file, module or function; lists the nearest names.
        MissingExtra: a package that it needs is not installed.
    """
    if spec.startswith("hf:"):
        from edgepart.frameworks.torch import require_torch

        require_torch()
        from edgepart.frameworks.torch.huggingface import load_checkpoint

        return load_checkpoint(Path(spec.removeprefix("hf:")).expanduser())
    owner = _owner_of_file(spec)
    if owner is not None:
        return _from_network_file(owner, Path(spec).expanduser())
    place, _, function = spec.rpartition(":")
    if not place or not function.isidentifier():
        raise ModelError(f"'{spec}' does not name a model: expected {_FORMS}")
    file = Path(place).expanduser()
    from_file = place.endswith(".py") or "/" in place
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own switch, for what it says after its import
    folder = file.parent if from_file else Path.cwd()
    with _importable(folder), fresh_names(), silent_import("tensorflow"):
        module = _from_file(file, spec) if from_file else _from_package(place, spec)
        returned = _called(_function(module, function, place), spec)
    return _checked(returned, function, spec)


def _owner_of_file(spec: str) -> Framework | None:
    """The framework that reads a file with such a name; imports none to find out."""
    suffix = Path(spec).suffix.lower()
    known = [framework(name) for name in plugins.names("framework")] if suffix else []
    return next((each for each in known if suffix in each.suffixes), None)


def _from_network_file(owner: Framework, file: Path) -> LoadedModel:
    _require_file(file, str(file), f"*{file.suffix}")
    model, example = owner.load(file)
    return LoadedModel(file.stem, model, example)


def _require_file(file: Path, spec: str, siblings: str) -> None:
    if file.is_dir():
        raise ModelError(f"{file} of the model '{spec}' is a folder: give a file, such as one in it")
    if not file.is_file():
        names = [path.name for path in file.parent.glob(siblings)] if file.parent.is_dir() else []
        near = difflib.get_close_matches(file.name, names, n=3, cutoff=0.5)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise ModelError(f"the file {file} of the model '{spec}' does not exist{hint}")


def _from_file(file: Path, spec: str) -> ModuleType:
    _require_file(file, spec, "*.py")
    # A name of its own, so that a user's file called like a package does not take its place.
    name = f"edgepart_model_{file.stem}_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]}"
    specification = importlib.util.spec_from_file_location(name, file)
    if specification is None or specification.loader is None:
        raise ModelError(f"the file {file} of the model '{spec}' is not a Python file: expected {_FORMS}")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    try:
        with _blaming(spec):
            specification.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _from_package(place: str, spec: str) -> ModuleType:
    if not all(piece.isidentifier() for piece in place.split(".")):
        raise ModelError(f"'{spec}' does not name a model: expected {_FORMS}")
    try:
        with _blaming(spec):
            return importlib.import_module(place)
    except ModelError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and cause.name and f"{place}.".startswith(f"{cause.name}."):
            raise ModelError(
                f"there is no module '{cause.name}' for the model '{spec}': it must be installed or lie in this folder"
            ) from None
        raise


def _function(module: ModuleType, function: str, place: str) -> Callable[[], object]:
    found = getattr(module, function, None)
    if not callable(found):
        known = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise UnknownName(f"function in {place}:", function, known)
    call: Callable[[], object] = found
    return call


def _called(function: Callable[[], object], spec: str) -> object:
    with _blaming(spec):
        return function()


def _checked(returned: object, name: str, spec: str) -> LoadedModel:
    expected = "expected (model, example), and after them a preprocessing and the names of the classes if need be"
    if not isinstance(returned, tuple):
        raise ModelError(f"{spec} returned a {type(returned).__name__}, {expected}")
    if len(returned) not in (2, 3, 4):
        raise ModelError(f"{spec} returned a tuple of {len(returned)}, {expected}")
    model, example, *rest = returned
    try:
        framework_of(model)
    except ModelError as error:
        raise ModelError(f"{spec} returned as its model what is none: {error}; {expected}") from None
    preprocessing, classes = (*rest, None, None)[:2]
    if preprocessing is not None and not isinstance(preprocessing, Mapping):
        raise ModelError(
            f"{spec} returned a {type(preprocessing).__name__} as its preprocessing, expected a dict such as "
            "{'kind': 'image', ...}"
        )
    return LoadedModel(name, model, example, preprocessing, None if classes is None else _class_names(classes, spec))


def _class_names(classes: object, spec: str) -> tuple[str, ...]:
    names = tuple(classes) if isinstance(classes, list | tuple) else ()
    if not all(isinstance(name, str) for name in names) or len(set(names)) != len(names) or len(names) < 2:
        raise ModelError(
            f"{spec} returned {str(classes)[:60]} as its classes, expected a list of different names in the order of "
            "the logits"
        )
    return names


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """As for a script, what lies beside the file can be imported."""
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)


@contextmanager
def _blaming(spec: str) -> Iterator[None]:
    """Whatever the user's code raises, as one sentence with the last line of theirs."""
    try:
        yield
    except EdgepartError:
        raise
    except (Exception, SystemExit) as error:
        missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
        if missing in _EXTRAS:
            raise MissingExtra(str(missing), _EXTRAS[str(missing)]) from error
        raise ModelError(f"{spec} raised {type(error).__name__}{_reason(error)}{_line(error)}") from error


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f": {lines[0]}" if lines else ""


def _line(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return ""  # its message names the line
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    outer = [f for f in frames if f.filename != __file__]
    return f" ({Path(outer[0].filename).name}, line {outer[0].lineno})" if outer else ""
