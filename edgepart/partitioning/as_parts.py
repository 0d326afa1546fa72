"""What a finished plan takes as it will run: every part as one piece, rather than added up from its layers.

Solvers add up layers, for only that can be minimised exactly. A profile knows more: what parts took that were measured
as one piece, and what lies between them. So a plan, once it is found, is predicted from these.
"""

from __future__ import annotations

import itertools
from functools import partial

from edgepart.hardware.scaling import tier_part_latency_s, tier_wake_up_s
from edgepart.partitioning.plan import Plan, TierPlan
from edgepart.partitioning.problem import Problem
from edgepart.partitioning.stages import part_stages, stage_latencies


def with_parts(problem: Problem, plan: Plan) -> Plan:
    """The plan with ``part_s`` and what follows from it, where the profile of a tier is known."""
    reached: dict[str, float] = {}
    tiers = tuple(_as_part(problem, plan, index, reached) for index in range(len(plan.tiers)))
    exits = tuple(point.model_copy(update={"part_s": reached.get(point.name)}) for point in plan.exits)
    working = [tier for tier in tiers if tier.layers][-1 if plan.deployment == "nested" else 0 :]
    differences = [tier.part_s - tier.compute_s for tier in working if tier.part_s is not None]
    latency_s = plan.latency_s + sum(differences) if len(differences) == len(working) else None
    return plan.model_copy(update={"tiers": tiers, "exits": exits, "parts_latency_s": latency_s})


def _as_part(problem: Problem, plan: Plan, index: int, reached: dict[str, float]) -> TierPlan:
    """A tier with what its part takes; notes after how many seconds its exits are reached."""
    where, tier = problem.tiers[index], plan.tiers[index]
    if where.profile is None or not tier.layers:
        return tier
    stages = part_stages(plan, problem.graph, tier.name)
    found = stage_latencies(problem.graph, stages, partial(tier_part_latency_s, where.profile, where.device))
    woken_s = tier_wake_up_s(where.profile, where.device)
    until = list(itertools.accumulate((each.seconds for each in found), initial=woken_s))[1:]
    reached.update({stage.exit: seconds for stage, seconds in zip(stages, until, strict=True) if stage.exit})
    measured = all(each.measured for each in found)
    return tier.model_copy(update={"part_s": until[-1], "measured": measured, "wake_up_s": woken_s})
