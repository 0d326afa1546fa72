"""What a profiled network takes on a device: as measured, or carried over from the device it was measured on."""

from __future__ import annotations

from edgepart.hardware.catalogue import THIS
from edgepart.hardware.device import Device
from edgepart.hardware.profile import Profile


def is_measured(profile: Profile, device: Device) -> bool:
    """Whether ``device`` is the machine that the profile was measured on."""
    return device.name in (THIS, profile.device.name)


def tier_latency_s(profile: Profile, device: Device) -> tuple[dict[str, float], bool]:
    """Seconds that every layer takes on a device, and whether that is an estimate.

    The machine that was measured (``this``, or its name) has the profile's own figures. For another one they are
    multiplied by the ratio of the two devices' effective rates (:attr:`Device.macs_per_s`): the assumption is that a
    network which is easier or harder than the reference networks is so everywhere, and that its layers divide the
    time alike everywhere.

    How far off that is (``benchmarks/device_catalogue.py``, published latencies of 12 networks on 7 devices): in the
    middle a factor of 1.2 between processors with the same runtime (one case in ten beyond 1.7), 1.7 (2.7) where one
    of the two is a GPU, 1.8 (3.0) from one runtime to another. How the time divides shifts less: the share of a prefix
    of the layers moves by .03 at most in the middle (.12). Measure on the device itself before relying on the figure.
    """
    measured = profile.layer_latency_s()
    if is_measured(profile, device):
        return measured, False
    factor = profile.device.macs_per_s / device.macs_per_s
    return {layer: seconds * factor for layer, seconds in measured.items()}, True
