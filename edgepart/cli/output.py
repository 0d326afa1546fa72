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


def parse_share(text: str, what: str) -> float:
    """``70%`` or ``.7``.

    Raises:
        EdgepartError: neither.
    """
    try:
        return float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise EdgepartError(f"{what} {text} is not a share: expected per cent, as 70%, or a number, as .7") from None


def named(option: str, names: Sequence[str]) -> list[str]:
    """Names without the spaces around them.

    Raises:
        EdgepartError: one is empty.
    """
    found = [name.strip() for name in names]
    if "" in found:
        raise EdgepartError(f"{option} {','.join(names)!r} names nothing in one place: give a name there")
    return found


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
