"""The value of every quantity for one placement, straight from the definitions.

Solvers work on their own formulations; this is what they are held to, and what a Plan reports. A sample runs the layers
in topological order, stage by stage: those after an exit run for the share that goes on past it
(:class:`~edgepart.partitioning.problem.ExitShare`), and a hop is crossed by the share that goes on past the last exit
below it. A head runs for every sample that comes to it. The answer goes back over every hop that its sample crossed.
Every sample that comes to a part pays the part's start (:attr:`~edgepart.partitioning.problem.Tier.start_s`): in
latency, energy and money, but not in the period, for in a pipeline no part waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edgepart.errors import InfeasiblePlan, PlanError
from edgepart.hardware import Device, Link, ServerlessPrice
from edgepart.partitioning.placement_cost import evaluate, memory, trip_s
from edgepart.partitioning.problem import Problem, Tier
from edgepart.partitioning.quantities import Quantity, quantity
from edgepart.partitioning.shares import crossing_share, exit_tier, going_on, reaching
from edgepart.units import size


def value(problem: Problem, tier_of: Mapping[str, int], what: str | Quantity) -> float:
    """What a placement makes of a quantity, in its unit.

    Raises:
        PlanError: a device or link does not state what the quantity is counted from, or the quantity is not defined
            under ``nested``.
        InfeasiblePlan: ``money``, where no size on offer holds a part.
    """
    asked = quantity(what, problem.tier_names) if isinstance(what, str) else what
    tiers = range(len(problem.tiers)) if asked.index is None else (asked.index,)
    nested = problem.deployment == "nested"
    if nested and asked.kind not in ("latency", "full-latency", "memory", "exits", "bytes"):
        raise PlanError(f"'{asked.kind}' is not defined for a nested deployment: plan for latency, or use split")
    if asked.kind == "full-latency" or (nested and asked.kind == "latency"):
        return evaluate(problem, tier_of).latency_s
    if asked.kind == "memory":
        return sum(memory_bytes(problem, tier_of)[tier] for tier in tiers)
    if asked.kind == "exits":
        return sum(exit_tier(problem, tier_of, point) in tiers for point in problem.exits)
    if asked.kind == "bytes":
        return evaluate(problem, tier_of).crossing_bytes[tiers[0]]
    if asked.kind == "energy":
        return sum(_energy_j(problem, tier_of, tier) for tier in tiers)
    if asked.kind == "money":
        return sum(_money_usd(problem, tier_of, tier) for tier in tiers)
    hops = list(_hops(problem, tier_of))
    if asked.kind == "period":
        computing = [_computing_s(problem, tier_of, tier) for tier in tiers]
        return max([*computing, *(8 * share * sent / link.up_bits_per_s for link, share, sent in hops)])
    busy = sum(_busy_s(problem, tier_of, tier) for tier in tiers)
    return busy + sum(share * trip_s(problem, link, sent) for link, share, sent in hops)


def memory_bytes(problem: Problem, tier_of: Mapping[str, int]) -> list[int]:
    """Parameters, activations, heads and runtime of every tier."""
    needed = [each.total_bytes for each in memory(problem, tier_of)]
    for point in problem.exits:
        needed[exit_tier(problem, tier_of, point)] += point.head_bytes
    return needed


def head_s(device: Device, macs: int) -> float:
    """Seconds of a head: its multiply-accumulates at the device's rate."""
    return macs / device.macs_per_s


def power_w(tier: Tier) -> float:
    """What the tier's device draws while it computes, in watts.

    Raises:
        PlanError: it does not say.
    """
    if tier.device.power_w is None:
        raise PlanError(
            f"the device '{tier.device.name}' of tier '{tier.name}' states no power_w, from which energy is counted: "
            "give a device file that does, or ask for the energy of another tier (as mobile.energy)"
        )
    return tier.device.power_w


def joules_per_byte(link: Link) -> float:
    """What sending a byte takes.

    Raises:
        PlanError: the link does not say.
    """
    if link.energy_j_per_byte is None:
        raise PlanError(
            f"the link '{link.name}' states no energy_j_per_byte, from which energy is counted: give a link file that "
            "does, or ask for the energy of a tier that does not send over it"
        )
    return link.energy_j_per_byte


def size_on_offer(tier: Tier, price: ServerlessPrice, needed_bytes: float) -> tuple[int, float]:
    """Memory and processor speed (GHz) of the smallest size that holds a part.

    Raises:
        InfeasiblePlan: none does.
    """
    found = price.smallest(needed_bytes)
    if found is None:
        most = max((held for held, _ in price.sizes), default=0)
        of_it = f" ({size(tier.runtime_bytes)} of it the runtime)" if tier.runtime_bytes else ""
        raise InfeasiblePlan(
            f"tier '{tier.name}' needs {size(needed_bytes)}{of_it}, {price.title} offers at most {size(most)}: choose "
            "another price or move layers to another tier"
        )
    return found


def _hops(problem: Problem, tier_of: Mapping[str, int]) -> Iterator[tuple[Link, float, int]]:
    """Every link, the share of the samples that crosses it, and the bytes that each sends."""
    sent = evaluate(problem, tier_of).crossing_bytes
    for hop, link in enumerate(problem.links):
        yield link, crossing_share(problem, tier_of, hop), sent[hop]


def _computing_s(problem: Problem, tier_of: Mapping[str, int], tier: int) -> float:
    """Expected seconds that a tier works for a sample."""
    where = problem.tiers[tier]
    spent = 0.0
    for position, layer in enumerate(problem.graph.layers):
        if tier_of[layer.name] == tier:
            spent += going_on(problem.exits, position) * where.latency_s[layer.name]
    for index, point in enumerate(problem.exits):
        if exit_tier(problem, tier_of, point) == tier:
            spent += reaching(problem.exits, index) * head_s(where.device, point.head_macs)
    return spent


def _busy_s(problem: Problem, tier_of: Mapping[str, int], tier: int) -> float:
    """Expected seconds that a tier works for a sample, and starts to."""
    arriving = _arriving(problem, tier_of, tier)
    return arriving * problem.tiers[tier].start_s + _computing_s(problem, tier_of, tier)


def _arriving(problem: Problem, tier_of: Mapping[str, int], tier: int) -> float:
    """Of all samples, those that come to a tier's part: that go on past the last exit before its first layer."""
    for position, layer in enumerate(problem.graph.layers):
        if tier_of[layer.name] == tier:
            return going_on(problem.exits, position)
    return 0.0


def _energy_j(problem: Problem, tier_of: Mapping[str, int], tier: int) -> float:
    busy = _busy_s(problem, tier_of, tier)
    spent = busy * power_w(problem.tiers[tier]) if busy else 0.0
    if tier < len(problem.links):
        link, share, sent = list(_hops(problem, tier_of))[tier]
        spent += share * sent * joules_per_byte(link) if sent else 0.0
    return spent


def _money_usd(problem: Problem, tier_of: Mapping[str, int], tier: int) -> float:
    """Expected bill of a tier: every sample that makes it work is one request, timed to where it leaves the tier."""
    where = problem.tiers[tier]
    held = [position for position, layer in enumerate(problem.graph.layers) if tier_of[layer.name] == tier]
    if where.price is None:
        return 0.0
    egress = 0.0
    if tier < len(problem.links):
        _, share, sent = list(_hops(problem, tier_of))[tier]
        egress = share * where.price.egress_usd(sent)
    if not held:
        return egress
    rate = where.price.usd_per_s(*size_on_offer(where, where.price, memory_bytes(problem, tier_of)[tier]))
    arriving, spent = _arriving(problem, tier_of, tier), where.start_s
    total = egress + arriving * where.price.usd_per_request
    remaining, start = arriving, 0
    own = [point for point in problem.exits if exit_tier(problem, tier_of, point) == tier]
    for depth, left, macs in [*((p.depth, p.going_on, p.head_macs) for p in own), (len(problem.graph.layers), 0.0, 0)]:
        inside = [p for p in held if start <= p < depth]
        spent += sum(where.latency_s[problem.graph.layers[p].name] for p in inside) + head_s(where.device, macs)
        total += (remaining - left) * rate * where.price.billed_s(spent)
        remaining, start = left, depth
    return total
