"""``edgepart build``: from files to a bundle, the table, and mistakes in one sentence."""

import json

import numpy as np
import pytest
from small_networks import CLASSES, captured, image_plan, images, network

from edgepart.bundle import open_bundle
from edgepart.cli.main import main

MODEL = """
import sys
sys.path.insert(0, {tests!r})
from small_networks import EXAMPLE, network as make

def net():
    return make(), EXAMPLE
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with model.py, plan.json, train.npz and dev.npz, which is the current one."""
    import small_networks

    (tmp_path / "model.py").write_text(MODEL.format(tests=str(small_networks.__file__.rpartition("/")[0])))
    image_plan(captured(network())).save(tmp_path / "plan.json")
    for name, data in (("train.npz", images(60)), ("dev.npz", images(21, seed=1))):
        arrays = data.batch(range(len(data)))
        np.savez(tmp_path / name, image=arrays["image"], label=np.array(CLASSES)[data.labels], classes=CLASSES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_bundle_from_files_with_a_table(work, capsys):
    options = ["--head", "mlp", "--head-parameter", "hidden=7", "--epochs", "2", "--threads", "1", "--seed", "4"]
    assert main(["build", "model.py:net", "plan.json", "--data", "train.npz", *options, "-o", "out"]) == 0
    shown = capsys.readouterr().out.splitlines()
    bundle = open_bundle("out")
    assert shown[0] == f"SmallNet: heads, epoch {bundle.training.best_epoch} of 2, 54 samples, 6 for validation"
    columns = ["exit", "tier", "after", "layer", "head", "parameters", "validation", "accuracy", "as", "deployed"]
    assert shown[1].split() == columns
    assert [line.split()[:4] for line in shown[3:6]] == [
        ["early", "mobile", "stem.2", "mlp"],
        ["late", "mobile", "first.relu", "mlp"],
        ["middle", "edge", "second.relu", "mlp"],
    ]
    assert shown[6].split()[:3] == ["final", "cloud", "classifier"]
    parts = [line.split() for line in shown if line.split()[:1] in (["mobile"], ["edge"], ["cloud"])]
    assert [line[1:4:2] for line in parts] == [["torch", "float32"]] * 3
    assert shown[-1].endswith(": out")
    assert bundle.training.settings.seed == 4
    assert bundle.plan.exits[0].parameters["hidden"] == 7
    assert bundle.classes == CLASSES


def test_json_says_the_same(work, capsys):
    options = ["--validation", "dev.npz", "--train", "joint", "--epochs", "1", "--threads", "1", "--json"]
    assert main(["build", "model.py:net", "plan.json", "--data", "train.npz", *options, "-o", "out"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bundle"] == "out"
    assert found["settings"]["mode"] == "joint"
    assert [x["name"] for x in found["exits"]] == ["early", "late", "middle", "final"]
    assert found["validation_samples"] == 21
    assert found["seconds"] > 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--head", "liner"], "unknown exit template 'liner'; did you mean linear?"),
        (["--head-parameter", "pool"], "--head-parameter pool is not of the form NAME=VALUE"),
        (["--data", "gone.npz"], "gone.npz does not exist"),
        (["-o", "no/where"], "the folder"),
        (["--validation", "odd.npz"], "blue"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(work, capsys, options, sentence):
    np.savez("odd.npz", image=np.zeros((2, 1, 6, 6), np.float32), label=np.array(["dark", "blue"]))
    before = sorted(path.name for path in work.iterdir())
    arguments = ["build", "model.py:net", "plan.json", "--data", "train.npz", "--threads", "1", "-o", "out", *options]
    assert main(arguments) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("edgepart: ")
    assert sentence in shown
    assert len(shown.strip().splitlines()) == 1
    assert sorted(path.name for path in work.iterdir() if path.name != "__pycache__") == before


def test_numbers_are_indices_of_the_logits_and_an_empty_class_is_named(work, capsys):
    data = images(60)
    keep = data.labels != 2
    np.savez("two.npz", image=data.batch(range(60))["image"][keep], label=data.labels[keep])
    assert main(["build", "model.py:net", "plan.json", "--data", "two.npz", "--threads", "1"]) == 2
    assert "no sample of the class '2'" in capsys.readouterr().err
