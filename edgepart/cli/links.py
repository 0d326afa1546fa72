"""``edgepart links``."""

from __future__ import annotations

from edgepart.cli.catalogue import catalogue_group
from edgepart.hardware import Link, catalogue
from edgepart.units import seconds, significant


def _rate(bits_per_s: float) -> str:
    return f"{significant(bits_per_s / 1e6)} Mbit/s"


def _row(link: Link) -> tuple[str, ...]:
    energy = "" if link.energy_j_per_byte is None else f"{significant(link.energy_j_per_byte * 1e6)} µJ/B"
    rates = (_rate(link.up_bits_per_s), _rate(link.down_bits_per_s))
    return (link.name, *rates, seconds(link.round_trip_s), energy, link.basis, link.title)


HEADERS = ("link", "up", "down", "round trip", "energy", "basis", "what it is")
command = catalogue_group("link", catalogue.links, catalogue.link, HEADERS, _row)
