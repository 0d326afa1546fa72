"""``edgepart devices``."""

from __future__ import annotations

from edgepart.cli.catalogue import catalogue_group
from edgepart.hardware import Device, catalogue
from edgepart.units import significant, size


def _row(device: Device) -> tuple[str, ...]:
    power = f"{device.power_w:g} W" if device.power_w else ""
    rate = f"{significant(device.macs_per_s / 1e9)} GMAC/s"
    return (device.name, device.tier, size(device.memory_bytes), rate, power, device.basis, device.title)


HEADERS = ("device", "usual tier", "memory", "rate", "power", "basis", "what it is")
command = catalogue_group("device", catalogue.devices, catalogue.device, HEADERS, _row)
