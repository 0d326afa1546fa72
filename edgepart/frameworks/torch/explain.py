"""What torch.export raises, as one sentence that names the module and what to try."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from edgepart.errors import CaptureError
from edgepart.frameworks.messages import first_line
from edgepart.frameworks.torch.example import Example
from edgepart.silence import quiet

_ANY_BATCH = "use x.shape[0] (not len(x)) or -1 in view and reshape, and no tensor or branch made for one batch size"


def require_runs(model: nn.Module, example: Example) -> None:
    """Call a network as the user would.

    Raises:
        CaptureError: it cannot be called with the example; says what it raised and where.
    """
    error = _failure(model, example)
    if error is None:
        return
    what = f"{_where(model, error)} raised {type(error).__name__}: {first_line(error)}"
    if example.repeated and _failure(model, example.single()) is None:
        raise CaptureError(f"the network runs one sample but not two: {what}; {_ANY_BATCH}") from error
    raise CaptureError(
        f"the network cannot be run on the example inputs: {what}; check their shapes, dtypes and names"
    ) from error


def _failure(model: nn.Module, example: Example) -> Exception | None:
    call = example.copy()
    try:
        with quiet(), torch.no_grad():
            model(*call.args, **call.kwargs)
    except Exception as error:
        return error
    return None


def explain(model: nn.Module, error: Exception) -> CaptureError:
    """Why a network that runs could not be exported."""
    where = _where(model, error)
    text = f"{type(error).__name__}: {error}"
    if "data-dependent" in text or "DataDependent" in text or "_local_scalar_dense" in text:
        return CaptureError(
            f"{where} decides by the values of a tensor (data-dependent control flow), which cannot be captured: "
            "use torch.where or a mask instead, or move the decision out of forward"
        )
    if "not a known type" in text or "pytree" in text or "Unsupported output" in text:
        kind = text.partition("<class '")[2].partition("'")[0] or "value of another type"
        return CaptureError(
            f"the network returns a {kind}: return tensors, or tuples, lists or dicts of them "
            "(a Hugging Face model: set config.return_dict and config.use_cache to False)"
        )
    return CaptureError(
        f"torch.export cannot follow {where}: {type(error).__name__}: {first_line(error)}; use torch operations only "
        "in forward, and see whether torch.export.export(model, example) can be made to work"
    )


def explain_fixed_batch(model: nn.Module, example: Example, shapes: dict[str, Any]) -> CaptureError:
    """Which module turns the batch size into a number: found by exporting once more.

    Looked at where each module begins and ends; the module to blame is the one in whose own code it happened.
    """
    blamed: list[str] = []
    sizes: list[object] = []
    names = {module: name for name, module in model.named_modules()}

    running: list[str] = []

    def look() -> None:
        if running and not blamed and any(is_fixed(size) for size in sizes):
            blamed.append(running[-1])

    def entered(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not running:
            leaves = pytree.tree_leaves((args, kwargs))
            sizes.extend(x.shape[0] for x in leaves if isinstance(x, torch.Tensor) and x.dim())
        look()
        running.append(names[module])

    def left(*_: Any) -> None:
        look()
        running.pop()

    hooks = [module.register_forward_pre_hook(entered, with_kwargs=True, prepend=True) for module in names]
    hooks += [module.register_forward_hook(left) for module in names]
    call = example.copy()
    try:
        with quiet(), example.naming_keywords(model):
            torch.export.export(model, call.args, call.kwargs, dynamic_shapes=shapes, strict=False)
    finally:
        for hook in hooks:
            hook.remove()
    where = _describe(model, blamed[0] if blamed else "")
    return CaptureError(f"{where} fixes the batch size to that of the example: {_ANY_BATCH}")


def is_fixed(size: object) -> bool:
    """Whether torch has found a size to be one number."""
    return not isinstance(size, torch.SymInt) or bool(size.node.expr.is_number)


def _where(model: nn.Module, error: BaseException) -> str:
    """The innermost of the user's modules in whose method the error was raised, with file and line."""
    names = {id(module): name for name, module in model.named_modules()}
    found, place = "", ""
    trace = error.__traceback__
    while trace is not None:
        # the first local variable of a method is its self
        owner = next(iter(trace.tb_frame.f_locals.values()), None)
        if id(owner) in names:
            found = names[id(owner)]
            file = trace.tb_frame.f_code.co_filename
            # torch's own modules and the call machinery say less than the line of the user's forward
            if "/torch/nn/modules/module.py" not in file:
                place = f" ({file.rpartition('/')[2]}:{trace.tb_lineno})"
        trace = trace.tb_next
    return _describe(model, found) + place


def _describe(model: nn.Module, path: str) -> str:
    if not path:
        return f"the forward of {type(model).__name__}"
    return f"module '{path}' ({type(model.get_submodule(path)).__name__})"
