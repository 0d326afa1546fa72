"""Example inputs: what the network is captured with."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.export import Dim
from torch.utils import _pytree as pytree

from edgepart.errors import CaptureError
from edgepart.frameworks.torch.arrays import from_numpy, to_numpy
from edgepart.graph.sizes import evaluate_size


@dataclass(frozen=True)
class Example:
    """Arguments of one call. Tensors are copies; those with a dimension have the same batch, at least 2, in front."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    #: one sample was given
    repeated: bool = False

    @classmethod
    def of(cls, given: object) -> Example:
        """A tensor or array, a tuple of them (positional) or a dict (by keyword).

        A batch of one is repeated to two: torch.export takes a size of one for a constant.

        Raises:
            CaptureError: something that is neither, no tensor at all, or batches that differ.
        """
        if isinstance(given, dict):
            example = cls((), {str(name): _tensors(value) for name, value in given.items()})
        else:
            example = cls(tuple(_tensors(x) for x in (given if isinstance(given, tuple | list) else (given,))), {})
        if _batch(example._leaves()) > 1:
            return example
        twice = example._map(lambda t: t.repeat(2, *[1] * (t.dim() - 1)) if t.dim() else t)
        return replace(twice, repeated=True)

    def copy(self) -> Example:
        """The same values in fresh memory: a network may write into its inputs."""
        return self._map(torch.clone)

    def single(self) -> Example:
        """The first sample."""
        return self._map(lambda t: t[:1].clone() if t.dim() else t.clone())

    def dynamic_shapes(self, model: nn.Module) -> dict[str, Any]:
        """For torch.export: batch, and the second dimension of integer and boolean matrices (token sequences).

        Raises:
            CaptureError: the arguments do not fit the signature of ``model.forward``.
        """
        signature = inspect.signature(model.forward)
        try:
            bound = dict(signature.bind(*self.args, **self.kwargs).arguments)
        except TypeError as error:
            raise CaptureError(
                f"the example inputs do not fit {type(model).__name__}.forward{signature}: {error}; "
                "give a tuple for positional and a dict for keyword arguments"
            ) from None
        for name in _collectors(signature):
            bound.update(bound.pop(name, {}))
        return {name: pytree.tree_map(_dynamic, value) for name, value in bound.items()}

    @contextmanager
    def naming_keywords(self, model: nn.Module) -> Iterator[None]:
        """Let ``forward(self, **inputs)`` show the keywords of this example as parameters while the block runs.

        torch.export takes dynamic shapes by parameter and fails on parameters that collect others.
        """
        signature = inspect.signature(model.forward)
        collectors = _collectors(signature)
        if not collectors:
            yield
            return
        kept = [p for name, p in signature.parameters.items() if name not in collectors]
        named = [
            inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY) for n in self.kwargs if n not in signature.parameters
        ]
        original = model.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            return original(*args, **kwargs)

        forward.__signature__ = signature.replace(parameters=[*kept, *named])  # type: ignore[attr-defined]
        overridden = vars(model).get("forward")
        model.forward = forward
        try:
            yield
        finally:
            del model.forward
            if overridden is not None:
                model.forward = overridden

    def sample(self, names: Sequence[Any]) -> dict[str, NDArray[np.generic]]:
        """The first sample of every tensor, as arrays, by the names that torch.export gave the leaves in order."""
        one = self.single()
        leaves = zip(names, pytree.tree_leaves((one.args, one.kwargs)), strict=True)
        return {str(name): to_numpy(leaf) for name, leaf in leaves if isinstance(leaf, torch.Tensor)}

    def _leaves(self) -> list[torch.Tensor]:
        return [x for x in pytree.tree_leaves((self.args, self.kwargs)) if isinstance(x, torch.Tensor)]

    def _map(self, change: Any) -> Example:
        args, kwargs = pytree.tree_map_only(torch.Tensor, change, (self.args, self.kwargs))
        return replace(self, args=args, kwargs=kwargs)


def zeros(shape: tuple[int | str, ...], dtype: str, symbols: dict[str, int]) -> torch.Tensor:
    """A tensor of a shape that a Graph lists, with its symbols at the given values."""
    return torch.zeros([evaluate_size(size, symbols) for size in shape], dtype=getattr(torch, dtype))


def _collectors(signature: inspect.Signature) -> list[str]:
    return [p.name for p in signature.parameters.values() if p.kind is inspect.Parameter.VAR_KEYWORD]


def _tensors(value: object) -> Any:
    return pytree.tree_map(_leaf, value)


def _leaf(value: object) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray) and value.dtype.kind not in "biufc":
        raise CaptureError(f"the example holds an array of {value.dtype}: give numbers, batch first")
    if isinstance(value, np.ndarray):
        return from_numpy(np.array(value))
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise CaptureError(f"the example holds a {type(value).__name__}: give tensors or NumPy arrays, batch first")


def _batch(leaves: list[torch.Tensor]) -> int:
    batches = [t.shape[0] for t in leaves if t.dim()]
    if not batches:
        raise CaptureError(
            "the example holds no tensor with a batch dimension: give the inputs of one call, batch first"
        )
    if min(batches) != max(batches) or not batches[0]:
        raise CaptureError(
            f"the first dimension of the example inputs is {', '.join(map(str, batches))}: it must be the batch, "
            "the same for every input and at least 1"
        )
    return batches[0]


def _dynamic(value: object) -> dict[int, Any] | None:
    if not isinstance(value, torch.Tensor) or not value.dim():
        return None
    tokens = value.dim() == 2 and not (value.is_floating_point() or value.is_complex())
    return {0: Dim.AUTO, 1: Dim.AUTO} if tokens else {0: Dim.AUTO}
