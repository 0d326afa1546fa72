"""Heads as ONNX nodes, and nodes added to the model of a slice."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxscript.version_converter import ConvertVersionPass
from torch import nn

from edgepart.errors import ExportError, TemplateError
from edgepart.frameworks.onnx.part import Part
from edgepart.graph import Tensor
from edgepart.graph.sizes import evaluate_size
from edgepart.silence import silence

#: the operator sets that torch writes
_OLDEST, _NEWEST = 18, 24


def export_head(head: nn.Module, read: Tensor, symbols: Mapping[str, int], opset: int, name: str) -> ir.Model:
    """A head as a model of one input and one output, both float32, in an operator set of 18 or more.

    Args:
        read: the tensor that it is exported for; any batch and other varying sizes remain free
        symbols: values of the symbols of its shape
        opset: the version wanted; the nearest that torch writes is taken
        name: what messages call it

    Raises:
        TemplateError: torch cannot write it as ONNX; names the reason.
    """
    # torch would take a size of 0 or 1 for a constant.
    sizes = {symbol: max(2, value) for symbol, value in symbols.items()} | {"batch": 3}
    x = torch.zeros([evaluate_size(size, sizes) for size in read.shape])
    free = {i: torch.export.Dim.DYNAMIC for i, size in enumerate(read.shape) if not isinstance(size, int)}
    try:
        with silence(), torch.no_grad():
            program = torch.onnx.export(
                head.eval(),
                (x,),
                dynamo=True,
                dynamic_shapes=(free,),
                opset_version=min(max(opset, _OLDEST), _NEWEST),
                verbose=False,
            )
    except Exception as error:
        cause = error.__cause__ or error
        reason = str(cause).strip().partition("\n")[0]
        raise TemplateError(
            f"{name} cannot be written as ONNX nodes, which stages of an ONNX network are made of: "
            f"{type(cause).__name__}: {reason}"
        ) from error
    assert program is not None
    model = program.model
    if model.graph.opset_imports[""] < opset:
        with silence():
            ConvertVersionPass(opset, fallback=True)(model)
    return model


class Draft:
    """The model of a slice, to which nodes are added before it becomes another :class:`Part`."""

    def __init__(self, part: Part, inputs: Sequence[Tensor]) -> None:
        """Args:
        inputs: what the new part reads, those of the slice first
        """
        self._part, self._inputs = part, tuple(inputs)
        self._graph = part.model.graph
        for spec in self._inputs[len(part.inputs) :]:
            shape, kind = ir.Shape(spec.shape), ir.TensorType(ir.DataType.from_numpy(np.dtype(spec.dtype)))
            self._graph.inputs.append(ir.Value(name=spec.name, shape=shape, type=kind))

    @property
    def opset(self) -> int:
        return self._graph.opset_imports[""]

    def raise_opset(self, version: int) -> None:
        """Rewrite the slice for a newer operator set, before anything is added to it.

        Raises:
            ExportError: there is no rule for an operation of it.
        """
        model = self._part.model
        with silence():
            ConvertVersionPass(version, fallback=True)(model)
        self._graph = model.graph
        if self.opset != version:
            raise ExportError(
                f"the network has operator set {self.opset} and cannot be raised to {version}, which the heads need: "
                "export it again with a newer one"
            )

    def value(self, name: str) -> ir.Value:
        """A value by the name of its tensor."""
        made = itertools.chain(self._graph.inputs, (value for node in self._graph for value in node.outputs))
        return next(value for value in made if value.name == name)

    def single(self, spec: Tensor) -> ir.Value:
        """A value in the precision of heads, by its tensor."""
        value = self.value(spec.name)
        return value if spec.dtype == "float32" else self.add("Cast", value, to=int(ir.DataType.FLOAT))

    def add(self, operation: str, *inputs: ir.Value | ir.TensorProtocol, **attributes: Any) -> ir.Value:
        """Append a node of one output."""
        values = [each if isinstance(each, ir.Value) else self._constant(each) for each in inputs]
        node = ir.node(operation, values, attributes, name=self._free(f"edgepart/{operation}"))
        node.outputs[0].name = self._free(f"{node.name}/output")
        self._graph.append(node)
        return node.outputs[0]

    def attach(self, head: ir.Model, read: ir.Value, name: str) -> ir.Value:
        """Append a head's nodes and weights, whose names begin with ``name``; returns its output."""
        prefix = next(p for n in itertools.count(1) if not self._taken(p := name + "/" * n))
        known: dict[ir.Value | None, ir.Value | None] = {None: None, head.graph.inputs[0]: read}
        for weight in head.graph.initializers.values():
            known[weight] = self._weight(f"{prefix}{weight.name}", weight.const_value)
        for node in head.graph:
            copy = ir.Node(
                node.domain,
                node.op_type,
                [known[value] for value in node.inputs],
                node.attributes,
                num_outputs=len(node.outputs),
                name=f"{prefix}{node.name}",
            )
            for value, made in zip(node.outputs, copy.outputs, strict=True):
                made.name, made.shape, made.type = f"{prefix}{value.name}", value.shape, value.type
                known[value] = made
            self._graph.append(copy)
        logits = known[head.graph.outputs[0]]
        assert logits is not None
        return logits

    def finish(self, passes_on: Sequence[Tensor], more: Mapping[str, tuple[ir.Value, Tensor]]) -> Part:
        """The part that makes ``passes_on`` and then each value of ``more`` under its name, in float32."""
        outputs = [self.value(spec.name) for spec in passes_on]
        for name, (value, spec) in more.items():
            for other in self._values():
                if other.name == name:
                    other.name = self._free(name)
            # Also a value that has a name of its own, as an input has, can leave under another.
            left = self.add("Cast", value, to=int(ir.DataType.FLOAT))
            left.name, left.shape, left.type = name, ir.Shape(spec.shape), ir.TensorType(ir.DataType.FLOAT)
            outputs.append(left)
        self._graph.outputs.clear()
        self._graph.outputs.extend(outputs)
        part = self._part
        RemoveUnusedNodesPass()(part.model)
        self._graph.sort()
        sizes = {str(n): v.const_value.nbytes for n, v in self._graph.initializers.items() if v.const_value is not None}
        specs = [*passes_on, *(spec for _, spec in more.values())]
        return Part(part.model, part.layers, self._inputs, specs, sizes, part.signature.symbols)

    def _values(self) -> list[ir.Value]:
        made = (value for node in self._graph for value in node.outputs)
        return [*self._graph.inputs, *self._graph.initializers.values(), *made]

    def _taken(self, prefix: str) -> bool:
        return any(str(value.name).startswith(prefix) for value in self._values())

    def _free(self, name: str) -> str:
        taken = {value.name for value in self._values()} | {node.name for node in self._graph}
        return next(n for number in itertools.count() if (n := f"{name}_{number}" if number else name) not in taken)

    def _constant(self, tensor: ir.TensorProtocol) -> ir.Value:
        return self._weight(self._free("edgepart/constant"), tensor)

    def _weight(self, name: str, tensor: ir.TensorProtocol | None) -> ir.Value:
        assert tensor is not None
        shape, kind = ir.Shape(tensor.shape.numpy()), ir.TensorType(tensor.dtype)
        value = ir.Value(name=name, shape=shape, type=kind, const_value=tensor)
        self._graph.register_initializer(value)
        return value
