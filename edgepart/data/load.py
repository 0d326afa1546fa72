"""A data set from whatever ``--data`` names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgepart.data import archive, folder, script, table
from edgepart.data.base import Preprocessing
from edgepart.data.dataset import Dataset
from edgepart.data.labels import are_numbers, index_labels
from edgepart.data.raw import RawData
from edgepart.errors import DataError


def load_dataset(source: str | Path, preprocessing: Preprocessing, *, classes: Sequence[str] | None = None) -> Dataset:
    """Read a ``.tsv`` or ``.csv`` (also ``.gz``), an ``.npz``, an image folder, or call ``file.py:function``.

    Args:
        preprocessing: bound to the network (:meth:`Preprocessing.bind`)
        classes: those of the network; None derives them from the data

    Raises:
        DataError: the file is missing, damaged or of another form, a label is none of the classes, or the samples
            are not what the preprocessing takes.
    """
    raw = read(source, preprocessing.input_names)
    preprocessing.check(raw)
    named, own = list(raw.labels), raw.classes
    if own and all(isinstance(label, int) and 0 <= label < len(own) for label in named):
        # Names say more than indices: another archive may number the classes differently, or hold others.
        by_name = [own[label] for label in named if isinstance(label, int)]
        unnamed = classes is not None and (are_numbers(own) or are_numbers(classes)) and not set(own) & set(classes)
        named = named if unnamed else list(by_name)
    labels, known = index_labels(named, own if classes is None else classes, raw.source, raw.where)
    return Dataset(raw.samples, labels, known, preprocessing.encoder(), raw.source)


def read(source: str | Path, inputs: Sequence[str]) -> RawData:
    """The samples and labels as they are stored; ``inputs`` are the names of the network's inputs."""
    text = str(source)
    file, colon, function = text.rpartition(":")
    if colon and file.endswith(".py"):
        return script.read_script(Path(file), function, inputs)
    path = Path(source)
    if not text or not path.exists():
        raise DataError(f"{text or 'an empty name'} does not exist: --data takes {_FORMS}")
    if path.is_dir():
        return folder.read_folder(path)
    if path.name.lower().endswith(table.SUFFIXES):
        return table.read_table(path)
    if path.suffix.lower() == archive.SUFFIX:
        return archive.read_archive(path, inputs)
    raise DataError(f"{path} is of no known form: --data takes {_FORMS}")


_FORMS = ".tsv or .csv (also .gz) with text and label, .npz, a folder of images, or file.py:function"
