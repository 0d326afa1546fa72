"""Centroids that move: in blocks as point by point, and as Algorithm 2 of DIMEC-DC defines them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepart.dispatch.embedding_space import EmbeddingSpace
from edgepart.dispatch.moving_centroids import MovingCentroids
from edgepart.dispatch.pools import Router, nearest


def router(centroids: np.ndarray, sizes: np.ndarray) -> Router:
    """Pools of no points are empty."""
    wide = centroids.shape[1]
    standing = np.where(sizes[:, None] > 0, centroids, np.nan)
    return Router(EmbeddingSpace(np.zeros(wide), np.ones(wide)), standing, sizes)


def one_by_one(start: Router, points: np.ndarray) -> tuple[list[int], MovingCentroids]:
    moving, chosen = MovingCentroids(start), []
    for point in points:
        pool = nearest(point[None], moving.centroids)
        moving.take_one(point, int(pool[0]))
        chosen.append(int(pool[0]))
    return chosen, moving


def by_definition(start: Router, points: np.ndarray, chosen: list[int]) -> np.ndarray:
    """P ← (n·P + x) / (n + 1), n ← n + 1; every choice is the nearest but for the last digits."""
    centroids, sizes = start.centroids.copy(), start.sizes.copy()
    for point, pool in zip(points, chosen, strict=True):
        distance = np.sqrt(((point - centroids) ** 2).sum(axis=1))
        assert distance[pool] <= np.nanmin(distance) * (1 + 1e-12) + 1e-12
        centroids[pool] = (sizes[pool] * centroids[pool] + point) / (sizes[pool] + 1)
        sizes[pool] += 1
    return centroids


@given(st.data())
def test_in_turn_is_one_by_one_to_the_last_bit(data: st.DataObject) -> None:
    """On a lattice, where ties are many, and with pools of so few points that their centroids jump."""
    random = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    wide, count = data.draw(st.sampled_from([1, 2, 9, 130])), data.draw(st.integers(0, 70))
    sizes = np.array(data.draw(st.lists(st.integers(0, 4), min_size=3, max_size=3).filter(any)), np.int64)
    start = router(random.integers(-3, 4, (3, wide)) / data.draw(st.sampled_from([1.0, 3.0])), sizes)
    points = random.integers(-3, 4, (count, wide)).astype(np.float64)
    chosen, alone = one_by_one(start, points)
    together = MovingCentroids(start)
    assert together.in_turn(points).tolist() == chosen
    together.take(points, np.array(chosen, np.int64))
    assert np.array_equal(together.centroids, alone.centroids, equal_nan=True)
    assert together.sizes.tolist() == alone.sizes.tolist() == (sizes + np.bincount(chosen, minlength=3)).tolist()


@given(st.integers(0, 2**31))
def test_they_move_as_defined(seed: int) -> None:
    random = np.random.default_rng(seed)
    start = router(random.normal(size=(3, 6)), random.integers(1, 500, 3))
    points = random.normal(random.normal(size=6), 2, (200, 6))
    chosen, moving = one_by_one(start, points)
    assert moving.centroids == pytest.approx(by_definition(start, points, chosen), rel=1e-12, abs=1e-12)


def test_guesses_that_are_wrong_at_almost_every_point_are_mended() -> None:
    """Each point draws the first centroid on, so that the next, nearer to the second one's start, still follows it."""
    start, total, points = router(np.array([[0.0], [10.0], [0.0]]), np.array([1, 1, 0])), 0.0, []
    for number in range(1, 41):
        points.append((total / number + 10) / 2 - 0.01)
        total += points[-1]
    stream = np.array(points)[:, None]
    assert nearest(stream, start.centroids).tolist() == [0] + [1] * 39
    assert MovingCentroids(start).in_turn(stream).tolist() == one_by_one(start, stream)[0] == [0] * 40


def test_the_way_back_is_to_the_start() -> None:
    start = router(np.array([[0.0], [10.0], [5.0]]), np.array([3, 1, 0]))
    moving = MovingCentroids(start)
    moving.take(np.array([[1.0], [9.0]]), np.array([0, 1]))
    assert moving.centroids[:2].tolist() == [[0.25], [9.5]]
    moving.reset()
    assert np.array_equal(moving.centroids, start.centroids, equal_nan=True)
    assert moving.sizes.tolist() == [3, 1, 0]
