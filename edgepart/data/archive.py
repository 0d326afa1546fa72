"""Arrays or JPEG images and labels from ``.npz``."""

from __future__ import annotations

import itertools
import lzma
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgepart.data.raw import LABEL_KEYS, Array, RawData, from_arrays, label_list
from edgepart.errors import DataError

SUFFIX = ".npz"


def read_archive(path: Path, inputs: Sequence[str]) -> RawData:
    """Arrays by the network's input names (or one called x, images or data) and labels (y, label or labels).

    Or images as JPEG files one after another in ``jpeg``, number i at ``jpeg[off[i]:off[i + 1]]``. Only what is
    needed is loaded.

    Raises:
        DataError: not such an archive, an array is missing or holds Python objects, lengths differ.
    """
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is not a complete archive of arrays (.npz): write it with numpy.savez")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = _Members(archive)
            if "jpeg" in arrays and "off" in arrays:
                return _images(arrays, path)
            return from_arrays(arrays, inputs, str(path))
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise DataError(f"{path} holds an array that cannot be read: {error}") from error
        raise DataError(
            f"{path} holds Python objects, which are not loaded: save numbers, or strings of a fixed length"
        ) from error
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError) as error:
        raise DataError(f"{path} is not a complete archive of arrays (.npz): {error}") from error


class _Members(Mapping[str, Array]):
    """The arrays of an archive, each decompressed when it is first asked for and never again."""

    def __init__(self, archive: Any) -> None:
        self._archive = archive
        self._loaded: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Array:
        if name not in self._loaded:
            self._loaded[name] = self._archive[name]
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._archive.files

    def __iter__(self) -> Iterator[str]:
        return iter(self._archive.files)

    def __len__(self) -> int:
        return len(self._archive.files)


def _images(arrays: Mapping[str, Array], path: Path) -> RawData:
    jpeg, offsets = arrays["jpeg"], arrays["off"]
    label_key = next((key for key in LABEL_KEYS if key in arrays), None)
    if label_key is None:
        raise DataError(f"{path} has no array of labels: call it {' or '.join(LABEL_KEYS)}")
    if jpeg.dtype != np.uint8 or jpeg.ndim != 1 or offsets.dtype.kind not in "iu" or offsets.ndim != 1:
        raise DataError(
            f"{path}: 'jpeg' must be bytes (uint8) and 'off' integers, where image i is jpeg[off[i]:off[i+1]]"
        )
    ends = offsets.astype(np.int64)
    if len(ends) < 1 or ends[0] < 0 or ends[-1] > len(jpeg) or (np.diff(ends) <= 0).any():
        raise DataError(f"{path}: the offsets 'off' must rise from 0 to the {len(jpeg)} bytes of 'jpeg'")
    images = [jpeg[start:stop].tobytes() for start, stop in itertools.pairwise(ends)]
    classes = tuple(str(name) for name in arrays["classes"].tolist()) if "classes" in arrays else None
    return RawData(images, label_list(arrays[label_key], str(path)), str(path), classes)
