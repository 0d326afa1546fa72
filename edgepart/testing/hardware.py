"""Made-up devices and links."""

from __future__ import annotations

from typing import Any

from edgepart.hardware import Device, Link


def example_device(name: str = "example", **fields: Any) -> Device:
    """A device with a GB of memory and a rate of 1e9 multiply-accumulates per second; ``fields`` say otherwise."""
    made: dict[str, Any] = {"name": name, "title": name, "tier": "edge", "memory_bytes": 10**9, "macs_per_s": 1e9}
    return Device.model_validate(made | {"cores": 4, "basis": "measured", "source": "made up"} | fields)


def example_link(bits_per_s: float = 8.0, round_trip_s: float = 0.0, **fields: Any) -> Link:
    """A link that takes a second for a byte, both ways alike; ``fields`` say otherwise."""
    rates = {"up_bits_per_s": bits_per_s, "down_bits_per_s": bits_per_s, "round_trip_s": round_trip_s}
    made: dict[str, Any] = {"name": "example", "title": "example", "basis": "measured", "source": "made up"}
    return Link.model_validate(made | rates | fields)
