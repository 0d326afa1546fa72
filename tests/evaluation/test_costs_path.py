"""Every path under both deployments, and the seconds along it, by hand."""

import numpy as np
import pytest

from edgepart.evaluation.costs import Facts, tabulate
from edgepart.evaluation.costs.latency import Latency
from edgepart.evaluation.costs.path import Path, Visit, path, plain_path
from edgepart.partitioning.plan import Plan
from edgepart.testing.cost_models import CostModelContract, example_plan

INF = np.inf


class TestLatency(CostModelContract):
    def cost_model(self) -> Latency:
        return Latency()


def test_split_seconds_by_hand() -> None:
    """Heads: mobile 1 ms, edge .1 ms each. Entering later skips heads, not layers or hops."""
    costs = tabulate(Latency(), example_plan("split"))
    expected = [
        [0.030 + 0.001, 0.031 + 0.010 + 0.008 + 0.0001, 0.031 + 0.010 + 0.020 + 0.0002, 0.0612 + 0.040 + 0.004],
        [INF, 0.030 + 0.010 + 0.008 + 0.0001, 0.030 + 0.010 + 0.020 + 0.0002, 0.0602 + 0.040 + 0.004],
        [INF, INF, INF, 0.030 + 0.010 + 0.020 + 0.040 + 0.004],
    ]
    assert costs.table == pytest.approx(np.array(expected))
    assert costs.full_model == pytest.approx(example_plan("split").latency_s)
    assert costs.unit == "s"


def test_nested_seconds_by_hand() -> None:
    """A tier starts from the raw input; a cascade adds up; a router's choice goes straight there."""
    costs = tabulate(Latency(), example_plan("nested"))
    expected = [
        [0.031, 0.031 + 0.010 + 0.0301, 0.031 + 0.010 + 0.0301 + 0.040 + 0.014],
        [INF, 0.010 + 0.0301, 0.010 + 0.0301 + 0.040 + 0.014],
        [INF, INF, 0.010 + 0.040 + 0.014],
    ]
    assert costs.table == pytest.approx(np.array(expected))
    assert costs.full_model == pytest.approx(0.064)


def test_the_router_is_charged_if_its_seconds_are_known() -> None:
    assert tabulate(Latency(), example_plan()).router == 0.0
    assert tabulate(Latency(), example_plan(), Facts(router_s=0.002)).router == 0.002


def without(plan: Plan, *, layers_of: tuple[str, ...] = (), exits_of: tuple[str, ...] = ()) -> Plan:
    """The plan with some tiers emptied of layers (and exits), or of exits only."""
    empty = {"layers": (), "compute_s": 0.0}
    tiers = [t.model_copy(update=empty) if t.name in layers_of else t for t in plan.tiers]
    exits = [point for point in plan.exits if point.tier not in (*layers_of, *exits_of)]
    return plan.model_copy(update={"tiers": tuple(tiers), "exits": tuple(exits)})


def tiers_of(found: Path) -> list[int]:
    return [visit.tier for visit in found.visits]


def test_a_tier_without_layers_passes_activations_on() -> None:
    plan = without(example_plan("split"), layers_of=("edge",))
    assert path(plan, 0, 1) == Path((Visit(0, None, 0.031), Visit(2, 1, 0.004)), (0, 1))
    assert plain_path(plan) == Path((Visit(0, None, 0.030), Visit(2, 1, 0.004)), (0, 1))


def test_a_nested_tier_without_exit_is_not_asked() -> None:
    plan = without(example_plan("nested"), exits_of=("edge",))
    assert tiers_of(path(plan, 0, 1)) == [0, 2]
    assert tiers_of(path(plan, 1, 1)) == [2]


@pytest.mark.parametrize("deployment", ["split", "nested"])
def test_everything_on_one_tier(deployment: str) -> None:
    first = without(example_plan(deployment), layers_of=("edge", "cloud"))  # type: ignore[arg-type]
    assert first.final_tier == "mobile"
    costs = tabulate(Latency(), first)
    assert costs.table == pytest.approx(np.array([[0.031, 0.031], [INF, INF], [INF, INF]]))
    assert costs.full_model == pytest.approx(0.030)
    last = without(example_plan(deployment), layers_of=("mobile", "edge"))  # type: ignore[arg-type]
    seconds = 0.050 + last.tiers[2].compute_s
    costs = tabulate(Latency(), last)
    assert costs.table == pytest.approx(np.full((3, 1), seconds))
    assert costs.full_model == pytest.approx(seconds)


def test_heads_on_the_final_tier_are_asked_before_the_final_exit() -> None:
    plan = example_plan("split")
    on_cloud = plan.exits[-1].model_copy(update={"name": "exit4", "tier": "cloud", "depth": 1, "compute_s": 0.001})
    more = plan.model_copy(update={"exits": (*plan.exits, on_cloud)})
    costs, before = tabulate(Latency(), more), tabulate(Latency(), plan)
    assert costs.table[2] == pytest.approx([INF, INF, INF, 0.100 + 0.001 + 1e-5, 0.100 + 0.004 + 1e-5])
    assert costs.full_model == before.full_model


def test_a_single_tier() -> None:
    plan = example_plan("split")
    alone = plan.model_copy(update={"tiers": plan.tiers[:1], "hops": (), "exits": plan.exits[:1]})
    costs = tabulate(Latency(), alone)
    assert costs.table == pytest.approx(np.array([[0.031, 0.031]]))
    assert costs.full_model == pytest.approx(0.030)
