"""Finding a framework, and the public calls capture and split."""

import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch
from network_zoo import answers, final, inputs, network, program, run_parts
from torch import nn

from edgepart import frameworks
from edgepart.errors import CaptureError, GraphError, UnknownName
from edgepart.frameworks import capture, framework, framework_of, split
from edgepart.frameworks.torch.arrays import from_numpy, numpy_dtype, to_numpy
from edgepart.graph.sizes import evaluate_size


def test_looking_at_a_model_imports_no_framework():
    code = """
import sys
from edgepart.errors import ModelError
from edgepart.frameworks import framework, framework_of
import edgepart.frameworks.model
try:
    framework_of(object())
except ModelError as error:
    print(error)
assert framework("torch").name == "torch"
assert "torch" not in sys.modules
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "object is not a network" in run.stdout


def test_frameworks_by_name():
    assert framework_of(nn.Linear(2, 2)).name == framework("torch").name == "torch"
    assert framework("torch").version() == torch.__version__
    with pytest.raises(UnknownName, match="torch"):
        framework("torhc")


def test_split_takes_the_weights_of_now():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    graph = capture(model, torch.ones(2, 4))
    with torch.no_grad():
        model[0].weight.mul_(3)
    model[2].weight = nn.Parameter(torch.randn(2, 4))
    given = {"input": torch.randn(3, 4)}
    parts = split(model, graph, [graph.boundaries()[0]])
    np.testing.assert_array_equal(final(graph, run_parts(parts, given))[0], model(given["input"]).detach().numpy())


def test_split_of_a_program_captures_nothing(monkeypatch):
    made, given = program("residual"), inputs("residual", 3)

    def captured_again(*_):
        raise AssertionError("captured again")

    monkeypatch.setattr(type(framework("torch")), "program", captured_again)
    parts = split(made, made.graph, [made.graph.boundaries()[1]])
    for found, expected in zip(
        final(made.graph, run_parts(parts, given)), answers(network("residual"), given), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    with pytest.raises(GraphError, match="is not of this network"):
        split(made, program("several").graph, [])


def test_split_of_a_graph_that_was_saved_captures_again(tmp_path):
    """By a process that has the model and the Graph's file, but no example."""
    for name in ("bert", "several", "chunks"):
        program(name).graph.save(tmp_path / "graph.json")
        graph = type(program(name).graph).load(tmp_path / "graph.json")
        frameworks._captured.pop(network(name), None)
        given = inputs(name, 2)
        parts = split(network(name), graph, graph.boundaries()[1:3])
        for found, expected in zip(final(graph, run_parts(parts, given)), answers(network(name), given), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_split_of_another_network():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    graph = capture(model, torch.ones(2, 4))
    other = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    with pytest.raises(GraphError, match="not of this network"):
        split(other, graph, [graph.boundaries()[0]])
    with pytest.raises((CaptureError, GraphError)):
        split(network("residual"), graph, [graph.boundaries()[0]])


@pytest.mark.parametrize("change", ["module", "weight"])
def test_split_of_a_network_that_has_changed(change):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    graph = capture(model, torch.ones(2, 4))
    if change == "module":
        model[1] = nn.Tanh()
    else:
        model[2].weight = nn.Parameter(torch.randn(5, 4))
        model[2].bias = nn.Parameter(torch.randn(5))
    with pytest.raises(GraphError, match="not of this network"):
        split(model, graph, [graph.boundaries()[0]])


def test_what_capture_remembers_goes_with_the_model():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    capture(model, torch.ones(2, 4))
    remembered = weakref.ref(model)
    del model
    gc.collect()
    assert remembered() is None


@pytest.mark.parametrize("name", ["bool", "uint8", "int32", "int64", "float16", "float32", "float64", "bfloat16"])
def test_tensors_keep_their_bits_as_arrays(name):
    dtype = getattr(torch, name)
    tensor = torch.tensor([[0, 1, 3], [7, 100, 2]]).to(dtype)
    array = to_numpy(tensor)
    assert array.dtype == numpy_dtype(name) == (np.uint16 if name == "bfloat16" else np.dtype(name))
    assert array.nbytes == tensor.numel() * tensor.element_size()
    assert torch.equal(from_numpy(array, name), tensor)
    if name == "bfloat16":
        np.testing.assert_array_equal((array.astype(np.uint32) << 16).view(np.float32), tensor.float().numpy())


def test_sizes_are_arithmetic_and_nothing_else():
    known = {"batch": 2, "sequence": 9}
    sizes = {"batch": 2, 7: 7, "2*batch": 4, "((sequence + 1) // 2)": 5, "sequence**2 - 1": 80, "max(batch, 5)": 5}
    assert {size: evaluate_size(size, known) for size in sizes} == sizes
    for size in ("__import__('os')", "batch.real", "height", "batch +", "1 // 0", "open('x')"):
        with pytest.raises(GraphError, match="not arithmetic"):
            evaluate_size(size, known)
