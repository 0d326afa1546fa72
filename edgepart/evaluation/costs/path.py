"""What happens to a sample between the tier it enters at and the exit it leaves at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgepart.dispatch.base import CostTable
from edgepart.partitioning.plan import Plan, TierPlan


@dataclass(frozen=True)
class Visit:
    """A tier at work on a sample.

    Attributes:
        tier: index of the tier
        exit: index of the exit at which its work stops; None: it runs its whole part and sends activations on
        compute_s: seconds of its layers and of the heads asked on the way
    """

    tier: int
    exit: int | None
    compute_s: float


@dataclass(frozen=True)
class Path:
    """The tiers that work on a sample, in order, and the indices of the plan's hops that it crosses."""

    visits: tuple[Visit, ...]
    hops: tuple[int, ...]


def path(plan: Plan, entry: int, exit_index: int) -> Path:
    """The path of a sample that enters at tier ``entry`` and leaves at an exit of that tier or a later one.

    ``split``: the tiers before ``entry`` run their layers too, without asking a head, and activations cross every
    hop. ``nested``: the raw input goes to ``entry`` directly; a tier that is not sure at its last exit sends the raw
    input on to the next tier that has an exit, which starts afresh. Every exit met before the last one is asked.
    """
    leave = exit_tiers(plan)[exit_index]
    if plan.deployment == "split":
        before = [_whole(plan, tier, heads=tier >= entry) for tier in range(leave) if plan.tiers[tier].layers]
    else:
        tried = [tier for tier in range(entry, leave) if plan.exits_of(plan.tiers[tier].name)]
        before = [_until(plan, max(k for k, own in enumerate(exit_tiers(plan)) if own == tier)) for tier in tried]
    return Path((*before, _until(plan, exit_index)), tuple(range(leave)))


def plain_path(plan: Plan) -> Path:
    """The path of a sample through the network as it was before exits were added, on the tiers of the plan.

    ``split``: every part in turn, no head asked. ``nested``: straight to the tier that holds all layers.
    """
    names, final = plan.tier_names, plan.tier_names.index(plan.final_tier)
    working = range(final + 1) if plan.deployment == "split" else (final,)
    visits = [_whole(plan, tier, heads=False) for tier in working if plan.tiers[tier].layers]
    last = Visit(final, len(plan.exits), plan.tiers[names.index(plan.final_tier)].compute_s)
    return Path((*visits[:-1], last), tuple(range(final)))


def fill(plan: Plan, cost: Callable[[Path], float]) -> CostTable:
    """(T, K) cost of every path; infinite where the exit lies below the tier of entry."""
    tiers = exit_tiers(plan)
    table = np.full((len(plan.tiers), len(tiers)), np.inf)
    for exit_index, own in enumerate(tiers):
        for entry in range(own + 1):
            table[entry, exit_index] = cost(path(plan, entry, exit_index))
    return table


def exit_tiers(plan: Plan) -> list[int]:
    """The index of the tier of every exit, the final one last."""
    return [plan.tier_names.index(name) for name in plan.exit_tiers]


def _whole(plan: Plan, tier: int, heads: bool) -> Visit:
    own = plan.tiers[tier]
    macs = sum(point.head_macs for point in plan.exits_of(own.name)) if heads else 0
    return Visit(tier, None, own.compute_s + _head_s(own, macs))


def _until(plan: Plan, exit_index: int) -> Visit:
    tier = exit_tiers(plan)[exit_index]
    own = plan.tiers[tier]
    asked = [point for point in plan.exits[: exit_index + 1] if point.tier == own.name]
    layers_s = plan.exits[exit_index].compute_s if exit_index < len(plan.exits) else own.compute_s
    return Visit(tier, exit_index, layers_s + _head_s(own, sum(point.head_macs for point in asked)))


def _head_s(tier: TierPlan, macs: int) -> float:
    return macs / tier.device.macs_per_s
