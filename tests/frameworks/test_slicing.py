"""Parts together are the network: at every boundary, at any batch size, with exactly the tensors that the Graph names.

Compared bit by bit in eval mode on one thread. One exception: torch runs its own transformer layers through a fused
kernel when the whole network runs, so that one is held to 1e-5 relative.
"""

import itertools
import random
from collections import OrderedDict

import numpy as np
import pytest
import torch
from network_zoo import NETWORKS, TOKENS, answers, final, inputs, network, program, run_parts
from torch import nn

from edgepart.errors import GraphError
from edgepart.frameworks import framework_of, slices
from edgepart.frameworks.runtimes import runtime

FUSED = ("attention",)
#: not needed to show that slicing works on transformers
LARGE = ("distilbert", "gpt2", "vit")
ZOO = [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in NETWORKS]


def assert_same(name, found, expected):
    for given, wanted in zip(found, expected, strict=True):
        assert given.dtype == wanted.dtype
        if name in FUSED:
            assert np.abs(given - wanted).max() <= 1e-5 * np.abs(wanted).max()
        else:
            np.testing.assert_array_equal(given, wanted)


def assert_parts_equal_whole(name, boundaries, given):
    graph = program(name).graph
    parts = slices(program(name), boundaries)
    known = run_parts(parts, given)
    assert_same(name, final(graph, known), answers(network(name), given))
    return parts, known


def random_boundary(graph, draw):
    names = [layer.name for layer in graph.layers]
    while True:
        found = graph.boundary(draw.sample(names, draw.randint(1, max(1, len(names) // 3))))
        if len(found.layers) < len(names):
            return found


@pytest.mark.parametrize("name", NETWORKS)
def test_the_zoo_is_no_vacuous_test(name):
    """Every output has values that are not near zero, and differ between samples."""
    for output in answers(network(name), inputs(name, 4)):
        assert np.abs(output).max() > 0.05
        assert np.ptp(output.astype(float), axis=0).max() > 0.01


@pytest.mark.parametrize("name", ZOO)
def test_two_parts_at_every_boundary(name):
    given = inputs(name, 3)
    for boundary in program(name).graph.boundaries():
        assert_parts_equal_whole(name, [boundary], given)


@pytest.mark.parametrize("name", ZOO)
def test_other_batch_sizes_and_lengths(name):
    boundaries = program(name).graph.boundaries()
    sizes = [(1, {}), (2, {}), (5, {}), *([(2, {"length": 5}), (1, {"length": 13})] if name in TOKENS else [])]
    for batch, size in sizes:
        for boundary in boundaries[:: max(1, len(boundaries) // 6)]:
            assert_parts_equal_whole(name, [boundary], inputs(name, batch, seed=batch, **size))


@pytest.mark.parametrize("name", ZOO)
def test_boundaries_off_the_topological_order_and_three_parts(name):
    graph, draw = program(name).graph, random.Random(name)
    given = inputs(name, 2)
    for _ in range(6):
        first = random_boundary(graph, draw)
        assert_parts_equal_whole(name, [first], given)
        second = graph.boundary({*first.layers, *random_boundary(graph, draw).layers})
        if first.layers < second.layers < set(graph.position):
            assert_parts_equal_whole(name, [first, second], given)


@pytest.mark.parametrize("name", ZOO)
def test_crossing_tensors_are_those_of_the_boundary(name):
    """What a part sends is what the boundary lists, each once, with the bytes that the Graph says."""
    graph, draw = program(name).graph, random.Random(name)
    given = inputs(name, 1)
    for boundary in [*graph.boundaries(), random_boundary(graph, draw), random_boundary(graph, draw)]:
        first, second = slices(program(name), [boundary])
        assert len(set(boundary.tensors)) == len(boundary.tensors)
        assert set(second.inputs) == set(boundary.tensors)
        assert set(boundary.tensors) - set(graph.inputs) <= set(first.outputs)
        assert set(first.outputs) <= {*boundary.tensors, *graph.outputs}
        assert not set(first.outputs) & set(second.outputs)
        known = run_parts([first], given)
        assert sum(known[tensor].nbytes for tensor in boundary.tensors) == boundary.bytes
    for tensor, array in run_parts(slices(program(name), graph.boundaries()), given).items():
        assert array.nbytes == graph.tensor(tensor).bytes


@pytest.mark.parametrize("name", NETWORKS)
def test_a_part_holds_only_what_it_uses(name):
    graph = program(name).graph
    boundaries = graph.boundaries()
    for part in slices(program(name), [boundaries[len(boundaries) // 2]]):
        used = {weight for layer in part.layers for weight in graph.layer(layer).parameters}
        assert set(part.parameters) == used
        held = dict(part.module.named_parameters()) | dict(part.module.named_buffers())
        assert {key: t.numel() * t.element_size() for key, t in held.items()} == dict(part.parameters)
        assert sum(part.parameters.values()) == graph.parameter_bytes(part.layers)


@pytest.mark.parametrize("name", ["meta", "graph", "code", "train_"])
def test_modules_may_be_called_like_what_torch_keeps_in_a_graph_module(name, tmp_path):
    net = nn.Sequential(OrderedDict([(name, nn.Linear(4, 4)), ("last", nn.Linear(4, 2))]))
    given = torch.randn(3, 4)
    torch_program = framework_of(net).program(net, given)
    first, second = slices(torch_program, [torch_program.graph.boundaries()[0]])
    assert set(first.parameters) == {f"{name}.weight", f"{name}.bias"}
    runtime("torch").write(first, tmp_path / "first.pt2")
    crossing = runtime("torch").open(tmp_path / "first.pt2").run({torch_program.graph.inputs[0]: given.numpy()})
    found = second.run(crossing)[torch_program.graph.outputs[0]]
    np.testing.assert_allclose(found, net(given).detach().numpy(), rtol=1e-5)


def test_parts_own_their_weights():
    model, given = network("residual"), inputs("residual", 2)
    before = answers(model, given)
    whole = program("residual").slice(None, None)
    with torch.no_grad():
        for tensor in [*whole.module.parameters(), *whole.module.buffers()]:
            tensor.fill_(3)
    assert_same("residual", answers(model, given), before)
    fresh = program("residual").slice(None, None)
    assert_same("residual", final(program("residual").graph, run_parts([fresh], given)), before)


def test_shared_parts_are_the_network_itself():
    model, graph = network("residual"), program("residual").graph
    parameters = dict(model.named_parameters())
    boundary = graph.boundaries()[5]
    for edges in ((None, boundary), (boundary, None)):
        part = program("residual").slice(*edges, share=True)
        for name, parameter in part.module.named_parameters():
            assert parameter is parameters[name]


@pytest.mark.parametrize("name", ["residual", "bert", "tied"])
def test_gradients_flow_through_parts(name):
    """The gradients of shared parts are those of the network."""
    model, graph = network(name), program(name).graph
    given = inputs(name, 3)
    output = model(**given)
    (output if isinstance(output, torch.Tensor) else output.logits).square().sum().backward()
    expected = {key: parameter.grad.clone() for key, parameter in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    boundaries = graph.boundaries()
    edges = [None, *boundaries[2::8], None]
    known = dict(given)
    for start, stop in itertools.pairwise(edges):
        part = program(name).slice(start, stop, share=True)
        known |= zip(part.outputs, part.module(*(known[key] for key in part.inputs)), strict=True)
    known[graph.outputs[0]].square().sum().backward()
    for key, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[key], rtol=1e-5, atol=1e-7)
    model.zero_grad(set_to_none=True)


def test_running_leaves_the_inputs_alone():
    for name in ("frozen", "residual", "brain_float"):
        given = {key: tensor.numpy().copy() for key, tensor in inputs(name, 2).items()}
        kept = {key: array.copy() for key, array in given.items()}
        result = program(name).slice(None, None).run(given)
        for array in result.values():
            array.fill(0)
        for key, array in given.items():
            np.testing.assert_array_equal(array, kept[key])


def test_results_do_not_alias_inputs_or_weights():
    """Dropout in eval mode hands its input on: changing the result must not change what was given."""
    graph = program("bert").graph
    layer = next(layer for layer in graph.layers if layer.kind == "Dropout")
    part = program("bert").slice(
        graph.boundary([layer.name for layer in graph.layers[: graph.position[layer.name]]]),
        graph.boundary([layer.name for layer in graph.layers[: graph.position[layer.name] + 1]]),
    )
    given = np.ones((1, 9, 16), dtype=np.float32)
    (result,) = part.run({part.inputs[0]: given}).values()
    result.fill(0)
    assert given.min() == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: {}, ["'x'", "missing"]),
        (lambda x: {"x": x.astype(np.float64)}, ["'x'", "float64", "float32"]),
        (lambda x: {"x": x[0]}, ["'x'", "(3, 16, 16)", "(batch, 3, 16, 16)"]),
        (lambda x: {"x": x[:, :2]}, ["'x'", "(2, 2, 16, 16)", "(batch, 3, 16, 16)"]),
        (lambda x: {"x": x[:0]}, ["'x'", "(0, 3, 16, 16)"]),
    ],
)
def test_wrong_arrays_are_refused_in_one_sentence(change, words):
    part = program("residual").slice(None, None)
    with pytest.raises(GraphError) as caught:
        part.run(change(inputs("residual", 2)["x"].numpy()))
    for word in words:
        assert word in str(caught.value)


def test_inputs_must_agree_on_the_batch():
    given = {name: tensor.numpy() for name, tensor in inputs("bert", 2).items()}
    given["attention_mask"] = given["attention_mask"][:1]
    with pytest.raises(GraphError, match=r"attention_mask.*expected \(batch, sequence\) with batch = 2"):
        program("bert").slice(None, None).run(given)


def test_arrays_in_any_memory_layout_are_taken():
    x = inputs("residual", 2)["x"].numpy()
    part = program("residual").slice(None, None)
    (expected,) = part.run({"x": x}).values()
    readonly = x.copy()
    readonly.flags.writeable = False
    swapped = x.astype(x.dtype.newbyteorder())
    for layout in (readonly, swapped, x[:, :, ::-1][:, :, ::-1], np.asfortranarray(x)):
        (found,) = part.run({"x": layout}).values()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_runner_computes_what_run_does():
    given = {name: tensor.numpy() for name, tensor in inputs("bert", 2).items()}
    part = program("bert").slice(None, None)
    (expected,) = part.run(given).values()
    (found,) = part.runner(given)()
    np.testing.assert_array_equal(found.numpy(), expected)


def test_boundaries_that_cannot_be_cut_at():
    graph = program("residual").graph
    first, second = graph.boundaries()[3], graph.boundaries()[7]
    with pytest.raises(GraphError, match="nest"):
        program("residual").slice(second, first)
    with pytest.raises(GraphError, match="no layer between"):
        program("residual").slice(first, first)
    hole = first.model_copy(update={"layers": first.layers - {graph.layers[0].name}})
    with pytest.raises(GraphError, match=r"Graph\.boundary"):
        program("residual").slice(None, hole)
