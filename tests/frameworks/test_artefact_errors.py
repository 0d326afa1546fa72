"""What a runtime raises at values that it cannot compute with is one sentence, whichever runtime it is."""

import numpy as np
import onnx
import onnx_zoo
import pytest

from edgepart.errors import FileError, GraphError
from edgepart.frameworks import framework_of
from edgepart.frameworks.runtimes import runtime
from edgepart.frameworks.runtimes.base import SignedArtefact
from edgepart.frameworks.signature import Signature
from edgepart.graph import Tensor


class Failing(SignedArtefact):
    def __init__(self, error):
        super().__init__(
            Signature(inputs=(), outputs=(Tensor(name="y", shape=(), dtype="float32", bytes=4),), symbols={})
        )
        self.error = error

    def compute(self, arrays):
        raise self.error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RuntimeError("index 99 is out of bounds\nat line 7"), "index 99 is out of bounds"),
        (ValueError("  "), "ValueError"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_one_sentence_with_the_first_line_of_the_reason(error, says):
    with pytest.raises(GraphError) as caught:
        Failing(error).run({})
    assert str(caught.value) == (
        f"the part cannot compute y from these inputs ({says}): check the data, such as that tokens lie within the "
        "vocabulary, or take smaller batches if memory ran out"
    )
    assert caught.value.__cause__ is error


def test_what_is_a_sentence_already_and_an_interruption_stay_as_they_are():
    for error in (FileError("the file was removed"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught:
            Failing(error).run({})
        assert caught.value is error


def test_a_token_outside_of_the_vocabulary(tmp_path):
    nodes = [onnx_zoo.node("Gather", ["table", "ids"], ["y"], "y")]
    given = {"ids": (onnx.TensorProto.INT64, ["batch", 3])}
    model = onnx_zoo.make(nodes, given, ["y"], {"table": onnx_zoo.normal(10, 4)})
    part = framework_of(model).program(model, np.zeros((2, 3), np.int64)).slice(None, None)
    runtime("onnxruntime").write(part, tmp_path / "part.onnx")
    artefact = runtime("onnxruntime").open(tmp_path / "part.onnx")
    assert artefact.run({"ids": np.full((2, 3), 9)})["y"].shape == (2, 3, 4)
    with pytest.raises(GraphError, match=r"cannot compute y from these inputs .*out of data bounds") as caught:
        artefact.run({"ids": np.full((2, 3), 10)})
    assert "\n" not in str(caught.value)
