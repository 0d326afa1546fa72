"""From what a user names (devices, links, limits, pins) to the :class:`Problem`."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence

from edgepart.errors import InfeasiblePlan, PlanError, UnknownName
from edgepart.graph import Graph
from edgepart.hardware import Link, Profile, ServerlessPrice, catalogue
from edgepart.partitioning.make_tier import Place, make_tier, stated_memory
from edgepart.partitioning.plan import Deployment
from edgepart.partitioning.problem import Problem
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
    tiers: Mapping[str, Place],
    links: Links,
    *,
    objective: str = "latency",
    limits: Mapping[str, float] | None = None,
    prices: Mapping[str, str | ServerlessPrice] | None = None,
    runtime_memory: Mapping[str, float] | None = None,
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
        FileError: a file that was named is missing or not what it should be.
        PlanError: no tiers, a profile of another network, a tier that no link leads to, a link downwards,
            a limit that leaves nothing.
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
    found = _links(links, names)
    memory, others = _limits(limits or {}, names, tuple(found))
    billed = _prices(prices or {}, names)
    taken = stated_memory(runtime_memory or {}, names)
    minimised = ALIASES.get(objective, objective)
    unpriced = [name for name in (minimised, *others) if quantity(name, names, found).kind == "money"]
    if unpriced and not billed:
        raise PlanError(
            f"no tier has a price to count '{unpriced[0]}' from: add --price TIER=NAME, as cloud=aws-lambda"
        )
    is_chain = list(found) == list(itertools.pairwise(names))
    return Problem(
        graph=graph,
        tiers=tuple(
            make_tier(profile, name, place, memory.get(name), billed.get(name), taken.get(name))
            for name, place in tiers.items()
        ),
        links=tuple(found.values()) if is_chain else (),
        deployment=deployment,
        pins=_pins(graph, pins or {}, names),
        objective=minimised,
        limits=others,
        forbidden=_forbidden(graph, forbid or {}, names),
        together=tuple(frozenset(_layers(graph, group)) for group in together),
        kept=_kept(graph, keep_local),
        answer_bytes=answer_bytes,
        joined=None if is_chain else found,
    )


def _links(links: Links, tiers: tuple[str, ...]) -> dict[tuple[str, str], Link]:
    """Every link by the tiers that it joins, in the order of these."""
    given: dict[tuple[str, str], str | Link] = {}
    for key, link in links.items():
        ends = tuple(key.split(":")) if isinstance(key, str) else tuple(key)
        if len(ends) != 2:
            raise PlanError(f"'{key}' does not say which tiers a link joins: expected LOWER:UPPER, as mobile:edge")
        for end in ends:
            if end not in tiers:
                raise UnknownName("tier", end, tiers)
        if tiers.index(ends[0]) >= tiers.index(ends[1]):
            raise PlanError(
                f"the link {ends[0]}:{ends[1]} does not lead upwards: tensors travel up the tiers {', '.join(tiers)}, "
                "so name the lower one first"
            )
        if (ends[0], ends[1]) in given:
            raise PlanError(f"the link {ends[0]}:{ends[1]} is given twice: give it once")
        given[ends[0], ends[1]] = link
    _require_reached(given, tiers)
    found = {hop: given[hop] for hop in itertools.combinations(tiers, 2) if hop in given}
    return {hop: catalogue.link(link) if isinstance(link, str) else link for hop, link in found.items()}


def _require_reached(hops: Iterable[tuple[str, str]], tiers: tuple[str, ...]) -> None:
    """Check that a link leads to every tier but the first; from tiers that are reached, for they lie below it."""
    uppers = {upper for _, upper in hops}
    for lower, upper in itertools.pairwise(tiers):
        if upper not in uppers:
            other = f", or one from another tier below {upper}" if lower != tiers[0] else ""
            raise PlanError(f"no link joins {lower} to {upper}: add --link {lower}:{upper}=NAME{other}")


def _limits(
    limits: Mapping[str, float], tiers: tuple[str, ...], hops: tuple[tuple[str, str], ...]
) -> tuple[dict[str, int], dict[str, float]]:
    """Limits of the tiers' memory by tier, and all others by their quantity."""
    memory: dict[str, int] = {}
    others: dict[str, float] = {}
    for key, most in limits.items():
        name = ALIASES.get(key, key)
        asked = quantity(name, tiers, hops)
        least = 1.0 if asked.kind == "memory" else 0.0
        if not (math.isfinite(most) and most >= least):
            raise PlanError(
                f"the limit {key}={most:g} leaves nothing: expected at least "
                f"{'one byte' if asked.kind == 'memory' else f'0 {asked.unit}'.rstrip()}"
            )
        if asked.kind == "exits" and most != int(most):
            raise PlanError(f"the limit {key}={most:g} is not a number of exits: expected a whole one")
        if name in others:
            raise PlanError(f"'{key}' is limited under two names: give it once")
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
