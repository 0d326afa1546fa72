"""Models made for one batch size, made to run at any.

Whether that worked is not left to the rules by which nodes are repaired: the outcome is compared with the model itself,
run batch by batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from edgepart.errors import CaptureError
from edgepart.frameworks.onnx.batch_repair import HALF_TOLERANCE, HINT, Repair, equal
from edgepart.frameworks.onnx.example import Arrays, Inputs
from edgepart.frameworks.onnx.session import open_session
from edgepart.frameworks.onnx.shapes import declare, explain_load, explain_run

#: batches that are compared, and how far batched and single results may lie apart, relative to the largest value
_BATCHES = 3
_TOLERANCE = 1e-4


def free_batch(model: ir.Model, given: Inputs) -> Inputs:
    """Change a model such that it runs with any batch, and its inputs accordingly.

    Raises:
        CaptureError: it does not run even as it is, or cannot be made to run with other batches; names the node.
    """
    batch = given.fixed_batch or 1
    free = given.any_batch()
    expected = _results(model, [free.at(batch, first=index * batch) for index in range(_BATCHES)])
    declare(model, free)
    if not _agrees(model, free, expected, batch):
        Repair(model, free, batch).run()
        if not _agrees(model, free, expected, batch):
            raise CaptureError(
                f"the network is made for a batch of {batch}, and gives other results with larger ones: {HINT}"
            )
    return free


def _results(model: ir.Model, given: Sequence[Arrays]) -> list[list[NDArray[Any]]]:
    try:
        session = open_session(model, fuse=False, prepack=False)
    except Exception as error:  # ONNX Runtime has a dozen classes for it, with no common base
        raise explain_load(error, model) from error
    found = []
    for arrays in given:
        try:
            found.append(session.run(None, arrays))
        except Exception as error:
            raise explain_run(error, arrays) from error
    return found


def _agrees(model: ir.Model, free: Inputs, expected: list[list[NDArray[Any]]], batch: int) -> bool:
    """Whether the model makes of one large batch what it made of small ones."""
    try:
        together = _results(model, [free.at(batch * _BATCHES)])[0]
    except CaptureError:
        return False
    half = any(value.dtype == ir.DataType.FLOAT16 for value in model.graph.initializers.values())
    tolerance = HALF_TOLERANCE if half else _TOLERANCE
    return all(equal(made, parts, tolerance) for made, *parts in zip(together, *expected, strict=True))
