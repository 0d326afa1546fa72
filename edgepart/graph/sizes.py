"""The sizes of a Graph's tensors: arithmetic over its symbols, evaluated without executing anything."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping

from edgepart.errors import GraphError

_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}


def evaluate_size(size: int | str, symbols: Mapping[str, int]) -> int:
    """The value of one entry of :attr:`Tensor.shape`.

    Raises:
        GraphError: not arithmetic over the known symbols.
    """
    if isinstance(size, int):
        return size
    if size in symbols:
        return symbols[size]
    try:
        return _value(ast.parse(size, mode="eval").body, symbols)
    except (SyntaxError, KeyError, TypeError, ZeroDivisionError) as error:
        raise GraphError(f"the size '{size}' is not arithmetic over {', '.join(symbols) or 'no symbols'}") from error


def _value(node: ast.expr, symbols: Mapping[str, int]) -> int:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.Name(id=name):
            return symbols[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, symbols)
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_value(left, symbols), _value(right, symbols))
        case ast.Call(func=ast.Name(id="max" | "min" as name), args=args):
            values = [_value(argument, symbols) for argument in args]
            return max(values) if name == "max" else min(values)
    raise TypeError(type(node).__name__)
