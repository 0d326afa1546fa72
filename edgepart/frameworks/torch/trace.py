"""From a module to torch's exported program, whose operations remember the layers that they come from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn
from torch.export import Dim, ExportedProgram

from edgepart.errors import ExportError
from edgepart.frameworks.messages import first_line
from edgepart.frameworks.signature import Signature
from edgepart.frameworks.torch.example import zeros
from edgepart.frameworks.torch.explain import is_fixed
from edgepart.silence import silence

#: of one entry of ``Tensor.shape``: torch's word for a size that varies, None for one that does not
Hint = Callable[[int | str], Any]


def vary(size: int | str) -> Any:
    """Every size that is not a number varies."""
    return Dim.AUTO if isinstance(size, str) else None


def trace(module: nn.Module, signature: Signature, sizes: Mapping[str, int], hint: Hint) -> ExportedProgram:
    """Export a module that is called with tensors in the order of a signature.

    Args:
        sizes: the value of every symbol to trace with

    Raises:
        ExportError: torch.export cannot follow it.
    """
    with _interpreted(module):
        return export(Positional(module), signature, sizes, (dynamic_shapes(signature, hint),))


def export(
    module: nn.Module, signature: Signature, sizes: Mapping[str, int], shapes: tuple[Any, ...]
) -> ExportedProgram:
    """torch.export in silence, without lines of source: paths of this machine are nobody's business elsewhere.

    Raises:
        ExportError: torch.export cannot follow it.
    """
    example = tuple(zeros(spec.shape, spec.dtype, dict(sizes)) for spec in signature.inputs)
    try:
        with silence(), torch.no_grad(), fx.traceback.preserve_node_meta():
            exported = torch.export.export(module, example, dynamic_shapes=shapes, strict=False)
    except Exception as error:
        raise ExportError(
            f"torch.export cannot follow the part: {type(error).__name__}: {first_line(error)}"
        ) from error
    for inside in exported.graph_module.modules():
        for node in inside.graph.nodes if isinstance(inside, fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
    return exported


def dynamic_shapes(signature: Signature, hint: Hint) -> tuple[dict[int, Any], ...]:
    """What torch.export is told of the sizes of each input."""
    hints = [{axis: hint(size) for axis, size in enumerate(spec.shape)} for spec in signature.inputs]
    return tuple({axis: found for axis, found in axes.items() if found is not None} for axes in hints)


def user_inputs(exported: ExportedProgram) -> list[torch.Tensor]:
    """The (fake) tensors that an exported program was traced with, in order."""
    places = {node.name: node for node in exported.graph.nodes if node.op == "placeholder"}
    return [places[name].meta["val"] for name in exported.graph_signature.user_inputs if isinstance(name, str)]


def require_varying(exported: ExportedProgram, signature: Signature) -> None:
    """Raise ExportError where torch has made a number of a size that varies."""
    for spec, value in zip(signature.inputs, user_inputs(exported), strict=True):
        for wanted, size in zip(spec.shape, value.shape, strict=True):
            if isinstance(wanted, str) and is_fixed(size):
                raise ExportError(
                    f"the part fixes '{wanted}' of its input '{spec.name}' to {size}: "
                    "read the size from the tensor (x.shape) instead of writing it as a number"
                )


def layer_of(node: fx.Node) -> str:
    """The layer of an operation, or the module of a head that it belongs to."""
    layer = (node.meta.get("custom") or {}).get("layer")
    stack = (node.meta.get("nn_module_stack") or {}).values()
    return str(layer) if layer else module_path([str(path) for path, _ in stack])


def module_path(stack: list[str]) -> str:
    """Path of the innermost module of a stack; "" for the whole, or where torch has lost it."""
    path = stack[-1] if stack else ""
    # ``module``: what is exported lies inside Positional
    return "" if path.startswith("_empty_nn_module_stack") else re.sub(r"^module\.?", "", path)


def operation_name(node: fx.Node) -> str:
    """``conv2d`` for ``aten.conv2d.default``."""
    schema = getattr(node.target, "_schema", None)
    return str(schema.name).partition("::")[2].removesuffix("_copy") if schema else str(node.target)


def lacking(message: str, programs: Iterable[ExportedProgram]) -> str:
    """The first operation that a message is about and its layer, looked for in one program after another.

    Returns:
        ``the operation 'det' of the layer 'head'``, or an empty string where the message names none of them
    """
    found = re.findall(r"\b(?:aten|prims)(?:\.|::)(\w+)", message)
    names = {name.removesuffix("_copy") for name in found}
    for program in programs:
        for node in program.graph.nodes:
            if node.op == "call_function" and operation_name(node) in names:
                return described(node)
    return ""


def described(node: fx.Node) -> str:
    """``the operation 'det' of the layer 'head'``."""
    layer = layer_of(node)
    return f"the operation '{operation_name(node)}'" + (f" of the layer '{layer}'" if layer else "")


class Positional(nn.Module):
    """Takes arguments in order under names of its own, so that a part's names need not be Python's."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.module(*tensors))


@contextmanager
def _interpreted(module: nn.Module) -> Iterator[None]:
    """Run the slices inside node by node while the block runs, so that operations keep what their nodes say of them."""
    slices = [inside for inside in module.modules() if isinstance(inside, fx.GraphModule)]
    for inside in slices:
        inside.forward = fx.Interpreter(inside).run
    try:
        yield
    finally:
        for inside in slices:
            del inside.forward
