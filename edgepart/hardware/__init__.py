"""Devices, links and prices, and what a network costs on a device (Profile)."""

from edgepart.hardware.catalogue import THIS
from edgepart.hardware.device import Device
from edgepart.hardware.link import Link
from edgepart.hardware.price import DimecPrice, ServerlessPrice
from edgepart.hardware.profile import LayerProfile, Load, Measurement, Profile, Segment

__all__ = [
    "THIS",
    "Device",
    "DimecPrice",
    "LayerProfile",
    "Link",
    "Load",
    "Measurement",
    "Profile",
    "Segment",
    "ServerlessPrice",
]
