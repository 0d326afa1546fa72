"""Tiers measured where they are, what their runtimes take, and parts predicted as they will run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sample_profiles import encoder_graph, encoder_profile, measured
from test_planning import DIMEC, LINKS, MEASURED, TIERS

from edgepart.cli import main
from edgepart.errors import EdgepartError, FileError, InfeasiblePlan, PlanError, UnknownName
from edgepart.hardware import Cut, PartMemory, Profile
from edgepart.partitioning import Plan, partition
from edgepart.partitioning.make_problem import make_problem
from edgepart.partitioning.what_if import what_if
from edgepart.testing.hardware import example_device

LAYERS = [layer.name for layer in encoder_graph().layers]
#: what a call costs on the board, beside 2 ms a layer
CALL_S = 0.5e-3


def memory(runtime_bytes: int) -> tuple[PartMemory, ...]:
    whole = {"start": 0, "stop": len(LAYERS), "parameter_bytes": 100, "predicted_activation_bytes": 50}
    return (PartMemory(resident_bytes=runtime_bytes, peak_bytes=runtime_bytes + 150, **whole),)


def server(runtime_bytes: int = 0) -> Profile:
    """1 ms a layer on the runtime called fake."""
    found = encoder_profile(MEASURED)
    return found.model_copy(update={"memory": memory(runtime_bytes)}) if runtime_bytes else found


def board(positions: tuple[int, ...] = (), runtime_bytes: int = 300, name: str = "board", **facts: str) -> Profile:
    """2 ms a layer and half of one for a call, on another runtime."""
    seconds, count = 2e-3, len(LAYERS)
    cuts = tuple(
        Cut(position=x, before=measured(seconds * x + CALL_S), after=measured(seconds * (count - x) + CALL_S))
        for x in positions
    )
    made = encoder_profile(example_device(name, macs_per_s=5e8, memory_bytes=90_000, facts=facts))
    layers = tuple(one.model_copy(update={"latency": measured(seconds)}) for one in made.layers)
    segments = tuple(one.model_copy(update={"latency": measured(seconds + CALL_S)}) for one in made.segments)
    whole = {"end_to_end": measured(seconds * count + CALL_S), "runtime": "other", "cuts": cuts}
    held = memory(runtime_bytes) if runtime_bytes else ()
    return made.model_copy(update={"layers": layers, "segments": segments, "memory": held, **whole})


def plan(**settings: Any) -> Plan:
    given: dict[str, Any] = {"profile": server(), "tiers": TIERS, "links": LINKS, "exits": "none"} | settings
    return partition(given.pop("profile"), given.pop("tiers"), given.pop("links"), **given)


def test_a_tiers_own_profile_is_not_scaled() -> None:
    made = plan(tiers={**TIERS, "mobile": board()}, split_after=DIMEC)
    mobile, edge, cloud = made.tiers
    assert mobile.device == board().device
    assert mobile.layer_s == pytest.approx((2.5e-3,) * 6)  # no cuts: layers sum to their segments
    assert (mobile.estimated, edge.estimated, cloud.estimated) == (False, True, False)
    assert [tier.runtime for tier in made.tiers] == ["other", "fake", "fake"]
    assert [tier.runtime_bytes for tier in made.tiers] == [300, 0, 0]
    assert mobile.memory_limit_bytes == 90_000


def test_a_file_of_a_profile_is_as_good_as_the_profile(tmp_path: Path) -> None:
    board((3, 9)).save(tmp_path / "board.json")
    from_file = plan(tiers={**TIERS, "mobile": str(tmp_path / "board.json")})
    assert from_file == plan(tiers={**TIERS, "mobile": board((3, 9))})
    assert from_file == plan(tiers={**TIERS, "mobile": tmp_path / "board.json"})


def test_another_machine_is_not_called_this_one() -> None:
    here = server().model_copy(update={"device": example_device("this", facts={"processor": "Server"})})
    tiers = {**TIERS, "mobile": board((3, 6), name="this", processor="Board")}
    made = plan(profile=here, tiers=tiers, split_after=DIMEC)
    assert [tier.device.name for tier in made.tiers] == ["Board", "middling", "this"]
    assert made.tiers[0].measured
    same = plan(profile=here, tiers={**TIERS, "mobile": board(name="this", processor="Server")}, split_after=DIMEC)
    assert same.tiers[0].device.name == "this"


def test_what_a_runtime_takes_is_charged_where_a_layer_runs() -> None:
    made = plan(profile=server(1000), split_after=DIMEC)
    without = plan(split_after=DIMEC)
    assert [a.memory_bytes - b.memory_bytes for a, b in zip(made.tiers, without.tiers, strict=True)] == [1000] * 3
    assert [made.memory_bytes(a) - made.part_bytes(a) for a in made.tiers] == [1000] * 3
    whole = plan(profile=server(1000), tiers={"mobile": "this", "cloud": "this"}, links={"mobile:cloud": "wifi"})
    assert [tier.layers == () for tier in whole.tiers] == [False, True]
    assert (whole.tiers[1].runtime_bytes, whole.tiers[1].memory_bytes) == (1000, 0)
    stated = plan(profile=server(1000), split_after=DIMEC, runtime_memory={"mobile": 0, "edge": 70})
    assert [tier.runtime_bytes for tier in stated.tiers] == [0, 70, 1000]


def test_a_kit_measures_no_memory_and_the_same_runtime_is_taken_to_need_as_much() -> None:
    kit = board(runtime_bytes=0)
    assert plan(profile=server(1000), tiers={**TIERS, "mobile": kit}).tiers[0].runtime_bytes == 0
    same = kit.model_copy(update={"runtime": "fake"})
    assert plan(profile=server(1000), tiers={**TIERS, "mobile": same}).tiers[0].runtime_bytes == 1000


def test_a_limit_below_the_runtime_leaves_a_tier_empty_or_is_told() -> None:
    quick = {**TIERS, "mobile": example_device("quick", macs_per_s=1e12)}
    limits = {"mobile.memory": 999.0}
    assert plan(profile=server(1000), tiers=quick).tiers[0].layers
    assert plan(profile=server(1000), tiers=quick, limits=limits).tiers[0].layers == ()
    says = (
        r"'mobile' needs .* \(1 kB of it the runtime\), .* above its limit of 999 B.* on 'mobile' the runtime fake "
        r"alone takes 1 kB, more than the 999 B .* raise the limit, .*--tier mobile=PROFILE.json.*"
        r"--runtime-memory mobile=SIZE"
    )
    with pytest.raises(InfeasiblePlan, match=says):
        plan(profile=server(1000), pins={"embed": "mobile"}, limits=limits)
    with pytest.raises(InfeasiblePlan, match=rf"the plan does not fit: {says}"):
        plan(profile=server(1000), split_after=DIMEC, limits=limits)
    # a limit that only the network exceeds is no matter of the runtime
    with pytest.raises(InfeasiblePlan) as caught:
        plan(profile=server(1000), split_after=DIMEC, limits={"mobile.memory": 1001.0})
    assert "alone" not in str(caught.value)


def test_a_serverless_size_must_hold_the_runtime() -> None:
    settings: dict[str, Any] = {"prices": {"cloud": "aws-lambda"}, "pins": {"embed": "cloud"}, "objective": "money"}
    small, large = (plan(profile=server(taken), **settings).predicted["money"] for taken in (1000, 600_000_000))
    assert large > 1.9 * small
    with pytest.raises(InfeasiblePlan):
        plan(profile=server(60_000_000_000), tiers={**TIERS, "cloud": big()}, **settings)


def big() -> Any:
    return example_device("big", memory_bytes=10**12, macs_per_s=4e9)


def test_a_range_of_limits_has_a_step_where_the_runtime_no_longer_fits() -> None:
    quick = {"mobile": example_device("quick", macs_per_s=1e12), "cloud": "this"}
    problem = make_problem(server(1000), quick, {"mobile:cloud": LINKS["mobile:edge"]})
    found = what_if(problem, "limit.mobile.memory=900..20000B")
    first = found.pieces[0]
    assert first.plan is not None
    assert set(found.plans[first.plan].tier_of.values()) == {1}
    assert first.stop > 1000 >= first.start


def test_parts_are_predicted_as_they_were_measured_or_from_pieces() -> None:
    tiers = {"mobile": board(tuple(range(1, len(LAYERS)))), "cloud": "this"}
    links = {"mobile:cloud": LINKS["mobile:edge"]}
    for module, count in (("encoder.layer.0", 4), ("encoder.layer.2", 8)):
        made = plan(tiers=tiers, links=links, split_after={"mobile": module})
        mobile, cloud = made.tiers
        assert len(mobile.layers) == count
        assert mobile.part_s == pytest.approx(2e-3 * count + CALL_S)
        assert mobile.measured
        assert mobile.compute_s < mobile.part_s
        # without cuts a part is the sum of its layers, and not measured
        assert cloud.part_s == pytest.approx(cloud.compute_s)
        assert not cloud.measured
        difference = mobile.part_s - mobile.compute_s
        assert made.parts_latency_s == pytest.approx(made.latency_s + difference)


def test_exits_cut_a_part_into_artefacts_of_their_own() -> None:
    own = board(tuple(range(1, len(LAYERS))))
    tiers, links = {"mobile": own, "cloud": "this"}, {"mobile:cloud": LINKS["mobile:edge"]}
    split = {"mobile": "encoder.layer.4"}
    exits = ["encoder.layer.1", "encoder.layer.3"]
    made = plan(tiers=tiers, links=links, split_after=split, exits="linear", exit_after=exits)
    mobile = made.tiers[0]
    ends = [point.depth for point in made.exits if point.tier == "mobile"]
    assert len(ends) == 2
    pieces = [own.part_latency_s(mobile.layers[a:b]).seconds for a, b in ((0, ends[0]), ends, (ends[1], None))]
    reached = [point.part_s for point in made.exits if point.tier == "mobile"]
    assert [*reached, mobile.part_s] == pytest.approx([pieces[0], sum(pieces[:2]), sum(pieces)])
    whole = plan(tiers=tiers, links=links, split_after=split)
    assert whole.tiers[0].part_s is not None
    assert mobile.part_s is not None
    assert mobile.part_s > whole.tiers[0].part_s + CALL_S


def test_nested_parts_start_from_the_raw_input() -> None:
    tiers, links = {"mobile": board(), "cloud": board((5, 9))}, {"mobile:cloud": LINKS["mobile:edge"]}
    made = plan(tiers=tiers, links=links, split_after={"mobile": "encoder.layer.2"}, deployment="nested")
    assert made.tiers[1].part_s == pytest.approx(board((5, 9)).end_to_end.median_s)
    assert made.parts_latency_s == pytest.approx(made.tiers[1].part_s + made.hops[0].transfer_s)


def test_what_is_estimated_is_not_called_measured() -> None:
    made = plan(profile=board(tuple(range(1, len(LAYERS)))), split_after=DIMEC)
    assert [tier.estimated for tier in made.tiers] == [True, True, False]
    assert not any(tier.measured for tier in made.tiers[:2])
    # half of the board's rate takes twice as long, its calls too
    assert made.tiers[0].part_s == pytest.approx((2e-3 * 6 + CALL_S) / 2)


def test_plans_of_earlier_versions_open(tmp_path: Path) -> None:
    made = plan(profile=server(1000), split_after=DIMEC)
    made.save(tmp_path / "plan.json")
    document = json.loads((tmp_path / "plan.json").read_text())
    del document["parts_latency_s"]
    for tier in document["tiers"]:
        for field in ("part_s", "measured", "runtime", "runtime_bytes"):
            del tier[field]
    (tmp_path / "old.json").write_text(json.dumps(document))
    old = Plan.load(tmp_path / "old.json")
    assert old.parts_latency_s is None
    assert [tier.memory_bytes for tier in old.tiers] == [tier.memory_bytes - 1000 for tier in made.tiers]


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"tiers": {**TIERS, "mobile": encoder_profile(MEASURED, blocks=2)}}, PlanError, "tier 'mobile' is of the net"),
        ({"tiers": {**TIERS, "mobile": "nowhere.json"}}, FileError, "nowhere.json does not exist"),
        ({"runtime_memory": {"mobil": 1}}, UnknownName, "did you mean mobile"),
        ({"runtime_memory": {"mobile": -1}}, PlanError, "expected 0 or more"),
        ({"runtime_memory": {"mobile": float("nan")}}, PlanError, "expected 0 or more"),
    ],
)
def test_what_is_wrong_with_a_tier_is_said(settings: dict[str, Any], error: type[EdgepartError], says: str) -> None:
    with pytest.raises(error, match=says):
        plan(**settings)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    server(1000).save(tmp_path / "server.json")
    board((3, 6, 9)).save(tmp_path / "board.json")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_shows_which_figure_to_expect(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    links = ["--link", "mobile:cloud=wifi", "--exits", "none", "--split-after", "mobile=encoder.layer.1"]
    assert main(["partition", "server.json", "--tier", "mobile=board.json", "--tier", "cloud=this", *links]) == 0
    shown = capsys.readouterr().out
    made = Plan.load(folder / "plan.json")
    assert made.tiers[0].part_s == pytest.approx(6 * 2e-3 + CALL_S)
    assert shown_row(shown, "mobile")[1:9] == ["board", "other", "6", "12.5", "ms", "this", "very", "part"]
    assert "expect" in shown
    assert "layers added up" in shown
    memory = shown_row(shown[shown.index("Memory") :], "mobile")
    # parameters, activations, heads, runtime, in all, limit
    assert memory[5:9] == ["0", "B", "300", "B"]


def shown_row(shown: str, tier: str) -> list[str]:
    return next(line.split() for line in shown.splitlines() if line.split()[:1] == [tier])


def test_the_command_says_why_a_tier_stays_empty(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiers = ["--tier", "mobile=board.json", "--tier", "cloud=this", "--link", "mobile:cloud=wifi", "--exits", "none"]
    limited = ["partition", "server.json", *tiers, "--limit", "mobile.memory=200B"]
    assert main(limited) == 0
    shown = capsys.readouterr().out
    assert "On 'mobile' the runtime other alone takes 300 B, more than the 200 B" in shown
    assert main([*limited, "--runtime-memory", "mobile=0B"]) == 0
    assert "alone takes" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--tier", "mobile=none.json"], "none.json does not exist"),
        (["--tier", "mobile=cut.json"], "cut.json is not valid JSON"),
        (["--tier", "mobile=plan.json"], "plan.json holds edgepart.plan, expected edgepart.profile"),
        (["--tier", "mobile=other.json"], "the profile of tier 'mobile' is of the network 'example'"),
        (["--tier", "mobile=board.json", "--runtime-memory", "mobile"], "--runtime-memory mobile is not of the form"),
        (["--tier", "mobile=board.json", "--runtime-memory", "mobile=big"], "mobile=big is not a size"),
    ],
)
def test_mistakes_about_a_tier_are_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    plan(split_after=DIMEC).save(folder / "plan.json")
    encoder_profile(MEASURED, blocks=2).save(folder / "other.json")
    (folder / "cut.json").write_text((folder / "board.json").read_text()[:200])
    assert main(["partition", "server.json", *arguments, "--tier", "cloud=this", "--link", "mobile:cloud=wifi"]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("edgepart: ")
    assert shown.err.count("\n") == 1
    assert says in shown.err
