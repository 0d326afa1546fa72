"""The examples run with one command on the real data and leave reports that hold what they promise."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgepart import plugins

ROOT = Path(__file__).resolve().parent.parent


def run(example: str, output: Path) -> None:
    assert os.environ["EDGEPART_DATA"], "name the folder of the real data"
    command = [sys.executable, ROOT / "examples" / example / "run.py", "--quick", "--threads", "2", "-o", output]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def load(report: Path) -> dict:
    text = (report / "report.html").read_text(encoding="utf-8")
    assert text.count("<svg") >= 4
    assert "http://" not in text.replace("http://www.w3.org", "")
    return json.loads((report / "report.json").read_text(encoding="utf-8"))


def check(report: dict, exits: int) -> None:
    """The promises that hold for every report: all strategies, shares that sum to one, a ceiling that caps."""
    assert len(report["exits"]) == exits
    assert {x["strategy"] for x in report["curves"]} == set(plugins.names("strategy"))
    assert report["strategies"]
    for entry in report["strategies"]:
        assert sum(entry["tier_share"].values()) == pytest.approx(1)
        assert sum(entry["exit_share"].values()) == pytest.approx(1)
        assert entry["saving"] == pytest.approx(1 - entry["cost"] / report["full_model"]["cost"])
    ceiling = max(x["accuracy"] for x in report["strategies"] if x["name"] == "oracle")
    assert all(x["accuracy"] <= ceiling for x in report["strategies"])


@pytest.mark.slow
def test_bert_on_sst2(tmp_path):
    run("bert_sst2", tmp_path)
    latency = load(tmp_path / "report")
    check(latency, exits=3)
    assert latency["plan"]["deployment"] == "nested"
    assert [x["tier"] for x in latency["exits"]] == ["mobile", "edge", "cloud"]
    assert latency["full_model"]["accuracy"] > 0.7
    with (tmp_path / "dev.tsv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert latency["data"]["samples"] == len(rows) - 1 == 872
    # DIMEC-DC's costs with two layers on mobile, four on the edge, six in the cloud: 3λ, 6.5λ and 3λ + γ
    for gamma in (7.07, 9, 12, 16.5):
        dimec = load(tmp_path / f"report_gamma_{gamma:g}")
        check(dimec, exits=3)
        assert dimec["full_model"]["cost"] == pytest.approx(3 + gamma)
        assert dimec["full_model"]["accuracy"] == latency["full_model"]["accuracy"]


@pytest.mark.slow
def test_resnet_on_cifar10(tmp_path):
    run("resnet_cifar10", tmp_path)
    latency, price = load(tmp_path / "report"), load(tmp_path / "report_price")
    for report in (latency, price):
        check(report, exits=7)
        assert report["plan"]["deployment"] == "split"
        # the published network is right on 93.39 % of all 10,000 test images
        assert report["full_model"]["accuracy"] == pytest.approx(0.934, abs=0.015)
    assert latency["data"]["samples"] == 3000
    accuracy = [x["accuracy"] for x in latency["exits"]]
    assert accuracy[-2] > accuracy[0]
    assert price["cost_unit"] == "USD"
    assert (tmp_path / "bundle" / "parts" / "edge" / "stage_0.pt2").is_file()
