"""How commands speak: tables for people on stdout, ``--json`` for scripts, notes on stderr."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from edgepart.errors import EdgepartError
from edgepart.units import percent

if TYPE_CHECKING:
    from edgepart.hardware import Device

#: adds ``--json`` to a command; the function receives it as ``as_json``
json_option: Callable[[Any], Any] = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")


#: what a ``~`` before a figure means
ESTIMATE = "~ estimate: scaled from a measurement on another device, or computed from the device's rates"


def off(median: float, worst: float) -> str:
    """How far off estimates were, as shares of what was measured."""
    return f"{percent(median)} off in the middle, {percent(worst)} at worst"


def estimate_lines(devices: Iterable[Device]) -> list[str]:
    """What a ``~`` before a figure means, and how far off devices that are computed from their rates may be."""
    known = {x.name: x for x in devices if x.is_analytic}.values()
    lines = []
    for device in known:
        median, worst = device.left_out_error, device.left_out_worst
        if median is None or worst is None:
            found = "how far off that is was never measured"
        else:
            found = f"networks that its calibration did not know were {off(median, worst)}"
        lines.append(f"  {device.name} is computed from its rates: {found}")
    return [ESTIMATE, *lines]


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    """Print a plain table on stdout: the same characters in a terminal, a pipe and a golden file."""
    if title:
        click.echo(title)
    lines = [list(headers), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    numeric = [bool(rows) and all(re.match(r"^[-+<>≤~]?[\d.]", row[c]) for row in rows) for c in range(len(headers))]
    for number, line in enumerate(lines):
        cells = [c.rjust(w) if right else c.ljust(w) for c, w, right in zip(line, widths, numeric, strict=True)]
        click.echo("  " + "  ".join(cells).rstrip())
        if number == 0:
            click.echo("  " + "  ".join("-" * width for width in widths))


def note(text: str) -> None:
    """Tell the person at the terminal something that is not the result."""
    click.echo(text, err=True)


_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def parse_size(text: str) -> int:
    """``200MB``, ``1.5 GiB`` or ``1000`` in bytes.

    Raises:
        EdgepartError: not a number with one of the known units.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if not match or match[2].upper() not in _UNITS:
        raise EdgepartError(f"'{text}' is not a size: expected a number with B, kB, MB, GB, KiB, MiB or GiB, as 200MB")
    return int(float(match[1]) * _UNITS[match[2].upper()])


_SCALES = {
    "s": {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "min": 60.0},
    "J": {"": 1.0, "J": 1.0, "mJ": 1e-3, "uJ": 1e-6, "µJ": 1e-6, "kJ": 1e3},
    "USD": {"": 1.0, "USD": 1.0},
    "": {"": 1.0},
}


def parse_amount(text: str, unit: str) -> float:
    """``10ms`` in seconds, ``200MB`` in bytes, ``0.5J``, ``2e-6USD``, or a plain number, given the unit to return.

    Raises:
        EdgepartError: not a number with a unit of that kind.
    """
    if unit == "bytes":
        return parse_size(text)
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+)\s*([A-Za-zµ]*)\s*", text)
    if not match or match[2] not in _SCALES[unit]:
        known = ", ".join(name for name in _SCALES[unit] if name) or "no unit"
        raise EdgepartError(f"'{text}' is not an amount in {unit or 'pieces'}: expected a number with {known}")
    return float(match[1]) * _SCALES[unit][match[2]]


def parse_share(text: str, what: str) -> float:
    """``70%`` or ``.7``.

    Raises:
        EdgepartError: neither.
    """
    try:
        return float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise EdgepartError(f"{what} {text} is not a share: expected per cent, as 70%, or a number, as .7") from None


def parse_pairs(option: str, values: Sequence[str]) -> dict[str, str]:
    """``("mobile=raspberry-pi-4", …)`` as a dict, in order.

    Raises:
        EdgepartError: a value has no ``=``, an empty side, or a name given twice.
    """
    pairs: dict[str, str] = {}
    for text in values:
        name, separator, value = text.partition("=")
        if not (separator and name.strip() and value.strip()):
            raise EdgepartError(f"{option} {text} is not of the form NAME=VALUE")
        if name.strip() in pairs:
            raise EdgepartError(f"{option} names '{name.strip()}' twice: give it once")
        pairs[name.strip()] = value.strip()
    return pairs
