"""torch and the guide's framework keep the contract, and the contract notices one that does not."""

import numpy as np
import pytest
from guides import contract_tests, run
from network_zoo import answers, inputs, network

from edgepart.frameworks import framework
from edgepart.testing.frameworks import FrameworkContract


class TorchContract(FrameworkContract):
    kind: str

    def framework(self):
        return framework("torch")

    def network(self):
        return network(self.kind)

    def inputs(self, batch):
        return {name: tensor.numpy() for name, tensor in inputs(self.kind, batch).items()}

    def answers(self, network, arrays):
        return answers(network, inputs(self.kind, len(next(iter(arrays.values())))))


class TestTorchOnAResidualNetwork(TorchContract):
    kind = "residual"


class TestTorchOnSeveralInputsAndOutputs(TorchContract):
    kind = "several"


@pytest.mark.parametrize(("suite", "method"), contract_tests("add-a-framework.md", "TestPerceptrons"))
def test_the_guides_example_keeps_the_contract(suite, method):
    getattr(suite(), method)()


def wrong_answer(part, made):
    return {name: array + np.float32(0.001) for name, array in made.items()}


def fixed_batch(part, made):
    return {name: np.repeat(array[:1], 2, axis=0) for name, array in made.items()}


def too_much(part, made):
    return made | {"more": np.ones(1)}


@pytest.mark.parametrize(
    ("spoil", "test", "says"),
    [
        (wrong_answer, "test_two_parts_equal_the_whole", "differs by"),
        (wrong_answer, "test_artefacts_equal_their_parts", "differs by"),
        (fixed_batch, "test_the_graph_says_what_parts_make", "has shape"),
        (too_much, "test_one_part_a_layer_equals_the_whole", "a part returns"),
    ],
)
def test_the_contract_notices(spoil, test, says):
    guide = run("add-a-framework.md")
    for spoilt in ("PerceptronPart", "PerceptronArtefact"):
        right = guide[spoilt].run
        guide[spoilt].run = lambda part, arrays, right=right: spoil(part, right(part, arrays))
    with pytest.raises(AssertionError, match=says):
        getattr(guide["TestPerceptrons"](), test)()


def test_the_contract_notices_inputs_that_are_not_checked():
    guide = run("add-a-framework.md")
    guide["PerceptronPart"].run = lambda part, arrays: {part.outputs[0]: np.ones((2, 3), np.float32)}
    with pytest.raises(AssertionError, match="no GraphError is raised"):
        guide["TestPerceptrons"]().test_wrong_inputs_are_refused()
