"""Quantities as people write them: a number with a unit, such as ``50ms``, ``200 MB`` or ``1.5Gbps``.

A size is in bytes and a rate in bits a second, so that ``b`` is never read as ``B``; the first letter of ``kB``,
``Mbps`` and the like may be of either case. What has a unit needs one, for nobody can tell what ``latency=5`` means;
only 0 is the same in all of them.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from edgepart.errors import PlanError

_BITS = {"bit/s": 1.0, "bps": 1.0, "kbps": 1e3, "kbit/s": 1e3, "Mbps": 1e6, "Mbit/s": 1e6, "Gbps": 1e9, "Gbit/s": 1e9}
_BYTES = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "min": 60.0}
_JOULES = {"J": 1.0, "mJ": 1e-3, "uJ": 1e-6, "µJ": 1e-6, "kJ": 1e3}


class Measure(NamedTuple):
    """How a quantity is written: in words, its units, and an example.

    Attributes:
        either_case: whether a prefix may be of either case, for neither a bit nor a byte has thousandths
        optional: whether the unit may be left out
    """

    words: str
    scales: Mapping[str, float]
    example: str
    either_case: bool = False
    optional: bool = False


#: base unit → how quantities in it are written
MEASURES: Mapping[str, Measure] = {
    "bit/s": Measure("a rate in bits a second", _BITS, "10Mbps", either_case=True),
    "s": Measure("a time", _SECONDS, "50ms"),
    "bytes": Measure("a size in bytes", _BYTES, "200MB", either_case=True),
    "J": Measure("an energy", _JOULES, "5mJ"),
    "USD": Measure("a sum of money", {"USD": 1.0}, "2e-6USD", optional=True),
    "": Measure("a number", {"x": 1.0, "×": 1.0}, "1", optional=True),
}


class Amount(NamedTuple):
    """A number in the base unit, and the unit that it was written with, if any."""

    value: float
    unit: str


def parse_amount(text: str, unit: str, what: str, default: str = "") -> Amount:
    """``10ms`` in seconds, ``200MB`` in whole bytes, ``0.5J``, ``2e-6USD``, ``10kbps`` in bit/s, or a plain number.

    Args:
        unit: base unit of the number to return, a key of :data:`MEASURES`
        what: the option or quantity that the text was given for, named in errors
        default: unit where the text has none

    Raises:
        PlanError: not a number of 0 or more, without a unit that it needs, or with another one; names the nearest.
    """
    measure, given = MEASURES[unit], f"{what}={text.strip()}"
    found = re.fullmatch(r"\s*\+?((?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\d\s+-]\S*)?\s*", text)
    value = float(found[1]) if found else math.inf
    if not found or value == math.inf:
        wrong = "below 0" if text.strip().startswith("-") else f"not {measure.words}"
        raise PlanError(f"{given} is {wrong}: {_expected(measure)}")
    stated = (found[2] or default).replace("μ", "µ")
    if not stated and value and not measure.optional:
        raise PlanError(f"{given} has no unit: {_expected(measure)}")
    factor = _factor(stated, measure) if stated else 1.0
    if factor is None:
        near = [f"{found[1]}{each}" for each in _near(stated, measure)]
        hint = f"did you mean {' or '.join(near)}?" if near else _expected(measure)
        raise PlanError(f"'{stated}' in {given} is not a unit of {measure.words}: {hint}")
    if value * factor == math.inf:
        raise PlanError(f"{given} is too large: {_expected(measure)}")
    # 2.3 * 1e6 is a little less than 2,300,000
    return Amount(float(round(value * factor)) if unit == "bytes" else value * factor, stated)


def parse_size(text: str, what: str) -> int:
    """``200MB`` or ``1.5 GiB`` in whole bytes; raises as :func:`parse_amount`."""
    return int(parse_amount(text, "bytes", what).value)


def _factor(stated: str, measure: Measure) -> float | None:
    """What turns a number with that unit into the base unit; None: it is no unit of it."""
    other = stated[0].swapcase() + stated[1:] if measure.either_case and stated[0] in "kKmMgG" else stated
    return measure.scales.get(stated, measure.scales.get(other))


def _near(stated: str, measure: Measure) -> list[str]:
    lower = stated.lower()
    alike = {unit.lower(): unit for unit in measure.scales if unit[0].lower() == lower[0]}
    return [alike[name] for name in difflib.get_close_matches(lower, alike, n=1 if lower in alike else 2, cutoff=0.5)]


def _expected(measure: Measure) -> str:
    if measure.optional:
        return f"expected a number of 0 or more, as {measure.example}"
    *units, last = measure.scales
    return f"expected a number with {', '.join(units)} or {last}, as {measure.example}"
