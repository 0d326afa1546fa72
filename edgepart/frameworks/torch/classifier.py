"""The network's own classifier as source lines, fitted to another tensor (template ``replicate_classifier``).

EdgeLessPart's default head. The classifier is what follows the last image or token sequence: pooling, flattening and
the layers on one vector a sample. It is read off the captured operations, so it does not matter whether the network
calls modules or functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.passes.fake_tensor_prop import FakeTensorProp

from edgepart.frameworks.builder import is_single
from edgepart.frameworks.torch import classifier_steps as steps
from edgepart.frameworks.torch.classifier_steps import Known, Step
from edgepart.frameworks.torch.example import zeros
from edgepart.frameworks.torch.flatten import operation
from edgepart.frameworks.torch.logits import before_views
from edgepart.frameworks.torch.program import Program

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


def describe_classifier(program: Program, shape: Sequence[int | str]) -> list[str]:
    """Constructors of the modules that do to a tensor what the network's own classifier does to its features.

    Args:
        shape: of the tensor, without the batch dimension; a dimension that varies is a string

    Returns:
        lines as :func:`edgepart.frameworks.torch.classifier_steps.describe` makes them

    Raises:
        TemplateError: the classifier holds an operation that cannot be repeated elsewhere, or reads another kind of
            tensor; names it.
    """
    return steps.describe(steps.choose(_backwards(_last(program), is_single(program.graph)), program.graph.name), shape)


def _backwards(node: fx.Node, single: bool) -> Iterator[Step | str | None]:
    """The operations from the logits back to the first that no classifier has.

    Args:
        single: the network gives one number a sample, where a head gives the logits of two classes
    """
    classes = 2 if single else 0
    while node.op == "call_function":
        node = before_views(node) if classes else node
        source = _source(node)
        step = _step(node, source, classes) if source is not None else None
        if source is None or (step is None and not _is_identity(node, source)):
            yield operation(node)
            return
        if step is not None and classes and step.role == "activation":
            step = None  # the sigmoid, which makes a probability of the logit
        classes = 0 if step is not None and step.role == "trained" else classes
        yield step
        node = source


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


def _shape(node: fx.Node) -> Known:
    return tuple(int(size) for size in node.meta["val"].shape[1:])


def _is_identity(node: fx.Node, source: fx.Node) -> bool:
    return operation(node) in _IDENTITY or (
        operation(node) in ("slice", "view", "reshape", "expand", "flatten") and _shape(node) == _shape(source)
    )


def _step(node: fx.Node, source: fx.Node, classes: int) -> Step | None:
    """What an operation is in a classifier; None if it is none of those known.

    Args:
        classes: what the last layer has to give instead of what it does; 0 leaves it
    """
    name, before, after = operation(node), _shape(source), _shape(node)
    if name in _ACTIVATIONS:
        return steps.activation(before, _ACTIVATIONS[name])
    if classes and name == "linear":
        after = (*after[:-1], classes)
    elif classes and name == "conv2d":
        after = (classes, *after[1:])
    builder = _BUILDERS.get(name)
    return builder(node, before, after) if builder else None


def _argument(node: fx.Node, position: int, name: str, default: Any) -> Any:
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)


def _linear(node: fx.Node, before: Known, after: Known) -> Step | None:
    return steps.linear(before, after[-1], _argument(node, 2, "bias", None) is not None)


def _convolution(node: fx.Node, before: Known, after: Known) -> Step | None:
    kernel = tuple(node.args[1].meta["val"].shape[2:])  # type: ignore[union-attr]
    names = ("stride", "padding", "dilation", "groups")
    values = {name: _argument(node, 3 + i, name, None) for i, name in enumerate(names)}
    if values.pop("groups") not in (None, 1):
        return None
    return steps.convolution(before, after[0], kernel, _argument(node, 2, "bias", None) is not None, **values)


def _batch_norm(node: fx.Node, before: Known, after: Known) -> Step | None:
    return steps.batch_norm(before, _argument(node, 7, "eps", 1e-5))


def _layer_norm(node: fx.Node, before: Known, after: Known) -> Step | None:
    one = len(node.args[1]) == 1  # type: ignore[arg-type]
    return steps.layer_norm(before, _argument(node, 4, "eps", 1e-5)) if one else None


def _dropout(node: fx.Node, before: Known, after: Known) -> Step | None:
    return steps.dropout(before, node.args[1])


def _gelu(node: fx.Node, before: Known, after: Known) -> Step | None:
    return steps.activation(before, f"nn.GELU({node.kwargs.get('approximate', 'none')!r})")


def _hardtanh(node: fx.Node, before: Known, after: Known) -> Step | None:
    low, high = _argument(node, 1, "min_val", -1.0), _argument(node, 2, "max_val", 1.0)
    return steps.activation(before, f"nn.Hardtanh({low}, {high})")


def _pool(node: fx.Node, before: Known, after: Known) -> Step | None:
    return steps.pool(before, after, "Max" if "max" in operation(node) else "Avg")


def _reduction(node: fx.Node, before: Known, after: Known) -> Step | None:
    given = _argument(node, 1, "dim", [])
    axes = [given] if isinstance(given, int) else given or []
    kept = bool(_argument(node, 2, "keepdim", False))
    return steps.reduction(before, axes, kept, "Avg" if operation(node) == "mean" else "Max")


def _select(node: fx.Node, before: Known, after: Known) -> Step | None:
    _, axis, index = node.args[:3]
    return steps.token(before, axis, index) if isinstance(axis, int) else None


def _flatten(node: fx.Node, before: Known, after: Known) -> Step | None:
    return steps.flatten(before, after)


_BUILDERS: dict[str, Callable[[fx.Node, Known, Known], Step | None]] = {
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
