"""Pools of easy, medium and hard samples, and the nearest one in the space of embeddings (DIMEC-DC, section IV)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.data_map import DataMap
from edgepart.dispatch.embedding_space import EmbeddingSpace, Scaling
from edgepart.dispatch.trace import Floats

POOLS = ("easy", "medium", "hard")

_CHUNK = 1024
#: more than two ways to the difference of two squared distances are apart, for each dimension
_ROUNDING = 4e-15


def pools(data_map: DataMap, alpha: float, beta: float) -> NDArray[np.int64]:
    """(N,) pool of each sample: 0 easy (μ̂ ≥ α, σ̂ ≤ β), 1 medium (μ̂ ≥ α, σ̂ > β), 2 hard (μ̂ < α).

    DIMEC-DC eq. 5; Algorithm 1 of the paper has other conditions, which contradict its section IV-B.
    """
    sure = data_map.confidence >= alpha
    return np.where(sure, np.where(data_map.variance <= beta, 0, 1), 2).astype(np.int64)


def nearest(points: NDArray[np.float64], centroids: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) index of the centroid nearest to each of (n, D) points, Euclidean.

    A NaN centroid (of an empty pool) is infinitely far; the earlier pool wins a tie. Every row goes through the same
    arithmetic, so that a sample's answer does not depend on its batch (a matrix product would not promise that).
    """
    apart = points[:, None, :] - centroids
    np.multiply(apart, apart, out=apart)
    # fmin takes the number where the other is none
    closest: NDArray[np.int64] = np.fmin(np.add.reduce(apart, axis=-1), np.inf).argmin(axis=1)
    return closest


def nearest_to(point: NDArray[np.float64], centroids: NDArray[np.float64], squares: Sequence[float]) -> int:
    """:func:`nearest` of a single finite point, (D,), by one product: |c|² - 2 c·x is least where |c - x|² is.

    Where two centroids are so equally near that rounding may count, :func:`nearest` itself decides.

    Args:
        squares: of the centroids' lengths (:func:`squares_of`)
    """
    closest, least, second, longest = 0, inf, inf, 0.0
    for index, (square, product) in enumerate(zip(squares, centroids.dot(point).tolist(), strict=True)):
        distance = square - 2 * product
        # false for a NaN, as all below
        if distance < least:
            closest, least, second = index, distance, least
        elif distance < second:
            second = distance
        if square > longest:
            longest = square
    if second - least > _ROUNDING * len(point) * (longest + float(point.dot(point))):
        return closest
    return int(nearest(point[None], centroids)[0])


def squares_of(centroids: NDArray[np.float64]) -> list[float]:
    """|c|² of each of (n, D) centroids."""
    return [float(centroid.dot(centroid)) for centroid in centroids]


@dataclass(frozen=True)
class Router:
    """Three pools in the space of embeddings.

    Attributes:
        space: where distances are taken, of R dimensions
        centroids: (3, R) mean of each pool, NaN where it is empty
        sizes: (3,) samples behind each mean
    """

    space: EmbeddingSpace
    centroids: NDArray[np.float64]
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, embeddings: Floats, pool: NDArray[np.int64], scaling: Scaling) -> Router:
        """The router that pools, (N,), of samples with embeddings (N, D) make."""
        space = EmbeddingSpace.of(embeddings, scaling)
        points = space.points(embeddings)
        members = [points[pool == index] for index in range(len(POOLS))]
        means = [part.mean(axis=0) if len(part) else np.full(points.shape[1], np.nan) for part in members]
        return cls(space, np.array(means), np.array([len(part) for part in members], dtype=np.int64))

    def points(self, embeddings: Floats) -> NDArray[np.float64]:
        """(n, R) where embeddings lie in the space of the centroids."""
        return self.space.points(embeddings)

    def pools(self, embeddings: Floats) -> NDArray[np.int64]:
        """(n,) nearest pool of (n, D) embeddings, in chunks to bound the memory."""
        if len(embeddings) <= _CHUNK:
            return nearest(self.points(embeddings), self.centroids)
        chunks = [embeddings[start : start + _CHUNK] for start in range(0, len(embeddings), _CHUNK)]
        return np.concatenate([nearest(self.points(chunk), self.centroids) for chunk in chunks])
