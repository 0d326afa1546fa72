"""What a profiled network takes on a device: as measured there, from its roofline, or carried over from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable

from edgepart.hardware.catalogue import THIS
from edgepart.hardware.device import Device
from edgepart.hardware.profile import PartLatency, Profile
from edgepart.hardware.roofline import roofline_s


def is_measured(profile: Profile, device: Device) -> bool:
    """Whether ``device`` is the machine that the profile was measured on."""
    return device.name in (THIS, profile.device.name)


def scale(profile: Profile, device: Device) -> float:
    """What a profile's seconds are multiplied by for a device: 1 for the machine that was measured.

    For another one it is the ratio of the two devices' effective rates (:attr:`Device.macs_per_s`): the assumption is
    that a network which is easier or harder than the reference networks is so everywhere, and that its layers divide
    the time alike everywhere.

    How far off that is (``benchmarks/device_catalogue.py``, published latencies of 12 networks on 7 devices): in the
    middle a factor of 1.2 between processors with the same runtime (one case in ten beyond 1.7), 1.7 (2.7) where one
    of the two is a GPU, 1.8 (3.0) from one runtime to another. How the time divides shifts less: the share of a prefix
    of the layers moves by .03 at most in the middle (.12). Measure on the device itself before relying on the figure.
    """
    return 1.0 if is_measured(profile, device) else profile.device.macs_per_s / device.macs_per_s


def tier_latency_s(profile: Profile, device: Device) -> tuple[dict[str, float], bool]:
    """Seconds that every layer takes on a device, and whether that is an estimate.

    It is where the device is not the machine of the profile: from its roofline, if it states one, else :func:`scale`.
    """
    if _is_computed(profile, device):
        return roofline_s(profile.graph, device), True
    factor = scale(profile, device)
    latency = {layer: seconds * factor for layer, seconds in profile.layer_latency_s().items()}
    return latency, not is_measured(profile, device)


def tier_start_s(profile: Profile, device: Device) -> float:
    """Seconds that a part costs on a device each time a sample comes to it, on top of its layers, whichever they are.

    That is the overhead of the call and the waking up after a wait; a roofline knows of neither.
    """
    if _is_computed(profile, device):
        return 0.0
    return profile.part_overhead_s * scale(profile, device) + tier_wake_up_s(profile, device)


def tier_wake_up_s(profile: Profile, device: Device) -> float:
    """Seconds that a part takes longer on a device when it has waited; :func:`tier_part_latency_s` leaves them out."""
    return 0.0 if _is_computed(profile, device) else profile.wake_up_s * scale(profile, device)


def tier_part_latency_s(profile: Profile, device: Device, layers: Iterable[str]) -> PartLatency:
    """What some layers take as one part on a device; measured only on the machine of the profile."""
    if _is_computed(profile, device):
        latency = roofline_s(profile.graph, device)
        return PartLatency(sum(latency[profile.graph.layer(name).name] for name in {*layers}), measured=False)
    found = profile.part_latency_s(layers)
    return PartLatency(found.seconds * scale(profile, device), found.measured and is_measured(profile, device))


def _is_computed(profile: Profile, device: Device) -> bool:
    return device.is_analytic and not is_measured(profile, device)
