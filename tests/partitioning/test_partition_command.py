"""``edgepart partition`` as a person or a script uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sample_profiles import encoder_profile

from edgepart.cli import main
from edgepart.partitioning import Plan
from edgepart.testing.hardware import example_device

TIERS = ["--tier", "mobile=raspberry-pi-4", "--tier", "edge=jetson-orin-nano", "--tier", "cloud=this"]
LINKS = ["--link", "mobile:edge=wifi", "--link", "edge:cloud=4g"]
CHAIN = [*TIERS, *LINKS]
SPEED = "tier.edge.speed=0.5..4"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    encoder_profile(example_device("server", macs_per_s=1e11)).save(tmp_path / "profile.json")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> int:
    return main(["partition", "profile.json", *arguments])


def test_prints_the_plan_and_writes_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*TIERS, *LINKS, "--limit", "mobile.memory=200MB", "-o", "plan.json") == 0
    shown = capsys.readouterr()
    made = Plan.load(folder / "plan.json")
    for word in ("raspberry-pi-4", "mobile > edge", "wifi", "all on cloud", "Proven optimal", "estimate", "200 MB"):
        assert word in shown.out
    assert all(name in shown.out for name in made.exit_names)
    assert shown.err == "wrote plan.json\n"


def test_a_runtime_whose_memory_is_not_known_is_said_not_to_be_counted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--tier", "mobile=this") == 0
    assert "not counted" in capsys.readouterr().out
    assert run("--tier", "mobile=this", "--runtime-memory", "mobile=5MB") == 0
    assert "not counted" not in capsys.readouterr().out


def test_json_is_the_plan(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*TIERS, *LINKS, "--json") == 0
    assert Plan.model_validate(json.loads(capsys.readouterr().out)) == Plan.load(folder / "plan.json")


def test_rules_hands_and_nesting(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*TIERS, *LINKS, "--method", "memory-share", "--share", "70%", "--exits", "pareto") == 0
    assert "Placed by the rule memory-share" in capsys.readouterr().out
    by_hand = ["--split-after", "mobile=encoder.layer.1", "--split-after", "edge=encoder.layer.3"]
    assert run(*TIERS, *LINKS, *by_hand, "--deployment", "nested", "--exit-after", "encoder.layer.0") == 0
    assert "Placed by hand" in capsys.readouterr().out
    assert Plan.load(folder / "plan.json").exit_names == ("mobile-1", "mobile-2", "edge-1", "final")


def test_says_when_nothing_is_split(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--tier", "mobile=this", "--tier", "cloud=cloud-cpu", "--link", "mobile:cloud=3g") == 0
    assert "Not split: everything runs on mobile." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no tiers are given"),
        (["--tier", "mobile"], "--tier mobile is not of the form NAME=VALUE"),
        ([*TIERS, "--tier", "cloud=this", *LINKS], "--tier names 'cloud' twice"),
        ([*TIERS, "--link", "mobile:edge=wifi"], "no link joins edge to cloud"),
        (
            [*CHAIN, "--limit", "mobile.memory=200MX"],
            "'MX' in --limit mobile.memory=200MX is not a unit of a size in bytes: did you mean 200MB?",
        ),
        ([*CHAIN, "--limit", "mobile.memory=10B"], "above its limit of 10 B"),
        (
            [*CHAIN, "--limit", "mobile.memory=10"],
            "--limit mobile.memory=10 has no unit: expected a number with B",
        ),
        ([*CHAIN, "--limit", "latency=5"], "--limit latency=5 has no unit: expected a number with s, ms"),
        ([*CHAIN, "--limit", "latency=5 parsecs"], "'parsecs' in --limit latency=5 parsecs is not a unit of a"),
        (
            [*CHAIN, "--limit", "memory.mobile=9MB"],
            "names the quantity before what it is of: write mobile.memory",
        ),
        ([*CHAIN, "--limit", "exits=1"], "'exits' is counted for every tier: say for which, as mobile.exits"),
        (
            [*CHAIN, "--limit", "edge.exits=1.5"],
            "edge.exits=1.5 is not a number of exits: expected a whole one",
        ),
        ([*CHAIN, "--limit", "period=1s", "--limit", "throughput=2s"], "'throughput' is limited under two names"),
        (
            [*CHAIN, "--answer", "10kb"],
            "'kb' in --answer=10kb is not a unit of a size in bytes: did you mean 10kB?",
        ),
        ([*CHAIN, "--runtime-memory", "edge=5Mb"], "'Mb' in --runtime-memory edge=5Mb is not a unit"),
        ([*CHAIN, "--share", "many"], "--share many is not a share"),
        ([*CHAIN, "--share", "170%"], "memory share 170%"),
        ([*CHAIN, "--share", "70%", "--method", "latency-match"], "--share belongs to --method memory-share"),
        ([*CHAIN, "--objective", "latenzy"], "unknown quantity 'latenzy'; did you mean latency"),
        ([*CHAIN, "--objective", "speed"], "known are energy, full-latency, latency, money, throughput"),
        ([*CHAIN, "--limit", "throughput=1us"], "no placement satisfies throughput <= 1 µs"),
        ([*CHAIN, "--limit", "money=1USD"], "no tier has a price to count 'money' from"),
        ([*CHAIN, "--together", "mask,,classifier"], "--together 'mask,,classifier' names nothing in one place"),
        ([*CHAIN, "--exit-after", ""], "--exit-after '' names nothing"),
        ([*CHAIN, "--leave", "150%"], "a share of 1.5 is assumed to leave at every exit: expected 0 to 1, or 0% to"),
        ([*CHAIN, "--exits-of", "bundle", "--threshold", "nan"], "--threshold nan is not a number"),
        ([*CHAIN, "--plot", "p.svg"], "--plot belongs to --what-if: give that too, or leave it out"),
        ([*CHAIN, "--most-plans", "2"], "--most-plans belongs to --under-trace"),
        ([*CHAIN, "--what-if", SPEED, "--outage-below", "1bps"], "--outage-below belongs to --under-trace"),
        ([*CHAIN, "--what-if", SPEED, "-o", "p.json"], "-o has no part in --what-if: leave it out"),
        ([*CHAIN, "--under-trace", "mobile:edge=t.csv", "--share", "7%"], "--share has no part in --under-trace"),
        ([*CHAIN, "--what-if", SPEED, "--leave", "30%", "--exits", "some"], "unknown rule for exits 'some'"),
        ([*CHAIN, "--pareto", "--bank", "b", "--objective", "energy"], "--objective has no part in --pareto"),
        ([*CHAIN, "--pareto", "--bank", "b", "--head", "mlp"], "--head has no part in --pareto"),
        (["--tier", "mobile=board.yaml"], "board.yaml does not exist: give a device's file, or a name"),
    ],
)
def test_mistakes_are_one_sentence_and_write_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert run(*arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("edgepart: ")
    assert shown.err.count("\n") == 1
    assert says in shown.err
    assert [path.name for path in folder.iterdir()] == ["profile.json"]


def test_a_damaged_profile(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (folder / "profile.json").read_text()
    (folder / "profile.json").write_text(text[: len(text) // 2])
    assert run(*TIERS, *LINKS) == 2
    assert "profile.json is not valid JSON" in capsys.readouterr().err
    (folder / "profile.json").write_text(text.replace('"median_s": 0.001', '"median_s": -1', 1))
    assert run(*TIERS, *LINKS) == 2
    assert "profile.json is not a valid profile" in capsys.readouterr().err
    (folder / "profile.json").unlink()
    assert run(*TIERS, *LINKS) == 2
    assert "profile.json does not exist" in capsys.readouterr().err
