"""A recorded bandwidth: CSV files as published with papers, and plain ``time,bandwidth``.

The first row names the columns. Read are

- the time, in seconds: ``t_s``, ``time_s``, ``time`` or ``t``. A rate lasts until the next one; the last one as long as
  those before it in the middle. Without such a column (one speed test a row, say) every row counts for a second.
- the bandwidth: a column whose name ends in its unit, ``_bps``, ``_kbps``, ``_mbps``, ``_gbps`` or ``_bits_per_s``, or
  plain ``bandwidth`` in bit/s; of several, the way up before the way down.
- ``trace``, if it is there: the trace that the row belongs to, for files that hold many.

Other columns are left alone. ``.csv.gz`` is unpacked.
"""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgepart.errors import FileError, UnknownName

Floats = NDArray[np.float64]
TIMES = ("t_s", "time_s", "time", "t")
UNITS = {"_bits_per_s": 1.0, "_bps": 1.0, "_kbps": 1e3, "_mbps": 1e6, "_gbps": 1e9}
#: first words of a column's name, those read first before those read last
DIRECTIONS = ("up", "bandwidth", "", "down")


@dataclass(frozen=True)
class BandwidthTrace:
    """Rates one after another.

    Attributes:
        name: the trace's own, or the file's
        source: file and column that the rates come from
        duration_s: (n,) how long each rate lasts
        bits_per_s: (n,) 0 in an outage
        timed: whether the file names times; otherwise every rate counts for a second
    """

    name: str
    source: str
    duration_s: Floats
    bits_per_s: Floats
    timed: bool = True

    @property
    def total_s(self) -> float:
        return float(self.duration_s.sum())

    def with_outages_below(self, bits_per_s: float) -> BandwidthTrace:
        """The same trace, rates below this one counted as outages."""
        rates = np.where(self.bits_per_s < bits_per_s, 0.0, self.bits_per_s)
        return replace(self, bits_per_s=rates)


def load_trace(text: str) -> BandwidthTrace:
    """One trace: the path of a file that holds one, or ``FILE#TRACE``.

    Raises:
        UnknownName: the file holds no such trace; lists the nearest names.
        FileError: the file holds several and none is named, or as :func:`read_traces`.
    """
    path, _, name = text.partition("#")
    traces = read_traces(path)
    if name:
        if name not in traces:
            raise UnknownName("trace", name, traces)
        return traces[name]
    if len(traces) > 1:
        raise FileError(f"{path} holds {len(traces)} traces: name one, as {path}#{next(iter(traces))}")
    return next(iter(traces.values()))


def read_traces(path: str | Path, column: str | None = None) -> dict[str, BandwidthTrace]:
    """All traces of a file, by name.

    Args:
        column: with the bandwidths, where another one is meant than would be read

    Raises:
        FileError: missing or no such table, a rate or time that is none, or times that run backwards; names the line.
    """
    path = Path(path)
    with_lines = _rows(path)
    header = [name.strip() for name in with_lines[0]]
    rates, factor = _rates(path, header, column)
    times = next((header.index(name) for name in TIMES if name in header), None)
    names = header.index("trace") if "trace" in header else None
    found: dict[str, tuple[list[float], list[float]]] = {}
    for line, row in enumerate(with_lines[1:], 2):
        if not row:
            continue
        if len(row) != len(header):
            raise FileError(f"{path}, line {line}: {len(row)} cells, expected the {len(header)} of the first line")
        name = path.name.partition(".")[0] if names is None else row[names]
        starts, values = found.setdefault(name, ([], []))
        values.append(factor * _number(path, line, header[rates], row[rates]))
        starts.append(float(len(starts)) if times is None else _number(path, line, header[times], row[times]))
        if len(starts) > 1 and starts[-1] < starts[-2]:
            raise FileError(f"{path}, line {line}: time {row[times or 0]} lies before the one above: sort the trace")
    if not found:
        raise FileError(f"{path} holds no rates below its first line")
    source = f"{path.name}, column {header[rates]}"
    return {
        name: BandwidthTrace(name, source, _durations(starts), np.array(values), timed=times is not None)
        for name, (starts, values) in found.items()
    }


def _rows(path: Path) -> list[list[str]]:
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8", newline="") as stream:
            rows = list(csv.reader(stream))
    except FileNotFoundError:
        raise FileError(f"{path} does not exist") from None
    except (OSError, EOFError) as error:
        raise FileError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"{path} is not a table of text, expected CSV: {error}") from error
    if not rows:
        raise FileError(f"{path} is empty, expected CSV with a line of column names")
    return rows


def _rates(path: Path, header: Sequence[str], column: str | None) -> tuple[int, float]:
    """The column with the bandwidths, and what turns them into bit/s."""
    known = {name: _unit(name) for name in header}
    if column is not None:
        if column not in header or known[column] is None:
            raise FileError(f"{path} has no column '{column}' of bandwidths: it has {', '.join(header)}")
        chosen = column
    else:
        usable = [name for name, unit in known.items() if unit is not None]
        if not usable:
            raise FileError(
                f"{path} has no column of bandwidths among {', '.join(header)}: expected one such as bandwidth (in "
                "bit/s) or down_mbps, in a first line that names the columns"
            )
        chosen = min(usable, key=_direction)
    return header.index(chosen), known[chosen] or 1.0


def _unit(name: str) -> float | None:
    lower = name.lower()
    if lower == "bandwidth":
        return 1.0
    return next((factor for ending, factor in UNITS.items() if lower.endswith(ending)), None)


def _direction(name: str) -> int:
    lower = name.lower()
    return next(index for index in (0, 1, 3, 2) if lower.startswith(DIRECTIONS[index]))


def _number(path: Path, line: int, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise FileError(f"{path}, line {line}: {column} '{text}' is not a number of 0 or more")
    return value


def _durations(starts: Sequence[float]) -> Floats:
    between = np.diff(starts)
    last = float(np.median(between)) if len(between) else 1.0
    return np.concatenate([between, [last or 1.0]])
