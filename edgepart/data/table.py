"""Texts and labels from ``.tsv`` and ``.csv``, plain or gzipped."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from edgepart.data.labels import Label
from edgepart.data.raw import RawData
from edgepart.errors import DataError

SUFFIXES = (".tsv", ".csv", ".tsv.gz", ".csv.gz")

#: columns that hold the text or the pair of texts; the first set found is taken
TEXT_COLUMNS = (("text",), ("text_a", "text_b"), ("sentence",), ("sentence1", "sentence2"))
LABEL_COLUMN = "label"


def read_table(path: Path) -> RawData:
    """Texts, or pairs of texts, and their labels.

    The first line names the columns: ``label``, and ``text`` or ``sentence``, or ``text_a`` and ``text_b`` or
    ``sentence1`` and ``sentence2``; others are ignored. A tsv has no quoting, a csv the usual one.

    Raises:
        DataError: a column is missing, a line has another number of cells, or the file is not such a table.
    """
    texts: list[object] = []
    labels: list[Label] = []
    lines: list[int] = []
    try:
        with _open(path) as stream:
            rows = _rows(stream, path)
            _, header = next(rows, (0, []))
            text_columns, label_column = _columns(header, path)
            for line, row in rows:
                if len(row) != len(header):
                    names = ", ".join(header)
                    raise DataError(f"{path}, line {line} has {len(row)} cells, expected {len(header)} ({names})")
                cells = tuple(row[column] for column in text_columns)
                texts.append(cells if len(cells) > 1 else cells[0])
                labels.append(row[label_column].strip())
                lines.append(line)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is not a complete gzip file: {error}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    return RawData(texts, labels, source=str(path), where=lambda index: f"line {lines[index]}")


def _open(path: Path) -> TextIO:
    # utf-8-sig: spreadsheets put a byte order mark before the first column's name
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return open(path, encoding="utf-8-sig", newline="")


def _rows(stream: TextIO, path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every line that is not blank."""
    if path.name.lower().removesuffix(".gz").endswith(".tsv"):
        reader = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(stream, strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error


def _columns(header: Sequence[str], path: Path) -> tuple[tuple[int, ...], int]:
    """Positions of the text columns and of the label."""
    names = [name.strip() for name in header]
    wanted = next((columns for columns in TEXT_COLUMNS if set(columns) <= set(names)), None)
    if wanted is None or LABEL_COLUMN not in names:
        what = f"column '{LABEL_COLUMN}'" if wanted else "column of texts"
        found = ", ".join(f"'{name}'" for name in names[:8]) or "nothing"
        raise DataError(
            f"{path} has no {what}: the first line must name {LABEL_COLUMN} and text, or text_a and text_b; "
            f"it has {found}"
        )
    return tuple(names.index(column) for column in wanted), names.index(LABEL_COLUMN)
