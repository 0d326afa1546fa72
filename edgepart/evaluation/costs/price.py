"""Money for serverless functions in the cloud."""

from __future__ import annotations

from edgepart.dispatch.base import CostTable
from edgepart.errors import DispatchError, UnknownName
from edgepart.evaluation.costs.base import CostModel, Facts
from edgepart.evaluation.costs.path import Path, fill, plain_path
from edgepart.hardware import ServerlessPrice, catalogue
from edgepart.partitioning.plan import Plan


class ServerlessMoney(CostModel):
    """US dollars per sample on the tiers in the cloud, billed as serverless functions (EdgeLessPart, section III).

    A sample that makes a billed tier work is one request: the fee per request, plus the time of its layers and
    heads rounded up to whole billing steps, times the prices of the smallest memory size that holds the part (its
    parameters, heads and activations, and the runtime as far as the plan knows it) and of the processor speed that
    comes with it. What leaves a billed tier for the
    next one pays egress. Tiers of the user's own (mobile, edge) are free, and so are uploads and the few bytes of
    the answer. Cold starts, idle instances and free quotas are not counted.

    A lower bound, as the seconds are the plan's for the tier's device: the slow processor that comes with a small
    memory size takes longer.

    Options:
        price: a name of ``edgepart prices list`` or a YAML file of that kind
        tiers: the billed tiers, as ``tiers=edge/cloud``; by default those called ``cloud`` and those whose device
            is one of the cloud's
    """

    name = "price"
    unit = "USD"

    def __init__(self, price: str | ServerlessPrice = "google-cloud-functions", tiers: tuple[str, ...] = ()) -> None:
        loaded = catalogue.price(price) if isinstance(price, str) else price
        if not isinstance(loaded, ServerlessPrice):
            raise DispatchError(
                f"the price '{loaded.name}' is not one of serverless functions: use the cost model '{loaded.model}'"
            )
        self.price = loaded
        self.tiers = tiers

    def table(self, plan: Plan, facts: Facts) -> CostTable:
        rates = self._rates(plan)
        return fill(plan, lambda sample: self._dollars(plan, rates, sample))

    def full_model(self, plan: Plan, facts: Facts) -> float:
        return self._dollars(plan, self._rates(plan), plain_path(plan))

    def describe(self) -> str:
        where = " and ".join(self.tiers) or "the cloud"
        return (
            f"US dollars per sample for {where} at {self.price.title} ({self.price.usd_per_gb_s:g} per GB-s, "
            f"{self.price.usd_per_ghz_s:g} per GHz-s in steps of {self.price.step_s:g} s, "
            f"{self.price.usd_per_request:g} per request), in the smallest size that holds the part and with the "
            "seconds of the tier's device, so a lower bound"
        )

    def _dollars(self, plan: Plan, rates: dict[int, float], sample: Path) -> float:
        billed = [visit for visit in sample.visits if visit.tier in rates]
        work = sum(self.price.usd_per_request + rates[x.tier] * self.price.billed_s(x.compute_s) for x in billed)
        egress = self.price.egress_usd(sum(plan.hops[hop].bytes for hop in sample.hops if hop in rates))
        return work + egress

    def _rates(self, plan: Plan) -> dict[int, float]:
        """Billed tier → US dollars per second."""
        for name in self.tiers:
            if name not in plan.tier_names:
                raise UnknownName("tier", name, plan.tier_names)
        billed = [
            (index, tier)
            for index, tier in enumerate(plan.tiers)
            if (tier.name in self.tiers if self.tiers else "cloud" in (tier.name, tier.device.tier))
        ]
        if not billed:
            raise DispatchError(
                f"no tier of the plan is in the cloud ({', '.join(plan.tier_names)}), so nothing has a price: "
                "name the billed tiers as in price:tiers=TIER"
            )
        return {index: self._rate(tier.name, plan.memory_bytes(tier)) for index, tier in billed}

    def _rate(self, tier: str, needed_bytes: int) -> float:
        found = self.price.smallest(needed_bytes)
        if found is None:
            most = max(size for size, _ in self.price.sizes) if self.price.sizes else 0
            raise DispatchError(
                f"tier '{tier}' needs {needed_bytes / 1e6:.0f} MB, {self.price.title} offers at most "
                f"{most / 1e6:.0f} MB: choose another price or move layers to another tier"
            )
        return self.price.usd_per_s(*found)
