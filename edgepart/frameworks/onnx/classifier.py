"""The network's own classifier as torch lines, read off the last nodes (template ``replicate_classifier``).

What :mod:`edgepart.frameworks.torch.classifier` is to torch networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgepart.frameworks.builder import is_single
from edgepart.frameworks.onnx.logits import VIEWS
from edgepart.frameworks.onnx.program import Program
from edgepart.frameworks.onnx.sides import Sides
from edgepart.frameworks.torch import classifier_steps as steps
from edgepart.frameworks.torch.classifier_steps import Known, Step
from edgepart.graph import Graph
from edgepart.graph.sizes import evaluate_size

#: operations that change no value
_IDENTITY = frozenset({"Cast", "Identity", "LogSoftmax", "Softmax"})
#: operation → module without arguments
_ACTIVATIONS = {
    "HardSwish": "nn.Hardswish()",
    "Mish": "nn.Mish()",
    "Relu": "nn.ReLU()",
    "Sigmoid": "nn.Sigmoid()",
    "Softplus": "nn.Softplus()",
    "Softsign": "nn.Softsign()",
    "Tanh": "nn.Tanh()",
}
#: operation that gates its own input (x · f(x)) → what that makes together
_GATES = {"HardSigmoid": "nn.Hardswish()", "Sigmoid": "nn.SiLU()"}
_TRAINED = frozenset({"Add", "Conv", "Gemm", "MatMul"})
_MAPS = ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool")


def describe_classifier(program: Program, shape: Sequence[int | str]) -> list[str]:
    """Constructors of the torch modules that do to a tensor what the network's own classifier does to its features.

    Args:
        shape: of the tensor, without the batch dimension; a dimension that varies is a string

    Returns:
        lines as :func:`edgepart.frameworks.torch.classifier_steps.describe` makes them

    Raises:
        TemplateError: the classifier holds an operation that cannot be repeated elsewhere, or reads another kind of
            tensor; names it.
    """
    tail = _Tail(program)
    return steps.describe(steps.choose(tail.backwards(), program.graph.name), shape)


class _Tail:
    """Walks from the logits towards the features."""

    def __init__(self, program: Program) -> None:
        self._graph: Graph = program.graph
        self._sides = Sides.of(program.model.graph)
        self._logits = program.model.graph.outputs[0]

    def backwards(self) -> Iterator[Step | str | None]:
        """The operations from the logits back to the first that no classifier has."""
        # Of one number a sample heads make the logits of two classes.
        value, single = self._logits, is_single(self._graph)
        classes = 2 if single else 0
        while (node := value.producer()) is not None:
            source = self._source(node)
            if source is None:
                yield node.op_type
                return
            before, after = self._shape(source), self._shape(value)
            if node.op_type == "Slice" and len(after) == 1:
                # All logits but a background class, for one: the layer before makes no others.
                classes = classes or after[0]
            else:
                step = self._step(node, before, after, classes)
                if step is None and not _is_identity(node, before, after):
                    yield node.op_type
                    return
                if step is not None and step.role == "trained":
                    single, classes = False, 0
                # Its sigmoid, which makes a probability of the logit, is no part of a head.
                yield None if single else step
            value = source

    def _source(self, node: ir.Node) -> ir.Value | None:
        """The tensor that an operation works on; None if there are several."""
        read = [value for value in node.inputs if value is not None and not self._is_aside(value)]
        maker = read[0].producer() if len(read) == 1 else None
        if node.op_type == "Add" and maker is not None:
            return self._source(maker) if maker.op_type == "MatMul" else None
        if node.op_type == "Mul" and len(read) == 2:
            return next((x for x, gate in (read, read[::-1]) if _gate(gate) in _GATES and _reads(gate, x)), None)
        return read[0] if len(read) == 1 else None

    def _is_aside(self, value: ir.Value) -> bool:
        return value in self._sides.constant or value in self._sides.sizes

    def _shape(self, value: ir.Value) -> Known:
        shape = self._graph.tensor(str(value.name)).shape[1:]
        return tuple(evaluate_size(size, self._graph.symbols) for size in shape)

    def _step(self, node: ir.Node, before: Known, after: Known, classes: int) -> Step | None:
        """What an operation is in a classifier; None if it is none of those known."""
        if _is_identity(node, before, after):
            return None
        if node.op_type in _ACTIVATIONS:
            return steps.activation(before, _ACTIVATIONS[node.op_type])
        if node.op_type == "Mul":
            gate = next(name for value in node.inputs if (name := _gate(value)) in _GATES)
            return steps.activation(before, _GATES[gate])
        if classes and node.op_type in _TRAINED:
            after = (classes, *after[1:])
        builder = _BUILDERS.get(node.op_type)
        return builder(node, before, after) if builder else None


def _is_identity(node: ir.Node, before: Known, after: Known) -> bool:
    """Whether an operation changes no value, and no shape but that of a single number."""
    same = before == after or math.prod(before) == math.prod(after) == 1
    return node.op_type in _IDENTITY or (node.op_type in VIEWS and same)


def _gate(value: ir.Value | None) -> str:
    maker = value.producer() if value is not None else None
    return maker.op_type if maker is not None else ""


def _reads(value: ir.Value, source: ir.Value) -> bool:
    maker = value.producer()
    return maker is not None and maker.inputs[0] is source


def _attribute(node: ir.Node, name: str, default: Any = None) -> Any:
    found = node.attributes.get(name)
    return default if found is None else found.value


def _constant(node: ir.Node, position: int) -> NDArray[Any] | None:
    """A weight that a node reads; None where there is none, or it is computed."""
    value = node.inputs[position] if len(node.inputs) > position else None
    return None if value is None or value.const_value is None else value.const_value.numpy()


def _has(node: ir.Node, position: int) -> bool:
    return len(node.inputs) > position and node.inputs[position] is not None


def _gemm(node: ir.Node, before: Known, after: Known) -> Step | None:
    return None if _attribute(node, "transA", 0) else steps.linear(before, after[-1], _has(node, 2))


def _matmul(node: ir.Node, before: Known, after: Known) -> Step | None:
    return steps.linear(before, after[-1], bias=False)


def _biased_matmul(node: ir.Node, before: Known, after: Known) -> Step | None:
    return steps.linear(before, after[-1], bias=True)


def _convolution(node: ir.Node, before: Known, after: Known) -> Step | None:
    kernel = _attribute(node, "kernel_shape") or (None if (w := _constant(node, 1)) is None else w.shape[2:])
    pads = _attribute(node, "pads") or [0, 0, 0, 0]
    plain = _attribute(node, "auto_pad", "NOTSET") in ("NOTSET", "VALID") and _attribute(node, "group", 1) == 1
    if kernel is None or len(before) != 3 or pads[:2] != pads[2:] or not plain:
        return None
    settings = {"stride": _attribute(node, "strides"), "padding": pads[:2], "dilation": _attribute(node, "dilations")}
    usual = {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1]}
    given = {name: list(value) for name, value in settings.items() if value and list(value) != usual[name]}
    return steps.convolution(before, after[0], tuple(kernel), _has(node, 2), **given)


def _batch_norm(node: ir.Node, before: Known, after: Known) -> Step | None:
    return steps.batch_norm(before, _short(_attribute(node, "epsilon", 1e-5)))


def _layer_norm(node: ir.Node, before: Known, after: Known) -> Step | None:
    last = _attribute(node, "axis", -1) in (-1, len(before))
    return steps.layer_norm(before, _short(_attribute(node, "epsilon", 1e-5))) if last else None


def _dropout(node: ir.Node, before: Known, after: Known) -> Step | None:
    ratio = _constant(node, 1)
    return steps.dropout(before, 0.5 if ratio is None else _short(float(ratio)))


def _clip(node: ir.Node, before: Known, after: Known) -> Step | None:
    low, high = _constant(node, 1), _constant(node, 2)
    if low is None or high is None:
        return None
    bounds = (_short(float(low)), _short(float(high)))
    return steps.activation(before, "nn.ReLU6()" if bounds == (0, 6) else f"nn.Hardtanh({bounds[0]}, {bounds[1]})")


def _gelu(node: ir.Node, before: Known, after: Known) -> Step | None:
    return steps.activation(before, f"nn.GELU({_attribute(node, 'approximate', 'none')!r})")


def _leaky_relu(node: ir.Node, before: Known, after: Known) -> Step | None:
    return steps.activation(before, f"nn.LeakyReLU({_short(_attribute(node, 'alpha', 0.01))})")


def _elu(node: ir.Node, before: Known, after: Known) -> Step | None:
    return steps.activation(before, f"nn.ELU({_short(_attribute(node, 'alpha', 1.0))})")


def _hard_sigmoid(node: ir.Node, before: Known, after: Known) -> Step | None:
    # torch has it with a slope of a sixth only.
    usual = np.isclose(_attribute(node, "alpha", 0.2), 1 / 6) and _attribute(node, "beta", 0.5) == 0.5
    return steps.activation(before, "nn.Hardsigmoid()") if usual else None


def _pool(node: ir.Node, before: Known, after: Known) -> Step | None:
    return steps.pool(before, after, "Max" if "Max" in node.op_type else "Avg") if len(before) == 3 else None


def _reduction(node: ir.Node, before: Known, after: Known) -> Step | None:
    given = _constant(node, 1)
    axes = _attribute(node, "axes", []) if given is None else given.tolist()
    kind: steps.Kind = "Avg" if node.op_type == "ReduceMean" else "Max"
    return steps.reduction(before, axes, bool(_attribute(node, "keepdims", 1)), kind)


def _gather(node: ir.Node, before: Known, after: Known) -> Step | None:
    index = _constant(node, 1)
    if index is None or index.size != 1 or len(after) != 1:
        return None
    return steps.token(before, _attribute(node, "axis", 0) % (len(before) + 1), int(index))


def _view(node: ir.Node, before: Known, after: Known) -> Step | None:
    return steps.flatten(before, after)


def _short(number: float) -> float:
    """A float32 in as few digits as say it: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(number)))


_BUILDERS: dict[str, Callable[[ir.Node, Known, Known], Step | None]] = {
    "Add": _biased_matmul,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Conv": _convolution,
    "Dropout": _dropout,
    "Elu": _elu,
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "HardSigmoid": _hard_sigmoid,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": _leaky_relu,
    "MatMul": _matmul,
    "ReduceMax": _reduction,
    "ReduceMean": _reduction,
    **dict.fromkeys(_MAPS, _pool),
    **dict.fromkeys(VIEWS, _view),
}
