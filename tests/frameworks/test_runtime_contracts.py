"""Every runtime that runs torch parts keeps the contract, and the contract notices one that does not."""

import os
import re
import sys
import warnings

import numpy as np
import pytest
from guides import DOCS, contract_tests
from runtime_parts import parts

from edgepart.errors import FileError
from edgepart.frameworks.runtimes import runtime
from edgepart.frameworks.runtimes.torch import TorchRuntime
from edgepart.testing.runtimes import RuntimeContract


class OnTorchParts(RuntimeContract):
    name: str

    def runtime(self):
        return runtime(self.name)

    def parts(self):
        return parts()

    def inputs(self, part, batch, seed):
        given = super().inputs(part, batch, seed)
        if "mask" in given:
            given["mask"][:, 0] = True
        return given


class TestTorch(OnTorchParts):
    name = "torch"


class TestOnnxRuntime(OnTorchParts):
    name = "onnxruntime"


class TestExecuTorch(OnTorchParts):
    name = "executorch"

    def parts(self):
        return parts()[1:]  # which is as hard as both; lowering a part takes seconds


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder on the path with the guide's runtime as an installed package."""
    folder = tmp_path_factory.mktemp("installed")
    text = (DOCS / "add-a-runtime.md").read_text(encoding="utf-8")
    package, metadata = folder / "my_package", folder / "my_package-1.dist-info"
    package.mkdir()
    (package / "reference.py").write_text(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1])
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1\n")
    entry = re.search(r"```toml\n.*?\n(\w+) = \"(.*?)\"", text, re.DOTALL)
    (metadata / "entry_points.txt").write_text(f"[edgepart.runtimes]\n{entry[1]} = {entry[2]}\n")
    return folder


@pytest.mark.parametrize(("suite", "method"), contract_tests("add-a-runtime.md", "TestReference"))
def test_the_guides_example_keeps_the_contract(suite, method, installed, monkeypatch):
    monkeypatch.syspath_prepend(installed)
    getattr(suite(), method)()


class Spoilt(TorchRuntime):
    """A runtime with one fault."""

    fault = ""

    def write(self, part, path, *, precision="float32", samples=()):
        if self.fault == "prints beneath Python":
            os.write(2, b"Loaded backend")
        super().write(part, path)
        if self.fault == "forgets the signature":
            path.with_name(f"{path.name}.json").write_text("{}")

    def open(self, path):
        if self.fault == "opens anything" and not path.is_file():
            return None
        artefact = super().open(path)
        right = artefact.run
        artefact.run = lambda arrays: self._spoil(right, arrays)
        return artefact

    def _spoil(self, right, arrays):
        if self.fault == "warns":
            sys.stderr.write("slow path")
            warnings.warn("slow path", stacklevel=1)
        if self.fault == "checks nothing":
            return {}
        made = right(arrays)
        if self.fault == "turns outputs round":
            return dict(reversed(made.items()))
        if self.fault == "ignores the batch":
            return {name: np.repeat(array[:1], len(array), axis=0) for name, array in made.items()}
        return made


@pytest.mark.parametrize(
    ("fault", "test", "says"),
    [
        ("turns outputs round", "test_artefacts_equal_their_parts", "it gives"),
        ("ignores the batch", "test_artefacts_equal_their_parts", "differs by"),
        ("prints beneath Python", "test_nothing_is_written_to_the_terminal", "while it writes float32: Loaded"),
        ("warns", "test_nothing_is_written_to_the_terminal", "while it opens and runs float32: slow path"),
        ("checks nothing", "test_wrong_inputs_are_refused", "no GraphError is raised"),
        ("opens anything", "test_files_that_are_none_are_refused", "is missing and no FileError is raised"),
    ],
)
def test_the_contract_notices(fault, test, says):
    class Suite(OnTorchParts):
        def runtime(self):
            spoilt = Spoilt()
            spoilt.fault = fault
            return spoilt

    with pytest.raises(AssertionError, match=says):
        getattr(Suite(), test)()


def test_the_contract_notices_a_signature_that_is_none():
    class Suite(OnTorchParts):
        def runtime(self):
            spoilt = Spoilt()
            spoilt.fault = "forgets the signature"
            return spoilt

    with pytest.raises(FileError):
        Suite().test_the_signature_lies_beside_the_artefact()
