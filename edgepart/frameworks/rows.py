"""A batch, sample by sample: for artefacts that compute one at a time."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
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


def _names(size: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(size, mode="eval")) if isinstance(node, ast.Name)}
