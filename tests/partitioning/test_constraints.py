"""Plans with other objectives, with constraints, and with exits inside the placement."""

from __future__ import annotations

from typing import Any

import pytest
from sample_profiles import encoder_graph, encoder_profile
from test_planning import LINKS, MEASURED, TIERS

from edgepart.errors import InfeasiblePlan
from edgepart.partitioning import ExitShare, Plan, partition
from edgepart.partitioning.stages import chain
from edgepart.testing.hardware import example_device

#: the mobile tier is as fast as the cloud, so that without constraints everything stays there
QUICK = {**TIERS, "mobile": example_device("quick", macs_per_s=4e9)}


def plan(**settings: Any) -> Plan:
    given: dict[str, Any] = {"profile": encoder_profile(MEASURED), "tiers": QUICK, "links": LINKS, "exits": "none"}
    given |= settings
    return partition(given.pop("profile"), given.pop("tiers"), given.pop("links"), **given)


def tier_of(made: Plan) -> dict[str, str]:
    return {layer: tier.name for tier in made.tiers for layer in tier.layers}


def test_forbidden_layers_move_with_all_that_reads_them() -> None:
    assert plan().final_tier == "mobile"
    made = plan(forbid={"encoder.layer.4": ["mobile", "edge"]})
    where = tier_of(made)
    assert {tier for layer, tier in where.items() if layer.startswith("encoder.layer.4")} == {"cloud"}
    assert where["pool"] == "cloud"
    assert made.latency_s > plan().latency_s


def test_groups_share_a_tier() -> None:
    where = tier_of(plan(forbid={"pool": "mobile"}, together=[["encoder.layer.5", "pool"]]))
    assert where["pool"] != "mobile"
    assert {tier for layer, tier in where.items() if layer.startswith("encoder.layer.5")} == {where["pool"]}


def test_the_raw_input_stays() -> None:
    slow = {**TIERS, "mobile": example_device("very slow", macs_per_s=1e7)}
    assert plan(tiers=slow).tiers[0].layers == ()
    kept = plan(tiers=slow, keep_local=["input"])
    graph = encoder_graph()
    readers = {name for tensor in graph.inputs for name in graph.tensor(tensor).consumers}
    assert readers <= set(kept.tiers[0].layers)
    assert not set(kept.hops[0].tensors) & set(graph.inputs)


def test_a_tensor_that_must_stay_where_everything_else_must_leave() -> None:
    with pytest.raises(InfeasiblePlan):
        plan(keep_local=["embed"], pins={"embed": "mobile", "encoder.layer.0": "cloud"})


def test_a_tier_may_be_spared_energy() -> None:
    devices = {
        "mobile": example_device("quick", macs_per_s=4e9).model_copy(update={"power_w": 2.0}),
        "edge": example_device("middling", macs_per_s=2e9),
        "cloud": "this",
    }
    links = {name: link.model_copy(update={"energy_j_per_byte": 1e-6}) for name, link in LINKS.items()}  # type: ignore[union-attr]
    made = plan(tiers=devices, links=links, objective="mobile.energy")
    # two watts for 4 ms of embedding are more than the 160 bytes of raw input cost to send
    assert made.tiers[0].layers == ()
    assert made.predicted["mobile.energy"] == pytest.approx(160e-6)
    assert made.proof.status == "optimal"
    assert "energy" not in made.predicted, "the edge's power is not known"


def exits_at(*going_on: float) -> tuple[ExitShare, ...]:
    graph = encoder_graph()
    names = [f"encoder.layer.{block}.output" for block in range(len(going_on))]
    return tuple(
        ExitShare(name, name, graph.position[name] + 1, share) for name, share in zip(names, going_on, strict=True)
    )


def test_exits_move_the_split() -> None:
    """Where most samples leave early, it pays to keep what they need on the slow device."""
    tiers = {**TIERS, "mobile": example_device("slowish", macs_per_s=2.8e9)}
    without = plan(tiers=tiers)
    assert without.tiers[0].layers == ()
    made = plan(tiers=tiers, exit_shares=exits_at(0.05, 0.01))
    assert made.shares == "recorded"
    assert made.tiers[0].layers
    assert made.predicted["latency"] < made.predicted["full-latency"] == pytest.approx(made.latency_s)
    assert [point.going_on for point in made.exits] == [0.05, 0.01]
    assert [stage.exit for stage in chain(made, encoder_graph()) if stage.exit] == [*made.exit_names]


def test_assumed_shares_are_called_so() -> None:
    made = plan(exit_shares=0.5, exits="linear", exits_per_part=2)
    assert made.shares == "assumed"
    assert len(made.exits) == 2
    assert [point.going_on for point in made.exits] == [0.5**number for number in range(1, len(made.exits) + 1)]
    graph = encoder_graph()
    for point in made.exits:
        assert point.tensor in made.exit_boundary(graph, point).tensors
