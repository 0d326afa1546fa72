"""``edgepart demo`` is the main job, told by the commands it runs."""

import importlib.util
import json
from pathlib import Path

import click
import pytest

from edgepart.cli import demo
from edgepart.cli.main import edgepart, main


def test_a_missing_package_is_named_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["demo", "-o", str(tmp_path / "out")]) == 2
    assert "pip install 'edgepart[demo]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_is_shown_are_commands_with_options_that_exist():
    train, *steps = demo.commands(Path("out"))
    assert train == ["python", "out/model.py"]
    assert [words[:2] for words in steps] == [["edgepart", x] for x in ("profile", "partition", "build", "evaluate")]
    for _, name, *words in steps:
        command = edgepart.get_command(click.Context(edgepart), name)
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= known


def test_a_step_that_fails_stops_the_demo(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(
        demo, "commands", lambda folder: [["edgepart", "links", "show", "tin-can"], ["edgepart", "demo"]]
    )
    assert main(["demo", "-o", str(tmp_path)]) == 2
    printed = capfd.readouterr()
    assert printed.out.endswith("$ edgepart links show tin-can\n")
    assert printed.err == (
        "edgepart: unknown link 'tin-can'; known are 3g, 4g, 5g, ethernet, loopback, wifi\n"
        "edgepart: the demo stopped at 'edgepart links show tin-can' (exit code 2)\n"
    )


@pytest.mark.slow
def test_the_demo_splits_the_network_and_saves_most_of_its_latency(tmp_path, capfd):
    assert main(["demo", "-o", str(tmp_path / "out"), "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    report = json.loads((tmp_path / "out/report/report.json").read_text())
    assert Path(told["report"]).is_file()
    assert [bool(step["result"]) for step in told["steps"]] == [False, True, True, True, True]
    assert all(tier["layers"] for tier in report["plan"]["tiers"])
    assert report["full_model"]["accuracy"] > 0.95
    confidence = [x for x in report["strategies"] if x["name"] == "confidence"]
    assert all(x["saving"] > 0.5 and x["accuracy"] > report["full_model"]["accuracy"] - 0.05 for x in confidence)
    assert set(told["steps"][0]) == {"command", "seconds", "result"}
