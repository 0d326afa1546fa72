"""Latency of a plan as if one of its hops went over another link."""

from edgepart.dispatch.base import CostTable
from edgepart.evaluation.costs import Facts
from edgepart.evaluation.costs.latency import Latency
from edgepart.hardware import catalogue
from edgepart.partitioning.plan import Plan


class LatencyOver(Latency):
    """``latency`` where the hop between two tiers goes over a link of the catalogue instead of the plan's.

    The parts stay where they are, so one recording serves any link.
    """

    def __init__(self, source: str, target: str, link: str) -> None:
        self.source, self.target, self.link = source, target, catalogue.link(link)

    def table(self, plan: Plan, facts: Facts) -> CostTable:
        return super().table(self.over(plan), facts)

    def full_model(self, plan: Plan, facts: Facts) -> float:
        return super().full_model(self.over(plan), facts)

    def describe(self) -> str:
        return f"{super().describe()}; from {self.source} to {self.target} over {self.link.title}"

    def over(self, plan: Plan) -> Plan:
        """The plan with that hop on this link."""
        hops = [
            hop.model_copy(update={"link": self.link, "transfer_s": self.link.transfer_s(hop.bytes)})
            if (hop.source, hop.target) == (self.source, self.target)
            else hop
            for hop in plan.hops
        ]
        return plan.model_copy(update={"hops": tuple(hops)})


def alone_s(plan: Plan, other: Plan, input_bytes: int) -> dict[str, float]:
    """Seconds of the whole network on one tier, the raw input sent there, where the hops are those of ``other``.

    Args:
        plan: that tells those seconds for its own hops
        other: the same plan on other links
    """
    ends = dict(zip(plan.tier_names, range(len(plan.tiers)), strict=True))
    return {
        tier: seconds
        + sum(hop.link.transfer_s(input_bytes) for hop in other.hops[: ends[tier]])
        - sum(hop.link.transfer_s(input_bytes) for hop in plan.hops[: ends[tier]])
        for tier, seconds in plan.unsplit_s.items()
    }
