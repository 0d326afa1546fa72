"""From what a user says of a tier to the :class:`Tier`: where it runs, its limit, its price and its runtime."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgepart.errors import PlanError, UnknownName
from edgepart.hardware import THIS, Device, Profile, ServerlessPrice, catalogue
from edgepart.hardware.scaling import tier_latency_s, tier_start_s
from edgepart.partitioning.problem import Tier

#: name of a device, ``this``, a device; or a profile measured on the tier's machine, or its file
Place = str | Path | Device | Profile
#: how the file of a profile ends; those of devices are ``.yaml``
PROFILE_SUFFIX = ".json"


def make_tier(
    profile: Profile,
    name: str,
    place: Place,
    limit: int | None,
    price: ServerlessPrice | None,
    runtime_bytes: int | None,
) -> Tier:
    """A tier: as measured there if ``place`` is a profile, else carried over from ``profile`` to its device.

    Args:
        limit: bytes of memory that it may use; never more than its device has
        runtime_bytes: memory that its runtime takes; None: what the profile says

    Raises:
        UnknownName: no such device.
        FileError: a file is missing or not what it should be.
        PlanError: the tier's own profile is of another network.
    """
    own = _own(profile, name, place)
    source = profile if own is None else own
    device = source.device if own is not None else _device(profile, place)
    latency_s, estimated = tier_latency_s(source, device)
    taken = _runtime_bytes(profile, source) if runtime_bytes is None else runtime_bytes
    held = device.memory_bytes if limit is None else min(limit, device.memory_bytes)
    start_s = tier_start_s(source, device)
    return Tier(name, device, latency_s, estimated, held, price, taken, source.runtime, source, start_s)


def _runtime_bytes(profile: Profile, source: Profile) -> int:
    """What the runtime of ``source`` takes; where a kit measured no memory, what the same runtime takes elsewhere."""
    known = source.runtime_bytes
    if known is None and profile.runtime == source.runtime:
        known = profile.runtime_bytes
    return known or 0


def stated_memory(stated: Mapping[str, float], tiers: Sequence[str]) -> dict[str, int]:
    """Bytes that runtimes take by tier, checked.

    Raises:
        UnknownName: no such tier.
        PlanError: not a number of bytes.
    """
    for tier, taken in stated.items():
        if tier not in tiers:
            raise UnknownName("tier", tier, tiers)
        if not (math.isfinite(taken) and taken >= 0):
            raise PlanError(f"the runtime of '{tier}' takes {taken:g} bytes: expected 0 or more")
    return {tier: int(taken) for tier, taken in stated.items()}


def _device(profile: Profile, place: Place) -> Device:
    if isinstance(place, Device):
        return place
    return profile.device if place == THIS else catalogue.device(str(place))


def _own(profile: Profile, tier: str, place: Place) -> Profile | None:
    """The profile measured on the tier's machine, if ``place`` is one."""
    if isinstance(place, Profile):
        own = place
    elif isinstance(place, Device) or not str(place).endswith(PROFILE_SUFFIX):
        return None
    else:
        own = Profile.load(place)
    if own.graph.fingerprint != profile.graph.fingerprint:
        raise PlanError(
            f"the profile of tier '{tier}' is of the network '{own.graph.name}' ({own.graph.fingerprint}), not of "
            f"'{profile.graph.name}' ({profile.graph.fingerprint}): profile this network on the tier's machine, or "
            "name a device"
        )
    processor = own.device.facts.get("processor")
    if own.device.name == THIS and processor and processor != profile.device.facts.get("processor"):
        # 'this' is the machine of the profile that the plan is made from, and another one needs another name
        own = own.model_copy(update={"device": own.device.model_copy(update={"name": str(processor)})})
    return own
