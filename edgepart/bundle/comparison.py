"""Artefacts held to what they were exported from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepart.bundle.targets import Target
from edgepart.errors import ExportError
from edgepart.frameworks.base import Part
from edgepart.graph import Tensor

#: what the source gives and what the artefact gives for one batch or sample
Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


def compare(
    target: Target,
    source: Part,
    path: Path,
    batches: Sequence[Mapping[str, Any]],
    tolerance: float,
    mask: Tensor | None = None,
) -> tuple[float, list[dict[str, Any]]]:
    """Run an artefact beside its source.

    A difference is that of the element that differs most, relative to the largest value in any of the batches: one
    undecided sample has logits near nought, beside which any rounding is large. In int8 single elements may be far off,
    so there it is the root mean square over a sample, of the sample where it is largest, relative to that over all
    samples: a part that answers nought, or what another sample should get, has 1 or more. Positions of padding do not
    count there, since no later layer reads them, and features that transformers have at them come and go with the
    rounding.

    Args:
        batches: of the source's inputs, with the mask among them
        tolerance: the largest difference that passes, see :meth:`edgepart.bundle.targets.Target.tolerance`
        mask: the network's input (batch, sequence) that is 1 where a position counts

    Returns:
        the largest difference of any output, and the batches with what the source made of them

    Raises:
        ExportError: it exceeds the tolerance, or the artefact gives another type or shape.
    """
    artefact = target.runtime.open(path)
    answers = [source.run(arrays) for arrays in batches]
    made = [artefact.run(arrays) for arrays in batches]
    largest = 0.0
    for spec in source.signature.outputs:
        tensors = [(known[spec.name], found[spec.name]) for known, found in zip(answers, made, strict=True)]
        difference = np.inf
        if all(known.shape == found.shape and known.dtype == found.dtype for known, found in tensors):
            pairs = [(_numbers(known, spec.dtype), _numbers(found, spec.dtype)) for known, found in tensors]
            if target.precision == "int8":
                difference = _of_worst_sample(spec, pairs, _masks(spec, batches, mask))
            else:
                difference = _of_worst_element(pairs)
        if not difference <= tolerance:
            raise ExportError(
                f"the artefact {path.name} of {path.parent.name} makes another '{spec.name}' than the network it was "
                f"exported from (relative difference {difference:.1e}, at most {tolerance:g} is tolerated): "
                f"{_advice(target)}"
            )
        largest = max(largest, difference)
    return largest, [{**arrays, **known} for arrays, known in zip(batches, answers, strict=True)]


def _advice(target: Target) -> str:
    if target.precision != "float32":
        return f"give this tier a finer precision than {target.precision}, or another runtime"
    return (
        "check that the network gives the same answer twice, and try another runtime, or another version of "
        f"{target.runtime.name} than {target.runtime.version()}"
    )


def _of_worst_element(pairs: Sequence[Pair]) -> float:
    """The largest difference of an element, relative to the largest value."""
    gaps = [float(_gaps(*pair).max(initial=0.0)) for pair in pairs]
    scale = max(float(np.abs(known[np.isfinite(known)]).max(initial=0.0)) for known, _ in pairs)
    return float(np.max(gaps)) / (scale or 1.0)


def _of_worst_sample(spec: Tensor, pairs: Sequence[Pair], masks: Sequence[NDArray[np.bool_] | None]) -> float:
    """The largest root mean square of a sample's differences, relative to that of the values of all samples."""
    if not all(np.isfinite(_gaps(*pair)).all() for pair in pairs):
        return float(np.inf)
    samples = [
        each for pair, counts in zip(pairs, masks, strict=True) for each in _samples(spec, pair, counts) if each[0].size
    ]
    values = np.concatenate([known[np.isfinite(known)] for known, _ in samples] or [np.zeros(1)])
    scale = _root_mean_square(values)
    return max((_root_mean_square(_gaps(*pair)) for pair in samples), default=0.0) / (scale or 1.0)


def _samples(spec: Tensor, pair: Pair, counts: NDArray[np.bool_] | None) -> Iterator[Pair]:
    """What counts of every sample; all that there is where the samples do not lie one behind the other."""
    if spec.shape[:1] != ("batch",):
        yield pair
        return
    for row, (known, found) in enumerate(zip(*pair, strict=True)):
        yield (known, found) if counts is None else (known[counts[row]], found[counts[row]])


def _masks(spec: Tensor, batches: Sequence[Mapping[str, Any]], mask: Tensor | None) -> list[NDArray[np.bool_] | None]:
    """Where a tensor's positions count, batch by batch; None where they all do."""
    if mask is None or len(mask.shape) != 2 or spec.shape[:-1] != mask.shape:
        return [None] * len(batches)
    return [arrays[mask.name].astype(bool) for arrays in batches]


def _root_mean_square(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.square(values).mean())) if values.size else 0.0


def _gaps(expected: NDArray[np.float64], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Magnitudes; masks hold -inf where attention must not look, and equal infinities differ by nothing."""
    with np.errstate(invalid="ignore"):
        return np.where(expected == found, 0.0, np.abs(expected - found))


def _numbers(array: NDArray[Any], dtype: str) -> NDArray[np.float64]:
    """The values of an array; bfloat16, which NumPy lacks, travels as its bits, the upper half of those of float32."""
    if dtype == "bfloat16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float64)
