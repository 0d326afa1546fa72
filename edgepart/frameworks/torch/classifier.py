"""The network's own classifier as source lines, fitted to another tensor (template ``replicate_classifier``).

EdgeLessPart's default head. The classifier is what follows the last image or token sequence: pooling, flattening and
the layers on one vector a sample. It is read off the captured operations, so it does not matter whether the network
calls modules or functions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.passes.fake_tensor_prop import FakeTensorProp

from edgepart.errors import TemplateError
from edgepart.frameworks.torch.example import zeros
from edgepart.frameworks.torch.flatten import operation
from edgepart.frameworks.torch.program import Program
from edgepart.units import dimensions

Size = int | str
Shape = tuple[Size, ...]

#: operations that change no value (in eval mode, of one type)
_IDENTITY = frozenset({"contiguous", "clone", "detach", "alias", "to", "lift_fresh", "softmax", "log_softmax"})
#: operation → module without arguments
_ACTIVATIONS = {
    "relu": "nn.ReLU()",
    "relu6": "nn.ReLU6()",
    "tanh": "nn.Tanh()",
    "sigmoid": "nn.Sigmoid()",
    "silu": "nn.SiLU()",
    "mish": "nn.Mish()",
    "hardswish": "nn.Hardswish()",
    "hardsigmoid": "nn.Hardsigmoid()",
}
_MAPS = frozenset({"avg_pool2d", "adaptive_avg_pool2d", "max_pool2d", "adaptive_max_pool2d"})


@dataclass(frozen=True)
class _Step:
    """One operation of the classifier: ``fit`` maps the shape it is given (no batch) to its lines and its output."""

    role: Literal["reduce", "activation", "dropout", "norm", "trained"]
    before: tuple[int, ...]
    fit: Callable[[Shape], tuple[list[str], Shape]]


def describe_classifier(program: Program, shape: Sequence[int | str]) -> list[str]:
    """Constructors of the modules that do to a tensor what the network's own classifier does to its features.

    Lines are ``nn.…(…)``, or ``Mean(dimensions)``, ``Max(dimensions)`` and ``Token(index)``, which the template
    defines. The first layers take the width of the tensor; maps of another size are pooled to the original one.

    Args:
        shape: of the tensor, without the batch dimension; a dimension that varies is a string

    Raises:
        TemplateError: the classifier holds an operation that cannot be repeated elsewhere, or reads another kind of
            tensor; names it.
    """
    now: Shape = tuple(shape)
    steps = _steps(program)
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


def _steps(program: Program) -> list[_Step]:
    """The classifier's operations, from the first to the logits."""
    steps: list[_Step] = []
    node, stopped = _last(program), ""
    while node.op == "call_function":
        source = _source(node)
        step = _step(node, source) if source is not None else None
        if source is None or (step is None and not _is_identity(node, source)):
            stopped = operation(node)
            break
        if step is not None:
            # A second layer with weights on an image or a sequence belongs to the features.
            if len(step.before) > 1 and step.role in ("trained", "norm") and _has_trained(steps):
                break
            steps.insert(0, step)
        node = source
    else:
        # Nothing but layers on vectors up to the network's input: only the last one is the classifier.
        steps = steps[max((i for i, step in enumerate(steps) if step.role == "trained"), default=len(steps)) :]
    steps = list(itertools.dropwhile(lambda step: step.role == "activation", steps))
    if not _has_trained(steps):
        reason = f" ('{stopped}' cannot be repeated)" if stopped else ""
        raise TemplateError(
            f"the classifier of '{program.graph.name}' cannot be replicated{reason}: use the template 'linear'"
        )
    return steps


def _has_trained(steps: Sequence[_Step]) -> bool:
    return any(step.role == "trained" for step in steps)


def _last(program: Program) -> fx.Node:
    """The node of the logits, in a graph whose nodes know their shapes for one sample (batch 2)."""
    graph = program.graph
    module = program.slice(None, None, share=True).module
    assert isinstance(module, fx.GraphModule)
    sizes = {**graph.symbols, "batch": 2}
    inputs = [graph.tensor(name) for name in graph.inputs if graph.tensor(name).consumers]
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():
        values = [zeros(tensor.shape, tensor.dtype, sizes) for tensor in inputs]
        FakeTensorProp(module, mode).propagate_dont_convert_inputs(*values)
    output = next(node for node in module.graph.nodes if node.op == "output")
    logits: fx.Node = output.args[0][0]
    return logits


def _source(node: fx.Node) -> fx.Node | None:
    """The tensor that an operation works on; None if there are several."""
    made = [n for n in node.all_input_nodes if n.op != "get_attr" and isinstance(n.meta.get("val"), torch.Tensor)]
    return made[0] if len(made) == 1 and node.args and node.args[0] is made[0] else None


def _shape(node: fx.Node) -> tuple[int, ...]:
    return tuple(int(size) for size in node.meta["val"].shape[1:])


def _is_identity(node: fx.Node, source: fx.Node) -> bool:
    return operation(node) in _IDENTITY or (
        operation(node) in ("slice", "view", "reshape", "expand", "flatten") and _shape(node) == _shape(source)
    )


def _step(node: fx.Node, source: fx.Node) -> _Step | None:
    """What an operation is in a classifier; None if it is none of those known."""
    name, before = operation(node), _shape(source)
    if name in _ACTIVATIONS:
        return _Step("activation", before, _same(_ACTIVATIONS[name]))
    builder = _BUILDERS.get(name)
    return builder(node, before, _shape(node)) if builder else None


def _same(line: str) -> Callable[[Shape], tuple[list[str], Shape]]:
    return lambda shape: ([line], shape)


def _argument(node: fx.Node, position: int, name: str, default: Any) -> Any:
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)


def _linear(node: fx.Node, before: tuple[int, ...], after: tuple[int, ...]) -> _Step | None:
    bias = "" if _argument(node, 2, "bias", None) is not None else ", bias=False"

    def fit(shape: Shape) -> tuple[list[str], Shape]:
        return [f"nn.Linear({shape[-1]}, {after[-1]}{bias})"], (*shape[:-1], after[-1])

    return _Step("trained", before, fit)


def _convolution(node: fx.Node, before: tuple[int, ...], after: tuple[int, ...]) -> _Step | None:
    weight = node.args[1].meta["val"]  # type: ignore[union-attr]
    names = ("stride", "padding", "dilation", "groups")
    values = {name: _argument(node, 3 + i, name, None) for i, name in enumerate(names)}
    if values.pop("groups") not in (None, 1):
        return None
    settings = "".join(f", {k}={tuple(v) if isinstance(v, list) else v!r}" for k, v in values.items() if v)
    bias = "" if _argument(node, 2, "bias", None) is not None else ", bias=False"
    kernel = tuple(weight.shape[2:])

    def fit(shape: Shape) -> tuple[list[str], Shape]:
        # Its padding keeps the map's size, or else what pools the map next does not care.
        return [f"nn.Conv2d({shape[0]}, {after[0]}, {kernel}{settings}{bias})"], (after[0], *shape[1:])

    return _Step("trained", before, fit)


def _batch_norm(node: fx.Node, before: tuple[int, ...], after: tuple[int, ...]) -> _Step | None:
    kind = {1: "BatchNorm1d", 3: "BatchNorm2d"}.get(len(before))
    eps = _argument(node, 7, "eps", 1e-5)
    return _Step("norm", before, lambda shape: ([f"nn.{kind}({shape[0]}, eps={eps})"], shape)) if kind else None


def _layer_norm(node: fx.Node, before: tuple[int, ...], after: tuple[int, ...]) -> _Step | None:
    if len(node.args[1]) != 1:  # type: ignore[arg-type]
        return None
    eps = _argument(node, 4, "eps", 1e-5)
    return _Step("norm", before, lambda shape: ([f"nn.LayerNorm({shape[-1]}, eps={eps})"], shape))


def _dropout(node: fx.Node, before: tuple[int, ...], after: tuple[int, ...]) -> _Step | None:
    return _Step("dropout", before, _same(f"nn.Dropout({node.args[1]})"))


def _gelu(node: fx.Node, before: tuple[int, ...], after: tuple[int, ...]) -> _Step | None:
    return _Step("activation", before, _same(f"nn.GELU({node.kwargs.get('approximate', 'none')!r})"))


def _hardtanh(node: fx.Node, before: tuple[int, ...], after: tuple[int, ...]) -> _Step | None:
    low, high = _argument(node, 1, "min_val", -1.0), _argument(node, 2, "max_val", 1.0)
    return _Step("activation", before, _same(f"nn.Hardtanh({low}, {high})"))


def _pool(node: fx.Node, before: tuple[int, ...], after: tuple[int, ...]) -> _Step | None:
    kind = "AdaptiveMaxPool2d" if "max" in operation(node) else "AdaptiveAvgPool2d"

    def fit(shape: Shape) -> tuple[list[str], Shape]:
        # Also for a fixed window: on a map of another size it must give the same number of features.
        return [f"nn.{kind}({after[1:]})"], (shape[0], *after[1:])

    return _Step("reduce", before, fit)


def _reduction(node: fx.Node, before: tuple[int, ...], after: tuple[int, ...]) -> _Step | None:
    given = _argument(node, 1, "dim", [])
    dimensions = sorted(d % (len(before) + 1) for d in ([given] if isinstance(given, int) else given or []))
    keeps = bool(_argument(node, 2, "keepdim", False))
    short, long = ("Mean", "Avg") if operation(node) == "mean" else ("Max", "Max")
    if len(before) == 3 and dimensions == [2, 3]:
        line = f"nn.Adaptive{long}Pool2d(1)" if keeps else f"{short}((2, 3))"
        return _Step("reduce", before, lambda shape: ([line], (shape[0], 1, 1) if keeps else shape[:1]))
    if len(before) == 2 and dimensions == [1] and not keeps:
        return _Step("reduce", before, lambda shape: ([f"{short}((1,))"], shape[1:]))
    return None


def _select(node: fx.Node, before: tuple[int, ...], after: tuple[int, ...]) -> _Step | None:
    _, dimension, index = node.args[:3]
    if dimension != 1 or len(before) != 2 or not isinstance(index, int):
        return None
    return _Step("reduce", before, lambda shape: ([f"Token({index})"], shape[1:]))


def _flatten(node: fx.Node, before: tuple[int, ...], after: tuple[int, ...]) -> _Step | None:
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

    return _Step("reduce", before, fit)


_BUILDERS: dict[str, Callable[[fx.Node, tuple[int, ...], tuple[int, ...]], _Step | None]] = {
    "linear": _linear,
    "conv2d": _convolution,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "dropout": _dropout,
    "gelu": _gelu,
    "hardtanh": _hardtanh,
    "mean": _reduction,
    "amax": _reduction,
    "select": _select,
    **dict.fromkeys(("flatten", "view", "reshape", "squeeze"), _flatten),
    **dict.fromkeys(_MAPS, _pool),
}
