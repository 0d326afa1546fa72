"""Closing the loop: links measured between two of our own endpoints, and the parts of a bundle run as processes.

``framing`` is what travels on every connection; ``link_*`` measure a link; ``relay`` makes loopback behave like one;
``processes``, ``worker`` and ``measure`` run a bundle's parts, one process a tier, and hold what they took against
what was predicted.
"""

from edgepart.measuring.link_client import LinkMeasurement, measure_link
from edgepart.measuring.link_server import LinkServer
from edgepart.measuring.measure import measure_bundle
from edgepart.measuring.measured import Comparison, Measured
from edgepart.measuring.relay import Relay, Shape

__all__ = [
    "Comparison",
    "LinkMeasurement",
    "LinkServer",
    "Measured",
    "Relay",
    "Shape",
    "measure_bundle",
    "measure_link",
]
