"""Logits of torch networks, whatever they end in: heads and training count on logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx
from torch.nn import functional

from edgepart.frameworks.builder import Ending, is_single
from edgepart.frameworks.torch.flatten import operation
from edgepart.frameworks.torch.part import Part
from edgepart.frameworks.torch.program import Program
from edgepart.graph import Graph

#: operations that change no value, and those that only give it another shape
_COPIES = frozenset({"to", "contiguous", "clone", "detach", "alias", "lift_fresh"})
_VIEWS = frozenset({"view", "reshape", "squeeze", "unsqueeze", "flatten"})
#: the least and the largest probability that is taken for more than 0 and less than 1
_LEAST, _MOST = 1e-37, 1 - 2.0**-24


class Logits:
    """What makes the logits (batch, C) of the tensor that a slice gives for the network's first output.

    They are what goes into the last softmax or sigmoid, exact where a probability is nearly 0 or 1: the slice is
    changed to return that. Only where an earlier slice has made the output are they calculated back.

    Attributes:
        ending: the activation that is left to undo
    """

    def __init__(self, graph: Graph, ending: Ending, part: Part) -> None:
        self._single, self.ending = is_single(graph), ending
        node = _activation(part, graph)
        if node is not None and operation(node) == ending != "":
            module, returned = _graph_of(part), _returns(part)
            made: Any = list(returned.args[0])  # type: ignore[arg-type]
            made[part.outputs.index(graph.outputs[0])] = node.args[0]
            returned.args = (tuple(made),)
            module.graph.eliminate_dead_code()
            module.recompile()
            self.ending = ""

    def __call__(self, value: torch.Tensor) -> torch.Tensor:
        """(batch, C), from the tensor in single precision."""
        if self.ending == "softmax":
            value = value.clamp(min=_LEAST).log()
        elif self.ending == "sigmoid":
            value = value.clamp(_LEAST, _MOST).logit()
        if not self._single:
            return value
        return functional.pad(value if value.ndim == 2 else value.reshape(-1, 1), (1, 0))


def ending_of(program: Program) -> Ending:
    """The activation that a network ends in."""
    node = _activation(program.slice(None, None, share=True), program.graph)
    name = operation(node) if node is not None else ""
    if is_single(program.graph):
        return "sigmoid" if name == "sigmoid" else ""
    return "softmax" if name == "softmax" else ""


def before_views(node: fx.Node, views: frozenset[str] = _COPIES | _VIEWS) -> fx.Node:
    """The first of the nodes that hold the same numbers in the same order."""
    while node.op == "call_function" and operation(node) in views and isinstance(node.args[0], fx.Node):
        node = node.args[0]
    return node


def _activation(part: Part, graph: Graph) -> fx.Node | None:
    """The operation that makes the network's output in a slice, if it is one that knows where its classes are."""
    if graph.outputs[0] not in part.outputs:
        return None
    made: Any = _returns(part).args[0]
    node: fx.Node = made[part.outputs.index(graph.outputs[0])]
    node = before_views(node, _COPIES | _VIEWS if is_single(graph) else _COPIES)
    if node.op != "call_function":
        return None
    return node if operation(node) != "softmax" or node.args[1] in (-1, 1) else None


def _returns(part: Part) -> fx.Node:
    node: fx.Node = next(node for node in _graph_of(part).graph.nodes if node.op == "output")
    return node


def _graph_of(part: Part) -> fx.GraphModule:
    assert isinstance(part.module, fx.GraphModule)
    return part.module
