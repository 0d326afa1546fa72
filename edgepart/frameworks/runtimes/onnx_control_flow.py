"""Graphs inside nodes (If, Loop, Scan): ONNX Runtime's tools do not see what these read from around them."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from edgepart.frameworks.onnx.layers import Names, names_of
from edgepart.frameworks.onnx.sides import inputs, subgraphs


def show_reads(path: Path) -> None:
    """Give the graphs inside nodes copies of what they read from around them, each made by a node that tools do see.

    Tools drop weights, rename tensors and leave out activations where no node that they see reads them.
    """
    model = ir.load(path)
    names = Names(names_of(model.graph))
    for node in [node for node in model.graph if any(subgraphs(node))]:
        for value in inputs(node):
            inside = [(user, place) for user, place in value.uses() if _holds(node, user)]
            if not inside:
                continue
            copy = ir.node("Identity", [value], name=names.take(f"{value.name}/inside"))
            copy.outputs[0].name = copy.name
            model.graph.insert_before(node, copy)
            for user, place in inside:
                user.replace_input_with(place, copy.outputs[0])
    ir.save(model, path)


def sort(path: Path) -> None:
    """Bring nodes in an order in which each comes after what it reads, also inside; tools order by the inputs alone."""
    model = ir.load(path)
    model.graph.sort()
    ir.save(model, path)


def _holds(node: ir.Node, other: ir.Node) -> bool:
    """Whether a node lies in a graph inside another one, at any depth."""
    return any(other in graph or any(_holds(inner, other) for inner in graph) for graph in subgraphs(node))
