"""From the source of a rendered head to a module that has been tried on the real tensor's shape."""

from __future__ import annotations

import contextlib
import copy
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from edgepart.errors import TemplateError
from edgepart.frameworks.builder import HeadSize
from edgepart.units import dimensions

#: class that the source must define, and its methods
CLASS = "Head"
METHODS = ("reduce", "classify", "forward")


def compile_head(source: str, path: str | Path) -> nn.Module:
    """Run the source of a head and make the ``Head`` in it, with fresh weights from torch's random generator.

    The source is the user's own code and can do anything. ``path`` names it in messages; it need not exist.

    Raises:
        TemplateError: it is not Python, raises, or does not define a proper ``Head``; names the line.
    """
    namespace = ModuleType("edgepart_head")
    with _blamed(path, path, "compile"):
        exec(compile(source, str(path), "exec"), namespace.__dict__)
    head_class = getattr(namespace, CLASS, None)
    if not (isinstance(head_class, type) and issubclass(head_class, nn.Module)):
        raise TemplateError(f"{path} defines no class {CLASS} derived from torch.nn.Module")
    missing = [name for name in METHODS if getattr(head_class, name, None) in (None, nn.Module.forward)]
    if missing:
        raise TemplateError(f"the class {CLASS} in {path} has no method {missing[0]}: it needs {', '.join(METHODS)}")
    with _blamed(path, path, "make its Head"):
        head = head_class()
    assert isinstance(head, nn.Module)
    return head


def check_head(head: nn.Module, shape: Sequence[int], classes: int, name: str = "the head") -> None:
    """Try a head on random tensors of the real shape, in batches of 2 and 3, and hold it to its contract.

    Neither the head nor torch's random generator is changed.

    Args:
        shape: of the tensor without the batch dimension, all sizes known
        name: what messages call it

    Raises:
        TemplateError: it fails on the shape, gives something else than finite (batch, classes) logits, or breaks the
            contract of ``reduce`` and ``classify``; says which in one sentence.
    """
    code = getattr(type(head).forward, "__code__", None)
    with torch.random.fork_rng(devices=[]), _blamed(name, code.co_filename if code else "", _run_on(shape)):
        torch.manual_seed(0)
        for batch in (2, 3):
            _check_batch(copy.deepcopy(head), torch.randn(batch, *shape), classes, name)


def try_head(source: str, shape: Sequence[int], classes: int, name: str) -> HeadSize:
    """Compile the source of a head and hold it to its contract on one shape.

    Raises:
        TemplateError: as :func:`compile_head` and :func:`check_head`.
    """
    head = compile_head(source, name)
    check_head(head, shape, classes, name)
    return head_size(head, shape)


def head_size(head: nn.Module, shape: Sequence[int]) -> HeadSize:
    """What a head multiplies for one sample and how many numbers it learns."""
    return HeadSize(head_macs(head, shape), sum(parameter.numel() for parameter in head.parameters()))


def head_macs(head: nn.Module, shape: Sequence[int]) -> int:
    """Multiply-accumulates of one sample, convolutions and matrix products only."""
    trial = copy.deepcopy(head).eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        trial(torch.zeros(1, *shape))
    # torch counts a multiply-accumulate as two operations.
    return int(counter.get_total_flops()) // 2


def _check_batch(head: nn.Module, x: Tensor, classes: int, name: str) -> None:
    given = x.clone()
    in_training = head.train().reduce(x)  # type: ignore[operator]
    head(x)
    answer = head.eval()(x)
    reduced = head.reduce(x)  # type: ignore[operator]
    if not torch.equal(x, given):
        raise TemplateError(f"{name} changes its input in place, which the rest of the network reads too")
    _check_answer(answer, len(x), classes, name)
    if not isinstance(reduced, Tensor) or reduced.requires_grad:
        raise TemplateError(
            f"reduce() of {name} must give a tensor made without parameters, as it is computed once for all epochs: "
            "move layers with parameters to classify()"
        )
    if not torch.allclose(reduced, in_training):
        raise TemplateError(
            f"reduce() of {name} gives something else in training: move dropout and normalisation to classify()"
        )
    if not torch.allclose(answer, head.classify(reduced), rtol=1e-4, atol=1e-5):  # type: ignore[operator]
        raise TemplateError(f"forward(x) of {name} is not classify(reduce(x)), which training on stored features uses")
    if not torch.allclose(answer[1:2], head(x[1:2]), rtol=1e-4, atol=1e-5):
        raise TemplateError(f"{name} gives a sample another answer when other samples are in the batch")


def _check_answer(answer: object, batch: int, classes: int, name: str) -> None:
    if not isinstance(answer, Tensor):
        raise TemplateError(f"{name} gives {type(answer).__name__}, expected a tensor of logits (batch, {classes})")
    if tuple(answer.shape) != (batch, classes):
        raise TemplateError(
            f"{name} gives {dimensions(answer.shape)} for a batch of {batch}, expected {dimensions((batch, classes))}: "
            f"its last layer must have {classes} outputs"
        )
    if not torch.isfinite(answer).all():
        raise TemplateError(f"{name} gives NaN or infinite logits for random input")


def _run_on(shape: Sequence[int]) -> str:
    return f"run on a tensor {dimensions(('batch', *shape))}"


@contextlib.contextmanager
def _blamed(name: str | Path, filename: str | Path, what: str) -> Iterator[None]:
    """Turn whatever the user's code in ``filename`` raises into one sentence with the line at fault."""
    try:
        yield
    except TemplateError:
        raise
    except SyntaxError as error:
        raise TemplateError(f"{name} does not {what}: {error.msg} in line {error.lineno}") from error
    except Exception as error:
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(filename)]
        where = f" in line {own[-1].lineno} ({own[-1].name})" if own else ""
        reason = str(error).strip().split("\n")[0]
        raise TemplateError(f"{name} does not {what}: {type(error).__name__}{where}: {reason}") from error
