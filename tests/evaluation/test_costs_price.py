"""The bill of a serverless function by hand."""

import numpy as np
import pytest

from edgepart.errors import DispatchError, UnknownName
from edgepart.evaluation.costs import tabulate
from edgepart.evaluation.costs.price import ServerlessMoney
from edgepart.hardware import ServerlessPrice
from edgepart.hardware.price import GB
from edgepart.partitioning.plan import Plan
from edgepart.testing.cost_models import CostModelContract, example_plan
from edgepart.testing.hardware import example_device

#: 128 MB with .2 GHz, 256 MB with .4 GHz, steps of 100 ms
PRICE = ServerlessPrice(
    model="serverless",
    name="made-up",
    title="Made-up functions",
    usd_per_gb_s=2.5e-6,
    usd_per_ghz_s=1e-5,
    usd_per_request=4e-7,
    usd_per_gb_egress=0.12,
    step_s=0.1,
    sizes=((256 * 2**20, 0.4), (128 * 2**20, 0.2)),
    source="made up",
)
#: 100 ms of 128 MB and .2 GHz: Google's own table says 0.000000231
STEP = 0.1 * (0.125 * 2.5e-6 + 0.2 * 1e-5)


class TestServerlessMoney(CostModelContract):
    def cost_model(self) -> ServerlessMoney:
        return ServerlessMoney(PRICE)


def changed(plan: Plan, tier: str, **fields: object) -> Plan:
    tiers = tuple(t.model_copy(update=fields) if t.name == tier else t for t in plan.tiers)
    return plan.model_copy(update={"tiers": tiers})


def test_only_samples_that_reach_the_cloud_are_billed() -> None:
    assert pytest.approx(2.3125e-7) == STEP
    for deployment in ("split", "nested"):
        plan = example_plan(deployment)  # type: ignore[arg-type]
        costs = tabulate(ServerlessMoney(PRICE), plan)
        assert np.where(np.isinf(costs.table), 0, costs.table)[:, :-1].sum() == 0
        assert costs.table[:, -1] == pytest.approx([STEP + 4e-7] * 3)
        assert costs.full_model == pytest.approx(STEP + 4e-7)
        assert (costs.router, costs.unit) == (0.0, "USD")


@pytest.mark.parametrize(
    ("seconds", "steps"), [(0.001, 1), (0.1, 1), (0.1001, 2), (0.1 + 0.2, 3), (0.3, 3), (0.7, 7), (0.0, 0)]
)
def test_time_is_billed_in_whole_steps(seconds: float, steps: int) -> None:
    plan = changed(example_plan(), "cloud", compute_s=seconds)
    assert tabulate(ServerlessMoney(PRICE), plan).full_model == pytest.approx(4e-7 + steps * STEP)


def test_heads_need_memory_too() -> None:
    """120 MB of part fit into 128 MB (134.2 million bytes), with 20 MB of heads they do not."""
    bare = example_plan()
    heavy = tuple(point.model_copy(update={"head_bytes": 10_000_000}) for point in bare.exits)
    plan = bare.model_copy(update={"exits": heavy})
    assert [plan.memory_bytes(tier) - bare.memory_bytes(tier) for tier in plan.tiers] == [10_000_000, 20_000_000, 0]
    billed = ServerlessMoney(PRICE.model_copy(update={"usd_per_gb_egress": 0.0}), tiers=("edge",))
    assert tabulate(billed, bare).full_model == pytest.approx(4e-7 + STEP)
    assert tabulate(billed, plan).full_model == pytest.approx(4e-7 + 2 * STEP)


def test_the_smallest_size_that_holds_the_part_is_paid() -> None:
    plan = changed(example_plan(), "cloud", parameter_bytes=128 * 2**20, activation_bytes=0)
    assert tabulate(ServerlessMoney(PRICE), plan).full_model == pytest.approx(4e-7 + STEP)
    plan = changed(example_plan(), "cloud", parameter_bytes=128 * 2**20, activation_bytes=1)
    assert tabulate(ServerlessMoney(PRICE), plan).full_model == pytest.approx(4e-7 + 2 * STEP)
    plan = changed(example_plan(), "cloud", parameter_bytes=10**9, activation_bytes=0)
    with pytest.raises(DispatchError, match="tier 'cloud' needs 1000 MB, Made-up functions offers at most 268 MB"):
        tabulate(ServerlessMoney(PRICE), plan)


def test_heads_asked_in_the_cloud_take_billed_time() -> None:
    plan = changed(example_plan(), "cloud", compute_s=0.0999)
    assert tabulate(ServerlessMoney(PRICE), plan).table[2, 3] == pytest.approx(4e-7 + STEP)
    head = plan.exits[-1].model_copy(
        update={"name": "exit4", "tier": "cloud", "depth": 1, "compute_s": 0.01, "head_macs": 10**8}
    )
    costs = tabulate(ServerlessMoney(PRICE), plan.model_copy(update={"exits": (*plan.exits, head)}))
    # The head takes 1 ms: past the end of the first step. The full model does not ask it.
    assert costs.table[2, 4] == pytest.approx(4e-7 + 2 * STEP)
    assert costs.full_model == pytest.approx(4e-7 + STEP)


def test_named_tiers_are_billed_instead_and_pay_egress() -> None:
    costs = tabulate(ServerlessMoney(PRICE, tiers=("edge", "cloud")), example_plan("split"))
    egress = 40_000 / GB * 0.12
    assert costs.table[0] == pytest.approx([0, 4e-7 + STEP, 4e-7 + STEP, 2 * (4e-7 + STEP) + egress])
    with pytest.raises(UnknownName, match="unknown tier 'clod'; did you mean cloud"):
        tabulate(ServerlessMoney(PRICE, tiers=("clod",)), example_plan())


def test_the_cloud_is_known_by_tier_name_or_device() -> None:
    plan = changed(example_plan(), "cloud", name="server")
    hops = (plan.hops[0], plan.hops[1].model_copy(update={"target": "server"}))
    assert tabulate(ServerlessMoney(PRICE), plan.model_copy(update={"hops": hops})).full_model > 0
    local = changed(example_plan(), "cloud", device=example_device())
    assert tabulate(ServerlessMoney(PRICE), local).full_model > 0
    neither = changed(plan, "server", device=example_device()).model_copy(update={"hops": hops})
    with pytest.raises(DispatchError, match=r"no tier of the plan is in the cloud \(mobile, edge, server\)"):
        tabulate(ServerlessMoney(PRICE), neither)


def test_the_abstract_price_is_refused() -> None:
    with pytest.raises(DispatchError, match="'dimec' is not one of serverless functions: use the cost model 'dimec'"):
        ServerlessMoney("dimec")
