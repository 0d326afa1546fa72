"""The MODEL argument: what it may be, and one sentence for everything else."""

import sys

import pytest
import torch

from edgepart.errors import EdgepartError, MissingExtra, ModelError, UnknownName
from edgepart.frameworks import capture
from edgepart.frameworks.model import load_model

SOURCE = """
import torch
from torch import nn
from beside import WIDTH


def network():
    return nn.Linear(WIDTH, 2), torch.ones(2, WIDTH)


def with_preprocessing():
    return *network(), {"kind": "array"}


def raises():
    raise ValueError("no weights here\\nsecond line")


def stops():
    raise SystemExit(3)


def none():
    return None


def with_classes():
    return *network(), None, ["yes", "no"]


def same_classes():
    return *network(), None, ["yes", "yes"]


def five():
    return 1, 2, 3, 4, 5


def numbers():
    return 1, 2


def wrong_preprocessing():
    return *network(), "array"


def needs_more():
    import transformers_of_tomorrow


number = 7
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "my_models.py").write_text(SOURCE)
    (tmp_path / "beside.py").write_text("WIDTH = 3\n")
    (tmp_path / "broken.py").write_text("def network(:\n")
    (tmp_path / "package").mkdir()
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "package" / "inner.py").write_text("from my_models import network\n")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("beside", "my_models", "package", "package.inner"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "spec", ["my_models.py:network", "./my_models.py:network", "my_models:network", "package.inner:network"]
)
def test_models_by_file_and_by_package(folder, spec):
    path = list(sys.path)
    loaded = load_model(spec)
    assert isinstance(loaded.model, torch.nn.Linear)
    assert (loaded.name, loaded.preprocessing, loaded.classes) == ("network", None, None)
    assert sys.path == path
    assert capture(loaded.model, loaded.example).outputs == ("linear",)


def test_preprocessing_is_passed_on(folder):
    assert load_model(f"{folder}/my_models.py:with_preprocessing").preprocessing == {"kind": "array"}


def test_classes_are_passed_on(folder):
    loaded = load_model("my_models.py:with_classes")
    assert (loaded.preprocessing, loaded.classes) == (None, ("yes", "no"))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("network", ["file.py:function", "hf:FOLDER"]),
        ("my_models.py", ["file.py:function"]),
        ("my_models.py:", ["file.py:function"]),
        ("my_models.py:net work", ["file.py:function"]),
        ("my_model.py:network", ["my_model.py", "does not exist", "did you mean my_models.py"]),
        ("nowhere/x.py:network", ["does not exist"]),
        ("folder.onnx", ["folder.onnx' is a folder: give a file"]),
        ("my_models.py:netwrok", ["netwrok", "did you mean", "network"]),
        ("my_models.py:number", ["number"]),
        ("no_such_package.x:network", ["no module 'no_such_package'"]),
        ("my_models.py:raises", ["my_models.py:raises raised ValueError: no weights here", "line 16"]),
        ("my_models.py:stops", ["SystemExit: 3"]),
        ("my_models.py:none", ["NoneType", "(model, example)"]),
        ("my_models.py:five", ["tuple of 5", "(model, example)"]),
        ("my_models.py:same_classes", ["['yes', 'yes']", "different names in the order of the logits"]),
        ("my_models.py:numbers", ["int is not a network", "(model, example)"]),
        ("my_models.py:wrong_preprocessing", ["str", "dict"]),
        ("my_models.py:needs_more", ["ModuleNotFoundError", "transformers_of_tomorrow"]),
        ("broken.py:network", ["SyntaxError", "line 1"]),
        ("hf:nowhere", ["nowhere", "does not exist"]),
        ("hf:package", ["config.json"]),
    ],
)
def test_mistakes(folder, spec, words):
    with pytest.raises(EdgepartError) as caught:
        load_model(spec)
    assert isinstance(caught.value, ModelError | UnknownName)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_framework_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    (folder / "needs.py").write_text("import transformers\ndef network():\n    pass\n")
    with pytest.raises(MissingExtra, match=r"edgepart\[text\]"):
        load_model("needs.py:network")


def test_layers_that_keras_names_are_named_alike_each_time(tmp_path):
    """A plan made from one loading fits the next in the same process."""
    file = tmp_path / "model.py"
    file.write_text(
        "import keras, numpy as np\n\n\ndef net():\n"
        "    layers = [keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2)]\n"
        "    return keras.Sequential(layers), np.ones((2, 4), np.float32)\n"
    )
    loaded = [load_model(f"{file}:net") for _ in range(3)]
    graphs = [capture(each.model, each.example) for each in loaded]
    assert {graph.fingerprint for graph in graphs} == {graphs[0].fingerprint}
