"""A check of exported programs (``.pt2``) before torch reads them: nothing in a file of data may run.

``torch.export.load`` unpickles what the archive marks as pickled, evaluates its symbolic sizes as Python, looks its
operations up by name and generates code with the names in it. So an archive is let through only if it holds nothing
but raw tensors, and JSON with operations of torch, arithmetic and plain names, which is all that edgepart writes.
"""

from __future__ import annotations

import ast
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgepart.errors import FileError

_RAW = re.compile(
    r"data/weights/weight_\d+|data/constants/tensor_\d+|archive_format|archive_version|byteorder"
    r"|\.data/(version|serialization_id)|extra/edgepart\.json"
)
_CONFIG = re.compile(r"data/(weights|constants)/\w+_config\.json")
_MODEL = re.compile(r"models/\w+\.json")
_EMPTY = re.compile(r"data/sample_inputs/\w+\.pt")

_OPERATION = re.compile(
    r"torch\.ops\.aten\.\w+(\.\w+)?|torch\.ops\.higher_order\.(wrap_with_set_grad_enabled|wrap_with_autocast|cond)"
    r"|torch\.sym_\w+|torch\._sym_\w+|math\.\w+"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|pow|neg|pos|abs|eq|ne|lt|le|gt|ge|and_|or_|xor|not_)"
)
_NAMES = ("name", "as_name", "parameter_name", "buffer_name", "tensor_constant_name", "fqn", "forward_arg_names")
_NAME = re.compile(r"[\w.@]*")


def require_safe(path: str | Path) -> None:
    """Check an archive.

    Raises:
        FileError: not a complete archive, or it holds something that torch would run on reading it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            strange = next(_strange(archive), None)
    except (OSError, ValueError, KeyError, RecursionError, zipfile.BadZipFile) as error:
        raise FileError(f"{path} is not a complete exported program (.pt2): {error}") from error
    if strange:
        raise FileError(f"{path} is not opened, as it could run code on being read: it holds {strange}")


def _strange(archive: zipfile.ZipFile) -> Iterator[str]:
    """What does not belong into an archive that edgepart has written."""
    entries = archive.infolist()
    if len({entry.filename for entry in entries}) != len(entries):
        yield "two entries of the same name"
    for entry in entries:
        name = entry.filename.partition("/")[2]
        if _CONFIG.fullmatch(name):
            yield from _strange_tensors(json.loads(archive.read(entry)))
        elif _MODEL.fullmatch(name):
            yield from _strange_values(json.loads(archive.read(entry)))
        elif not _RAW.fullmatch(name) and not (_EMPTY.fullmatch(name) and not entry.file_size):
            yield f"'{name}'"


def _strange_tensors(config: Any) -> Iterator[str]:
    for name, payload in config["config"].items():
        if payload["use_pickle"] or not re.fullmatch(r"(weight|tensor)_\d+", payload["path_name"]):
            yield f"the tensor '{name}' in another form than plain numbers"
        if not _NAME.fullmatch(name):
            yield f"the tensor name '{name}'"


def _strange_values(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        if "target" in value and "inputs" in value and not _OPERATION.fullmatch(str(value["target"])):
            yield f"the operation '{value['target']}'"
        for inner, child in value.items():
            yield from _strange_values(child, str(inner))
    elif isinstance(value, list):
        for child in value:
            yield from _strange_values(child, key)
    elif isinstance(value, str):
        if key == "expr_str" and not _arithmetic(value):
            yield f"the size '{value}'"
        if key in _NAMES and not _NAME.fullmatch(value):
            yield f"the name '{value}'"
        if key in ("in_spec", "out_spec"):
            yield from _strange_structure(value)


def _arithmetic(expression: str) -> bool:
    """Whether an expression only calls SymPy's classes on numbers, names and each other."""
    try:
        tree = ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError):
        return False
    return all(_is_arithmetic(node) for node in ast.walk(tree))


def _is_arithmetic(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id=name)):
            return bool(re.fullmatch(r"[A-Z]\w*", name))
        case ast.Constant(value=str(text)):
            return bool(re.fullmatch(r"[\w.+-]*", text)) and "__" not in text
        case ast.Name(id=name):
            return "__" not in name
        case ast.Constant(value=int() | float()):
            return True
    harmless = (ast.Expression, ast.keyword, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.Load, ast.Tuple)
    return isinstance(node, harmless)


def _strange_structure(text: str) -> Iterator[str]:
    """The nesting of arguments, JSON within JSON, has plain names only."""
    waiting: list[Any] = [json.loads(text)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and value[:1] in ("[", "{"):
            waiting.append(json.loads(value))
        elif isinstance(value, str) and not re.fullmatch(r"[\w.]*", value):
            yield f"the argument '{value}'"
