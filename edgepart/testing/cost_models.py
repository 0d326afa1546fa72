"""What every cost model promises. Subclass :class:`CostModelContract` in a test and name your cost model."""

from __future__ import annotations

import math

import numpy as np

from edgepart.evaluation.costs import CostModel, Costs, Facts, tabulate
from edgepart.partitioning.plan import Deployment, Hop, Plan, PlannedExit, Proof, TierPlan
from edgepart.testing.hardware import example_device, example_link


class CostModelContract:
    """Run by pytest once subclassed::

        class TestEnergy(CostModelContract):
            def cost_model(self):
                return Energy()

    A path that exists has a finite cost, one that does not an infinite one, and a later exit of a tier costs no less.
    """

    def cost_model(self) -> CostModel:
        """A cost model."""
        raise NotImplementedError

    def plans(self) -> list[Plan]:
        """The plans it must have a price for."""
        return [example_plan("split"), example_plan("nested")]

    def test_it_says_what_it_counts(self) -> None:
        model = self.cost_model()
        assert model.name, "a cost model needs a name"
        assert model.unit, "costs need a unit"
        assert model.describe(), "a report needs a sentence about what is counted"

    def test_the_table_is_finite_where_paths_exist(self) -> None:
        for plan, costs in self._tabulated():
            assert costs.table.shape == (len(plan.tiers), len(plan.exit_names)), "the table has a row a tier"
            own = np.array([plan.tier_names.index(name) for name in plan.exit_tiers])
            reachable = own[None, :] >= np.arange(len(plan.tiers))[:, None]
            assert np.isfinite(costs.table[reachable]).all(), "a path that exists has no finite cost"
            assert np.isinf(costs.table[~reachable]).all(), "an exit below the tier of entry has a cost"
            assert (costs.table[reachable] >= 0).all(), "a cost is negative"

    def test_going_on_within_a_tier_costs_no_less(self) -> None:
        for plan, costs in self._tabulated():
            tiers = plan.exit_tiers
            for index in range(len(tiers) - 1):
                if tiers[index] == tiers[index + 1]:
                    rows = np.isfinite(costs.table[:, index])
                    assert (costs.table[rows, index] <= costs.table[rows, index + 1]).all(), "a later exit costs less"

    def test_the_full_model_and_the_router_have_costs(self) -> None:
        for _, costs in self._tabulated():
            assert math.isfinite(costs.full_model), "the full model has no finite cost"
            assert costs.full_model >= 0, "the full model has a negative cost"
            assert math.isfinite(costs.router), "the router has no finite cost"
            assert costs.router >= 0, "the router has a negative cost"

    def _tabulated(self) -> list[tuple[Plan, Costs]]:
        return [(plan, tabulate(self.cost_model(), plan, Facts(router_s=0.001))) for plan in self.plans()]


def example_plan(deployment: Deployment = "split") -> Plan:
    """Three tiers with two layers each; exits at the ends of mobile and edge and, under ``split``, inside the edge.

    Compute: mobile 30 ms, edge 20 ms (its first layer 8 ms), cloud 4 ms of its own; under ``nested`` 30, 30 and 14 ms
    from the raw input. Hops take 10 and 40 ms. Heads have a million multiply-accumulates: 1, .1 and .01 ms.
    """
    nested = deployment == "nested"
    speeds = {"mobile": 1e9, "edge": 1e10, "cloud": 1e11}
    seconds = {"mobile": 0.030, "edge": 0.030 if nested else 0.020, "cloud": 0.014 if nested else 0.004}
    tiers = tuple(
        TierPlan(
            name=name,
            device=example_device(f"a-{name}", tier=name, memory_bytes=8 * 10**9, macs_per_s=speed, power_w=5.0),
            layers=(f"{name}.0", f"{name}.1"),
            compute_s=seconds[name],
            parameter_bytes=100_000_000,
            activation_bytes=20_000_000,
            estimated=False,
        )
        for name, speed in speeds.items()
    )
    exits = (
        _exit("exit1", "mobile", 2, seconds["mobile"]),
        *(() if nested else (_exit("exit2", "edge", 1, 0.008),)),
        _exit("exit3", "edge", 2, seconds["edge"]),
    )
    return Plan(
        network="example",
        fingerprint="0",
        deployment=deployment,
        tiers=tiers,
        hops=(_hop("mobile", "edge", 0.010), _hop("edge", "cloud", 0.040)),
        exits=exits,
        latency_s=0.104,
        unsplit_s={},
        proof=Proof(status="by hand", method="example"),
    )


def _exit(name: str, tier: str, depth: int, compute_s: float) -> PlannedExit:
    return PlannedExit(
        name=name, tier=tier, tensor=f"{tier}.{depth - 1}", depth=depth, compute_s=compute_s, head_macs=1_000_000
    )


def _hop(source: str, target: str, transfer_s: float) -> Hop:
    link = example_link(8e6, energy_j_per_byte=1e-7)
    size = int(transfer_s * 1_000_000)
    return Hop(source=source, target=target, link=link, tensors=("x",), bytes=size, transfer_s=transfer_s)
