"""Operations grouped into layers, by the user's module that called them."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import fx

from edgepart.frameworks.torch.flatten import Flat, innermost, operation
from edgepart.frameworks.torch.symbols import is_symbolic

#: operations that only say how existing values are looked at; a layer is not named after one if it has another
_SHAPING = frozenset({
    "alias", "chunk", "clone", "contiguous", "detach", "expand", "expand_as", "flatten", "getitem", "permute",
    "reshape", "select", "slice", "split", "split_with_sizes", "squeeze", "t", "to", "transpose", "unbind", "unflatten",
    "unsqueeze", "view", "view_as",
})  # fmt: skip


@dataclass
class Group:
    """The operations of one layer, in order."""

    key: str
    module: str
    kind: str
    container: bool
    nodes: list[fx.Node] = field(default_factory=list)
    weighted: bool = False
    name: str = ""


def group(flat: Flat) -> list[Group]:
    """Cut the operations into runs of one call of one module, and name the runs.

    Operations called by a module that calls other modules (a *container*, as the network itself) are cut further:
    each that reads a weight starts a new run, so that a network written with functions is not one indivisible layer.
    """
    containers = {""} | {path for node in flat.graph.nodes for path, _ in _callers(node)}
    groups: list[Group] = []
    owner: dict[fx.Node, Group] = {}
    for node in flat.graph.nodes:
        if node.op != "call_function" or is_symbolic(node):
            continue
        if node.target is operator.getitem and (source := owner.get(node.args[0])) is not None:
            owner[node] = source
            source.nodes.append(node)
            continue
        groups = _append(groups, node, containers)
        owner[node] = groups[-1]
    _name(groups)
    return groups


def _append(groups: list[Group], node: fx.Node, containers: set[str]) -> list[Group]:
    key, path, kind = innermost(node)
    if key == "?" and groups:  # torch lost the module: an operation stays with the one before it
        key, path, kind = groups[-1].key, groups[-1].module, groups[-1].kind
    weighted = any(argument.op == "get_attr" for argument in node.all_input_nodes)
    last = groups[-1] if groups else None
    if last is None or last.key != key or (last.container and last.weighted and weighted):
        groups.append(Group(key, path, kind, path in containers))
    groups[-1].nodes.append(node)
    groups[-1].weighted |= weighted
    return groups


def _name(groups: Iterable[Group]) -> None:
    used: Counter[str] = Counter()
    for entry in groups:
        stem = entry.module
        if entry.container:
            entry.kind = _title(entry.nodes)
            stem = f"{entry.module}.{entry.kind}" if entry.module else entry.kind
        name = stem
        while used[name]:
            used[stem] += 1
            name = f"{stem}_{used[stem]}"
        used[name] += 1
        entry.name = name


def _title(nodes: list[fx.Node]) -> str:
    names = [operation(node) for node in nodes]
    return next((name for name in reversed(names) if name not in _SHAPING), names[-1])


def _callers(node: fx.Node) -> list[tuple[str, object]]:
    return list((node.meta.get("nn_module_stack") or {}).values())[:-1]
