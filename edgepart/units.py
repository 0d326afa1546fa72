"""Quantities and shapes as people read them; numbers have three significant digits and a unit."""

from __future__ import annotations

from collections.abc import Iterable


def seconds(value: float) -> str:
    """A duration, such as ``12.3 ms``."""
    return _scaled(value, ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")), zero="0 s")


def size(value: float) -> str:
    """A number of bytes in decimal units, such as ``1.5 MB``."""
    return _scaled(value, ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")), zero="0 B")


def amount(value: float, unit: str) -> str:
    """A value in one of the units of :data:`edgepart.partitioning.quantities.UNITS`."""
    if unit == "s":
        return seconds(value)
    if unit == "bytes":
        return size(value)
    if unit == "J":
        return _scaled(value, ((1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ")), zero="0 J")
    if not unit:
        return f"{value:g}"
    return f"{significant(value) if value else '0'} {unit}"


def dimensions(sizes: Iterable[object]) -> str:
    """The sizes of a tensor, such as ``(batch, 3, 32, 32)``; those that vary are names."""
    return f"({', '.join(map(str, sizes))})"


def percent(share: float, digits: int = 1) -> str:
    """A share of 1 in per cent, such as ``92.4 %``."""
    # adding 0.0 turns -0.0 into 0.0
    return f"{round(100 * share, digits) + 0.0:.{digits}f} %"


def significant(value: float, digits: int = 3) -> str:
    """A number with that many significant digits, without an exponent where people would not write one."""
    rounded = float(f"{value:.{digits}g}")
    exponent = int(f"{rounded:e}".partition("e")[2])
    if not -4 <= exponent < 6:
        return f"{rounded:.{digits - 1}e}"
    return f"{rounded:.{max(0, digits - 1 - exponent)}f}"


def _scaled(value: float, units: tuple[tuple[float, str], ...], zero: str) -> str:
    """The number in the largest unit that leaves at least 1 before the decimal point."""
    if not value:
        return zero
    rounded = float(f"{value:.3g}")
    factor, unit = next(((factor, unit) for factor, unit in units if abs(rounded) >= factor), units[-1])
    number = rounded / factor
    return f"{number:.0f} {unit}" if abs(number) >= 100 else f"{number:.3g} {unit}"
