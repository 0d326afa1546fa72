"""From what a user names (devices, links, limits, pins) to the :class:`Problem`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping

from edgepart.errors import PlanError, UnknownName
from edgepart.graph import Graph
from edgepart.hardware import THIS, Device, Link, Profile, catalogue
from edgepart.hardware.scaling import tier_latency_s
from edgepart.partitioning.plan import Deployment
from edgepart.partitioning.problem import Problem, Tier

DEPLOYMENTS: tuple[Deployment, ...] = ("split", "nested")
#: ``"mobile:edge"`` or ``("mobile", "edge")`` → link, or its name in the catalogue
Links = Mapping[str, str | Link] | Mapping[tuple[str, str], str | Link]
#: what a limit can be about
RESOURCES = ("memory",)


def make_problem(
    profile: Profile,
    tiers: Mapping[str, str | Device],
    links: Links,
    limits: Mapping[str, int],
    pins: Mapping[str, str],
    deployment: Deployment,
) -> Problem:
    """Check and look up everything that was named.

    Raises:
        UnknownName: a device, link, tier, resource, layer or deployment that does not exist.
        PlanError: no tiers, a link missing, between tiers that do not follow each other, or a limit below one byte.
    """
    if deployment not in DEPLOYMENTS:
        raise UnknownName("deployment", deployment, DEPLOYMENTS)
    if not tiers:
        raise PlanError("no tiers are given: name at least one, as cloud=this")
    for name in tiers:
        if not re.fullmatch(r"[A-Za-z0-9][\w-]*", name):
            raise PlanError(
                f"'{name}' cannot name a tier: use letters, digits, - and _, starting with one of the first"
            )
    names = tuple(tiers)
    allowed = _limits(limits, names)
    return Problem(
        graph=profile.graph,
        tiers=tuple(_tier(profile, name, device, allowed.get(name)) for name, device in tiers.items()),
        links=_links(links, names),
        deployment=deployment,
        pins=_pins(profile.graph, pins, names),
    )


def _tier(profile: Profile, name: str, device: str | Device, limit: int | None) -> Tier:
    if isinstance(device, str):
        device = profile.device if device == THIS else catalogue.device(device)
    latency_s, estimated = tier_latency_s(profile, device)
    held = device.memory_bytes if limit is None else min(limit, device.memory_bytes)
    return Tier(name=name, device=device, latency_s=latency_s, estimated=estimated, memory_limit_bytes=held)


def _links(links: Links, tiers: tuple[str, ...]) -> tuple[Link, ...]:
    hops = list(itertools.pairwise(tiers))
    given: dict[tuple[str, str], str | Link] = {}
    for key, link in links.items():
        ends = tuple(key.split(":")) if isinstance(key, str) else tuple(key)
        if len(ends) != 2:
            raise PlanError(f"'{key}' does not say which tiers a link joins: expected LOWER:UPPER, as mobile:edge")
        for end in ends:
            if end not in tiers:
                raise UnknownName("tier", end, tiers)
        if (ends[0], ends[1]) not in hops:
            expected = ", ".join(":".join(hop) for hop in hops) or "none, with a single tier"
            raise PlanError(
                f"the link {ends[0]}:{ends[1]} does not lead from a tier to the next one; the tiers "
                f"{', '.join(tiers)} need: {expected}"
            )
        given[ends[0], ends[1]] = link
    for lower, upper in hops:
        if (lower, upper) not in given:
            raise PlanError(f"no link joins {lower} to {upper}: add --link {lower}:{upper}=NAME")
    found = [given[hop] for hop in hops]
    return tuple(catalogue.link(link) if isinstance(link, str) else link for link in found)


def _limits(limits: Mapping[str, int], tiers: tuple[str, ...]) -> dict[str, int]:
    allowed = {}
    for key, value in limits.items():
        tier, _, resource = key.partition(".")
        if tier not in tiers:
            raise UnknownName("tier", tier, tiers)
        if resource not in RESOURCES:
            raise UnknownName("resource to limit", resource, RESOURCES)
        if value < 1:
            raise PlanError(f"the limit {key}={value} leaves nothing: expected at least one byte")
        allowed[tier] = value
    return allowed


def _pins(graph: Graph, pins: Mapping[str, str], tiers: tuple[str, ...]) -> dict[str, str]:
    """Pins by layer: a module's name pins all of its layers."""
    pinned: dict[str, str] = {}
    for name, tier in pins.items():
        if tier not in tiers:
            raise UnknownName("tier", tier, tiers)
        for layer in graph.within(name):
            if pinned.setdefault(layer, tier) != tier:
                raise PlanError(f"layer '{layer}' is pinned to both '{pinned[layer]}' and '{tier}': pin it once")
    return pinned
