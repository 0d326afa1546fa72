"""Training dynamics in the files of allenai/cartography (Swayamdipta et al. 2020), read and written.

Its ``log_training_dynamics`` writes ``training_dynamics/dynamics_epoch_{n}.jsonl`` under a folder of the user's, n from
0: a line per sample with ``guid``, ``logits_epoch_{n}`` and ``gold`` (the index of the true class). Such a folder holds
one classifier, so a trace takes one for each exit, named after it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError, FileError
from edgepart.files import atomic_folder, write_text

Guid = int | str

#: a logit above all others by this much has probability 1 to the last bit, below them 0
_CERTAIN = 800.0


@dataclass(frozen=True)
class TrainingDynamics:
    """What one classifier said of N samples after each of E training epochs.

    Attributes:
        guids: (N,) names of the samples, in the order of the first epoch's file
        gold: (N,) index of the true class
        logits: (E, N, C)
    """

    guids: tuple[Guid, ...]
    gold: NDArray[np.int64]
    logits: NDArray[np.float64]

    @property
    def chances(self) -> NDArray[np.float64]:
        """(E, N) probability of the true class."""
        shifted = self.logits - self.logits.max(axis=-1, keepdims=True)
        own = np.take_along_axis(shifted, self.gold[None, :, None], axis=2)[..., 0]
        result: NDArray[np.float64] = np.exp(own) / np.exp(shifted).sum(axis=-1)
        return result

    @property
    def confidence(self) -> NDArray[np.float64]:
        """(N,) mean over the epochs of the true class's probability."""
        result: NDArray[np.float64] = self.chances.mean(axis=0)
        return result

    @property
    def variability(self) -> NDArray[np.float64]:
        """(N,) its population standard deviation."""
        result: NDArray[np.float64] = self.chances.std(axis=0)
        return result

    @property
    def correctness(self) -> NDArray[np.int64]:
        """(N,) number of epochs after which the answer was right."""
        result: NDArray[np.int64] = (self.logits.argmax(axis=-1) == self.gold).sum(axis=0)
        return result

    def save(self, folder: str | Path) -> None:
        """Write ``folder/training_dynamics/dynamics_epoch_*.jsonl``; an older ``training_dynamics`` is replaced.

        Raises:
            FileError: the folder's own folder is missing or the disk is full.
        """
        try:
            Path(folder).mkdir(exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot write {folder}: {error.strerror or error}") from error
        with atomic_folder(Path(folder) / "training_dynamics") as temporary:
            for epoch, logits in enumerate(self.logits):
                rows = zip(self.guids, logits.tolist(), self.gold.tolist(), strict=True)
                lines = [
                    json.dumps({"guid": guid, f"logits_epoch_{epoch}": row, "gold": gold}) for guid, row, gold in rows
                ]
                write_text(temporary / f"dynamics_epoch_{epoch}.jsonl", "".join(f"{line}\n" for line in lines))

    @classmethod
    def load(cls, folder: str | Path) -> TrainingDynamics:
        """Read ``folder/training_dynamics/dynamics_epoch_*.jsonl``; samples may stand in another order in each.

        Raises:
            FileError: there are no such files, one is missing, a line is not as it should be, or the epochs are not
                of the same samples and classes.
        """
        paths = _epochs(Path(folder) / "training_dynamics")
        first = _read(paths[0], 0)
        classes = {len(logits) for _, logits in first.values()}
        if len(classes) != 1:
            raise FileError(f"{paths[0]} holds samples of {sorted(classes)} classes, expected the same number for all")
        rows = []
        for epoch, path in enumerate(paths):
            found = first if epoch == 0 else _read(path, epoch)
            if found.keys() != first.keys():
                odd = next(iter(found.keys() ^ first.keys()))
                raise FileError(f"{path} and {paths[0]} are not of the same samples: only one holds guid {odd!r}")
            for guid, (gold, logits) in found.items():
                if gold != first[guid][0] or {len(logits)} != classes:
                    raise FileError(f"{path} tells of guid {guid!r} another gold or number of classes than {paths[0]}")
            rows.append([found[guid][1] for guid in first])
        golds = np.array([gold for gold, _ in first.values()], dtype=np.int64)
        return cls(tuple(first), golds, np.array(rows, dtype=np.float64))


def write_dynamics(trace: Trace, folder: str | Path, guids: Sequence[Guid] | None = None) -> None:
    """Write a trace's training dynamics, ``folder/EXIT/training_dynamics/dynamics_epoch_*.jsonl`` for every exit.

    A trace keeps the probability of the true class only. The logits written give it exactly, with the rest of 1 spread
    evenly over the other classes; so confidence and variability are the trace's own, and correctness is with two
    classes. With more, a sample counts as right where the true class has more than 1 / C.

    Args:
        guids: (N,) names of the samples, by default their places in the trace

    Raises:
        DispatchError: the trace holds no training dynamics.
        FileError: the folder's own folder is missing or the disk is full.
    """
    if trace.dynamics is None or not len(trace.dynamics):
        raise DispatchError("the trace holds no training dynamics to write: build the bundle with training on")
    names = _names(trace, guids)
    try:
        Path(folder).mkdir(exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot write {folder}: {error.strerror or error}") from error
    for index, name in enumerate(trace.exits):
        logits = _logits(trace.dynamics[:, :, index].astype(np.float64), trace.labels, len(trace.classes))
        TrainingDynamics(names, trace.labels, logits).save(Path(folder) / name)


def read_dynamics(trace: Trace, folder: str | Path, guids: Sequence[Guid] | None = None) -> Trace:
    """The trace with the training dynamics of ``folder/EXIT/training_dynamics``, one such folder for every exit.

    Args:
        guids: (N,) names of the trace's samples in the files, by default their places in the trace; the files may
            hold more samples, in any order

    Raises:
        FileError: an exit's files are missing or not as they should be, lack a sample of the trace, have another
            label for it, or another number of epochs than those of the first exit.
    """
    names = _names(trace, guids)
    columns: list[NDArray[np.float64]] = []
    for name in trace.exits:
        found = TrainingDynamics.load(Path(folder) / name)
        place = {guid: position for position, guid in enumerate(found.guids)}
        missing = next((guid for guid in names if guid not in place), None)
        if missing is not None:
            raise FileError(f"{Path(folder) / name} holds no training dynamics of the trace's sample {missing!r}")
        rows = np.array([place[guid] for guid in names], dtype=np.int64)
        wrong = np.flatnonzero(found.gold[rows] != trace.labels)
        if len(wrong) or found.logits.shape[2] != len(trace.classes):
            which = f"sample {names[wrong[0]]!r} has another label" if len(wrong) else "there are other classes"
            raise FileError(f"{Path(folder) / name} does not belong to the trace: {which}")
        columns.append(found.chances[:, rows])
        if len(columns[-1]) != len(columns[0]):
            raise FileError(
                f"{Path(folder) / name} holds {len(columns[-1])} epochs, {trace.exits[0]} {len(columns[0])}: "
                "give as many for every exit"
            )
    return replace(trace, dynamics=np.stack(columns, axis=2).astype(np.float32))


def _names(trace: Trace, guids: Sequence[Guid] | None) -> tuple[Guid, ...]:
    names = tuple(range(len(trace))) if guids is None else tuple(guids)
    if len(set(names)) != len(trace):
        raise DispatchError(f"{len(set(names))} different guids were given for {len(trace)} samples: give one for each")
    return names


def _logits(chances: NDArray[np.float64], gold: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """(E, N) probabilities of the true class → (E, N, C) logits: 0 for all other classes."""
    result = np.zeros((*chances.shape, classes))
    if classes > 1:
        with np.errstate(divide="ignore"):
            own = np.log(chances) - np.log1p(-chances) + math.log(classes - 1)
        np.put_along_axis(result, gold[None, :, None], np.clip(own, -_CERTAIN, _CERTAIN)[..., None], axis=2)
    return result


def _epochs(folder: Path) -> list[Path]:
    """The files of epochs 0, 1, …, none left out."""
    count = len(list(folder.glob("dynamics_epoch_*.jsonl")))
    paths = [folder / f"dynamics_epoch_{epoch}.jsonl" for epoch in range(max(count, 1))]
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        raise FileError(f"{missing} does not exist: training dynamics are dynamics_epoch_0.jsonl and on, none left out")
    return paths


def _read(path: Path, epoch: int) -> dict[Guid, tuple[int, list[float]]]:
    """Gold and logits by guid."""
    field = f"logits_epoch_{epoch}"
    found: dict[Guid, tuple[int, list[float]]] = {}
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                guid, gold, logits = _record(line, field) or _refuse(path, number, field)
                if guid in found:
                    raise FileError(f"{path}, line {number}: guid {guid!r} stands there twice")
                found[guid] = gold, logits
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"cannot read {path}: {error}") from error
    if not found:
        raise FileError(f"{path} holds no samples: was it cut short?")
    return found


def _record(line: str, field: str) -> tuple[Guid, int, list[float]] | None:
    """Guid, gold and logits; None where the line is not such a record."""
    try:
        record: Any = json.loads(line)
        guid, gold, logits = record["guid"], record["gold"], record[field]
        values = [float(value) for value in logits]
    except (ValueError, TypeError, KeyError):
        return None
    sound = type(guid) in (int, str) and type(gold) is int and 0 <= gold < len(values)
    return (guid, gold, values) if sound and all(map(math.isfinite, values)) else None


def _refuse(path: Path, number: int, field: str) -> tuple[Guid, int, list[float]]:
    raise FileError(
        f"{path}, line {number}: expected a JSON object with guid, gold (the index of a class) and {field} (a finite "
        "number for each class)"
    )
