"""What 'edgepart profile --calibrate' writes and says."""

import json
import re

import pytest
from roofline_profiles import TRUE, measured

from edgepart import profiling
from edgepart.cli.main import main
from edgepart.hardware import Profile, catalogue
from edgepart.hardware.roofline import roofline_s
from edgepart.partitioning import Plan


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in range(3):
        measured(seed).save(f"net{seed}.json")
    return tmp_path


def test_a_device_file_is_written_from_profiles(capsys):
    assert main(["profile", "--calibrate", "board.yaml", "net0.json", "net1.json", "net2.json"]) == 0
    device = catalogue.device("./board.yaml")
    assert {name: getattr(device, name) for name in TRUE} == pytest.approx(TRUE, rel=0.35)
    assert 0 < device.left_out_error <= device.left_out_worst < 0.02
    assert (device.name, device.basis, device.facts["threads"]) == ("board", "measured", 1)
    assert "with chain0, chain1, chain2; networks off by 0." in device.source
    printed = capsys.readouterr()
    lines = [" ".join(line.split()) for line in printed.out.splitlines()]
    assert any(re.fullmatch(r"chain0 [\d.]+ ms [-+]0\.\d % [-+]0\.\d %", line) for line in lines)
    assert any(re.fullmatch(r"peak_macs_per_s 4[\d.]+ GMAC/s [\d.]+ %", line) for line in lines)
    assert any(re.fullmatch(r"expect of other networks: 0\.\d % off in .* at worst", line) for line in lines)
    assert printed.err == ""


def test_a_device_file_that_is_there_keeps_what_is_not_measured(folder):
    known = "title: My board\ntier: mobile\nmemory_bytes: 1234\ncores: 2\npower_w: 3.5\nmacs_per_s: 1\n"
    (folder / "board.yaml").write_text(known + "basis: data-sheet\nsource: its maker\n")
    assert main(["profile", "--calibrate", "board.yaml", "net0.json", "net1.json"]) == 0
    device = catalogue.device("./board.yaml")
    assert (device.title, device.tier, device.memory_bytes, device.cores, device.power_w) == (
        "My board", "mobile", 1234, 2, 3.5
    )  # fmt: skip
    assert device.basis == "measured"
    assert device.macs_per_s == measured(0).device.macs_per_s


def test_planning_takes_the_device_and_says_how_far_off_it_was(capsys, folder):
    assert main(["profile", "--calibrate", "board.yaml", "net1.json", "net2.json"]) == 0
    sheet = "title: A board\ntier: edge\nmemory_bytes: 9000000000\ncores: 2\nbasis: data-sheet\nsource: its maker\n"
    (folder / "sheet.yaml").write_text(sheet + "peak_macs_per_s: 1.0e+10\nmemory_bytes_per_s: 1.0e+10\n")
    capsys.readouterr()
    tiers = ["--tier", "mobile=./board.yaml", "--tier", "cloud=./sheet.yaml", "--link", "mobile:cloud=wifi"]
    assert main(["partition", "net0.json", *tiers, "-o", "plan.json", "--pin", "conv2d0=mobile"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert re.search(r"board is computed from its rates: networks that .* did not know were .* off", printed)
    assert "sheet is computed from its rates: how far off that is was never measured" in printed
    plan, device = Plan.load("plan.json"), catalogue.device("./board.yaml")
    assert all(tier.estimated for tier in plan.tiers)
    assert plan.tiers[0].device.left_out_error == device.left_out_error
    expected = roofline_s(Profile.load("net0.json").graph, device)
    assert plan.tiers[0].layer_s == pytest.approx([expected[layer] for layer in plan.tiers[0].layers])


def test_json_and_a_poor_fit(capsys):
    odd = {name: 10 * value for name, value in TRUE.items()} | {"fused_share": 0.1, "call_overhead_s": 1e-6}
    measured(3, true=odd).save("odd.json")
    assert main(["profile", "--calibrate", "board.yaml", "odd.json", "net0.json", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["poor"]
    assert [one["network"] for one in found["networks"]] == ["chain3", "chain0"]
    assert main(["profile", "--calibrate", "board.yaml", "odd.json", "net0.json"]) == 0
    assert "The fit is poor" in capsys.readouterr().err


def test_a_model_is_measured_here(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(profiling, "profile", lambda model, **options: asked.append((model, options)) or measured(1))
    assert main(["profile", "--calibrate", "board.yaml", "net.py:make", "--quick", "--runtime", "onnxruntime"]) == 0
    assert asked == [("net.py:make", {"runtime": "onnxruntime", "threads": 1, "quick": True})]
    assert "give a second one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--calibrate", "board.yaml"], "--calibrate takes profile.json files or models"),
        (["--calibrate", "nowhere/board.yaml", "net0.json"], "does not exist"),
        (["--calibrate", "board.json", "net0.json"], "kept in a .yaml file, not in board.json"),
        (["--calibrate", "broken.yaml", "net0.json"], "broken.yaml is not a valid device: field"),
        (["--calibrate", "board.yaml", "missing.json"], "missing.json does not exist"),
        (["--calibrate", "board.yaml", "net0.json", "-o", "p.json"], "has no part in --calibrate"),
        (["--calibrate", "board.yaml", "net0.json", "--on", "me@board"], "--on has no part in --calibrate"),
        (["--calibrate", "board.yaml", "net0.json", "--threads", "2"], "--threads has no part in --calibrate"),
        (["net.py:make", "net0.json"], "only --calibrate takes several"),
    ],
)
def test_a_mistake_is_one_sentence_and_writes_nothing(arguments, message, folder, capsys):
    (folder / "broken.yaml").write_text("title: a board\n")
    before = {path.name: path.read_text() for path in folder.iterdir()}
    assert main(["profile", *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert {path.name: path.read_text() for path in folder.iterdir()} == before
