"""``edgepart runtimes list``: every runtime with what it takes and what is installed of it."""

import json

from edgepart import plugins
from edgepart.cli.main import main
from edgepart.errors import MissingExtra
from edgepart.frameworks.runtimes import runtime


def listed(capsys):
    assert main(["runtimes", "list", "--json"]) == 0
    return {each["name"]: each for each in json.loads(capsys.readouterr().out)}


def test_every_runtime_is_listed(capsys):
    found = listed(capsys)
    assert set(found) == set(plugins.names("runtime"))
    assert found["onnxruntime"]["frameworks"] == ["keras", "onnx", "torch"]
    assert found["executorch"]["frameworks"] == ["torch"]
    assert found["litert"]["precisions"] == ["float32", "float16", "int8"]
    assert all(each["version"] == runtime(name).version() for name, each in found.items())
    assert main(["runtimes", "list"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines if line and line[0] in found] == sorted(found)


def test_a_runtime_that_is_not_installed_is_said_to_be_missing(capsys, monkeypatch):
    def missing(self):
        raise MissingExtra("ai-edge-litert", "litert")

    monkeypatch.setattr(type(runtime("litert")), "version", missing)
    assert listed(capsys)["litert"]["version"] is None
    assert main(["runtimes", "list"]) == 0
    assert "not installed" in capsys.readouterr().out
