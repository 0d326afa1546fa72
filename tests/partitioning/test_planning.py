"""The plan: what is computed, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sample_profiles import chain_profile, encoder_graph, encoder_profile

from edgepart.errors import EdgepartError, InfeasiblePlan, PlanError, UnknownName
from edgepart.hardware import Device, Link
from edgepart.partitioning import Plan, partition
from edgepart.partitioning.edgelesspart import MemoryShare
from edgepart.testing.hardware import example_device, example_link

MEASURED = example_device("measured", macs_per_s=4e9)
TIERS: dict[str, str | Device] = {
    "mobile": example_device("slow", macs_per_s=1e9),
    "edge": example_device("middling", macs_per_s=2e9),
    "cloud": "this",
}
#: 1 kB takes 1 ms; 1 ms to the edge and back, 2 ms to the cloud
LINKS: dict[str, str | Link] = {"mobile:edge": example_link(8e6, 1e-3), "edge:cloud": example_link(8e6, 2e-3)}
DIMEC = {"mobile": "encoder.layer.1", "edge": "encoder.layer.3"}


def plan(**settings: Any) -> Plan:
    given: dict[str, Any] = {"profile": encoder_profile(MEASURED), "tiers": TIERS, "links": LINKS} | settings
    return partition(given.pop("profile"), given.pop("tiers"), given.pop("links"), **given)


def test_the_optimum_is_no_worse_than_any_cut_of_the_order() -> None:
    best = plan(exits="none")
    layers = [layer.name for layer in encoder_graph().layers]
    assert best.proof.status == "optimal"
    assert best.exits == ()
    for first in layers:
        for second in layers[layers.index(first) :]:
            try:
                cut = plan(exits="none", split_after={"mobile": first, "edge": second})
            except PlanError:
                continue
            assert best.latency_s <= cut.latency_s + 1e-12
    assert all(best.latency_s <= alone + 1e-12 for alone in best.unsplit_s.values())
    # 4 ms a layer, 2 ms, 1 ms: the 160 bytes of input go up as far as it pays
    assert best.unsplit_s["mobile"] == pytest.approx(16 * 4e-3)
    assert best.unsplit_s["cloud"] == pytest.approx(16e-3 + 3e-3 + 2 * 0.16e-3)
    assert best.final_tier == "cloud"


def test_a_split_plan_adds_up() -> None:
    made = plan(split_after=DIMEC)
    assert [tier.compute_s for tier in made.tiers] == pytest.approx([6 * 4e-3, 4 * 2e-3, 6 * 1e-3])
    assert [tier.layer_s for tier in made.tiers] == [(4e-3,) * 6, (2e-3,) * 4, (1e-3,) * 6]
    assert [tier.estimated for tier in made.tiers] == [True, True, False]
    # the hidden states and the mask
    assert [set(hop.tensors) for hop in made.hops] == [
        {"encoder.layer.1.output", "mask"},
        {"encoder.layer.3.output", "mask"},
    ]
    assert [hop.bytes for hop in made.hops] == [440, 440]
    transfers = sum(hop.transfer_s for hop in made.hops)
    assert made.latency_s == pytest.approx(sum(tier.compute_s for tier in made.tiers) + transfers)
    assert made.tiers[0].parameter_bytes == 5 * 1000


def test_exits_lie_inside_their_parts_and_the_plan_finds_them_again() -> None:
    made, graph = plan(split_after=DIMEC), encoder_graph()
    assert made.exit_names == (
        "mobile-1",
        "mobile-2",
        "mobile-3",
        "edge-1",
        "edge-2",
        "cloud-1",
        "cloud-2",
        "cloud-3",
        "final",
    )
    for point in made.exits:
        crossing = made.exit_boundary(graph, point).tensors
        assert [name for name in crossing if graph.tensor(name).feature] == [point.tensor]
    ends = {point.tier: point for point in made.exits}
    assert (ends["mobile"].tensor, ends["edge"].tensor) == ("encoder.layer.1.output", "encoder.layer.3.output")
    assert ends["mobile"].compute_s == pytest.approx(made.tiers[0].compute_s)
    assert all(point.head is None for point in made.exits)


def test_nested_starts_from_the_raw_input_everywhere() -> None:
    made = plan(split_after=DIMEC, deployment="nested", exits="none")
    # the exits at the ends are needed to answer at all
    assert [(point.tier, point.tensor) for point in made.exits] == [
        ("mobile", "encoder.layer.1.output"),
        ("edge", "encoder.layer.3.output"),
    ]
    assert [tier.compute_s for tier in made.tiers] == pytest.approx([6 * 4e-3, 10 * 2e-3, 16 * 1e-3])
    assert [tier.layer_s for tier in made.tiers] == [(4e-3,) * 6, (2e-3,) * 4, (1e-3,) * 6]
    assert [point.compute_s for point in made.exits] == pytest.approx([6 * 4e-3, 10 * 2e-3])
    assert [hop.tensors for hop in made.hops] == [("ids", "attention_mask")] * 2
    assert made.latency_s == pytest.approx(16e-3 + 3e-3 + 2 * 0.16e-3)
    assert made.tiers[2].parameter_bytes == sum(encoder_graph().parameters.values())


def test_exits_by_hand() -> None:
    made = plan(split_after=DIMEC, exit_after={"early": "encoder.layer.0", "middle": "encoder.layer.3"})
    assert [(point.name, point.tier, point.tensor) for point in made.exits] == [
        ("early", "mobile", "encoder.layer.0.output"),
        ("middle", "edge", "encoder.layer.3.output"),
    ]
    named = plan(split_after=DIMEC, deployment="nested", exit_after=["encoder.layer.0"])
    assert named.exit_names == ("mobile-1", "mobile-2", "edge-1", "final")


def test_exits_by_a_rule_keep_to_a_limit_and_those_by_hand_are_held_against_it() -> None:
    limits = {"mobile.exits": 1.0, "cloud.exits": 0.0}
    made = plan(split_after=DIMEC, limits=limits)
    assert made.exit_names == ("mobile-1", "edge-1", "edge-2", "final")
    assert made.exits[0].tensor == "encoder.layer.1.output"
    with pytest.raises(InfeasiblePlan, match="'mobile' would hold 2 exits, above its limit of 1"):
        plan(split_after=DIMEC, exit_after=["encoder.layer.0", "encoder.layer.1"], limits=limits)
    with pytest.raises(InfeasiblePlan, match="'edge' would hold 1 exits, above its limit of 0"):
        plan(split_after=DIMEC, deployment="nested", limits={"edge.exits": 0.0})


def test_a_limit_moves_the_split() -> None:
    quick = {**TIERS, "mobile": example_device("quick", macs_per_s=4e9)}
    free = plan(tiers=quick, exits="none")
    assert free.final_tier == "mobile"
    tight = plan(tiers=quick, exits="none", limits={"mobile.memory": free.tiers[0].memory_bytes - 1})
    assert tight.latency_s > free.latency_s
    assert tight.tiers[0].memory_bytes < free.tiers[0].memory_bytes
    assert "mobile" in free.unsplit_s
    assert "mobile" not in tight.unsplit_s
    assert tight.proof.status == "optimal"
    with pytest.raises(InfeasiblePlan, match=r"'mobile' needs 4.24 kB, 4.14 kB above its limit of 100 B"):
        plan(pins={"encoder.layer.0": "mobile"}, exits="none", limits={"mobile.memory": 100})


def test_a_device_is_its_own_limit() -> None:
    small = {**TIERS, "cloud": example_device("small", memory_bytes=5000, macs_per_s=4e9)}
    made = plan(tiers=small, exits="none")
    assert made.tiers[2].memory_limit_bytes == 5000
    assert made.tiers[2].memory_bytes <= 5000
    assert "cloud" not in made.unsplit_s
    with pytest.raises(InfeasiblePlan, match=r"'cloud' needs .* above the memory of small, 5 kB"):
        plan(tiers=small, split_after={"mobile": "embed", "edge": "encoder.layer.0"})


def test_one_tier_takes_everything() -> None:
    made = plan(tiers={"cloud": "this"}, links={})
    assert made.tiers[0].layers == tuple(layer.name for layer in encoder_graph().layers)
    assert made.hops == ()
    assert made.exit_tiers == ("cloud",) * 4


def test_a_plan_is_read_back_equal(tmp_path: Path) -> None:
    made = plan(split_after=DIMEC)
    made.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == made


def test_links_may_be_keyed_by_pairs() -> None:
    pairs = {("mobile", "edge"): LINKS["mobile:edge"], ("edge", "cloud"): LINKS["edge:cloud"]}
    assert plan(links=pairs) == plan()


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"objective": "enrgy"}, UnknownName, "unknown quantity 'enrgy'; did you mean energy"),
        ({"objective": "energy"}, PlanError, "the device 'slow' of tier 'mobile' states no power_w"),
        ({"objective": "money"}, PlanError, "no tier has a price to count 'money' from: add --price"),
        ({"limits": {"latency": -1.0}}, PlanError, "the limit latency=-1 leaves nothing"),
        ({"limits": {"mobile:cloud.bytes": 1.0}}, UnknownName, "unknown link 'mobile:cloud'"),
        ({"prices": {"clod": "aws-lambda"}}, UnknownName, "unknown tier 'clod'"),
        ({"prices": {"cloud": "dimec"}}, PlanError, "in units of its own"),
        ({"forbid": {"pool": ["mobile", "edge", "cloud"]}}, InfeasiblePlan, "'pool' is forbidden on every tier"),
        ({"forbid": {"poll": "mobile"}}, UnknownName, "did you mean pool"),
        ({"keep_local": ["inptu"]}, UnknownName, "did you mean input"),
        ({"exit_shares": 1.5}, PlanError, "1.5 is assumed to leave"),
        ({"exit_shares": 0.5, "exits": "none"}, PlanError, "so nothing can leave early"),
        ({"exit_shares": 0.5, "exit_after": ["pool"]}, PlanError, "drop one"),
        ({"tiers": {}}, PlanError, "no tiers are given"),
        ({"tiers": {"my tier": "this"}, "links": {}}, PlanError, "'my tier' cannot name a tier"),
        ({"tiers": {**TIERS, "mobile": "raspberry-pi-44"}}, UnknownName, "did you mean raspberry-pi-4"),
        ({"links": {"mobile:edge": "wify", "edge:cloud": "4g"}}, UnknownName, "did you mean wifi"),
        ({"links": {"mobile:edge": "wifi"}}, PlanError, "no link joins edge to cloud: add --link edge:cloud=NAME"),
        ({"links": {**LINKS, "edge:mobile": "4g"}}, PlanError, "edge:mobile does not lead upwards"),
        ({"links": {**LINKS, "edge:clod": "4g"}}, UnknownName, "unknown tier 'clod'; did you mean cloud"),
        ({"links": {**LINKS, "edge": "4g"}}, PlanError, "expected LOWER:UPPER"),
        ({"limits": {"mobil.memory": 1}}, UnknownName, "unknown tier 'mobil'; did you mean mobile"),
        ({"limits": {"mobile.memry": 1}}, UnknownName, "unknown quantity of a tier 'memry'; did you mean memory"),
        ({"limits": {"mobile.memory": 0}}, PlanError, "at least one byte"),
        ({"pins": {"embedd": "mobile"}}, UnknownName, "unknown module or layer 'embedd'; did you mean embed"),
        ({"pins": {"embed": "moblie"}}, UnknownName, "unknown tier 'moblie'; did you mean mobile"),
        (
            {"pins": {"embed": "cloud", "pool": "mobile"}},
            InfeasiblePlan,
            "embed=cloud and pool=mobile contradict each other: 'pool' depends on 'embed'",
        ),
        ({"pins": {"encoder": "edge", "embed": "cloud"}}, PlanError, "pinned to both 'edge' and 'cloud'"),
        (
            {"pins": {"embed": "cloud"}, "method": "memory-share"},
            InfeasiblePlan,
            "only minimum-cut works around constraints",
        ),
        ({"method": "minimum-cat"}, UnknownName, "did you mean minimum-cut"),
        ({"method": MemoryShare(), "split_after": DIMEC}, PlanError, "drop one"),
        ({"deployment": "nested"}, PlanError, "give the boundaries by hand"),
        ({"deployment": "nestled"}, UnknownName, "did you mean nested"),
        ({"exits": "linier"}, UnknownName, "did you mean linear"),
        ({"exits_per_part": 0}, PlanError, "expected 1 or more"),
        ({"exit_after": ["encoder.layer.3.attention"]}, PlanError, "not exactly one feature tensor crosses"),
        ({"exit_after": ["pool", "pool"]}, PlanError, "two exits are asked for at the same place"),
        ({"exit_after": {"final": "pool"}}, PlanError, "'final' cannot name an exit"),
        ({"exit_after": {"a/b": "pool"}}, PlanError, "'a/b' cannot name an exit"),
        (
            {"exit_after": {"edge-1": "embed"}, "deployment": "nested", "split_after": DIMEC},
            PlanError,
            "two exits would be called 'edge-1'",
        ),
        (
            {"deployment": "nested", "split_after": {"mobile": "encoder.layer.1.attention", "edge": "pool"}},
            PlanError,
            "a nested tier answers at its end, but not exactly one feature tensor crosses",
        ),
        ({"head": "linaer"}, UnknownName, "unknown exit template 'linaer'"),
    ],
)
def test_what_is_wrong_is_said(settings: dict[str, Any], error: type[EdgepartError], says: str) -> None:
    with pytest.raises(error) as caught:
        plan(**settings)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_exit_called_like_a_tensor_that_crosses_is_told_before_anything_is_built() -> None:
    """One inside a part is nobody's business."""
    names = {"first": 1e-3, "final": 1e-3, "third": 1e-3, "last": 1e-3}
    profile = chain_profile(names, [(i, i + 1, 1e-3) for i in range(4)], MEASURED)
    given = {"profile": profile, "tiers": {"edge": "this", "cloud": "this"}, "links": {"edge:cloud": "wifi"}}
    inside = plan(**given, split_after={"edge": "third"}, exit_after=["first"])
    assert inside.exit_names == ("edge-1", "final")
    with pytest.raises(PlanError, match=r"exit 'final' is called like a tensor that crosses .* rename that layer"):
        plan(**given, split_after={"edge": "final"})
    with pytest.raises(PlanError, match=r"exit 'third' is called like a tensor that crosses .* give it another name"):
        plan(**given, split_after={"edge": "third"}, exit_after={"third": "first"})
