"""From the labels in a file to indices into the classes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgepart.data.dataset import Dataset
from edgepart.errors import DataError

Label = str | int

_INTEGER = re.compile(r"[+-]?\d+")


def index_labels(
    labels: Sequence[Label],
    classes: Sequence[str] | None,
    source: str,
    where: Callable[[int], str] = lambda index: f"sample {index}",
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Indices of the labels, (N,), and the classes.

    A label is the class of that name. Where no class is called by a number, an integer label is the index of a class
    (so is it for the names LABEL_0, LABEL_1 … of Hugging Face). Without ``classes``, they are the labels that occur,
    sorted, numerically if all are integers.

    Args:
        where: place of a sample in the source, for messages

    Raises:
        DataError: a label is missing or no class; names label, place and classes.
    """
    names = [str(label) for label in labels]
    known = derive_classes(names) if classes is None else tuple(classes)
    index = {name: position for position, name in enumerate(known)}
    if not any(_INTEGER.fullmatch(name) for name in known):
        index |= {str(position): position for position in range(len(known))}
    found = np.empty(len(names), dtype=np.int64)
    for position, name in enumerate(names):
        if name not in index:
            what = f"the label '{name}', which is none of the classes {_listing(known)}" if name else "no label"
            raise DataError(f"{source}, {where(position)} has {what}")
        found[position] = index[name]
    return found, known


def are_numbers(classes: Sequence[str]) -> bool:
    """Whether classes have no names of their own: they are called 0, 1 … or LABEL_0, LABEL_1 …"""
    return all(_INTEGER.fullmatch(name.upper().removeprefix("LABEL_")) for name in classes)


def derive_classes(names: Sequence[str]) -> tuple[str, ...]:
    """The different labels, sorted; numerically if all are integers."""
    different = set(names) - {""}
    if all(_INTEGER.fullmatch(name) for name in different):
        return tuple(sorted(different, key=int))
    return tuple(sorted(different))


def require_every_class(dataset: Dataset) -> None:
    """Check that each class has a sample to learn from.

    Raises:
        DataError: names the first empty class.
    """
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    empty = [name for name, count in zip(dataset.classes, counts, strict=True) if count == 0]
    if empty:
        others = len(empty) - 1
        more = f" (nor of {others} other class{'es' if others > 1 else ''})" if others else ""
        raise DataError(
            f"{dataset.source} has no sample of the class '{empty[0]}'{more}: training needs some of every class, so "
            "add such samples, or cut the network's last layer down to the classes that there are"
        )


def _listing(classes: Sequence[str]) -> str:
    shown = ", ".join(classes[:12])
    return f"{shown} … ({len(classes)} in all)" if len(classes) > 12 else shown
