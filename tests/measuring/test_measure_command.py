"""What 'edgepart evaluate --measure' prints and writes."""

import json
from xml.etree import ElementTree

import fake_bundle
import pytest
from fake_bundle import installed, plan, profile, write_bundle

from edgepart.cli.main import main
from edgepart.measuring import Measured


@pytest.fixture(autouse=True)
def sleepy(tmp_path, monkeypatch):
    installed(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edgepart.measuring.measure.can_measure", lambda: False)
    write_bundle(tmp_path / "bundle", plan())
    yield
    fake_bundle.plugins._entries.cache_clear()


def test_tables_a_file_and_a_plot(tmp_path, capsys):
    profile().save("here.json")
    options = ["--link", "edge:cloud=wifi", "--runs", "2", "--profile", "here.json", "--pin-cores", "edge=0"]
    assert main(["evaluate", "bundle", "--measure", *options]) == 0
    printed = capsys.readouterr()
    assert "sleeper (split), 2 runs, 1 thread; made-up samples" in printed.out
    edge = next(line for line in printed.out.splitlines() if line.startswith("  edge "))
    assert "sleepy, core 0" in edge
    assert "30 ms" in edge
    assert "wifi" in printed.out
    assert "  final  cloud " in printed.out
    assert "written to measured/measured.json" in printed.out
    assert "note: peak memory is not measured" in printed.err
    found = Measured.load("measured/measured.json")
    assert found.runs == 2
    ElementTree.parse("measured/measured.svg")
    drawn = (tmp_path / "measured" / "measured.svg").read_text()
    assert "mobile: predicted 20 ms, measured" in drawn
    assert "edge to cloud: predicted" in drawn
    assert "mobile to edge: predicted" in drawn


def test_json_and_a_threshold(capsys):
    assert main(["evaluate", "bundle", "--measure", "--runs", "1", "--thresholds", ".5", "--json", "-o", "new"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["threshold"] == 0.5
    assert [(x["name"], x["samples"]) for x in found["exits"]] == [("early", 1), ("final", 0)]
    # an earlier measurement is replaced
    assert main(["evaluate", "bundle", "--measure", "--runs", "1", "-o", "new", "--json"]) == 0
    assert Measured.load("new/measured.json").threshold is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--measure", "--gamma", "3"], "--gamma has no part in --measure: leave it out"),
        (["--measure", "--trace", "t"], "--trace has no part in --measure"),
        (["--data", "x.tsv", "--runs", "3"], "--runs belongs to --measure: give that too"),
        (["--data", "x.tsv", "--link", "a:b=c"], "--link belongs to --measure"),
        (["--measure", "--thresholds", ".5,.6"], "--measure takes one threshold"),
        (["--measure", "--thresholds", "high"], "--measure takes one threshold"),
        (["--measure", "--thresholds", "plan"], "the plan of the bundle has no thresholds"),
        (["--measure", "--pin-cores", "edge=one"], "--pin-cores edge=one does not name cores"),
        (["--measure", "--pin-cores", "edge"], "not of the form NAME=VALUE"),
        (["--measure", "--link", "edge:cloud=wfi"], "did you mean wifi"),
        (["--measure", "--profile", "nowhere.json"], "nowhere.json does not exist"),
        (["--measure", "-o", "bundle"], "bundle holds files that are no measurement"),
        (["--measure", "-o", "nowhere/measured"], "does not exist"),
    ],
)
def test_mistakes_are_one_sentence(options, message, capsys):
    assert main(["evaluate", "bundle", *options]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
