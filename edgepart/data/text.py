"""Texts and pairs of texts to token numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, field_validator

from edgepart.data.arrays import ArrayEncoder, ArrayInput, check_array
from edgepart.data.base import Preprocessing, kind_of, takes
from edgepart.data.dataset import Encoder
from edgepart.data.raw import Array, RawData, Rows
from edgepart.data.tokenizer import read_tokenizer
from edgepart.errors import DataError
from edgepart.files import write_text
from edgepart.graph import Graph

#: file of a bundle that holds the tokenizer
FILE = "tokenizer.json"

#: what a tokenizer gives → attribute of its encodings
ROLES = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


class TextPreprocessing(Preprocessing):
    """Texts or pairs of texts to token numbers (batch, sequence), padded to the longest of the batch.

    Arrays of token numbers by the network's input names are taken as they are.
    """

    kind: Literal["text"] = "text"
    #: a ``tokenizer.json``, a ``vocab.txt`` (WordPiece), or a folder with one of them
    tokenizer: str
    #: longer texts are cut to so many tokens
    max_length: int = Field(default=128, gt=1)
    #: the network's input → what it takes of the tokenizer; a list where the names are the same
    inputs: dict[str, Literal["input_ids", "attention_mask", "token_type_ids"]] = Field(default_factory=dict)
    #: fills short texts; None: the tokenizer's own, or one of the usual ones
    pad_token: str | None = None
    #: length that every text is padded to, for a network that takes no other
    fixed_length: int | None = None
    dtype: Literal["int64", "int32"] = "int64"

    @field_validator("inputs", mode="before")
    @classmethod
    def _same_names(cls, value: object) -> object:
        return {name: name for name in value} if isinstance(value, list | tuple) else value

    @field_validator("tokenizer", mode="before")
    @classmethod
    def _path(cls, value: object) -> object:
        return str(value) if isinstance(value, Path) else value

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(self.inputs)

    def bind(self, graph: Graph) -> Self:
        tensors = [graph.tensor(name) for name in graph.inputs]
        roles = {name: self.inputs.get(name, name) for name in graph.inputs}
        unknown = [name for name, role in roles.items() if role not in ROLES]
        if unknown:
            raise DataError(
                f"the network takes '{unknown[0]}', but a tokenizer gives {', '.join(ROLES)}: map it in the "
                f"preprocessing, as in 'inputs': {{'{unknown[0]}': 'input_ids'}}"
            )
        extra = [name for name in self.inputs if name not in roles]
        if extra or any(tensor.dtype not in ("int64", "int32") or len(tensor.shape) != 2 for tensor in tensors):
            given = f"'{extra[0]}' too" if extra else "int64 (batch, sequence)"
            raise DataError(f"the network takes {takes(tensors)}, but the preprocessing of text gives {given}")
        length = tensors[0].shape[1]
        update: dict[str, Any] = {"inputs": roles, "dtype": tensors[0].dtype}
        if isinstance(length, int):
            update |= {"fixed_length": length, "max_length": min(self.max_length, length)}
        return self.model_copy(update=update)

    def check(self, raw: RawData) -> None:
        if isinstance(raw.samples, Rows):
            shape = ("batch", self.fixed_length or "sequence")
            for name, array in raw.samples.arrays.items():
                check_array(ArrayInput(name=name, dtype=self.dtype, shape=shape), array, raw.source)
            return
        for index, sample in enumerate(raw.samples):
            texts = sample if isinstance(sample, tuple) and len(sample) == 2 else (sample,)
            if not all(isinstance(text, str) for text in texts):
                raise DataError(
                    f"{raw.source}, {raw.where(index)} is {kind_of(sample)}, "
                    "but the network takes texts or pairs of texts"
                )

    def encoder(self) -> Encoder:
        tokenizer = read_tokenizer(Path(self.tokenizer), self.pad_token)
        tokenizer.enable_truncation(self.max_length)
        tokenizer.enable_padding(**(tokenizer.padding | {"length": self.fixed_length}))
        return TextEncoder(tokenizer, self.inputs, self.dtype)

    def packed(self, folder: Path) -> Self:
        tokenizer = read_tokenizer(Path(self.tokenizer), self.pad_token)
        write_text(folder / FILE, tokenizer.to_str() + "\n")
        return self.model_copy(update={"tokenizer": FILE, "pad_token": tokenizer.padding["pad_token"]})

    def located(self, folder: Path) -> Self:
        return self.model_copy(update={"tokenizer": str(folder / self.tokenizer)})


class TextEncoder:
    """Tokenizes a batch with a ``tokenizers.Tokenizer`` that is set up to pad and to cut."""

    def __init__(self, tokenizer: Any, inputs: Mapping[str, str], dtype: str) -> None:
        self.tokenizer = tokenizer
        self.attributes = {name: ROLES[role] for name, role in inputs.items()}
        self.dtype = dtype

    def __call__(self, samples: Sequence[object]) -> dict[str, Array]:
        if samples and isinstance(samples[0], dict):
            return ArrayEncoder(dict.fromkeys(self.attributes, self.dtype))(samples)
        encodings = self.tokenizer.encode_batch(list(samples))
        return {
            name: np.array([getattr(encoding, attribute) for encoding in encodings], dtype=self.dtype)
            for name, attribute in self.attributes.items()
        }
