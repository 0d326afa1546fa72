"""The examples with Keras and ONNX networks run with one command on the real data and leave what they promise."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.slow


def run(example: str, output: Path, *options: str) -> str:
    assert os.environ["EDGEPART_DATA"], "name the folder of the real data"
    script = ROOT / "examples" / example / "run.py"
    command = [sys.executable, script, "--quick", "--threads", "2", "-o", output, *options]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    return done.stdout


def load(report: Path) -> dict:
    assert (report / "report.html").read_text(encoding="utf-8").count("<svg") >= 4
    return json.loads((report / "report.json").read_text(encoding="utf-8"))


def accuracies(report: dict) -> list[float]:
    return [point["accuracy"] for point in report["exits"]]


def test_an_onnx_file_on_imagenette(tmp_path):
    shown = run("onnx_imagenette", tmp_path)
    exact, coarse = load(tmp_path / "report"), load(tmp_path / "report_int8")
    assert exact["data"]["samples"] == coarse["data"]["samples"] == 250
    assert len(exact["data"]["classes"]) == 10
    # measured when the weights were brought here: 96.8 % among the ten classes
    assert exact["full_model"]["accuracy"] == pytest.approx(0.968, abs=0.015)
    assert coarse["full_model"]["accuracy"] == pytest.approx(exact["full_model"]["accuracy"], abs=0.03)
    assert [part["precision"] for part in exact["parts"]] == ["float32", "float32", "float32"]
    assert [part["precision"] for part in coarse["parts"]] == ["int8", "float32", "float32"]
    assert {part["runtime"] for part in coarse["parts"]} == {"onnxruntime"}
    # 8 bits a weight: about a quarter of the mobile part, whose head and graph stay as they are
    assert coarse["parts"][0]["bytes"] < 0.6 * exact["parts"][0]["bytes"]
    assert accuracies(exact)[-2] > accuracies(exact)[0] > 0.2
    assert "mobile in int8" in shown


def test_a_keras_file_on_cifar10(tmp_path):
    run("keras_cifar10", tmp_path)
    heads, coarse, joint = (load(tmp_path / name) for name in ("report", "report_int8", "report_joint"))
    for report in (heads, coarse, joint):
        assert [part["runtime"] for part in report["parts"]] == ["litert", "onnxruntime", "tensorflow"]
        assert [point["tier"] for point in report["exits"]] == ["mobile", "edge", "cloud"]
        assert report["data"]["samples"] == 3000
    # the published network is right on 87.19 % of all 10,000 test images
    assert heads["full_model"]["accuracy"] == pytest.approx(0.872, abs=0.015)
    assert coarse["full_model"]["accuracy"] == pytest.approx(heads["full_model"]["accuracy"], abs=0.02)
    assert coarse["parts"][0]["precision"] == "int8"
    assert accuracies(heads)[1] > accuracies(heads)[0] > 0.2
    assert joint["full_model"]["accuracy"] != heads["full_model"]["accuracy"]


def test_the_experiment_of_edgelesspart(tmp_path):
    shown = run("edgelesspart_cifar10", tmp_path)
    found = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert list(found["networks"]) == ["resnet50", "mobilenetv2", "inceptionv3"]
    assert "far below the published ones" in found["caveat"] in shown
    for name, network in found["networks"].items():
        assert list(network["rules"]) == ["linear", "pareto"]
        for rule, measured in network["rules"].items():
            check(measured, network["cloud_only"])
            bundle = tmp_path / f"{name}_{rule}" / "bundle"
            plan = json.loads((bundle / "plan.json").read_text(encoding="utf-8"))
            assert plan["proof"]["method"] == "memory-share"
            assert {point["head"] for point in plan["exits"]} == {"replicate_classifier"}
    for figure in ("figure_2_linear.png", "figure_3_pareto.png"):
        assert (tmp_path / figure).read_bytes().startswith(b"\x89PNG")


def check(measured: dict, cloud_only: dict) -> None:
    """What holds for any network: who asks for more confidence goes to the cloud more often, and pays for it."""
    points = measured["points"]
    assert [point["c_thr"] for point in points] == [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    for key in ("on_cloud", "cloud_bytes", "usd", "latency_s"):
        values = [point[key] for point in points]
        assert values == sorted(values)
    assert all(sum(point["exit_share"].values()) == pytest.approx(1) for point in points)
    # 70 % of the memory on the edge, and the heads
    assert measured["edge_bytes"] > measured["cloud_bytes"]
    assert measured["cloud_bytes"] < cloud_only["bytes"]
    assert 1 <= sum(point["tier"] == "edge" for point in measured["exits"]) <= 3
