"""Run single fx nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import fx
from torch.fx.node import map_arg


def evaluate_node(node: fx.Node, values: Mapping[fx.Node, Any], target: Any = None) -> Any:
    """What a call_function node returns, given the values of those it reads; ``target`` may replace its operation."""
    args = map_arg(node.args, lambda n: values[n])
    kwargs = map_arg(node.kwargs, lambda n: values[n])
    call: Any = target or node.target
    return call(*args, **kwargs)
