"""What a network's classifier does, step by step, and the torch lines that do the same to another tensor.

A framework reads the steps off its captured operations; nothing here knows how.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from edgepart.errors import TemplateError
from edgepart.units import dimensions

Size = int | str
Shape = tuple[Size, ...]
Kind = Literal["Avg", "Max"]
#: a shape in the network itself, of one sample
Known = tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """One operation of the classifier: ``fit`` maps the shape it is given (no batch) to its lines and its output."""

    role: Literal["reduce", "activation", "dropout", "norm", "trained"]
    before: Known
    fit: Callable[[Shape], tuple[list[str], Shape]]


def choose(backwards: Iterable[Step | str | None], network: str) -> list[Step]:
    """The classifier's operations, from the first to the logits.

    Args:
        backwards: from the logits on: a step, None for an operation that changes no value, or, at last, the name of
            one that no classifier has

    Raises:
        TemplateError: there is no layer with weights among them; names the operation that was in the way.
    """
    steps: list[Step] = []
    stopped = ""
    for step in backwards:
        if isinstance(step, str):
            stopped = step
            break
        if step is None:
            continue
        # A second layer with weights on an image or a sequence belongs to the features.
        if len(step.before) > 1 and step.role in ("trained", "norm") and _has_trained(steps):
            break
        steps.insert(0, step)
    else:
        # Nothing but layers on vectors up to the network's input: only the last one is the classifier.
        steps = steps[max((i for i, step in enumerate(steps) if step.role == "trained"), default=len(steps)) :]
    steps = list(itertools.dropwhile(lambda step: step.role == "activation", steps))
    if not _has_trained(steps):
        reason = f" ('{stopped}' cannot be repeated)" if stopped else ""
        raise TemplateError(f"the classifier of '{network}' cannot be replicated{reason}: use the template 'linear'")
    return steps


def describe(steps: Sequence[Step], shape: Sequence[int | str]) -> list[str]:
    """Constructors of the modules that do to a tensor what the steps do to the network's features.

    Lines are ``nn.…(…)``, or ``Mean(dimensions)``, ``Max(dimensions)`` and ``Token(index)``, which the template
    defines. The first layers take the width of the tensor; maps of another size are pooled to the original one.

    Args:
        shape: of the tensor, without the batch dimension; a dimension that varies is a string

    Raises:
        TemplateError: the steps read another kind of tensor.
    """
    now: Shape = tuple(shape)
    if len(now) == 1:
        steps = list(itertools.dropwhile(lambda step: step.role == "reduce", steps))
    if len(now) != len(steps[0].before):
        raise TemplateError(
            f"the network's own classifier reads {dimensions(steps[0].before)} a sample and cannot be fitted to a "
            f"tensor {dimensions(now)}: use the template 'linear' for this exit"
        )
    lines = []
    for step in steps:
        more, now = step.fit(now)
        lines += more
    return lines


def activation(before: Known, line: str) -> Step:
    return Step("activation", before, lambda shape: ([line], shape))


def dropout(before: Known, probability: object) -> Step:
    return Step("dropout", before, lambda shape: ([f"nn.Dropout({probability})"], shape))


def linear(before: Known, width: int, bias: bool) -> Step:
    return Step(
        "trained",
        before,
        lambda shape: ([f"nn.Linear({shape[-1]}, {width}{'' if bias else ', bias=False'})"], (*shape[:-1], width)),
    )


def convolution(before: Known, width: int, kernel: Known, bias: bool, **settings: object) -> Step:
    """With ``stride``, ``padding`` and ``dilation``; those that are empty are left to torch."""
    more = "".join(f", {k}={tuple(v) if isinstance(v, list) else v!r}" for k, v in settings.items() if v)
    more += "" if bias else ", bias=False"

    def fit(shape: Shape) -> tuple[list[str], Shape]:
        # Its padding keeps the map's size, or else what pools the map next does not care.
        return [f"nn.Conv2d({shape[0]}, {width}, {kernel}{more})"], (width, *shape[1:])

    return Step("trained", before, fit)


def batch_norm(before: Known, eps: object) -> Step | None:
    kind = {1: "BatchNorm1d", 3: "BatchNorm2d"}.get(len(before))
    return Step("norm", before, lambda shape: ([f"nn.{kind}({shape[0]}, eps={eps})"], shape)) if kind else None


def layer_norm(before: Known, eps: object) -> Step:
    return Step("norm", before, lambda shape: ([f"nn.LayerNorm({shape[-1]}, eps={eps})"], shape))


def pool(before: Known, after: Known, kind: Kind) -> Step:
    """Of a map; also for a fixed window: on a map of another size it must give the same number of features."""
    line = f"nn.Adaptive{kind}Pool2d({after[1:]})"
    return Step("reduce", before, lambda shape: ([line], (shape[0], *after[1:])))


def reduction(before: Known, axes: Iterable[int], keeps: bool, kind: Kind) -> Step | None:
    """The mean or maximum over height and width, or over tokens; ``axes`` count the batch dimension."""
    wanted = sorted(axis % (len(before) + 1) for axis in axes)
    short = {"Avg": "Mean", "Max": "Max"}[kind]
    if len(before) == 3 and wanted == [2, 3]:
        line = f"nn.Adaptive{kind}Pool2d(1)" if keeps else f"{short}((2, 3))"
        return Step("reduce", before, lambda shape: ([line], (shape[0], 1, 1) if keeps else shape[:1]))
    if len(before) == 2 and wanted == [1] and not keeps:
        return Step("reduce", before, lambda shape: ([f"{short}((1,))"], shape[1:]))
    return None


def token(before: Known, axis: int, index: object) -> Step | None:
    """One token of a sequence."""
    if axis != 1 or len(before) != 2 or not isinstance(index, int):
        return None
    return Step("reduce", before, lambda shape: ([f"Token({index})"], shape[1:]))


def flatten(before: Known, after: Known) -> Step | None:
    """A map or sequence as one vector."""
    if len(after) != 1 or math.prod(before) != after[0]:
        return None

    def fit(shape: Shape) -> tuple[list[str], Shape]:
        lines = ["nn.Flatten(1)"]
        if len(shape) == 3 and shape[1:] != before[1:]:
            lines, shape = [f"nn.AdaptiveAvgPool2d({before[1:]})", *lines], (shape[0], *before[1:])
        if not all(isinstance(size, int) for size in shape):
            raise TemplateError(
                "the network's own classifier flattens a sequence, whose length varies: use the template 'linear'"
            )
        return lines, (math.prod(size for size in shape if isinstance(size, int)),)

    return Step("reduce", before, fit)


def _has_trained(steps: Sequence[Step]) -> bool:
    return any(step.role == "trained" for step in steps)
