"""Arrays that are passed to the network as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self, cast

import numpy as np
from pydantic import field_validator

from edgepart.data.base import Preprocessing, kind_of, takes
from edgepart.data.dataset import Encoder
from edgepart.data.raw import Array, RawData, Rows
from edgepart.errors import DataError
from edgepart.files import Record
from edgepart.graph import Graph


class ArrayInput(Record):
    """One input of the network; ``shape`` with the batch dimension first, names where a dimension varies."""

    name: str
    dtype: str | None = None
    shape: tuple[int | str, ...] | None = None


class ArrayPreprocessing(Preprocessing):
    """Arrays by the network's input names, cast to its types where nothing is lost but precision."""

    kind: Literal["array"] = "array"
    #: names are enough: type and shape are the network's
    inputs: tuple[ArrayInput, ...] = ()

    @field_validator("inputs", mode="before")
    @classmethod
    def _from_names(cls, value: object) -> object:
        if isinstance(value, list | tuple):
            return [{"name": item} if isinstance(item, str) else item for item in value]
        return value

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(given.name for given in self.inputs)

    def bind(self, graph: Graph) -> Self:
        tensors = [graph.tensor(name) for name in graph.inputs]
        if self.inputs and set(self.input_names) != set(graph.inputs):
            raise DataError(
                f"the preprocessing gives {', '.join(self.input_names)}, but the network takes {takes(tensors)}"
            )
        return self.model_copy(
            update={"inputs": tuple(ArrayInput(name=t.name, dtype=t.dtype, shape=t.shape) for t in tensors)}
        )

    def check(self, raw: RawData) -> None:
        if not isinstance(raw.samples, Rows):
            hint = "text" if isinstance(raw.samples[0], str | tuple) else "image"
            raise DataError(
                f"{raw.source}, {raw.where(0)} is {kind_of(raw.samples[0])}, but the network takes arrays "
                f"({', '.join(self.input_names)}): declare a preprocessing of kind '{hint}' beside the network"
            )
        for given in self.inputs:
            check_array(given, raw.samples.arrays[given.name], raw.source)

    def encoder(self) -> Encoder:
        return ArrayEncoder({given.name: given.dtype for given in self.inputs})


@dataclass(frozen=True)
class ArrayEncoder:
    """Stacks rows; ``dtypes`` says to which type each input is cast (None: as it is)."""

    dtypes: dict[str, str | None]

    def __call__(self, samples: Sequence[object]) -> dict[str, Array]:
        rows = cast(Sequence[dict[str, Array]], samples)
        stacked = {name: np.stack([row[name] for row in rows]) for name in self.dtypes}
        return {name: array.astype(self.dtypes[name] or array.dtype, copy=False) for name, array in stacked.items()}


def check_array(wanted: ArrayInput, array: Array, source: str) -> None:
    """Check an array of samples against an input of the network.

    Raises:
        DataError: another shape, a type that cannot be cast, bytes where numbers between 0 and 1 may be expected, or
            a NaN or infinite number.
    """
    what = f"the array '{wanted.name}' of {source} is {array.dtype} {array.shape}"
    if array.dtype.kind not in "biuf":
        raise DataError(f"{what}, expected numbers")
    image = array.dtype == np.uint8 and array.ndim in (3, 4)
    declare = ": declare a preprocessing of kind 'image' (size, mean, std) beside the network" if image else ""
    if wanted.shape is not None and not _fits(array.shape, wanted.shape):
        raise DataError(f"{what}, but the network takes ({', '.join(map(str, wanted.shape))}){declare}")
    if wanted.dtype is not None:
        target = np.dtype(wanted.dtype)
        if image and target.kind == "f":
            raise DataError(f"{what}, and the network takes {wanted.dtype}, scaled in a way that is not known{declare}")
        if target.kind in "biu" and not np.can_cast(array.dtype, target, "same_kind") and array.dtype.kind not in "iu":
            raise DataError(f"{what}, but the network takes {wanted.dtype}: convert it without loss first")
    check_finite(array, what)


def check_finite(array: Array, what: str) -> None:
    if array.dtype.kind != "f":
        return
    wrong = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise DataError(f"{what} and has NaN or infinite numbers, first in sample {first}: mend or remove such samples")


def _fits(given: tuple[int, ...], wanted: tuple[int | str, ...]) -> bool:
    return len(given) == len(wanted) and all(
        isinstance(size, str) or size == actual for actual, size in zip(given, wanted, strict=True)
    )
