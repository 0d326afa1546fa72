"""Pools of easy, medium and hard samples, and the nearest one in the space of embeddings (DIMEC-DC, section IV)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.data_map import DataMap
from edgepart.dispatch.trace import Floats

POOLS = ("easy", "medium", "hard")

_CHUNK = 1024


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
    distance = ((points[:, None, :] - centroids) ** 2).sum(axis=-1)
    closest: NDArray[np.int64] = np.where(np.isnan(distance), np.inf, distance).argmin(axis=1)
    return closest


@dataclass(frozen=True)
class Router:
    """Three pools in the space of embeddings.

    Attributes:
        shift, scale: (D,) an embedding is first taken to (x - shift) / scale
        centroids: (3, D) mean of each pool, NaN where it is empty
        sizes: (3,) samples behind each mean
    """

    shift: NDArray[np.float64]
    scale: NDArray[np.float64]
    centroids: NDArray[np.float64]
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, embeddings: Floats, pool: NDArray[np.int64], standardise: bool) -> Router:
        """The router that pools, (N,), of samples with embeddings (N, D) make."""
        everything = embeddings.astype(np.float64)
        shift, scale = np.zeros(everything.shape[1]), np.ones(everything.shape[1])
        if standardise:
            shift, deviation = everything.mean(axis=0), everything.std(axis=0)
            scale = np.where(deviation > 0, deviation, 1.0)
        points = (everything - shift) / scale
        members = [points[pool == index] for index in range(len(POOLS))]
        means = [part.mean(axis=0) if len(part) else np.full(points.shape[1], np.nan) for part in members]
        return cls(shift, scale, np.array(means), np.array([len(part) for part in members], dtype=np.int64))

    def points(self, embeddings: Floats) -> NDArray[np.float64]:
        """(n, D) where embeddings lie in the space of the centroids."""
        # A policy is asked with float32, so whole traces must start from the same numbers.
        single = embeddings.astype(np.float32, copy=False)
        result: NDArray[np.float64] = (single.astype(np.float64) - self.shift) / self.scale
        return result

    def pools(self, embeddings: Floats) -> NDArray[np.int64]:
        """(n,) nearest pool of (n, D) embeddings, in chunks to bound the memory."""
        chunks = [embeddings[start : start + _CHUNK] for start in range(0, len(embeddings), _CHUNK)]
        return np.concatenate([np.empty(0, np.int64), *(nearest(self.points(c), self.centroids) for c in chunks)])
