"""The space in which routers compare embeddings: as recorded, standardised or whitened."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.trace import Floats, Trace
from edgepart.errors import DispatchError

Scaling = Literal["none", "standardised", "whitened"]

#: directions with a smaller share of the widest one's variance are noise to whitening and left out
_LEAST_VARIANCE = 1e-3


@dataclass(frozen=True)
class EmbeddingSpace:
    """Takes embeddings to points, every row alike, whatever stands beside it.

    Attributes:
        shift, scale: (D,) an embedding is first taken to (x - shift) / scale
        directions: (D, R) and then to its products with these, or None where it stays as it is
    """

    shift: NDArray[np.float64]
    scale: NDArray[np.float64]
    directions: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, embeddings: Floats, scaling: Scaling) -> EmbeddingSpace:
        """The space that (N, D) embeddings span.

        Args:
            scaling: ``none``, ``standardised`` (each dimension to mean 0, deviation 1) or ``whitened`` (then turned to
                its principal directions, each of deviation 1: Euclidean distance becomes Mahalanobis's)

        Raises:
            DispatchError: an embedding holds a NaN or an infinite number.
        """
        _require_finite(embeddings)
        everything = embeddings.astype(np.float64)
        if scaling == "none":
            return cls(np.zeros(everything.shape[1]), np.ones(everything.shape[1]))
        shift, deviation = everything.mean(axis=0), everything.std(axis=0)
        scale = np.where(deviation > 0, deviation, 1.0)
        if scaling == "standardised":
            return cls(shift, scale)
        scaled = (everything - shift) / scale
        variance, directions = np.linalg.eigh(scaled.T @ scaled / len(scaled))
        kept = variance > max(_LEAST_VARIANCE * variance[-1], 0.0)
        return cls(shift, scale, directions[:, kept] / np.sqrt(variance[kept]) if kept.any() else None)

    def points(self, embeddings: Floats) -> NDArray[np.float64]:
        """(n, D) embeddings → (n, R) points.

        Raises:
            DispatchError: an embedding holds a NaN or an infinite number.
        """
        # A policy is asked with float32, so whole traces must start from the same numbers.
        single = embeddings.astype(np.float32, copy=False)
        _require_finite(single)
        if self._as_recorded:
            return single.astype(np.float64)
        scaled: NDArray[np.float64] = (single.astype(np.float64) - self.shift) / self.scale
        if self.directions is None:
            return scaled
        # A sum of columns instead of a matrix product, which may round a row differently beside other rows.
        result = np.zeros((len(scaled), self.directions.shape[1]))
        for column, direction in zip(scaled.T, self.directions, strict=True):
            result += column[:, None] * direction
        return result

    def point(self, embedding: NDArray[np.float32]) -> NDArray[np.float64]:
        """(D,) → (R,): :meth:`points` of a single embedding."""
        point = embedding.astype(np.float64)
        # its square tells of a NaN sooner than a look at each number
        if self.directions is not None or embedding.dtype != np.float32 or not isfinite(point.dot(point)):
            found: NDArray[np.float64] = self.points(embedding[None])[0]
            return found
        if not self._as_recorded:
            point -= self.shift
            point /= self.scale
        return point

    @cached_property
    def _as_recorded(self) -> bool:
        return self.directions is None and not self.shift.any() and bool((self.scale == 1).all())


def _require_finite(embeddings: Floats) -> None:
    finite = np.isfinite(embeddings)
    if not finite.all():
        row = int(np.argwhere(~finite)[0, 0])
        raise DispatchError(f"router embedding {row} holds a NaN or an infinite number: check the inputs for NaN")


def require_embeddings(trace: Trace, what: str) -> None:
    """Check that there is something to route by.

    Raises:
        DispatchError: the trace holds no router embeddings.
    """
    if not trace.embeddings.shape[1]:
        raise DispatchError(f"the trace holds no router embeddings, which {what} needs: record it again")
