"""What a bundle and each of its parts say about themselves, and whether their files are what they say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar, Self

from pydantic import Field, field_validator

from edgepart.errors import BundleError
from edgepart.files import Document, Record, sha256
from edgepart.frameworks.runtimes import Precision
from edgepart.partitioning.plan import Deployment

MANIFEST = "manifest.json"
PART = "part.json"

_MEND = "build the bundle again or copy the whole folder again"


class FileRecord(Record):
    """Length and hash of a file."""

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")

    @classmethod
    def of(cls, path: Path) -> Self:
        return cls(bytes=path.stat().st_size, sha256=sha256(path))


class RouterRecord(Record):
    """The artefact that embeds samples for a router, by its path within the bundle, and what runs it."""

    file: str
    runtime: str

    @field_validator("file")
    @classmethod
    def _check_path(cls, file: str) -> str:
        return _inside(file)


class Manifest(Document):
    """``manifest.json``: what the bundle is, and every other file in it by its path within the bundle."""

    kind: ClassVar[str] = "bundle"

    edgepart_version: str
    network: str
    #: of the network's graph, as in the plan
    fingerprint: str
    framework: str
    framework_version: str
    router: RouterRecord
    deployment: Deployment
    tiers: tuple[str, ...]
    exits: tuple[str, ...]
    classes: tuple[str, ...]
    files: dict[str, FileRecord]
    #: sha256 of all the other fields, so that a change in this file is noticed as well
    seal: str = ""

    def sealed(self) -> Self:
        """The same manifest with its seal."""
        return self.model_copy(update={"seal": self._digest()})

    def check_seal(self, path: Path) -> None:
        """Raise :class:`BundleError` where a field is not what was sealed; ``path`` is for the message."""
        if self.seal != self._digest():
            raise BundleError(f"{path} was changed: its fields have sha256 {self._digest()}, not {self.seal}: {_MEND}")

    def _digest(self) -> str:
        fields = self.model_dump(mode="json", exclude={"seal"})
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    @field_validator("files")
    @classmethod
    def _check_paths(cls, files: dict[str, FileRecord]) -> dict[str, FileRecord]:
        for name in files:
            _inside(name)
        return files


class StageRecord(Record):
    """One artefact of a part: the layers up to an exit (its head included) or up to the part's end."""

    file: str
    #: the tensors it reads and those it makes for later stages and parts; the logits of ``exit`` come after these
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    exit: str | None = None
    #: largest difference to the network it was exported from, relative to the largest value, on a few samples
    difference: float = Field(ge=0)
    #: how much of it was tolerated
    tolerance: float = Field(ge=0)
    #: the artefact's files and its signature, by their paths within the part
    files: dict[str, FileRecord] = Field(min_length=1)

    @property
    def bytes(self) -> int:
        """Of the artefact on disk."""
        return sum(record.bytes for record in self.files.values())

    @field_validator("file")
    @classmethod
    def _check_path(cls, file: str) -> str:
        if PurePosixPath(file).name != file:
            raise ValueError(f"the artefact '{file}' does not lie in the part's folder")
        return file

    @field_validator("files")
    @classmethod
    def _check_paths(cls, files: dict[str, FileRecord]) -> dict[str, FileRecord]:
        for name in files:
            _inside(name)
        return files


class PartManifest(Document):
    """``part.json``: enough to run the part from its folder alone."""

    kind: ClassVar[str] = "part"

    framework: str
    runtime: str
    runtime_version: str
    precision: Precision
    tier: str
    classes: tuple[str, ...]
    #: the tensors it is given and those it passes on to the next part
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    stages: tuple[StageRecord, ...] = Field(min_length=1)


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"the file '{name}' lies outside the bundle")
    return name


def survey(folder: Path) -> dict[str, FileRecord]:
    """Every file below a folder by its path, the manifest itself left out."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in files]
    return {name: FileRecord.of(folder / name) for name in names if name != MANIFEST}


def verify(folder: Path, files: Mapping[str, FileRecord]) -> None:
    """Check that all files are there and unchanged.

    Raises:
        BundleError: names the first file that is missing, cut short or changed, with the hash it should have.
    """
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise BundleError(f"{folder} lacks the file {name} (sha256 {expected.sha256}): {_MEND}")
        size = path.stat().st_size
        if size < expected.bytes:
            raise BundleError(
                f"{path} is cut short, {size} of {expected.bytes} bytes (expected sha256 {expected.sha256}): {_MEND}"
            )
        found = sha256(path)
        if found != expected.sha256:
            raise BundleError(f"{path} is corrupt: its sha256 is {found}, expected {expected.sha256}: {_MEND}")
