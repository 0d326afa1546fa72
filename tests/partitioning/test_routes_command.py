"""A direct link as a person uses it: what is printed, drawn, refused, and what rules and hands make of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sample_profiles import encoder_graph, encoder_profile

from edgepart.cli import main
from edgepart.errors import EdgepartError, InfeasiblePlan, PlanError, UnknownName
from edgepart.evaluation.cautions import about_latency
from edgepart.evaluation.drawing import describe, draw_plan
from edgepart.evaluation.plots import latency
from edgepart.evaluation.report import PlanReport
from edgepart.hardware import Profile
from edgepart.partitioning import Plan, partition
from edgepart.partitioning.edgelesspart import LatencyMatch, MemoryShare
from edgepart.testing.hardware import example_device, example_link

TIERS = ["--tier", "mobile=raspberry-pi-4", "--tier", "edge=raspberry-pi-5", "--tier", "cloud=this"]
CHAIN = ["--link", "mobile:edge=wifi", "--link", "edge:cloud=4g"]
DIRECT = ["--link", "mobile:cloud=ethernet"]
PLACES = {"mobile": "raspberry-pi-4", "edge": "raspberry-pi-5", "cloud": "this"}
LINKS = {"mobile:edge": "wifi", "edge:cloud": "4g", "mobile:cloud": "ethernet"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    encoder_profile(example_device("server", macs_per_s=1e12)).save(tmp_path / "profile.json")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> int:
    return main(["partition", "profile.json", *arguments])


def made_from() -> Profile:
    return encoder_profile(example_device("server", macs_per_s=1e12))


def plan(**settings: Any) -> Plan:
    return partition(made_from(), PLACES, LINKS, **settings)


def test_a_better_direct_link_is_taken_and_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*TIERS, *CHAIN, *DIRECT) == 0
    shown = capsys.readouterr().out
    assert "mobile > cloud" in shown
    assert "edge > cloud" not in shown
    assert "edge (raspberry-pi-5) is left out: the way is mobile > cloud over ethernet." in shown
    assert "all on edge" in shown
    assert "Proven optimal by minimum-cut over 2 routes" in shown
    made = Plan.load(folder / "plan.json")
    assert [tier.name for tier in made.left_out] == ["edge"]
    without = json.loads((folder / "plan.json").read_text())
    del without["left_out"]
    (folder / "plan.json").write_text(json.dumps(without))
    assert Plan.load(folder / "plan.json").left_out == ()


def test_a_worse_direct_link_changes_nothing_but_the_proof(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*TIERS, *CHAIN, "-o", "before.json") == 0
    assert run(*TIERS, *CHAIN, "--link", "mobile:cloud=3g", "-o", "after.json") == 0
    before, after = Plan.load(folder / "before.json"), Plan.load(folder / "after.json")
    update = {"proof": before.proof}
    assert after.model_copy(update=update).model_dump() == before.model_dump()
    assert "left out" not in capsys.readouterr().out


def test_limits_and_objectives_name_the_direct_link(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*TIERS, *CHAIN, *DIRECT, "--limit", "mobile:cloud.bytes=0B") == 0
    assert "left out" not in capsys.readouterr().out
    assert run(*TIERS, *CHAIN, *DIRECT, "--objective", "mobile:cloud.bytes", "--pin", "classify=cloud") == 0
    assert "Minimised: mobile:cloud.bytes, 0 B a sample" in capsys.readouterr().out
    tiers = [text.replace("raspberry-pi-5", "jetson-orin-nano") for text in TIERS]
    assert run(*tiers, *CHAIN, *DIRECT, "--objective", "edge.energy", "--pin", "classify=cloud", "--json") == 0
    assert json.loads(capsys.readouterr().out)["predicted"]["edge.energy"] == 0


def test_what_if_and_trace_over_the_direct_link(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "walk.csv").write_text("time,up_mbps\n0,0.1\n1,900\n2,900\n3,0\n4,900\n")
    span = "link.mobile:cloud.bandwidth=0.01..1000Mbps"
    assert run(*TIERS, *CHAIN, *DIRECT, "--what-if", span, "--under-trace", "mobile:cloud=walk.csv") == 0
    shown = capsys.readouterr().out
    assert f"Best plan by {span.partition('=')[0]} (breakpoints exact)" in shown
    assert "mobile > cloud" in shown
    assert "Outages, 20.0 % of the time" in shown
    assert not (folder / "plan.json").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([*CHAIN, *DIRECT, *DIRECT], "--link names 'mobile:cloud' twice: give it once"),
        ([*CHAIN, "--link", "cloud:mobile=4g"], "the link cloud:mobile does not lead upwards"),
        ([*CHAIN, "--link", "mobile:mobile=4g"], "the link mobile:mobile does not lead upwards"),
        ([*CHAIN, "--link", "mobile:clod=4g"], "unknown tier 'clod'; did you mean cloud"),
        (DIRECT, "no link joins mobile to edge: add --link mobile:edge=NAME"),
        (["--link", "mobile:edge=wifi"], "add --link edge:cloud=NAME, or one from another tier below cloud"),
        ([*CHAIN, "--limit", "mobile:cloud.bytes=1kB"], "unknown link 'mobile:cloud'"),
        ([*CHAIN, *DIRECT, "--limit", "latency=1us"], "no placement on any route satisfies latency <= 1 µs"),
    ],
)
def test_mistakes_are_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert run(*TIERS, *arguments) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("edgepart: ")
    assert shown.err.count("\n") == 1
    assert says in shown.err
    assert not (folder / "plan.json").exists()


def test_a_link_given_twice_in_python() -> None:
    links: Any = {**LINKS, ("mobile", "cloud"): "4g"}
    with pytest.raises(PlanError, match="the link mobile:cloud is given twice"):
        partition(encoder_profile(example_device()), PLACES, links)


def test_rules_take_the_route_with_most_tiers() -> None:
    for rule in (MemoryShare([0.3, 0.7]), LatencyMatch()):
        made = plan(method=rule)
        assert made.tier_names == ("mobile", "edge", "cloud")
        assert made.proof.status == "rule"


def test_by_hand_the_named_tiers_say_which_route() -> None:
    assert plan(split_after={"mobile": "embed"}).tier_names == ("mobile", "cloud")
    both = plan(split_after={"mobile": "embed", "edge": "encoder.layer.1"})
    assert both.tier_names == ("mobile", "edge", "cloud")
    nested = plan(split_after={"mobile": "encoder.layer.0"}, deployment="nested")
    assert nested.tier_names == ("mobile", "cloud")
    assert [tier.name for tier in nested.left_out] == ["edge"]
    for wrong, error, says in (
        ({"edge": "embed"}, PlanError, "no boundary is given for tier 'mobile'"),
        ({"mobil": "embed"}, UnknownName, "did you mean mobile"),
    ):
        with pytest.raises(EdgepartError, match=says) as caught:
            plan(split_after=wrong)
        assert isinstance(caught.value, error)


def test_exits_lie_on_the_route_that_is_taken() -> None:
    made = plan(exit_shares=0.5)
    assert made.tier_names == ("mobile", "cloud")
    assert made.exits
    assert {point.tier for point in made.exits} <= {"mobile", "cloud"}
    with pytest.raises(InfeasiblePlan, match="pin"):
        plan(pins={"embed": "cloud", "classify": "edge"})


def test_links_may_be_missing_where_another_way_leads_up() -> None:
    links = {"mobile:edge": example_link(1e6), "mobile:cloud": example_link(1e9)}
    made = partition(made_from(), PLACES, links)
    assert made.tier_names == ("mobile", "cloud")
    assert set(made.unsplit_s) == {"mobile", "edge", "cloud"}
    # both routes have the tiers that are named: the better one is taken
    by_hand = partition(made_from(), PLACES, links, split_after={"mobile": "embed"})
    assert by_hand.tier_names == ("mobile", "cloud")
    assert by_hand.proof.status == "by hand"


def test_the_drawing_and_the_report_tell_what_is_left_out() -> None:
    made = plan()
    assert "raspberry" in describe(made).lower()
    assert "is left out" in describe(made)
    assert ", past edge" in draw_plan(encoder_graph(), made)
    assert "all on edge" in latency(PlanReport.of(made))
    slow = made.model_copy(update={"unsplit_s": {"edge": 1e-9}})
    assert ["the whole network on edge alone" in said for said in about_latency(slow)] == [True]
