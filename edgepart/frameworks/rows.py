"""The samples of a batch: taken one by one, for artefacts that compute one at a time, or some of them out of all."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepart.errors import ExportError
from edgepart.frameworks.signature import Signature
from edgepart.graph import Tensor
from edgepart.graph.sizes import evaluate_size

_BATCH = "batch"


def require_rows(signature: Signature) -> None:
    """Check that samples can be told apart in every tensor.

    Raises:
        ExportError: the batch is in two dimensions of a tensor; names it.
    """
    for spec in (*signature.inputs, *signature.outputs):
        if len(_batch_axes(spec)) > 1:
            raise ExportError(
                f"the tensor '{spec.name}' has the batch in two dimensions, so that its samples cannot be computed one "
                "by one: keep this part in a runtime that computes batches"
            )


def split(signature: Signature, arrays: Sequence[NDArray[Any]]) -> list[list[NDArray[Any]]]:
    """The inputs of every sample, from those of a batch; a tensor without a batch goes to each.

    A dimension of ``2*batch`` holds two rows of each sample in turn.
    """
    axes = [_batch_axes(spec) for spec in signature.inputs]
    batch = _batch(signature, arrays)
    pieces = [
        np.split(array, batch, axis[0]) if axis else [array] * batch for array, axis in zip(arrays, axes, strict=True)
    ]
    return [list(sample) for sample in zip(*pieces, strict=True)]


def join(signature: Signature, samples: Sequence[Sequence[NDArray[Any]]]) -> list[NDArray[Any]]:
    """The outputs of a batch from those of every sample; one without a batch is taken from the first."""
    axes = [_batch_axes(spec) for spec in signature.outputs]
    return [
        np.concatenate(made, axis[0]) if axis else made[0]
        for made, axis in zip(zip(*samples, strict=True), axes, strict=True)
    ]


def selectable(spec: Tensor) -> bool:
    """Whether samples can be taken out of a tensor: it has one axis with one row for each, or no batch at all.

    Of a dimension such as ``2*batch`` nobody knows which rows are whose.
    """
    axes = _batch_axes(spec)
    return not axes or (len(axes) == 1 and spec.shape[axes[0]] == _BATCH)


def select(spec: Tensor, array: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """Some samples of a :func:`selectable` tensor, in the given order; one without a batch as it is."""
    axes = _batch_axes(spec)
    return array.take(rows, axes[0]) if axes else array


def count(specs: Sequence[Tensor], arrays: Mapping[str, NDArray[Any]]) -> int:
    """How many samples the arrays by name hold; 1 where no tensor has an axis for them alone."""
    return next(
        (
            arrays[spec.name].shape[spec.shape.index(_BATCH)]
            for spec in specs
            if _BATCH in spec.shape and spec.name in arrays
        ),
        1,
    )


def _batch(signature: Signature, arrays: Sequence[NDArray[Any]]) -> int:
    sizes: Mapping[str, int] = signature.symbols | {_BATCH: 1}
    found = [
        (spec.shape[axis] != _BATCH, array.shape[axis] // evaluate_size(spec.shape[axis], sizes))
        for spec, array in zip(signature.inputs, arrays, strict=True)
        for axis in _batch_axes(spec)
    ]
    # a dimension that is the batch and nothing else says it best
    return min(found)[1] if found else 1


def _batch_axes(spec: Tensor) -> list[int]:
    return [axis for axis, size in enumerate(spec.shape) if isinstance(size, str) and _BATCH in _names(size)]


@cache
def _names(size: str) -> frozenset[str]:
    return frozenset(node.id for node in ast.walk(ast.parse(size, mode="eval")) if isinstance(node, ast.Name))
