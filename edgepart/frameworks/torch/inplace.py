"""In-place operations become their functional twins, so that cutting between them changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import fx
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode

from edgepart.frameworks.torch.evaluate import evaluate_node


class NotFunctional(Exception):
    """A write that reaches a later operation through another view of the same memory."""


def make_functional(graph: fx.Graph, inputs: list[fx.Node], state: Mapping[str, Any]) -> None:
    """Replace ``relu_``, ``add_`` … and let later uses of the changed value read the new one, in place.

    What shares memory with what is found by running the graph on fake tensors and comparing storages, because
    operations such as dropout in eval mode hand their input on without saying so in their schema.

    Raises:
        NotFunctional: a later operation reads the changed memory under another shape, or a weight is changed.
    """
    writes = [node for node in graph.nodes if node.op == "call_function" and _written(node) is not None]
    if not writes:
        return
    order = {node: index for index, node in enumerate(graph.nodes)}
    values = _fake_values(graph, inputs, state)
    sharing: dict[int, list[fx.Node]] = {}
    for node, value in values.items():
        if isinstance(value, torch.Tensor):
            sharing.setdefault(_storage(value), []).append(node)
    for node in writes:
        _replace(node, values, sharing, order)


def _written(node: fx.Node) -> int | None:
    """Index of the argument that an operation writes to; None for a functional one."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or not schema.is_mutable:
        return None
    return next(i for i, argument in enumerate(schema.arguments) if argument.is_write)


def _replace(
    node: fx.Node, values: Mapping[fx.Node, Any], sharing: Mapping[int, list[fx.Node]], order: Mapping[fx.Node, int]
) -> None:
    target, written = node.args[0] if _written(node) == 0 else None, values.get(node)
    twin = _functional_twin(node.target)
    if not isinstance(target, fx.Node) or twin is None or not isinstance(written, torch.Tensor):
        raise NotFunctional(f"'{node.target}' cannot be made functional")
    before = values[target]
    with before.fake_mode, torch.no_grad():
        after = evaluate_node(node, values, twin)
    if after.dtype != before.dtype or after.shape != before.shape:
        raise NotFunctional(f"'{node.target}' converts its result in place")
    # Later nodes that share the memory derive from this one, or from an earlier one that this loop refuses.
    same = [other for other in sharing[_storage(before)] if order[other] < order[node]]
    for other in same:
        later = [user for user in other.users if order[user] > order[node]]
        if later and (other.op == "get_attr" or not _identical(values[other], before)):
            raise NotFunctional(f"'{node.target}' writes into memory that '{other.name}' reads later")
    if any(other.op == "get_attr" for other in same):
        raise NotFunctional(f"'{node.target}' changes the weight or buffer '{same[0].target}'")
    node.target = twin
    for other in same:
        other.replace_all_uses_with(node, delete_user_cb=lambda user: order[user] > order[node])


def _functional_twin(target: Any) -> Any:
    """``aten.add_.Tensor`` → ``aten.add.Tensor``; None where torch has none with the same arguments."""
    namespace, _, name = target._schema.name.partition("::")
    packet = getattr(getattr(torch.ops, namespace), name.removesuffix("_"), None) if name.endswith("_") else None
    twin = getattr(packet, target._overloadname, None)
    if twin is None or twin._schema.is_mutable:
        return None
    same = [a.name for a in twin._schema.arguments] == [a.name for a in target._schema.arguments]
    return twin if same else None


def _storage(value: torch.Tensor) -> int:
    return int(value.untyped_storage()._cdata)


def _identical(value: torch.Tensor, other: torch.Tensor) -> bool:
    return (value.shape, value.stride(), value.storage_offset(), value.dtype) == (
        other.shape,
        other.stride(),
        other.storage_offset(),
        other.dtype,
    )


def _fake_values(graph: fx.Graph, inputs: list[fx.Node], state: Mapping[str, Any]) -> dict[fx.Node, Any]:
    """Every node's value on fake tensors of the example's size; no view of one memory is lost."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    values: dict[fx.Node, Any] = {}
    with mode, torch.no_grad():
        for node in inputs:
            sizes = [int(size.node.hint) if isinstance(size, torch.SymInt) else size for size in node.meta["val"].shape]
            values[node] = torch.empty(sizes, dtype=node.meta["val"].dtype)
        for node in graph.nodes:
            if node.op == "get_attr":
                value = state[str(node.target)]
                values[node] = mode.from_tensor(value) if isinstance(value, torch.Tensor) else value
            elif node.op == "call_function" and all(source in values for source in node.all_input_nodes):
                # Shapes that depend on data have no fake value; mostly they belong to checks that are dropped.
                with suppress(DynamicOutputShapeException, DataDependentOutputException):
                    values[node] = evaluate_node(node, values)
    return values
