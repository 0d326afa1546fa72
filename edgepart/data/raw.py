"""What a reader gives: samples and labels as they are stored, before any preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgepart.data.labels import Label
from edgepart.errors import DataError

#: names of a label array, and of an only input array, in the order of preference
LABEL_KEYS = ("y", "label", "labels")
INPUT_KEYS = ("x", "images", "data")

Array = NDArray[np.generic]


def _sample(index: int) -> str:
    return f"sample {index}"


class Rows(Sequence[object]):
    """Arrays with the samples along their first dimension; one sample is a dict of rows by name."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self.arrays = dict(arrays)

    def __len__(self) -> int:
        return min(len(array) for array in self.arrays.values())

    def __getitem__(self, index: int) -> dict[str, Array]:  # type: ignore[override]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return {name: array[index] for name, array in self.arrays.items()}

    def __iter__(self) -> Iterator[object]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True)
class RawData:
    """N samples (texts, pairs of texts, image files or their bytes, :class:`Rows`) and their labels.

    ``classes`` are the names that the source itself gives to its classes, ``where`` the place of a sample in it.
    """

    samples: Sequence[object]
    labels: Sequence[Label]
    source: str
    classes: tuple[str, ...] | None = None
    where: Callable[[int], str] = field(default=_sample)

    def __post_init__(self) -> None:
        if len(self.samples) != len(self.labels):
            raise DataError(
                f"{self.source} has {len(self.samples)} samples but {len(self.labels)} labels: there must be one each"
            )
        if not len(self.labels):
            raise DataError(f"{self.source} holds no samples")


def from_arrays(arrays: Mapping[str, Array], inputs: Sequence[str], source: str) -> RawData:
    """Pick labels and inputs among named arrays.

    Labels are called ``y``, ``label`` or ``labels``. Inputs are called as the network's, or, if it has one only,
    ``x``, ``images`` or ``data``. ``classes``, if there, names the classes by index.

    Raises:
        DataError: an array is missing, or they are not of the same length.
    """
    found = f"found {', '.join(arrays) or 'none'}"
    label_key = next((key for key in LABEL_KEYS if key in arrays and key not in inputs), None)
    if label_key is None:
        raise DataError(f"{source} has no array of labels: call it {' or '.join(LABEL_KEYS)} ({found})")
    chosen = {name: arrays[name] for name in inputs if name in arrays}
    if not chosen and len(inputs) == 1:
        key = next((key for key in INPUT_KEYS if key in arrays), None)
        chosen = {inputs[0]: arrays[key]} if key else {}
    missing = [name for name in inputs if name not in chosen]
    if missing or not inputs:
        also = f" (or {', '.join(INPUT_KEYS)})" if len(inputs) == 1 else ""
        wanted = f"for the network's input '{missing[0]}'{also}" if missing else "that the network takes"
        raise DataError(f"{source} has no array {wanted}: {found}")
    labels = label_list(arrays[label_key], source)
    for name, array in chosen.items():
        if array.ndim == 0 or len(array) != len(labels):
            size = len(array) if array.ndim else "no"
            raise DataError(f"{source} has {size} samples in '{name}' but {len(labels)} labels")
    classes = tuple(_texts(arrays["classes"])) if "classes" in arrays else None
    return RawData(Rows(chosen), labels, source, classes)


def label_list(values: Array, source: str) -> list[Label]:
    """Labels of an array (samples,) or (samples, 1) as strings and integers.

    Raises:
        DataError: they are not one integer or string a sample.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        hint = ": give the index of the class, not one column a class" if values.ndim == 2 else ""
        raise DataError(f"the labels of {source} have shape {values.shape}, expected (samples,){hint}")
    if values.dtype.kind in "US":
        return list(_texts(values))
    if values.dtype.kind == "f" and np.isfinite(values).all() and np.equal(np.floor(values), values).all():
        values = values.astype(np.int64)
    if values.dtype.kind not in "iub":
        raise DataError(f"the labels of {source} are of type {values.dtype}, expected integers or strings")
    return [int(value) for value in values.tolist()]


def _texts(values: Array) -> list[str]:
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values.tolist()]
