"""From torch's ExportedProgram to one flat functional fx graph: inputs, weights, operations, outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind, TensorArgument
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols
from torch.fx.node import map_arg

from edgepart.errors import CaptureError
from edgepart.frameworks.torch.inplace import NotFunctional, make_functional
from edgepart.silence import quiet

#: torch's checks of what it assumed while tracing; a part runs at any batch size and does without
_CHECKS = ("_assert_tensor_metadata", "_assert_scalar", "_assert_async", "sym_constrain_range", "_check_is_size")


@dataclass
class Flat:
    """One graph of placeholders (inputs), get_attr nodes (weights and constants) and operations."""

    graph: fx.Graph
    inputs: list[fx.Node]
    outputs: list[fx.Node]
    #: tensor (or, for an operation of higher order, GraphModule) of every get_attr node, by target
    state: dict[str, Any]
    #: those of ``state`` that are parameters
    trained: frozenset[str]


def flatten(exported: ExportedProgram, ties: Mapping[str, str]) -> tuple[ExportedProgram, Flat]:
    """Flatten a program; one whose writes into views cannot be resolved here is first made functional by torch.

    Args:
        ties: name → the one name that stands for a tied parameter

    Raises:
        CaptureError: the network changes its own buffers, or makes sizes that depend on data.
    """
    flat = _Flattener(exported, ties).run()
    try:
        make_functional(flat.graph, flat.inputs, flat.state)
    except NotFunctional:
        # Loses dropout and batch normalisation as such, so only where it must be.
        with quiet():
            exported = exported.run_decompositions({})
        flat = _Flattener(exported, ties).run()
        try:
            make_functional(flat.graph, flat.inputs, flat.state)
        except NotFunctional as error:
            raise CaptureError(f"{error}: write this operation without changing a tensor in place") from None
    flat.outputs = list(next(node for node in flat.graph.nodes if node.op == "output").args[0])
    _drop_lone_concatenations(flat)
    return exported, flat


def prune(flat: Flat) -> None:
    """Erase the nodes that no output needs, inputs excepted."""
    needed: set[fx.Node] = set()
    waiting = list(flat.outputs)
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting += node.all_input_nodes
    for node in reversed(flat.graph.nodes):
        if node not in needed and node.op not in ("output", "placeholder"):
            flat.graph.erase_node(node)


def _drop_lone_concatenations(flat: Flat) -> None:
    """One tensor concatenated with nothing, as in the first layer of a dense block, must not be sent beside itself."""
    for node in list(flat.graph.nodes):
        if node.target is torch.ops.aten.cat.default and len(node.args[0]) == 1 and node not in flat.outputs:
            node.replace_all_uses_with(node.args[0][0])


class _Flattener:
    def __init__(self, exported: ExportedProgram, ties: Mapping[str, str]) -> None:
        self._exported = exported
        self._ties = ties
        self._graph = fx.Graph()
        self._state: dict[str, Any] = {}
        self._trained: set[str] = set()
        self._inputs: list[fx.Node] = []

    def run(self) -> Flat:
        signature, module = self._exported.graph_signature, self._exported.graph_module
        values: dict[fx.Node, Any] = {}
        specs = {spec.arg.name: spec for spec in signature.input_specs}
        for node in module.graph.nodes:
            if node.op == "placeholder":
                values[node] = self._entry(node, specs[node.name])
        self._copy_into(values, module)
        result = next(iter(reversed(module.graph.nodes)))
        outputs = []
        for spec, value in zip(signature.output_specs, result.args[0], strict=True):
            outputs += self._exit(spec, value, values)
        if not outputs:
            raise CaptureError("the network returns no tensor: return at least one")
        self._graph.output(tuple(outputs))
        return Flat(self._graph, self._inputs, outputs, self._state, frozenset(self._trained))

    def _entry(self, node: fx.Node, spec: Any) -> Any:
        if spec.kind is InputKind.USER_INPUT:
            if not isinstance(spec.arg, TensorArgument):
                return spec.arg.value
            self._inputs.append(self._graph.placeholder(node.name))
            # fx renames what shadows a builtin, as the input of nn.Sequential does
            self._inputs[-1].meta = node.meta | {"argument": node.name}
            return self._inputs[-1]
        if spec.kind not in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
            raise CaptureError(
                f"the network takes '{node.name}', a {spec.kind.name.lower()}: only tensors are supported"
            )
        tensors = {**self._exported.constants, **self._exported.state_dict}
        name = self._ties.get(spec.target, spec.target)
        self._state[name] = tensors[spec.target]
        if spec.kind is InputKind.PARAMETER:
            self._trained.add(name)
        return self._weight(name, node)

    def _weight(self, name: str, node: fx.Node) -> fx.Node:
        weight = self._graph.create_node("get_attr", name)
        weight.meta = dict(node.meta)
        return weight

    def _exit(self, spec: Any, value: Any, values: dict[fx.Node, Any]) -> list[fx.Node]:
        if spec.kind is OutputKind.BUFFER_MUTATION:
            raise CaptureError(
                f"the network changes its buffer '{spec.target}' while it runs: a part may not have a state"
            )
        if spec.kind is not OutputKind.USER_OUTPUT or value is None:
            return []
        node = values.get(value) if isinstance(value, fx.Node) else value
        if not isinstance(node, fx.Node) or not isinstance(node.meta.get("val"), torch.Tensor):
            kind = "int" if isinstance(value, fx.Node) else type(value).__name__
            raise CaptureError(f"the network returns a value of type {kind}: it must return tensors only")
        return [self._own(node)]

    def _own(self, node: fx.Node) -> fx.Node:
        """An input or a weight that is returned as it is becomes a copy, so that every output is made by a layer."""
        if node.op == "call_function":
            return node
        copy = self._graph.call_function(torch.ops.aten.clone.default, (node,))
        copy.meta = {"val": node.meta["val"], "nn_module_stack": {"": ("", "")}}
        return copy

    def _copy_into(self, values: dict[fx.Node, Any], module: fx.GraphModule) -> Any:
        """Copy the operations of a graph whose placeholders have values; what its output returns."""
        for node in module.graph.nodes:
            if node.op == "output":
                return map_arg(node.args[0], lambda n: values[n])
            if node.op == "placeholder" or any(check in str(node.target) for check in _CHECKS):
                continue
            if node.op == "get_attr":
                values[node] = getattr(module, node.target)
            elif _inlined(node):
                values[node] = self._inline(node, values)
            else:
                values[node] = self._operation(node, values)
        return None

    def _inline(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        """A block under ``torch.no_grad()`` or the like becomes part of the flat graph; its results are detached."""
        position = next(i for i, a in enumerate(node.args) if isinstance(a, fx.Node) and a.op == "get_attr")
        inner: fx.GraphModule = values[node.args[position]]  # type: ignore[index]
        places = [n for n in inner.graph.nodes if n.op == "placeholder"]
        given = [values[a] if isinstance(a, fx.Node) else a for a in node.args[position + 1 :]]
        results = self._copy_into(dict(zip(places, given, strict=True)), inner)
        if "set_grad" not in str(node.target):
            return results
        return tuple(self._detached(result) for result in results)

    def _detached(self, value: Any) -> Any:
        if not isinstance(value, fx.Node) or not isinstance(value.meta.get("val"), torch.Tensor):
            return value
        node = self._graph.call_function(torch.ops.aten.detach.default, (value,))
        node.meta = dict(value.meta)
        return node

    def _operation(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        source = values.get(node.args[0]) if node.args and isinstance(node.args[0], fx.Node) else None
        if isinstance(source, tuple | list):  # getitem of an inlined block
            return source[node.args[1]]  # type: ignore[index]
        made = self._graph.node_copy(node, lambda n: self._reference(n, values))
        made.meta = dict(node.meta)
        return made

    def _reference(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        value = values[node]
        if isinstance(value, torch.nn.Module | torch.Tensor):
            name = f"{'block' if isinstance(value, torch.nn.Module) else 'constant'}_{node.name}"
            self._state[name] = value
            value = values[node] = self._weight(name, node)
        return value


def require_backed(flat: Flat) -> None:
    """Check that no size or number in a graph depends on data.

    Raises:
        CaptureError: names the module and the operation that makes one.
    """
    for node in flat.graph.nodes:
        value = node.meta.get("val")
        found = [v for v in (value if isinstance(value, tuple | list) else [value]) if v is not None]
        if any(free_unbacked_symbols(v) for v in found):
            path = innermost(node)[1]
            where = f"module '{path}'" if path else "the network's forward"
            raise CaptureError(
                f"{where} calls {operation(node)}, whose result has a size or value that depends on the data: "
                "use a mask or torch.where instead"
            )


def innermost(node: fx.Node) -> tuple[str, str, str]:
    """(key that tells repeated calls apart, path, class name) of the module in whose forward a node was called."""
    stack = list((node.meta.get("nn_module_stack") or {}).items())
    if not stack or stack[-1][0].startswith("_empty_nn_module_stack"):
        return ("?", "", "")
    key, (path, kind) = stack[-1]
    name = kind if isinstance(kind, str) else kind.__qualname__
    return (key, path, name.rpartition(".")[2])


def operation(node: fx.Node) -> str:
    """Short name of a node's operation: ``conv2d``, ``add`` …"""
    name = node.target._schema.name.rpartition("::")[2] if hasattr(node.target, "_schema") else _plain(node.target)
    return name.strip("_") or name


def _plain(target: Any) -> str:
    name = getattr(target, "__name__", None) or getattr(target, "_name", None) or str(target)
    return str(name)


def _inlined(node: fx.Node) -> bool:
    name = str(node.target)
    return "wrap_with_set_grad_enabled" in name or ("wrap_with_autocast" in name and node.args[2] is False)
