"""Frameworks: the only folder whose code knows one. Importing it imports none.

A Framework captures a network as a Program: its Graph, and slices of it as Parts that own their weights, take and
give NumPy arrays by tensor name, and write themselves to files that run without the user's code. Its Builder adds
heads, trains and writes stages. One sub-package a framework, found by entry point and imported when it is used.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Sequence

from edgepart import plugins
from edgepart.errors import GraphError, ModelError
from edgepart.frameworks.base import Framework, Part, Program, slices
from edgepart.graph import Boundary, Graph

__all__ = ["Framework", "Part", "Program", "capture", "framework", "framework_of", "slices", "split"]

#: the last program captured of a model, for :func:`split`; forgotten with the model
_captured: weakref.WeakKeyDictionary[object, Program] = weakref.WeakKeyDictionary()


def framework(name: str) -> Framework:
    """The framework of that name.

    Raises:
        UnknownName: no such framework; lists the nearest names.
    """
    found: Framework = plugins.load("framework", name)()
    return found


def framework_of(model: object) -> Framework:
    """The framework that a model belongs to; imports none to find out.

    Raises:
        ModelError: no framework knows it.
    """
    names = plugins.names("framework")
    for name in names:
        if (candidate := framework(name)).accepts(model):
            return candidate
    raise ModelError(f"a {type(model).__name__} is not a network of a known framework ({', '.join(names)})")


def capture(model: object, example: object) -> Graph:
    """The Graph of a network.

    Args:
        model: a network of a supported framework, such as a torch.nn.Module
        example: a tensor or array, a tuple of them (positional) or a dict (by keyword); first dimension: batch

    Raises:
        ModelError: no framework knows the model.
        CaptureError: the framework cannot export it; names the module and what to try.
    """
    made = framework_of(model).program(model, example)
    _remember(model, made)
    return made.graph


def split(model: object, graph: Graph, boundaries: Sequence[Boundary]) -> list[Part]:
    """The parts of a network between nested boundaries, with copies of the weights it has now.

    A network is captured once for all calls; an ``onnx.ModelProto`` for each, which takes seconds where it has a
    thousand nodes: give its Program, or to this and :func:`capture` what ``onnx_ir.from_proto`` makes of it.

    Args:
        model: the network, or the Program that ``framework_of(network).program(network, example)`` made of it, whose
            parts have the weights that it was captured with

    Raises:
        GraphError: ``graph`` is not of this network, or the boundaries do not nest or are not closed.
        CaptureError: the network cannot be captured again.
    """
    made = model if isinstance(model, Program) else _program_now(model, graph)
    if made.graph.fingerprint != graph.fingerprint:
        raise GraphError(
            f"the graph ({graph.name}, {graph.fingerprint}) is not of this network ({made.graph.name}, "
            f"{made.graph.fingerprint}): capture(model, example) gives the one that is"
        )
    return slices(made, boundaries)


def _program_now(model: object, graph: Graph) -> Program:
    """The Program captured last, with the weights of now, or a new one where the network is another."""
    made = _remembered(model)
    if made is None or not _current(made, model, graph):
        made = framework_of(model).recapture(model, graph)
        _remember(model, made)
    return made


def _remember(model: object, made: Program) -> None:
    with contextlib.suppress(TypeError):  # an onnx.ModelProto can be no key
        _captured[model] = made


def _remembered(model: object) -> Program | None:
    try:
        return _captured.get(model)
    except TypeError:
        return None


def _current(made: Program, model: object, graph: Graph) -> bool:
    """Whether a program captured before still stands for the model; takes the weights that it has now."""
    if made.graph.fingerprint != graph.fingerprint:
        return False
    try:
        made.update(model)
    except GraphError:
        return False
    return True
