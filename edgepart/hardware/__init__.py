"""Devices, links and prices, and what a network costs on a device (Profile).

The catalogue holds YAML files, shipped ones and the user's own, each with the source of its figures. A Profile is the
measurement of one Graph on one Device. What the network takes on another device is the profile times the ratio of the
two rates, and is called an estimate wherever it is shown.
"""

from edgepart.hardware.catalogue import THIS
from edgepart.hardware.device import FROM_KIT, Device
from edgepart.hardware.link import Link
from edgepart.hardware.price import DimecPrice, ServerlessPrice
from edgepart.hardware.profile import (
    Cut,
    LayerProfile,
    Load,
    Measurement,
    Middle,
    PartLatency,
    PartMemory,
    Profile,
    Segment,
)

__all__ = [
    "FROM_KIT",
    "THIS",
    "Cut",
    "Device",
    "DimecPrice",
    "LayerProfile",
    "Link",
    "Load",
    "Measurement",
    "Middle",
    "PartLatency",
    "PartMemory",
    "Profile",
    "Segment",
    "ServerlessPrice",
]
