"""The same operations in half precision, between inputs and outputs as they were."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram

#: largest number of float16; masks add less than its negative in float32
_LARGEST = torch.finfo(torch.float16).max
_CAST = torch.ops.aten.to.dtype


def to_half(exported: ExportedProgram) -> nn.Module:
    """A module that computes in float16 what an exported program computes in float32.

    Other types stay. Constants beyond float16 become its largest number. It is called as the program is.
    """
    module = exported.module(check_guards=False)
    assert isinstance(module, fx.GraphModule)
    graph = module.graph
    for node in list(graph.nodes):
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            graph.erase_node(node)
        elif node.op == "call_function":
            node.args, node.kwargs = fx.node.map_aggregate((node.args, node.kwargs), _halved)
    for node in list(graph.nodes):
        if node.op == "placeholder" and node.meta["val"].dtype is torch.float32:
            with graph.inserting_after(node):
                half = graph.call_function(_CAST, (node, torch.float16))
            node.replace_all_uses_with(half, delete_user_cb=lambda user, half=half: user is not half)
    _restore_outputs(graph)
    for inside in module.modules():
        _halve_held(inside)
    module.recompile()
    return module


def _restore_outputs(graph: fx.Graph) -> None:
    def restored(node: fx.Node) -> fx.Node:
        value = node.meta.get("val")  # none: the cast of an input that is passed on
        if value is not None and value.dtype is not torch.float32:
            return node
        return graph.call_function(_CAST, (node, torch.float32))

    output = graph.output_node()
    with graph.inserting_before(output):
        output.args = fx.node.map_arg(output.args, restored)


def _halved(argument: Any) -> Any:
    if argument is torch.float32:
        return torch.float16
    if isinstance(argument, float) and math.isfinite(argument) and abs(argument) > _LARGEST:
        return math.copysign(_LARGEST, argument)
    return argument


def _halve_held(module: nn.Module) -> None:
    places: tuple[dict[str, Any], ...] = (module._parameters, module._buffers, vars(module))
    for held in places:
        for name, tensor in list(held.items()):
            if isinstance(tensor, torch.Tensor) and tensor.dtype is torch.float32:
                half = tensor.detach().half()
                held[name] = nn.Parameter(half, requires_grad=False) if isinstance(tensor, nn.Parameter) else half
