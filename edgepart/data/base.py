"""What every kind of preprocessing has in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import ValidationError

from edgepart.data.dataset import Encoder
from edgepart.data.raw import RawData
from edgepart.errors import DataError, FileError
from edgepart.files import Document, Record
from edgepart.graph import Graph, Tensor
from edgepart.invalid import explain

#: file of a bundle; the tokenizer of texts lies beside it
FILE = "preprocessing.json"


class Preprocessing(Record):
    """Turns raw samples into arrays by input name. What it leaves open, :meth:`bind` takes from the network.

    One subclass a kind: text, image, array.
    """

    kind: str

    _kinds: ClassVar[dict[str, type[Preprocessing]]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        cls._kinds[cls.model_fields["kind"].default] = cls

    @staticmethod
    def from_dict(value: Mapping[str, Any]) -> Preprocessing:
        """From a plain dict such as ``{"kind": "image", "size": 32, "mean": [0.5, 0.5, 0.5], "std": 0.5}``.

        Raises:
            DataError: an unknown kind or field, or a wrong value; names the field.
        """
        kinds = Preprocessing._kinds
        kind = value.get("kind") if isinstance(value, Mapping) else None
        if kind not in kinds:
            raise DataError(f"the preprocessing has the kind {kind!r}, expected one of {', '.join(map(repr, kinds))}")
        try:
            return kinds[kind].model_validate(dict(value))
        except ValidationError as error:
            raise DataError(f"the preprocessing of kind '{kind}' is not valid: {explain(error)}") from error

    def save(self, folder: str | Path) -> None:
        """Write ``preprocessing.json`` into a folder, and beside it the tokenizer where there is one."""
        packed = self.packed(Path(folder))
        _Saved(preprocessing=packed.model_dump(mode="json", exclude_none=True)).save(Path(folder) / FILE)

    @staticmethod
    def load(folder: str | Path) -> Preprocessing:
        """Read back what :meth:`save` wrote.

        Raises:
            FileError: the file is missing or not valid.
        """
        path = Path(folder) / FILE
        try:
            return Preprocessing.from_dict(_Saved.load(path).preprocessing).located(Path(folder))
        except DataError as error:
            raise FileError(f"{path}: {error}") from error

    @property
    @abstractmethod
    def input_names(self) -> tuple[str, ...]:
        """Names of the network's inputs that it makes; known once it is bound."""

    @abstractmethod
    def bind(self, graph: Graph) -> Self:
        """Fill in what is left open from the network's inputs, and check the rest against them.

        Raises:
            DataError: it makes something else than the network takes.
        """

    @abstractmethod
    def check(self, raw: RawData) -> None:
        """Check that samples are of the kind it takes.

        Raises:
            DataError: they are not; says what was found, where, and what to do.
        """

    @abstractmethod
    def encoder(self) -> Encoder:
        """The function from raw samples to a batch of arrays.

        Raises:
            MissingExtra: a package that it needs is not installed.
        """

    def packed(self, folder: Path) -> Self:
        """Copy the files it needs into a folder; the same preprocessing with paths relative to it."""
        return self

    def located(self, folder: Path) -> Self:
        """The same with the paths of its files, which were relative to ``folder``, made whole."""
        return self


class _Saved(Document):
    kind: ClassVar[str] = "preprocessing"
    preprocessing: dict[str, Any]


def kind_of(sample: object) -> str:
    """What a sample is, in the words of messages."""
    if isinstance(sample, str):
        return "a text"
    if isinstance(sample, tuple):
        return "a pair of texts" if len(sample) == 2 else f"a tuple of {len(sample)}"
    if isinstance(sample, Path | bytes):
        return "an image file"
    if isinstance(sample, dict):
        return " and ".join(f"an array {name} {value.shape}" for name, value in sample.items())
    return f"a {type(sample).__name__}"


def takes(tensors: Sequence[Tensor]) -> str:
    """What a network takes, such as ``x float32 (batch, 3, 32, 32)``."""
    return ", ".join(f"{t.name} {t.dtype} ({', '.join(map(str, t.shape))})" for t in tensors)
