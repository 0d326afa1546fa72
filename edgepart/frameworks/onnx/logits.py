"""Logits of ONNX networks, whatever they end in: heads and training count on logits."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgepart.frameworks.builder import Ending, is_single
from edgepart.frameworks.onnx.merge import Draft
from edgepart.frameworks.onnx.program import Program
from edgepart.graph import Graph

#: operations that change no value, and those that only give it another shape
_COPIES = frozenset({"Cast", "Identity"})
VIEWS = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})
#: the least and the largest probability that is taken for more than 0 and less than 1
_LEAST, _MOST = 1e-37, 1 - 2.0**-24
#: since this operator set Pad reads its widths from a tensor
_PADS_ARE_READ = 11


def ending_of(program: Program) -> Ending:
    """The activation that a network ends in."""
    graph = program.graph
    return _ending(
        _activation(next(v for v in program.model.graph.outputs if v.name == graph.outputs[0]), graph), graph
    )


def own_logits(draft: Draft, graph: Graph, ending: Ending) -> ir.Value:
    """Append what makes the logits (batch, C) of the network's first output, which the slice makes or is given.

    They are what goes into the last softmax or sigmoid, exact where a probability is nearly 0 or 1. Only where an
    earlier slice has made the output are they calculated back.
    """
    value = draft.value(graph.outputs[0])
    node = _activation(value, graph)
    if node is not None and ending and _ending(node, graph) == ending:
        [read] = node.inputs
        assert read is not None
        value = read
    elif ending:
        value = _undone(draft, draft.add("Cast", value, to=int(ir.DataType.FLOAT)), ending)
    return _of_two(draft, value) if is_single(graph) else value


def _activation(value: ir.Value, graph: Graph) -> ir.Node | None:
    """The node that makes the network's output, but for those that leave it as it is."""
    passed = _COPIES | VIEWS if is_single(graph) else _COPIES
    node = value.producer()
    while node is not None and node.op_type in passed and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node


def _ending(node: ir.Node | None, graph: Graph) -> Ending:
    if node is None or node.domain:
        return ""
    if is_single(graph):
        return "sigmoid" if node.op_type == "Sigmoid" else ""
    axis = node.attributes.get_int("axis", -1)
    return "softmax" if node.op_type == "Softmax" and axis in (-1, 1) else ""


def _undone(draft: Draft, value: ir.Value, ending: Ending) -> ir.Value:
    """The logarithms of probabilities, or of odds."""
    least, most, one = (ir.tensor(np.array(number, np.float32)) for number in (_LEAST, _MOST, 1))
    value = draft.add("Max", value, least)
    if ending == "softmax":
        return draft.add("Log", value)
    value = draft.add("Min", value, most)
    return draft.add("Sub", draft.add("Log", value), draft.add("Log", draft.add("Sub", one, value)))


def _of_two(draft: Draft, value: ir.Value) -> ir.Value:
    """(0, z) of every sample's z."""
    column = draft.add("Reshape", value, ir.tensor(np.array([-1, 1])))
    if draft.opset < _PADS_ARE_READ:
        return draft.add("Pad", column, pads=[0, 1, 0, 0])
    return draft.add("Pad", column, ir.tensor(np.array([0, 1, 0, 0])))
