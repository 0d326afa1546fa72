"""Running the nodes of parts one by one computes what the network does, and notices parts that are made wrong."""

import numpy as np
import onnx_ir as ir
import pytest
from by_node import NodeByNode
from equality import Subject, Way, check
from onnx import TensorProto, helper, numpy_helper
from zoo_onnx import answers

from edgepart.frameworks import framework, slices

BRANCHED = [
    helper.make_node("Conv", ["x", "first"], ["a"], "a", pads=[1, 1, 1, 1]),
    helper.make_node("Relu", ["a"], ["b"], "b"),
    helper.make_node("Conv", ["b", "second"], ["c"], "c", pads=[1, 1, 1, 1]),
    helper.make_node("Sub", ["c", "b"], ["d"], "d"),
    helper.make_node("Split", ["d"], ["e", "f"], "e", axis=1, num_outputs=2),
    helper.make_node("Clip", ["e", "", "most"], ["g"], "g"),
    helper.make_node("Concat", ["f", "g", "a"], ["y"], "y", axis=1),
]


def network():
    """Two convolutions with weights of one shape, a shortcut, an input left out, two outputs of one node."""
    draw = np.random.default_rng(0)
    weights = {name: draw.standard_normal((4, 4, 3, 3)).astype(np.float32) for name in ("first", "second")}
    weights["most"] = np.float32(0.5)
    shape = ["batch", 4, 5, 5]
    graph = helper.make_graph(
        BRANCHED,
        "branched",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 8, 5, 5])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def inputs(batch, seed):
    return {"x": np.random.default_rng(seed).standard_normal((batch, 4, 5, 5)).astype(np.float32)}


def findings(spoil=lambda model: None):
    """What the checker says of the network, where something is done to each part's model before it runs."""
    model = network()
    nodes = NodeByNode()

    def run(part, arrays):
        spoil(part.model)
        return nodes.run(part, arrays)

    return check(
        Subject(
            name="branched",
            program=framework("onnx").program(model, inputs(2, 0)),
            inputs=inputs,
            held=lambda part: part.parameters,
            everywhere=Way(answers(model, fused=False), run),
        ),
        triples=4,
    )


def test_parts_that_are_right_pass():
    found = findings()
    assert (found.failures, found.checked_boundaries) == ([], len(BRANCHED) - 1)


def wrong_wire(model):
    """The shortcut goes round the other way: no shape changes."""
    for node in model.graph:
        if node.op_type == "Sub":
            first, second = node.inputs
            node.replace_input_with(0, second)
            node.replace_input_with(1, first)


def swapped_weights(model):
    held = model.graph.initializers
    if {"first", "second"} <= held.keys():
        first, second = held["first"], held["second"]
        first.const_value, second.const_value = second.const_value, first.const_value


def other_weight(model):
    """One element of one weight."""
    if "second" in model.graph.initializers:
        value = model.graph.initializers["second"]
        array = value.const_value.numpy().copy()
        array[1, 2, 0, 0] += 0.5
        value.const_value = ir.tensor(array, name="second")


def other_attribute(model):
    """A map moved by one; its shape stays."""
    for node in model.graph:
        if node.op_type == "Conv":
            node.attributes["pads"] = ir.AttrInt64s("pads", [2, 1, 0, 1])


def other_output(model):
    """The second output of a node where the first is meant; both are of one shape."""
    for node in model.graph:
        if node.op_type == "Clip" and node.inputs[0].producer():
            node.replace_input_with(0, node.inputs[0].producer().outputs[1])


def renamed_output(model):
    model.graph.outputs[0].name = "other"


def name_given_twice(model):
    nodes = list(model.graph)
    if len(nodes) > 2:
        nodes[0].outputs[0].name = nodes[1].outputs[0].name


def another_type(model):
    model.graph.inputs[0].dtype = ir.DataType.DOUBLE


def out_of_order(model):
    nodes = list(model.graph)
    if len(nodes) > 1:
        model.graph.remove(nodes[0])
        model.graph.append(nodes[0])


@pytest.mark.parametrize(
    "spoil",
    [
        wrong_wire, swapped_weights, other_weight, other_attribute, other_output, renamed_output, name_given_twice,
        another_type, out_of_order,
    ],
)  # fmt: skip
def test_parts_that_are_wrong_are_noticed(spoil):
    assert findings(spoil).failures


def test_what_is_the_same_is_computed_once(monkeypatch):
    import by_node

    runs = []
    really = by_node.computed
    monkeypatch.setattr(by_node, "computed", lambda node, *rest: (runs.append(node.name), really(node, *rest))[1])
    program, nodes, given = framework("onnx").program(network(), inputs(2, 0)), NodeByNode(), inputs(2, 1)
    for boundary in program.graph.boundaries():
        known = dict(given)
        for part in slices(program, [boundary]):
            known |= nodes.run(part, known)
    assert sorted(runs) == sorted(layer.name for layer in program.graph.layers)
    nodes.run(slices(program, [])[0], inputs(2, 1))
    assert len(runs) == 2 * len(program.graph.layers), "equal inputs that are other arrays are computed anew"


def test_results_are_forgotten_when_they_are_many(monkeypatch):
    import by_node

    program, given = framework("onnx").program(network(), inputs(2, 0)), inputs(2, 1)
    (part,) = slices(program, [])
    expected = NodeByNode().run(part, given)
    monkeypatch.setattr(by_node, "KEPT_BYTES", 1)
    nodes = NodeByNode()
    for _ in range(2):
        np.testing.assert_array_equal(nodes.run(part, given)["y"], expected["y"])
    assert len(nodes._made) == 1
