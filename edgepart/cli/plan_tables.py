"""How a plan's tiers, their memory and the latency that is to be expected are shown."""

from __future__ import annotations

from collections.abc import Sequence

from edgepart.cli.output import print_table
from edgepart.partitioning import Plan, TierPlan
from edgepart.partitioning.limits import too_small_for
from edgepart.units import percent, seconds, size


def show_tiers(plan: Plan) -> None:
    """Print what runs where, how long it takes, and what memory it needs."""
    print_table(
        ("tier", "device", "runtime", "layers", "as one part", "rests on", "layers added up"),
        [
            (
                tier.name,
                tier.device.name,
                tier.runtime or "-",
                str(len(tier.layers)),
                *(_times(tier) if tier.layers else ("-", "-", "-")),
            )
            for tier in plan.tiers
        ],
        title=f"Plan for {plan.network} ({plan.deployment})",
    )
    unbuilt = any(not point.head_bytes for point in plan.exits)
    print_table(
        ("tier", "parameters", "activations", "heads", "runtime", "in all", "limit"),
        [
            (
                tier.name,
                size(tier.parameter_bytes),
                size(tier.activation_bytes),
                size(plan.part_bytes(tier) - tier.parameter_bytes - tier.activation_bytes),
                _runtime(tier),
                size(plan.memory_bytes(tier)),
                size(tier.memory_limit_bytes) if tier.memory_limit_bytes is not None else "none",
            )
            for tier in plan.tiers
        ],
        title="\nMemory" + (" (heads come on top once they are built)" if unbuilt else ""),
    )


def latency_lines(plan: Plan) -> list[str]:
    """The latency of a sample that takes no exit: what to expect, and what was minimised and compares with the rest."""
    estimated = is_estimate(plan)
    added_up = estimate(plan.latency_s, estimated)
    if plan.parts_latency_s is None:
        return [f"Latency of a sample that takes no exit: {added_up}"]
    expected = estimate(plan.parts_latency_s, estimated)
    off = (plan.latency_s - plan.parts_latency_s) / plan.parts_latency_s if plan.parts_latency_s else 0.0
    difference = "no difference" if abs(off) < 5e-4 else f"{percent(abs(off))} {'less' if off < 0 else 'more'}"
    return [
        f"Latency of a sample that takes no exit: expect {expected}, each part predicted as the one piece it runs as",
        f"With layers added up, as planners compare placements: {added_up} ({difference})",
    ]


def memory_lines(plan: Plan) -> list[str]:
    """On every tier that can hold no layer, because its runtime alone is above the limit."""
    found = [too_small_for(tier, tier.memory_limit_bytes) for tier in plan.tiers if not tier.layers]
    return [f"{text[0].upper()}{text[1:]}." for text in found if text]


def estimate(value_s: float, estimated: bool) -> str:
    """Seconds, with a ``~`` before what was not measured."""
    return _about(seconds(value_s), estimated)


def any_estimate(tiers: Sequence[TierPlan]) -> bool:
    """Whether a tier that holds layers was not measured."""
    return any(tier.estimated for tier in tiers if tier.layers)


def is_estimate(plan: Plan) -> bool:
    """Whether the latency of a sample that takes no exit rests on an estimate."""
    last = [tier for tier in plan.tiers if tier.name == plan.final_tier]
    return any_estimate(last if plan.deployment == "nested" else plan.tiers)


def _runtime(tier: TierPlan) -> str:
    """What a runtime takes; where layers run it takes something, whether it was left out on purpose or not measured."""
    if tier.layers and not tier.needed_runtime_bytes:
        return "not counted"
    return _about(size(tier.needed_runtime_bytes), tier.estimated and tier.needed_runtime_bytes > 0)


def _times(tier: TierPlan) -> tuple[str, str, str]:
    added_up = estimate(tier.compute_s, tier.estimated)
    if tier.part_s is None:
        return "-", "-", added_up
    rests_on = "an estimate" if tier.estimated else "this very part" if tier.measured else "pieces of it"
    return estimate(tier.part_s, tier.estimated), rests_on, added_up


def _about(text: str, estimated: bool) -> str:
    return f"~{text}" if estimated else text
