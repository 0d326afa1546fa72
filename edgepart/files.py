"""Files that are never half-written, and the base class of every document edgepart keeps on disk."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from edgepart.errors import FileError
from edgepart.invalid import explain

if TYPE_CHECKING:
    from numpy.typing import NDArray


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; renamed to it on success, removed on any failure."""
    target = Path(path)
    require_parent(target)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise FileError(f"cannot write {target}: {error.strerror or error}") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private to the user; a result should have ordinary permissions.
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except OSError as error:
        raise FileError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; it takes the place of ``path`` on success only.

    Errors of files inside name them as if they lay in ``path`` already.
    """
    target = Path(path)
    require_parent(target)
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise FileError(f"cannot write {target}: {error.strerror or error}") from error
    try:
        yield temporary
        os.chmod(temporary, 0o777 & ~_umask())
        replace_folder(temporary, target)
    except FileError as error:
        raise FileError(str(error).replace(str(temporary), str(target))) from error
    except OSError as error:
        raise FileError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(source: Path, target: Path) -> None:
    """Move ``source`` to ``target``; an older ``target`` is kept until the move has succeeded."""
    old = target.with_name(f".{target.name}.old")
    _remove(old)
    if target.exists():
        os.replace(target, old)
    try:
        os.replace(source, target)
    except OSError:
        if old.exists():
            os.replace(old, target)
        raise
    _remove(old)


def _remove(folder: Path) -> None:
    """Remove a folder, or a link to one, which leaves what it points to as it is."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any, indent: int | None = 1) -> None:
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


def write_arrays(path: str | Path, arrays: Mapping[str, NDArray[Any]], header: Mapping[str, str]) -> None:
    """Write a safetensors file, atomically; the same content gives the same bytes.

    Raises:
        FileError: the folder is missing or the disk is full.
    """
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    # safetensors ignores strides, and a zero-dimensional array must stay one (ascontiguousarray makes it a vector).
    plain = {name: np.array(array, order="C") for name, array in arrays.items()}
    with atomic_file(path) as temporary:
        try:
            save_file(plain, temporary, dict(header))
        except SafetensorError as error:  # its only word for a full disk
            raise OSError(str(error)) from error
        if len(header) > 1:
            _order_header(temporary)


def _order_header(path: Path) -> None:
    """Sort the metadata of a safetensors file by name, in place: safetensors writes it in another order every time."""
    with path.open("r+b") as stream:
        size = int.from_bytes(stream.read(8), "little")
        fields = json.loads(stream.read(size))
        fields["__metadata__"] = dict(sorted(fields["__metadata__"].items()))
        ordered = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
        if len(ordered) <= size:  # the same characters in another order, unless two libraries escape one differently
            stream.seek(8)
            stream.write(ordered.ljust(size))


def read_arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    """Read the arrays that :func:`write_arrays` wrote.

    Raises:
        FileError: missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise FileError(f"{path} is missing or damaged: {error}") from error


def read_json(path: str | Path) -> Any:
    """Parse a JSON file; every way it can fail is a :class:`FileError` that names the file."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        return json.loads(text, object_pairs_hook=_once)
    except _Twice:
        name, line = _repeated(text)
        raise FileError(f"{path}, line {line}: '{name}' is given twice: give it once") from None
    except FileNotFoundError:
        raise FileError(f"{path} does not exist") from None
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise FileError(f"{path} is not a text file, expected JSON") from None
    except json.JSONDecodeError as error:
        raise FileError(f"{path} is not valid JSON (line {error.lineno}: {error.msg}); was it cut short?") from None


class _Twice(Exception):
    """An object of a JSON file has two values of one name."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Twice
    return found


def _repeated(text: str) -> tuple[str, int]:
    """The first name that an object of a valid JSON text repeats, and the line of its second value."""
    seen: list[set[str]] = []
    for token in re.finditer(r'("(?:[^"\\]|\\.)*")(\s*:)?|[{}]', text):
        if token[0] == "{":
            seen.append(set())
        elif token[0] == "}":
            seen.pop()
        elif token[2]:
            name = json.loads(token[1])
            if name in seen[-1]:
                return name, text.count("\n", 0, token.start()) + 1
            seen[-1].add(name)
    raise AssertionError("no name is repeated")


def sha256(path: str | Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Record(BaseModel):
    """An immutable value; unknown fields are refused, so a misspelt one is noticed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Document(Record):
    """A :class:`Record` with one versioned JSON file on disk."""

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    #: of its lines; None writes a single one, for documents of numbers that nobody reads line by line
    indent: ClassVar[int | None] = 1

    def save(self, path: str | Path) -> None:
        """Write the document as JSON, atomically.

        Raises:
            FileError: the folder is missing or the disk is full.
        """
        header = {"kind": f"edgepart.{self.kind}", "version": self.version}
        write_json(path, header | self.model_dump(mode="json", exclude_none=True), self.indent)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a document back.

        Raises:
            FileError: no such file, not JSON, another kind or version, or a field that does not validate.
        """
        value = read_json(path)
        kind = value.pop("kind", None) if isinstance(value, dict) else None
        if kind != f"edgepart.{cls.kind}":
            raise FileError(f"{path} holds {kind or 'no edgepart document'}, expected edgepart.{cls.kind}")
        version = value.pop("version", None)
        if version != cls.version:
            raise FileError(
                f"{path} has format version {version}, this edgepart reads version {cls.version}: write it again"
            )
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise FileError(f"{path} is not a valid {cls.kind}: {explain(error, cls.model_fields)}") from error


def require_parent(target: Path) -> None:
    """Check, before work whose result goes to ``target``, that it can be written there.

    Raises:
        FileError: the folder it lies in does not exist or may not be written to, or the name is none for a file.
    """
    parent = target.absolute().parent
    try:
        target.exists()  # a name that is too long, for one, is told by asking
        if not parent.is_dir():
            raise FileError(f"cannot write {target}: the folder {parent} does not exist")
    except OSError as error:
        raise FileError(f"cannot write {target}: {error.strerror or error}") from error
    if not os.access(parent, os.W_OK | os.X_OK):
        raise FileError(f"cannot write {target}: you may not write to the folder {parent}, so give another place")


def require_replaceable(folder: Path, what: str, result: str, *others: str) -> None:
    """Check that a folder may be replaced: it is new or empty, or holds an earlier one of its kind and nothing else.

    Hidden files beside it do not count, for file browsers leave theirs everywhere; a hidden folder, as .git, does.

    Args:
        what: the kind, as ``report``
        result: the file that every folder of the kind holds
        others: what else may lie there

    Raises:
        FileError: it holds something else, is a file, or lies where nothing can be written.
    """
    require_parent(folder)
    if folder.exists() and not folder.is_dir():
        raise FileError(f"{folder} is a file: give a folder for the {what}")
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if found and result not in found:
        raise FileError(f"{folder} holds files that are no {what}: give a new folder")
    beside = [name for name in found if name not in (result, *others)]
    foreign = [name for name in beside if not name.startswith(".") or (folder / name).is_dir()]
    if foreign:
        raise FileError(
            f"{folder} holds {foreign[0]} beside its {what}, and would be replaced as a whole: move that, or give "
            "a new folder"
        )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
