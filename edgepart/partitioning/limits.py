"""Whether a placement keeps to the limits and to the other constraints, and which and by how much not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from edgepart.errors import InfeasiblePlan
from edgepart.partitioning.plan import TierPlan
from edgepart.partitioning.problem import Problem, Tier
from edgepart.partitioning.quantities import quantity, spoken
from edgepart.partitioning.shares import exit_tier
from edgepart.partitioning.values import value
from edgepart.units import amount, size

#: a quantity above its limit by this share of it is not above it: sums round
ROUNDING = 1e-9


def all_limits(problem: Problem) -> dict[str, float]:
    """Every limit by the name of its quantity, those of the tiers' memory included."""
    memory = {f"{tier.name}.memory": tier.memory_limit_bytes for tier in problem.tiers}
    found: dict[str, float] = {name: limit for name, limit in memory.items() if limit is not None}
    for name, limit in problem.limits.items():
        found[name] = min(limit, found.get(name, limit))
    return found


def exceeded(problem: Problem, tier_of: Mapping[str, int]) -> dict[str, float]:
    """Quantity → by how much it exceeds its limit; empty for a placement that keeps to all of them."""
    over = {}
    for name, limit in all_limits(problem).items():
        try:
            found = value(problem, tier_of, name)
        except InfeasiblePlan:  # no size on offer holds a part
            found = math.inf
        if found > limit * (1 + ROUNDING):
            over[name] = found - limit
    return over


def describe(problem: Problem, over: Mapping[str, float], tier_of: Mapping[str, int]) -> str:
    """``'mobile' needs 212 MB, 12 MB above its limit of 200 MB`` for every quantity in ``over``."""
    limits, working = all_limits(problem), set(tier_of.values())
    return " and ".join(_clause(problem, name, limits[name], more, working) for name, more in over.items())


def too_small(problem: Problem) -> str:
    """A clause on every tier whose runtime alone is above its memory limit, and on what to do; empty: there is none."""
    limits = all_limits(problem)
    found = [too_small_for(tier, limits.get(f"{tier.name}.memory")) for tier in problem.tiers]
    return " and ".join(filter(None, found))


def too_small_for(tier: Tier | TierPlan, limit: float | None) -> str:
    """As :func:`too_small`, of one tier."""
    if limit is None or tier.runtime_bytes <= limit:
        return ""
    runtime = f"the runtime {tier.runtime}" if tier.runtime else "the runtime"
    return (
        f"on '{tier.name}' {runtime} alone takes {size(tier.runtime_bytes)}, more than the {size(limit)} that it may "
        "use, so it can hold no layer: raise the limit, give the profile of a smaller runtime there (--tier "
        f"{tier.name}=PROFILE.json), or state what the runtime takes (--runtime-memory {tier.name}=SIZE)"
    )


def broken(problem: Problem, tier_of: Mapping[str, int]) -> list[str]:
    """What a placement violates beside the limits, a clause each; pins, forbidden tiers, layers and tensors, exits."""
    return [*_pins(problem, tier_of), *_groups(problem, tier_of), *_exits(problem, tier_of)]


def _pins(problem: Problem, tier_of: Mapping[str, int]) -> Iterator[str]:
    names = problem.tier_names
    for layer, tier in problem.pins.items():
        if names[tier_of[layer]] != tier:
            yield f"layer '{layer}', pinned to '{tier}', is on '{names[tier_of[layer]]}'"
    for layer, tiers in problem.forbidden.items():
        if names[tier_of[layer]] in tiers:
            yield f"layer '{layer}' is on '{names[tier_of[layer]]}', which is forbidden"


def _groups(problem: Problem, tier_of: Mapping[str, int]) -> Iterator[str]:
    names = problem.tier_names
    for group in problem.together:
        ordered = problem.graph.in_order(group)
        apart = [layer for layer in ordered if tier_of[layer] != tier_of[ordered[0]]]
        if apart:
            yield f"layers '{ordered[0]}' and '{apart[0]}', which belong together, are on different tiers"
    for name in problem.kept:
        tensor = problem.graph.tensor(name)
        made = 0 if tensor.producer is None else tier_of[tensor.producer]
        if any(tier_of[reader] != made for reader in tensor.consumers):
            yield f"tensor '{name}' leaves '{names[made]}', where it must be kept"


def _exits(problem: Problem, tier_of: Mapping[str, int]) -> Iterator[str]:
    for point in problem.exits:
        where = exit_tier(problem, tier_of, point)
        for position, layer in enumerate(problem.graph.layers):
            after = position >= point.depth
            if after and tier_of[layer.name] < where:
                yield f"layer '{layer.name}' comes after exit '{point.name}' and lies below its tier"
            if not after and tier_of[layer.name] > where:
                yield f"layer '{layer.name}' comes before exit '{point.name}' and lies above its tier"


def _clause(problem: Problem, name: str, limit: float, more: float, working: set[int]) -> str:
    asked = quantity(name, problem.tier_names)
    needed, above, most = (amount(each, asked.unit) for each in (limit + more, more, limit))
    if asked.kind == "memory" and asked.index is not None:
        tier = problem.tiers[asked.index]
        whose = f"the memory of {tier.device.name}," if limit == tier.device.memory_bytes else "its limit of"
        taken = tier.runtime_bytes if asked.index in working else 0
        of_it = f" ({size(taken)} of it the runtime)" if taken else ""
        return f"'{tier.name}' needs {needed}{of_it}, {above} above {whose} {most}"
    return f"'{spoken(name)}' is {needed}, {above} above its limit of {most}"
