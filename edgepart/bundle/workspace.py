"""``<output>.partial``: where a bundle grows, and from where the same command goes on after an interruption."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edgepart.bundle.bundle import POLICY
from edgepart.bundle.manifest import MANIFEST, Manifest
from edgepart.data.base import Preprocessing
from edgepart.data.dataset import Dataset
from edgepart.errors import BundleError, EdgepartError, ExportError, FileError, MissingExtra, TrainingInterrupted
from edgepart.files import read_json, replace_folder, require_parent, require_replaceable, sha256, write_json
from edgepart.lock import alone

REQUEST = "request.json"

Say = Callable[[str], None]


class Workspace:
    """The folder of an unfinished build. ``state`` keeps what training needs; ``bundle`` is what will be moved."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = output.with_name(f"{output.name}.partial")
        self.state, self.bundle = self.folder / "state", self.folder / "bundle"

    @contextmanager
    def opened(self, request: Mapping[str, str], say: Say) -> Iterator[None]:
        """Take up the unfinished build that was started with the same request, or start afresh; at the end the bundle
        is put in its place.

        What an interruption, a full disk or a runtime that cannot hold a part leaves is kept: runtimes are no part of
        the request, so that another one needs no other training. After any other error the same request would only
        fail again, so nothing is.

        Args:
            request: what determines the result, each as text or digest
            say: told which of the two it is, where there is an unfinished build

        Raises:
            BundleError: another process builds the same bundle.
        """
        with alone(self.folder.with_name(f"{self.folder.name}.lock")) as is_alone:
            if not is_alone:
                raise BundleError(
                    f"another process is building {self.output}: wait until it is done, or choose another output"
                )
            try:
                self._open(request, say)
                yield
                self._finish()
            except EdgepartError as error:
                resumable = isinstance(error, TrainingInterrupted | FileError | ExportError | MissingExtra)
                if not (resumable and any(path.is_file() for path in self.state.rglob("*"))):
                    shutil.rmtree(self.folder, ignore_errors=True)
                raise

    def _open(self, request: Mapping[str, str], say: Say) -> None:
        if self.folder.exists():
            found = read_json(self.folder / REQUEST) if (self.folder / REQUEST).is_file() else {}
            changed = [name for name in request if found.get(name) != request[name]]
            if changed:
                say(f"{self.folder} was started with other {', '.join(changed)}: starting afresh")
                shutil.rmtree(self.folder)
            else:
                say(f"going on with the unfinished build in {self.folder}")
        self.state.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / REQUEST, dict(request))
        shutil.rmtree(self.bundle, ignore_errors=True)
        self.bundle.mkdir()

    def _finish(self) -> None:
        replace_folder(self.bundle, self.output)
        shutil.rmtree(self.folder, ignore_errors=True)

    def check(self) -> None:
        """Check that the bundle can be written, before any work.

        Raises:
            FileError: the folder that it shall lie in does not exist, or a bundle there has other files beside it.
            BundleError: something that is not a bundle, or not an unfinished one, is in the way.
        """
        require_parent(self.output)
        in_the_way = (
            (self.output, MANIFEST, "a bundle"),
            (self.folder, REQUEST, "an unfinished build"),
        )
        for path, mark, what in in_the_way:
            empty = path.is_dir() and not any(path.iterdir())
            if path.exists() and not empty and not (path / mark).is_file():
                raise BundleError(f"{path} exists and is not {what}: choose another output or remove it")
        if (self.output / MANIFEST).is_file():
            self._require_own_files()

    def _require_own_files(self) -> None:
        try:
            sealed = Manifest.load(self.output / MANIFEST).files
        except FileError:
            return  # damaged, or of another version: building it anew is what mends it
        require_replaceable(self.output, "bundle", MANIFEST, POLICY, *{Path(name).parts[0] for name in sealed})


def digest_dataset(dataset: Dataset) -> str:
    """sha256 of the samples, labels and classes; image files count by name, size and time of change."""
    digest = hashlib.sha256(repr(dataset.classes).encode())
    digest.update(dataset.labels.tobytes())
    for sample in dataset.samples:
        _add(digest, sample)
    return digest.hexdigest()


def digest_preprocessing(preprocessing: Preprocessing) -> str:
    """sha256 of what a bundle would keep of it, the tokenizer included."""
    with tempfile.TemporaryDirectory() as name:
        preprocessing.save(name)
        files = sorted(Path(name).iterdir())
        return hashlib.sha256("".join(f"{path.name} {sha256(path)}\n" for path in files).encode()).hexdigest()


def digest_text(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _add(digest: hashlib._Hash, sample: object) -> None:
    """Type and length go in before the content, so that different samples cannot run together."""
    if isinstance(sample, Mapping):
        for name, value in sample.items():
            digest.update(f"{name}:".encode())
            _add(digest, value)
    elif isinstance(sample, np.ndarray | np.generic):
        array = np.asarray(sample)
        digest.update(f"{array.dtype}{array.shape}:".encode())
        digest.update(array.tobytes())
    elif isinstance(sample, bytes):
        digest.update(f"bytes {len(sample)}:".encode())
        digest.update(sample)
    elif isinstance(sample, os.PathLike):
        facts = os.stat(sample)
        digest.update(f"file {os.fspath(sample)} {facts.st_size} {facts.st_mtime_ns}:".encode())
    else:
        text = repr(sample).encode()
        digest.update(f"text {len(text)}:".encode())
        digest.update(text)
