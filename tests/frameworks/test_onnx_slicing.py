"""Parts of an ONNX network equal the network, however it is cut."""

import os
import random
import runpy
from pathlib import Path

import numpy as np
import onnx_zoo
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepart.errors import GraphError
from edgepart.frameworks import slices
from edgepart.frameworks.onnx import OnnxFramework

FRAMEWORK = OnnxFramework()
#: what ONNX Runtime's fusions change, relative to the largest value
TOLERANCE = 1e-5
LIGHT = (
    "bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet", "vgg19",
    "zfnet512",
)  # fmt: skip
EXPORTED = (
    "bert_base_cls", "bert_mini_cls", "densenet121", "distilbert_cls", "efficientnet_b0", "inception_v3",
    "mobilebert_cls", "mobilenet_v2", "mobilenet_v3_large", "resnet50", "shufflenet_v2_x1_0", "squeezenet1_1", "vgg16",
    "vit_b_16",
)  # fmt: skip


def captured(name):
    proto = onnx_zoo.NETWORKS[name]()
    length = 6 if name in onnx_zoo.WITH_LENGTHS else None
    return proto, FRAMEWORK.program(proto, onnx_zoo.draw(proto, 1, length))


def sizes(name):
    """Batch sizes, and lengths of sequences, to run at."""
    lengths = (3, 6, 9) if name in onnx_zoo.WITH_LENGTHS else (None,)
    return [(batch, length) for batch in (1, 2, 5) for length in lengths]


def chained(parts, inputs):
    """All that the parts in turn read and make, each given only what it says that it reads."""
    known = dict(inputs)
    for part in parts:
        made = part.run({name: known[name] for name in part.inputs})
        assert tuple(made) == part.outputs
        known |= made
    return known


def around(graph):
    """The boundaries of the topological order, and the smallest one around every layer, mostly off that order."""
    found = [*graph.boundaries(), *(graph.boundary([layer.name]) for layer in graph.layers)]
    return [each for each in {each.layers: each for each in found}.values() if len(each.layers) < len(graph.layers)]


def nested(graph, draw):
    """Two boundaries around random layers, the second holding the first."""
    names = [layer.name for layer in graph.layers]
    if len(names) < 3:
        return None
    first = graph.boundary(draw.sample(names, draw.randint(1, 2)))
    second = graph.boundary([*first.layers, *draw.sample(names, draw.randint(1, 2))])
    return [first, second] if first.layers < second.layers and len(second.layers) < len(names) else None


def assert_equal(graph, made, expected, tolerance):
    for name, answer in zip(graph.outputs, expected, strict=True):
        assert made[name].shape == answer.shape, name
        assert np.abs(answer).max() > 1e-3, "an answer of zeros shows nothing"
        difference = np.abs(made[name].astype(np.float64) - answer.astype(np.float64)).max()
        assert difference <= tolerance * np.abs(answer).max(), f"{name} differs by {difference}"


@pytest.mark.parametrize("name", onnx_zoo.NETWORKS)
def test_two_parts_equal_the_network_at_every_boundary(name):
    proto, program = captured(name)
    cut = [slices(program, [boundary]) for boundary in around(program.graph)]
    for batch, length in sizes(name):
        inputs = onnx_zoo.draw(proto, batch, length)
        expected = onnx_zoo.expected(name, proto, inputs)
        for parts in cut:
            assert_equal(program.graph, chained(parts, inputs), expected, TOLERANCE)


@pytest.mark.parametrize("name", onnx_zoo.NETWORKS)
def test_a_part_for_every_layer_equals_the_network_bit_by_bit_unfused(name):
    proto, program = captured(name)
    parts = [part.unfused() for part in slices(program, program.graph.boundaries())]
    [whole] = slices(program, [])
    for batch, length in sizes(name):
        inputs = onnx_zoo.draw(proto, batch, length)
        made = chained(parts, inputs)
        for output, array in whole.unfused().run(inputs).items():
            np.testing.assert_array_equal(made[output], array)
        # BLAS may add up a batch in another order than its samples
        tolerance = TOLERANCE if name in onnx_zoo.MADE_FOR_ONE else 0
        assert_equal(program.graph, made, onnx_zoo.expected(name, proto, inputs), tolerance)


@pytest.mark.parametrize("name", onnx_zoo.NETWORKS)
def test_three_parts_equal_the_network_at_random_boundaries(name):
    proto, program = captured(name)
    draw = random.Random(name)
    inputs = onnx_zoo.draw(proto, 3, 5 if name in onnx_zoo.WITH_LENGTHS else None)
    expected = onnx_zoo.expected(name, proto, inputs)
    drawn = [nested(program.graph, draw) for _ in range(12)]
    for boundaries in filter(None, drawn):
        assert_equal(program.graph, chained(slices(program, boundaries), inputs), expected, TOLERANCE)


@pytest.mark.parametrize("name", onnx_zoo.NETWORKS)
def test_parts_hold_what_they_use_and_send_what_the_graph_says(name):
    proto, program = captured(name)
    graph = program.graph
    inputs = onnx_zoo.draw(proto, 1, graph.symbols.get("sequence"))
    for boundary in around(graph):
        first, second = slices(program, [boundary])
        made = chained([first], inputs)
        assert set(boundary.tensors) == set(second.inputs)
        assert boundary.bytes == sum(made[tensor].nbytes for tensor in boundary.tensors)
        for part in (first, second):
            held = {name: value.const_value.nbytes for name, value in part.model.graph.initializers.items()}
            assert dict(part.parameters) == held
            read = {v.name for each in part.model.graph.all_nodes() for v in each.inputs if v is not None}
            assert held.keys() <= read, "a part holds a weight that nothing in it reads"
            assert len(set(part.inputs)) == len(part.inputs)
            assert [value.name for value in part.model.graph.inputs] == list(part.inputs)
            assert [value.name for value in part.model.graph.outputs] == list(part.outputs)


def test_a_weight_of_two_parts_is_kept_in_both():
    _, program = captured("shared_weights")
    first, second = slices(program, [program.graph.after("encoder")])
    assert "w" in first.parameters
    assert "w" in second.parameters


def test_boundaries_that_hold_nothing_between_them_are_refused():
    _, program = captured("chain")
    boundary = program.graph.boundaries()[1]
    with pytest.raises(GraphError, match="no layer between"):
        program.slice(boundary, boundary)


WIDTH = 4


@st.composite
def networks(draw):
    """A random network of simple operations on (batch, 4): each reads any values before it."""
    values, nodes, weights = ["x", "z"], [], {}
    for index in range(draw(st.integers(2, 9))):
        name = f"v{index}"
        read = [draw(st.sampled_from(values)) for _ in range(2)]
        operation = draw(st.sampled_from(["MatMul", "Add", "Mul", "Tanh", "Concat", "Split", "Reshape", "Transposed"]))
        if operation == "MatMul":
            weight = draw(st.sampled_from(["w0", "w1"]))
            weights[weight] = onnx_zoo.normal(WIDTH, WIDTH, seed=int(weight[1]))
            nodes.append(onnx_zoo.node("MatMul", [read[0], weight], [name]))
        elif operation == "Transposed":
            weights["w0"] = onnx_zoo.normal(WIDTH, WIDTH)
            nodes.append(onnx_zoo.node("Transpose", ["w0"], [f"{name}t"], perm=[1, 0]))
            nodes.append(onnx_zoo.node("MatMul", [read[0], f"{name}t"], [name]))
        elif operation == "Concat":
            weights["narrow"] = onnx_zoo.normal(2 * WIDTH, WIDTH, seed=2)
            nodes.append(onnx_zoo.node("Concat", read, [f"{name}c"], axis=1))
            nodes.append(onnx_zoo.node("MatMul", [f"{name}c", "narrow"], [name]))
        elif operation == "Split":
            nodes.append(onnx_zoo.node("Split", [read[0]], [f"{name}a", f"{name}b"], axis=1))
            nodes.append(onnx_zoo.node("Concat", [f"{name}b", f"{name}a"], [name], axis=1))
        elif operation == "Reshape":
            nodes.append(onnx_zoo.node("Shape", [read[1]], [f"{name}s"]))
            nodes.append(onnx_zoo.node("Reshape", [read[0], f"{name}s"], [name]))
        else:
            nodes.append(onnx_zoo.node(operation, read[: 1 if operation == "Tanh" else 2], [name]))
        values.append(name)
    outputs = draw(st.lists(st.sampled_from(values[2:]), min_size=1, max_size=3, unique=True))
    inputs = {name: (onnx_zoo.FLOAT, ["batch", WIDTH]) for name in ("x", "z")}
    return onnx_zoo.make(nodes, inputs, outputs, weights)


@settings(max_examples=40, deadline=None)
@given(networks(), st.integers(1, 4), st.randoms(use_true_random=False))
def test_random_networks_equal_their_parts(proto, batch, draw):
    program = FRAMEWORK.program(proto, onnx_zoo.draw(proto, 2))
    inputs = onnx_zoo.draw(proto, batch, seed=1)
    expected = onnx_zoo.whole(proto, inputs)
    graph = program.graph
    cuts = [[boundary] for boundary in graph.boundaries()]
    cuts += filter(None, [nested(graph, draw) for _ in range(3)])
    for boundaries in cuts:
        made = chained(slices(program, boundaries), inputs)
        for name, answer in zip(graph.outputs, expected, strict=True):
            np.testing.assert_allclose(made[name], answer, rtol=0, atol=TOLERANCE * max(1, np.abs(answer).max()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "file",
    [*(f"light/light_{name}" for name in LIGHT), *(f"exported/{name}" for name in EXPORTED), "mobilenet_v2_imagenet"],
)
def test_real_graphs_equal_their_parts(file, tmp_path):
    """At ten boundaries spread over the topological order; ``tests/zoo`` tries them all."""
    proto = real(Path(os.environ["EDGEPART_DATA"]) / "onnx" / f"{file}.onnx")
    onnx_zoo.onnx.save(proto, tmp_path / "model.onnx")
    model, example = FRAMEWORK.load(tmp_path / "model.onnx")
    program = FRAMEWORK.program(model, example)
    graph = program.graph
    inputs = {name: np.concatenate([array, np.flip(array, -1)]) for name, array in example.items()}
    expected = [program.slice(None, None).run(inputs)[name] for name in graph.outputs]
    boundaries = graph.boundaries()
    for place in np.linspace(0, len(boundaries) - 1, 10).astype(int):
        assert_equal(graph, chained(slices(program, [boundaries[place]]), inputs), expected, TOLERANCE)
    single = onnx_zoo.whole(proto, example)
    assert_equal(graph, program.slice(None, None).run(example), single, TOLERANCE)


def real(path):
    """A network of ``$EDGEPART_DATA/onnx`` with random weights where it comes with none, or with constant ones."""
    proto = onnx_zoo.onnx.load(path, load_external_data=False)
    if path.parent.name == "exported":
        return runpy.run_path(str(path.parents[1] / "fill_weights.py"))["fill"](proto)
    return onnx_zoo.draw_constants(proto) if path.parent.name == "light" else proto
