"""DIMEC-DC's abstract costs (Bajpai and Hanawal, sections IV-C and V-D)."""

from __future__ import annotations

import math
from typing import Literal

from edgepart.dispatch.base import CostTable
from edgepart.errors import DispatchError
from edgepart.evaluation.costs.base import CostModel, Facts
from edgepart.evaluation.costs.layers import LayerCounts, counted, given
from edgepart.evaluation.costs.path import Path, Visit, fill
from edgepart.hardware import DimecPrice, catalogue
from edgepart.partitioning.plan import Plan

ROLES = ("mobile", "edge", "cloud")


class Dimec(CostModel):
    """Costs in units of λ, as in DIMEC-DC: layers run on mobile and edge, sending on, and γ for the cloud.

    Entering and leaving at one tier costs λ_m·m on mobile, o_e + λ_e·n on the edge and o_c + γ in the cloud however
    deep, where λ_m = 1.5, λ_e = 1, o_e = 2.5 and o_c = 3 (section V-D). A path that makes several tiers work adds
    their costs: in a ``nested`` cascade every tier starts from the input, in a ``split`` one the edge is charged for
    its own layers only. The paper does not treat cascades; this is our reading.

    Traps: the paper never states γ, and with γ below 3 λ·m or so the cloud is the *cheapest* tier, so γ has no
    default. The table of results takes the savings from ``all-cloud``, section V-B1 from ``all-mobile``, and no
    single γ gives the cost of its *Random* row on every task: do not expect the paper's numbers. Heads and the
    router's embedding cost nothing here, as in the paper.

    Options:
        gamma: what the cloud charges a sample, in λ; required
        lambda: value of λ; every cost, γ included, is multiplied by it
        layers: encoder layers by the end of every tier, as ``layers=4/6/12``; by default counted in the network
        baseline: what savings are measured against, ``all-cloud`` (o_c + γ) or ``all-mobile`` (λ_m·l)
        price: another YAML file with the constants λ_m, λ_e, o_e, o_c
    """

    name = "dimec"
    unit = "λ"

    def __init__(
        self,
        gamma: float | None = None,
        lambda_: float = 1.0,
        layers: tuple[int, ...] = (),
        baseline: Literal["all-cloud", "all-mobile"] = "all-cloud",
        price: str | DimecPrice = "dimec",
    ) -> None:
        if gamma is None:
            raise DispatchError(
                "the cost model 'dimec' needs γ, what the cloud charges a sample in units of λ: give --gamma (the "
                "paper never states it; 14.14, 18, 24 and 33 span what its tables allow)"
            )
        for what, value in (("gamma", gamma), ("lambda", lambda_)):
            if not (math.isfinite(value) and value >= 0):
                raise DispatchError(f"the cost model 'dimec' was given {what}={value:g}, expected a number from 0 up")
        loaded = catalogue.price(price) if isinstance(price, str) else price
        if not isinstance(loaded, DimecPrice):
            raise DispatchError(f"the price '{loaded.name}' is not one of DIMEC-DC's: use the cost model 'price'")
        self.gamma = gamma
        self.scale = lambda_
        self.layers = layers
        self.baseline = baseline
        self.price = loaded

    def table(self, plan: Plan, facts: Facts) -> CostTable:
        roles, counts = tier_roles(plan), self._counts(plan, facts)
        return fill(plan, lambda sample: self.scale * self._cost(plan, roles, counts, sample))

    def full_model(self, plan: Plan, facts: Facts) -> float:
        if self.baseline == "all-cloud":
            return self.scale * (self.price.to_cloud + self.gamma)
        return self.scale * self.price.mobile_layer * self._counts(plan, facts).exits[-1]

    def describe(self) -> str:
        return (
            f"DIMEC-DC's costs with λ={self.scale:g} and γ={self.gamma:g}λ: a layer {self.price.mobile_layer:g}λ on "
            f"mobile and {self.price.edge_layer:g}λ on the edge, sending {self.price.to_edge:g}λ to the edge and "
            f"{self.price.to_cloud:g}λ to the cloud; savings against {self.baseline}"
        )

    def _counts(self, plan: Plan, facts: Facts) -> LayerCounts:
        if self.layers:
            return given(plan, self.layers)
        if facts.graph is None:
            raise DispatchError(
                "the cost model 'dimec' counts encoder layers and was given no network to count them in: give their "
                "number by the end of every tier, as --cost dimec:layers=4/6/12"
            )
        return counted(plan, facts.graph)

    def _cost(self, plan: Plan, roles: tuple[str, ...], counts: LayerCounts, sample: Path) -> float:
        return sum(self._visit(plan, roles[visit.tier], counts, visit) for visit in sample.visits)

    def _visit(self, plan: Plan, role: str, counts: LayerCounts, visit: Visit) -> float:
        if role == "cloud":
            return self.price.to_cloud + self.gamma
        stop = counts.tiers[visit.tier] if visit.exit is None else counts.exits[visit.exit]
        start = counts.tiers[visit.tier - 1] if plan.deployment == "split" and visit.tier else 0
        if role == "edge":
            return self.price.to_edge + self.price.edge_layer * (stop - start)
        return self.price.mobile_layer * (stop - start)


def tier_roles(plan: Plan) -> tuple[str, ...]:
    """Which of mobile, edge and cloud every tier plays: by its name or, where names say nothing, by its place.

    Raises:
        DispatchError: more than three tiers.
    """
    names = plan.tier_names
    if set(names) <= set(ROLES) and list(names) == sorted(names, key=ROLES.index):
        return names
    by_place = {1: ("cloud",), 2: ("mobile", "cloud"), 3: ROLES}
    if len(names) not in by_place:
        raise DispatchError(
            f"the cost model 'dimec' knows mobile, edge and cloud, the plan has {len(names)} tiers "
            f"({', '.join(names)}): use 'latency' or 'price'"
        )
    return by_place[len(names)]
