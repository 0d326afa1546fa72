"""``edgepart strategies list``."""

import json

import pytest

from edgepart.cli import main


def test_list_tells_what_each_strategy_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["strategies", "list"]) == 0
    shown = capsys.readouterr().out
    assert "confidence\n  Leave at the first exit whose largest probability reaches the threshold." in shown
    assert "oracle (a yardstick, not deployable)" in shown


def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["strategies", "list", "--json"]) == 0
    found = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert not found["oracle"]["deployable"]
    assert found["cartography"]["deployable"]
    assert found["cartography"]["options"] == ["objective", "grid", "embedding", "lambdas"]
    assert all(entry["summary"] and entry["settings"] for entry in found.values())
