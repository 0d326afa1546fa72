"""``edgepart templates``: list, show, new, check."""

import json

import pytest
from template_samples import HEAD, header

from edgepart.cli import main

MODEL = """
import torch
from torch import nn


def network():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 6)]
    return nn.Sequential(*layers), torch.zeros(2, 3, 8, 8)
"""


@pytest.fixture
def run(capsys):
    def _run(*arguments, code=0):
        assert main(["templates", *map(str, arguments)]) == code
        captured = capsys.readouterr()
        return captured.err if code else captured.out

    return _run


@pytest.fixture
def model(tmp_path):
    (tmp_path / "net.py").write_text(MODEL)
    return f"{tmp_path / 'net.py'}:network"


def test_list(run):
    assert "bert_pooler\n  BERT's own classifier" in run("list")
    found = {entry["name"]: entry for entry in json.loads(run("list", "--json"))}
    assert found["mlp"]["parameters"]["hidden"]["default"] == 128
    assert found["replicate_classifier"]["needs_classifier"]


def test_show(run):
    assert "activation: str, one of ReLU, GELU, SiLU, Tanh, default ReLU" in run("show", "mlp")
    assert json.loads(run("show", "linear", "--json"))["source"].startswith("{# edgepart")
    assert "did you mean linear" in run("show", "lineer", code=2)


def test_new_makes_a_template_that_passes(run, tmp_path):
    path = tmp_path / "mine.py.j2"
    assert str(path) in run("new", "mine", "--from", "mlp", "-o", tmp_path)
    assert "mine is fine" in run("check", path)
    assert "template 'mlp'" not in path.read_text()
    assert "exists already" in run("new", "mine", "-o", path, code=2)
    assert json.loads(run("new", "other", "-o", tmp_path, "--json"))["from"] == "linear"
    for name, file in [("a b", "a b.py.j2"), ("mine", "yours.py.j2"), ("mine", "mine.py"), ("1", "1.py.j2")]:
        assert "cannot hold the template" in run("new", name, "-o", tmp_path / file, code=2)


def test_check_says_what_a_head_costs(run):
    result = json.loads(run("check", "mlp", "--shape", "sequencex8", "--classes", 4, "--set", "hidden=5", "--json"))
    assert result["heads"] == [
        {"shape": ["batch", "sequence", 8], "parameters": 8 * 5 + 5 + 5 * 4 + 4, "macs": 60, "output": ["batch", 4]}
    ]


def test_check_on_a_network(run, model):
    result = json.loads(run("check", "replicate_classifier", "--model", model, "--at", "1", "--json"))
    assert result["heads"][0]["shape"] == ["batch", 4, 8, 8]
    assert result["heads"][0]["parameters"] == 4 * 6 + 6
    assert "(batch, 6)" in run("check", "linear", "--model", model, "--at", "0")
    assert "not (4, 8, 8)" in run("check", "bert_pooler", "--model", model, "--at", "1", code=2)
    assert "unknown module or layer" in run("check", "linear", "--model", model, "--at", "nowhere", code=2)
    assert "no single tensor leaves '4'" in run("check", "linear", "--model", model, "--at", "4", code=2)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (HEAD + "{{ wdith }}", "uses the variable 'wdith', which its header does not declare"),
        (HEAD.replace("{{ classes }}", "{{ classes + 1 }}"), "gives (2, 11) for a batch of 2, expected (2, 10)"),
        (HEAD.replace("{{ channels }}", "3"), "does not run on a tensor (batch, 64)"),
        (HEAD.replace("nn.Linear", "nn.Liner"), "does not make its Head: AttributeError"),
        (HEAD.replace("class Head", "clas Head"), "is not Python: invalid syntax"),
        (HEAD.replace("class Head", "class Tail"), "defines no class Head"),
    ],
)
def test_check_says_what_is_wrong_in_one_sentence(run, tmp_path, body, expected):
    path = tmp_path / "mine.py.j2"
    path.write_text(header() + body)
    said = run("check", path, code=2)
    assert expected in said
    assert said.startswith("edgepart: ")
    assert said.count("\n") == 1


def test_check_refuses_contradictions(run, model):
    assert "give either --shape" in run("check", "linear", "--model", model, code=2)
    assert "give either --shape" in run("check", "linear", "--model", model, "--at", "0", "--shape", "3", code=2)
    assert "is no shape" in run("check", "linear", "--shape", "0x3", code=2)
    assert "is not of the form NAME=VALUE" in run("check", "linear", "--set", "pool", code=2)
    assert "needs the network's own classifier" in run("check", "replicate_classifier", code=2)
