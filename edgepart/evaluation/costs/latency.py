"""Seconds from the raw input to the answer."""

from __future__ import annotations

from edgepart.dispatch.base import CostTable
from edgepart.evaluation.costs.base import CostModel, Facts
from edgepart.evaluation.costs.path import Path, fill, plain_path
from edgepart.partitioning.plan import Plan


class Latency(CostModel):
    """Seconds for one sample alone: layers and heads on every tier that works on it, and every hop it crosses.

    Layers and hops are the plan's predictions; a head takes its multiply-accumulates at the device's rate. Waiting
    in queues is not counted. A strategy that looks at embeddings pays the seconds of the router on the first tier
    in full, although a sample that stays there repeats some of that work.
    """

    name = "latency"
    unit = "s"

    def table(self, plan: Plan, facts: Facts) -> CostTable:
        return fill(plan, lambda sample: _seconds(plan, sample))

    def full_model(self, plan: Plan, facts: Facts) -> float:
        return _seconds(plan, plain_path(plan))

    def router(self, plan: Plan, facts: Facts) -> float:
        return facts.router_s

    def describe(self) -> str:
        return "seconds for one sample alone: layers and heads on every tier that works on it, and every hop it crosses"


def _seconds(plan: Plan, sample: Path) -> float:
    return sum(visit.compute_s for visit in sample.visits) + sum(plan.hops[hop].transfer_s for hop in sample.hops)
