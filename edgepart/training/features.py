"""What the frozen backbone makes of every sample, computed once and kept in memory-mapped files.

Training heads on a frozen backbone sees the same features every epoch, so the backbone runs once per sample and not
once per sample and epoch.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from edgepart.errors import EdgepartError, FileError, TrainingError, TrainingInterrupted
from edgepart.files import read_json, write_json
from edgepart.frameworks.base import Arrays
from edgepart.progress import progress
from edgepart.training.interrupt import Stop
from edgepart.training.loop import Samples
from edgepart.training.order import by_length
from edgepart.units import size

#: arrays of raw inputs → (batch, …) features by exit name
Backbone = Callable[[Arrays], Mapping[str, NDArray[np.float32]]]

#: seconds after which what has been computed is written down, so that a crash costs little
SAVE_EVERY_S = 60.0


class Features:
    """Cached features of labelled samples, (N, …) float32 per exit; a batch is read when it is asked for."""

    def __init__(self, arrays: Mapping[str, NDArray[np.float32]], labels: NDArray[np.int64]) -> None:
        self._arrays = arrays
        self.labels = labels
        self.lengths = np.zeros(len(labels), dtype=np.int64)  # features have one shape: nothing to gain from sorting

    def batch(self, indices: NDArray[np.int64]) -> dict[str, NDArray[np.generic]]:
        return {name: array[indices] for name, array in self._arrays.items()}


def cache_features(
    backbone: Backbone,
    samples: Samples,
    folder: Path,
    *,
    batch_size: int,
    what: str,
    stop: Stop = lambda: False,
) -> Features:
    """Run the backbone over all samples, from where an interrupted run ended, and keep the features in ``folder``.

    Args:
        folder: of this backbone and these samples alone; made if there is none
        what: what messages call a sample
        stop: asked after every batch

    Raises:
        TrainingError: features of two samples differ in shape, are NaN or infinite.
        FileError: they do not fit on the disk.
        TrainingInterrupted: ``stop`` asked for it; what has been computed is kept.
    """
    folder.mkdir(exist_ok=True)
    cache = _Cache(folder, len(samples.labels), what)
    batches = by_length(samples.lengths, batch_size)
    with progress(f"features of {what}s", len(batches)) as advance:
        advance(cache.done)
        for indices in batches[cache.done :]:
            cache.add(indices, _computed(backbone, samples, indices, what))
            advance(1)
            if stop():
                cache.flush()
                raise TrainingInterrupted(
                    f"stopped after batch {cache.done} of {len(batches)} of the frozen backbone's features; they are "
                    "saved: run the same command again to go on from here"
                )
    cache.flush()
    return Features(cache.arrays, samples.labels)


def _computed(
    backbone: Backbone, samples: Samples, indices: NDArray[np.int64], what: str
) -> Mapping[str, NDArray[np.float32]]:
    """The features of a batch; a sample that the network cannot compute, such as a token it does not know, is named."""
    try:
        return backbone(samples.batch(indices))
    except EdgepartError:
        raise
    except Exception as error:  # frameworks and runtimes have nothing narrower in common
        for index in indices if len(indices) > 1 else ():
            _computed(backbone, samples, np.array([index]), what)
        which = f"{what} {indices[0]}" if len(indices) == 1 else f"{len(indices)} {what}s at once"
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TrainingError(
            f"the network cannot compute {which} ({reason}): check the data, such as that tokens lie within the "
            "vocabulary, or take smaller batches if memory ran out"
        ) from error


class _Cache:
    """One .npy file per exit and a record of how many batches are in them."""

    def __init__(self, folder: Path, count: int, what: str) -> None:
        self.folder, self.count, self.what = folder, count, what
        self.record = folder / "features.json"
        self.arrays: dict[str, NDArray[np.float32]] = {}
        self.done = 0
        self.saved_s = time.monotonic()
        if self.record.exists():
            found = read_json(self.record)
            self.done = found["batches"]
            self.arrays = {
                name: open_memmap(self._file(number), mode="r+") for number, name in enumerate(found["exits"])
            }

    def add(self, indices: NDArray[np.int64], features: Mapping[str, NDArray[np.float32]]) -> None:
        if not self.arrays:
            self._allocate(features)
        for name, array in features.items():
            self._check(name, array, indices)
            self.arrays[name][indices] = array
        self.done += 1
        if time.monotonic() - self.saved_s > SAVE_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write the features first and then how many there are."""
        for array in self.arrays.values():
            if isinstance(array, np.memmap):
                array.flush()
        write_json(self.record, {"exits": list(self.arrays), "batches": self.done})
        self.saved_s = time.monotonic()

    def _file(self, number: int) -> Path:
        return self.folder / f"{number}.npy"

    def _allocate(self, features: Mapping[str, NDArray[np.float32]]) -> None:
        needed = sum(4 * self.count * math.prod(array.shape[1:]) for array in features.values())
        free = shutil.disk_usage(self.folder).free
        # A mapped file is sparse: a full disk would only show as a killed process.
        if needed > free:
            raise FileError(
                f"the features of {self.count} samples need {size(needed)}, {self.folder} has {size(free)} free: free "
                "some space, use fewer samples, or a head whose reduce() pools more"
            )
        for number, (name, array) in enumerate(features.items()):
            shape, file = (self.count, *array.shape[1:]), self._file(number)
            try:
                self.arrays[name] = open_memmap(file, mode="w+", dtype=np.float32, shape=shape)
            except OSError as error:  # a quota or a limit on the size of a file, which the free space does not show
                raise FileError(
                    f"cannot write the features of {self.count} samples to {file}: {error.strerror or error}"
                ) from error

    def _check(self, name: str, array: NDArray[np.float32], indices: NDArray[np.int64]) -> None:
        expected = self.arrays[name].shape[1:]
        if array.shape[1:] != expected:
            raise TrainingError(
                f"the head of exit '{name}' reduces one sample to shape {array.shape[1:]} and another to {expected}: "
                "its reduce() must pool away every dimension that varies, such as the sequence"
            )
        if not np.isfinite(array).all():
            row = int(np.argwhere(~np.isfinite(array))[0][0])
            raise TrainingError(
                f"the network gives a NaN or infinite value for {self.what} {indices[row]} at exit '{name}': check "
                "that sample and the network's weights"
            )
