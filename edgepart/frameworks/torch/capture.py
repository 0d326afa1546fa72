"""torch.export with any batch size, and a sentence for everything that can go wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from edgepart.frameworks.torch.example import Example
from edgepart.frameworks.torch.explain import explain, explain_fixed_batch, is_fixed, require_runs
from edgepart.frameworks.torch.program import Program, structure
from edgepart.silence import quiet


def capture(model: nn.Module, given: object) -> Program:
    """Capture a network in eval mode; the model is left as it was.

    Raises:
        CaptureError: torch.export cannot follow it; names the module and what to try.
    """
    example = Example.of(given)
    with evaluating(model):
        exported = _export(model, example)
        sample = example.sample(exported.graph_signature.user_inputs)
        return Program(exported, type(model).__name__, ties(model), sample, structure(model))


def ties(model: nn.Module) -> dict[str, str]:
    """Every name of a tied parameter or buffer → the first name of the same tensor."""
    first: dict[tuple[object, ...], str] = {}
    found: dict[str, str] = {}
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    for name, tensor in named:
        if tensor.numel():
            key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
            found[name] = first.setdefault(key, name)
    return {name: one for name, one in found.items() if name != one}


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module in eval mode while the block runs, then back."""
    before: Mapping[nn.Module, bool] = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training


def _export(model: nn.Module, example: Example) -> ExportedProgram:
    shapes = example.dynamic_shapes(model)
    require_runs(model, example)
    try:
        exported = _trace(model, example, shapes)
    except Exception as error:
        raise explain(model, error) from error
    if _fixes_batch(exported):
        raise explain_fixed_batch(model, example, shapes)
    _drop_empty_blocks(exported)
    _return_flat(exported)
    return exported


def _trace(model: nn.Module, example: Example, shapes: dict[str, Any]) -> ExportedProgram:
    """torch.export, with gradients so that what the network does under ``no_grad`` is told apart from the rest."""

    def attempt() -> ExportedProgram:
        call = example.copy()
        return torch.export.export(model, call.args, call.kwargs, dynamic_shapes=shapes, strict=False)

    with quiet(), example.naming_keywords(model):
        try:
            return attempt()
        except RuntimeError as error:
            if not re.search("in-?place", str(error)):
                raise
        with torch.no_grad():  # autograd forbids some writes in place that inference allows
            return attempt()


def _fixes_batch(exported: ExportedProgram) -> bool:
    inputs = set(exported.graph_signature.user_inputs)
    values = [n.meta.get("val") for n in exported.graph.nodes if n.op == "placeholder" and n.name in inputs]
    return any(is_fixed(v.shape[0]) for v in values if isinstance(v, torch.Tensor) and v.dim())


def _drop_empty_blocks(exported: ExportedProgram) -> None:
    """A ``no_grad`` block that computes nothing is left over by torch, which then cannot read it back from a file."""
    module = exported.graph_module
    empty = [n for n in module.graph.nodes if n.op == "call_function" and n.meta.get("val") == () and not n.users]
    for node in empty:
        module.graph.erase_node(node)
    if empty:
        module.recompile()


def _return_flat(exported: ExportedProgram) -> None:
    """Let the program return a tuple: another process may lack the library whose class the network returns."""
    signature = exported.module_call_graph[0].signature
    assert signature is not None
    signature.out_spec = pytree.tree_structure((0,) * len(exported.graph_signature.output_specs))
