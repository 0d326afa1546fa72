"""Symbolic sizes: their names, and where a layer reads them from."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch
from torch import fx
from torch.utils._sympy.functions import FloorDiv, Mod, PythonMod
from torch.utils._sympy.printers import PythonPrinter

from edgepart.errors import CaptureError

_SIZE = torch.ops.aten.sym_size.int
_BINARY: dict[Any, Callable[..., Any]] = {
    sympy.Add: operator.add,
    sympy.Mul: operator.mul,
    FloorDiv: operator.floordiv,
    Mod: operator.mod,
    PythonMod: operator.mod,
}


class Symbols:
    """torch's symbols (``s77`` …) under the names that the Graph gives them, and their values in the example.

    The first dimension of every input is ``batch``. The second one of token matrices is ``sequence``; where torch
    could not show that two of them agree they are ``sequence`` and ``sequence_2``.
    """

    def __init__(self, inputs: Iterable[fx.Node]) -> None:
        self._renamed: dict[sympy.Symbol, sympy.Symbol] = {}
        self.values: dict[str, int] = {}
        for node in inputs:
            for axis, size in enumerate(node.meta["val"].shape):
                self._learn(node.name, axis, size)

    def _learn(self, name: str, axis: int, size: Any) -> None:
        expression = _raw(size)
        if axis == 0 and not expression.is_Symbol:
            # A batch that torch fixed altogether is explained earlier; this is one such as 2*s0.
            raise CaptureError(
                f"the network takes batches of input '{name}' only in sizes {expression}: it must take any"
            )
        for symbol in sorted(expression.free_symbols - self._renamed.keys(), key=str):
            fresh = "batch" if axis == 0 else self._unused("sequence")
            self._renamed[symbol] = sympy.Symbol(fresh, integer=True, positive=True)
            scale = expression.subs(symbol, 1) if expression != symbol else 1
            self.values[fresh] = 1 if axis == 0 else int(size.node.hint) // int(scale)

    def _unused(self, stem: str) -> str:
        return next(n for k in range(1, 10**6) if (n := stem if k == 1 else f"{stem}_{k}") not in self.values)

    def expression(self, size: Any) -> sympy.Expr:
        """A size over the named symbols."""
        return _raw(size).xreplace(self._renamed)

    def text(self, size: Any) -> int | str:
        """A size as the Graph writes it: an integer, or Python arithmetic over the symbols."""
        expression = self.expression(size)
        if expression.is_Integer:
            return int(expression)
        return str(PythonPrinter().doprint(expression))

    def shape(self, value: torch.Tensor) -> tuple[int | str, ...]:
        return tuple(self.text(size) for size in value.shape)

    def sample(self, value: torch.Tensor) -> tuple[int, ...]:
        """The shape for one sample of the example."""
        known = {sympy.Symbol(n, integer=True, positive=True): v for n, v in self.values.items()}
        return tuple(int(self.expression(size).subs(known)) for size in value.shape)


def _raw(size: Any) -> sympy.Expr:
    return size.node.expr if isinstance(size, torch.SymInt | torch.SymFloat | torch.SymBool) else sympy.sympify(size)


def is_symbolic(node: fx.Node) -> bool:
    """Whether a node computes a size and not a tensor."""
    value = node.meta.get("val")
    return node.op == "call_function" and isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool | int | float)


def localise(graph: fx.Graph, symbols: Symbols, inputs: Iterable[fx.Node], body: list[fx.Node]) -> list[fx.Node]:
    """Make a layer read the sizes it needs from its own input tensors; its nodes, sizes included, in order.

    torch.export reads every size once, from some network input, and passes the integer around; a part must not depend
    on integers that another part has read. Only when none of a layer's own inputs carries a symbol does the layer
    read one more tensor: the network input that defines it.
    """
    return _Layer(graph, symbols, tuple(inputs), body).rewrite()


class _Layer:
    """The sizes that one layer knows, and the nodes that compute further ones from them."""

    def __init__(self, graph: fx.Graph, symbols: Symbols, inputs: tuple[fx.Node, ...], body: list[fx.Node]) -> None:
        self._graph, self._symbols, self._inputs, self._body = graph, symbols, inputs, body
        self._made: dict[sympy.Expr, Any] = {}
        self._fresh: list[fx.Node] = []
        self._sizes: dict[sympy.Expr, tuple[fx.Node, int]] = {}
        inside = set(body)
        for node in body:
            for argument in node.all_input_nodes:
                if argument not in inside and argument.op != "get_attr":
                    self._offer(argument)

    def _offer(self, node: fx.Node) -> None:
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor):
            for axis, size in enumerate(value.shape):
                self._sizes.setdefault(self._symbols.expression(size), (node, axis))

    def rewrite(self) -> list[fx.Node]:
        nodes: list[fx.Node] = []
        for node in self._body:
            with self._graph.inserting_before(node):
                node.args = fx.map_arg(node.args, self._argument)
                node.kwargs = fx.map_arg(node.kwargs, self._argument)
            nodes += [*self._fresh, node]
            self._fresh.clear()
        return nodes

    def _argument(self, node: fx.Node) -> Any:
        return self._local(node) if is_symbolic(node) else node

    def _local(self, node: fx.Node) -> Any:
        """An integer, or a node of this layer, with the value of a symbolic node."""
        expression = self._symbols.expression(node.meta["val"])
        if expression.is_Integer:
            return int(expression)
        if expression in self._made:
            return self._made[expression]
        if expression in self._sizes:
            return self._size(expression)
        if node.target is _SIZE:
            tensor = node.args[0]
            if tensor in self._body:
                return self._call(expression, _SIZE, node.args)
            return self._build(expression, tensor, node.args)
        arguments = fx.map_arg(node.args, self._argument)
        return self._call(expression, node.target, arguments)

    def _build(self, expression: sympy.Expr, tensor: Any, size_arguments: tuple[Any, ...]) -> Any:
        """Compute an expression from the symbols in it."""
        if expression.is_Integer:
            return int(expression)
        if expression in self._made:
            return self._made[expression]
        if expression in self._sizes:
            return self._size(expression)
        if expression.is_Symbol:
            return self._symbol(expression, tensor, size_arguments)
        combine = _BINARY.get(expression.func)
        if combine is None:
            # Not arithmetic that we write: read the tensor that torch read it from.
            return self._call(expression, _SIZE, size_arguments)
        first, *others = (self._build(a, tensor, size_arguments) for a in expression.args)
        total, sofar = first, expression.args[0]
        for value, argument in zip(others, expression.args[1:], strict=True):
            sofar = expression.func(sofar, argument)
            total = self._call(sofar, combine, (total, value))
        return total

    def _symbol(self, symbol: sympy.Expr, tensor: Any, size_arguments: tuple[Any, ...]) -> Any:
        for known in self._sizes:
            factor = sympy.cancel(known / symbol)
            if factor.is_Integer:
                return self._call(symbol, operator.floordiv, (self._size(known), int(factor)))
        for source in self._inputs:
            sizes = [self._symbols.expression(size) for size in source.meta["val"].shape]
            if symbol in sizes:
                self._offer(source)
                return self._size(symbol)
        return self._call(symbol, _SIZE, size_arguments)

    def _size(self, expression: sympy.Expr) -> fx.Node:
        if expression not in self._made:
            self._call(expression, _SIZE, self._sizes[expression])
        made: fx.Node = self._made[expression]
        return made

    def _call(self, expression: sympy.Expr, target: Any, arguments: tuple[Any, ...]) -> fx.Node:
        if expression not in self._made:
            node = self._graph.call_function(target, arguments)
            self._fresh.append(node)
            self._made[expression] = node
        made: fx.Node = self._made[expression]
        return made
