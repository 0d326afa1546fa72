"""Loops and branches are functions in TensorFlow, kept by name for the whole process."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

# there is no public way to make the functions of a GraphDef known outside the graph it is imported into
from tensorflow.python.eager import context

_numbers = itertools.count()


def with_own_functions(definition: Any) -> Any:
    """A GraphDef whose functions have names that no other has, and are known for as long as the process runs.

    Importing a GraphDef does not make its functions known; they would be found only as long as the graph lives that
    they were first traced in.
    """
    if not definition.library.function:
        return definition
    own = type(definition)()
    own.CopyFrom(definition)
    number = next(_numbers)
    names = {f.signature.name: f"{f.signature.name}_part_{number}" for f in own.library.function}
    for function in own.library.function:
        function.signature.name = names[function.signature.name]
        for node in function.node_def:
            _rename(node, names)
    for gradient in own.library.gradient:
        gradient.function_name = names.get(gradient.function_name, gradient.function_name)
        gradient.gradient_func = names.get(gradient.gradient_func, gradient.gradient_func)
    for node in own.node:
        _rename(node, names)
    for function in own.library.function:
        context.context().add_function_def(function)
    return own


def _rename(node: Any, names: Mapping[str, str]) -> None:
    node.op = names.get(node.op, node.op)
    for attribute in node.attr.values():
        called = [attribute.func] if attribute.HasField("func") else []
        for function in (*called, *attribute.list.func):
            function.name = names.get(function.name, function.name)
