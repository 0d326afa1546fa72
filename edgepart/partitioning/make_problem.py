"""From what a user names (devices, links, limits, pins) to the :class:`Problem`."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence

from edgepart.errors import InfeasiblePlan, PlanError, UnknownName
from edgepart.graph import Graph
from edgepart.hardware import THIS, Device, Link, Profile, ServerlessPrice, catalogue
from edgepart.hardware.scaling import tier_latency_s
from edgepart.partitioning.plan import Deployment
from edgepart.partitioning.problem import Problem, Tier
from edgepart.partitioning.quantities import quantity

DEPLOYMENTS: tuple[Deployment, ...] = ("split", "nested")
#: ``"mobile:edge"`` or ``("mobile", "edge")`` → link, or its name in the catalogue
Links = Mapping[str, str | Link] | Mapping[tuple[str, str], str | Link]
#: what people call an objective beside its quantity's name
ALIASES = {"throughput": "period"}
#: stands for all inputs of the network among the tensors to keep
INPUT = "input"


def make_problem(
    profile: Profile,
    tiers: Mapping[str, str | Device],
    links: Links,
    *,
    objective: str = "latency",
    limits: Mapping[str, float] | None = None,
    prices: Mapping[str, str | ServerlessPrice] | None = None,
    pins: Mapping[str, str] | None = None,
    forbid: Mapping[str, str | Sequence[str]] | None = None,
    together: Iterable[Iterable[str]] = (),
    keep_local: Iterable[str] = (),
    answer_bytes: int = 0,
    deployment: Deployment = "split",
) -> Problem:
    """Check and look up everything that was named; the arguments are those of :func:`edgepart.partition`.

    Raises:
        UnknownName: a device, link, tier, price, quantity, layer, tensor or deployment that does not exist.
        PlanError: no tiers, a link missing or between tiers that do not follow each other, a limit that leaves nothing.
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
    names, graph = tuple(tiers), profile.graph
    memory, others = _limits(limits or {}, names)
    billed = _prices(prices or {}, names)
    minimised = ALIASES.get(objective, objective)
    asked = quantity(minimised, names)
    if "money" in (asked.kind, *(quantity(name, names).kind for name in others)) and not billed:
        raise PlanError(f"no tier has a price to count '{objective}' from: add --price TIER=NAME, as cloud=aws-lambda")
    return Problem(
        graph=graph,
        tiers=tuple(_tier(profile, name, device, memory.get(name), billed.get(name)) for name, device in tiers.items()),
        links=_links(links, names),
        deployment=deployment,
        pins=_pins(graph, pins or {}, names),
        objective=minimised,
        limits=others,
        forbidden=_forbidden(graph, forbid or {}, names),
        together=tuple(frozenset(_layers(graph, group)) for group in together),
        kept=_kept(graph, keep_local),
        answer_bytes=answer_bytes,
    )


def _tier(profile: Profile, name: str, device: str | Device, limit: int | None, price: ServerlessPrice | None) -> Tier:
    if isinstance(device, str):
        device = profile.device if device == THIS else catalogue.device(device)
    latency_s, estimated = tier_latency_s(profile, device)
    held = device.memory_bytes if limit is None else min(limit, device.memory_bytes)
    return Tier(name, device, latency_s, estimated, memory_limit_bytes=held, price=price)


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


def _limits(limits: Mapping[str, float], tiers: tuple[str, ...]) -> tuple[dict[str, int], dict[str, float]]:
    """Limits of the tiers' memory by tier, and all others by their quantity."""
    memory: dict[str, int] = {}
    others: dict[str, float] = {}
    for key, most in limits.items():
        name = ALIASES.get(key, key)
        asked = quantity(name, tiers)
        least = 1.0 if asked.kind == "memory" else 0.0
        if not (math.isfinite(most) and most >= least):
            raise PlanError(
                f"the limit {key}={most:g} leaves nothing: expected at least "
                f"{'one byte' if asked.kind == 'memory' else f'0 {asked.unit}'.rstrip()}"
            )
        if asked.kind == "memory" and asked.index is not None:
            memory[tiers[asked.index]] = int(most)
        else:
            others[name] = most
    return memory, others


def _prices(prices: Mapping[str, str | ServerlessPrice], tiers: tuple[str, ...]) -> dict[str, ServerlessPrice]:
    found = {}
    for tier, given in prices.items():
        if tier not in tiers:
            raise UnknownName("tier", tier, tiers)
        price = catalogue.price(given) if isinstance(given, str) else given
        if not isinstance(price, ServerlessPrice):
            raise PlanError(f"the price '{price.name}' is in units of its own, not in dollars: name a serverless price")
        found[tier] = price
    return found


def _forbidden(
    graph: Graph, forbid: Mapping[str, str | Sequence[str]], tiers: tuple[str, ...]
) -> dict[str, frozenset[str]]:
    """Forbidden tiers by layer: a module's name forbids for all of its layers."""
    found: dict[str, frozenset[str]] = {}
    for name, given in forbid.items():
        wanted = (given,) if isinstance(given, str) else tuple(given)
        for tier in wanted:
            if tier not in tiers:
                raise UnknownName("tier", tier, tiers)
        for layer in graph.within(name):
            found[layer] = found.get(layer, frozenset()) | frozenset(wanted)
            if found[layer] == frozenset(tiers):
                raise InfeasiblePlan(f"layer '{layer}' is forbidden on every tier: leave it one")
    return found


def _layers(graph: Graph, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(layer for name in names for layer in graph.within(name))


def _kept(graph: Graph, names: Iterable[str]) -> tuple[str, ...]:
    """Names of tensors, of layers (all that they make), or ``input``."""
    found: dict[str, None] = {}
    known = {tensor.name for tensor in graph.tensors}
    for name in names:
        if name == INPUT:
            found.update(dict.fromkeys(graph.inputs))
        elif name in known:
            found[name] = None
        elif name in graph.position:
            found.update(dict.fromkeys(graph.layer(name).outputs))
        else:
            raise UnknownName("tensor or layer to keep", name, {INPUT, *known, *graph.position})
    return tuple(found)


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
