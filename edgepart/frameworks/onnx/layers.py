"""Names of layers and tensors, and the user's modules that nodes come from."""

from __future__ import annotations

import ast
from collections.abc import Container, Iterable, Sequence

import onnx_ir as ir

from edgepart.frameworks.onnx.sides import Sides, subgraphs

#: what TensorFlow puts around every network
_WRAPPERS = ("StatefulPartitionedCall", "PartitionedCall")
_SCOPES = "pkg.torch.onnx.name_scopes"
#: what torch writes where it lost the module
_NOWHERE = "_empty_nn_module_stack"


class Names:
    """Names that are given out once."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._next: dict[str, int] = {}

    def take(self, stem: str) -> str:
        """The stem, or with a number after it where it is taken."""
        name = stem
        while name in self._taken:
            self._next[stem] = self._next.get(stem, 0) + 1
            name = f"{stem}_{self._next[stem]}"
        self._taken.add(name)
        return name


def rename(graph: ir.Graph, order: Sequence[ir.Node], sides: Sides) -> None:
    """Give nodes unique names, and what a layer makes the name of the layer, with a number where it is several.

    Inputs and weights keep their names.
    """
    layers = [node for node in order if sides.is_layer(node)]
    mine = {value for node in layers for value in node.outputs}
    names = Names(names_of(graph, mine))
    leaving = set(graph.outputs)
    for node in order:
        node.name = names.take(node.name or node.op_type)
    for node in layers:
        used = [value for value in node.outputs if value.uses() or value in leaving]
        for index, value in enumerate(used):
            value.name = str(node.name) if len(used) == 1 else names.take(f"{node.name}:{index}")
        for value in node.outputs:
            if value.name and value not in used:
                value.name = names.take(f"{node.name}:unused")


def module_of(node: ir.Node) -> str:
    """Path of the user's module that a node comes from; "" where the exporter did not keep it.

    torch's newer exporter keeps scopes as metadata, its older one and tf2onnx in names such as
    ``/encoder/layer.0/attention/MatMul``; an nn.Sequential's ``layer1/layer1.0/conv`` is the path ``layer1.0.conv``.
    """
    scopes = node.metadata_props.get(_SCOPES)
    if scopes is not None:
        try:
            paths = ast.literal_eval(scopes)
        except (ValueError, SyntaxError):
            paths = None
        if isinstance(paths, list) and len(paths) > 1:
            path = str(paths[-2])
            return "" if path.startswith(_NOWHERE) else path
    pieces = [piece for piece in (node.name or "").split("/")[:-1] if piece]
    if pieces and pieces[0] in _WRAPPERS:
        pieces = pieces[1:]
    following = [*pieces[1:], ""][: len(pieces)]
    return ".".join(a for a, b in zip(pieces, following, strict=True) if not b.startswith(f"{a}."))


def names_of(graph: ir.Graph, without: Container[ir.Value] = ()) -> set[str]:
    """The names of all values, inside control flow too."""
    values = [*graph.inputs, *graph.initializers.values()]
    for node in ir.traversal.RecursiveGraphIterator(graph):
        values += node.outputs
        for inner in subgraphs(node):
            values += [*inner.inputs, *inner.initializers.values()]
    return {str(value.name) for value in values if value not in without and value.name}
