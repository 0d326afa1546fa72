"""Intervals of means over the same test samples in several runs, by drawing samples and runs again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: resamples whose counts are held at once
_CHUNK = 250


def intervals(values: NDArray[np.float64], resamples: int = 2000, seed: int = 0) -> NDArray[np.float64]:
    """95 % percentile intervals of M means over S runs and N samples, (M, 2).

    Every resample draws the samples with replacement, the same ones for all runs and all M, and the runs with
    replacement too: both are part of what another user would find otherwise (the pigeonhole bootstrap; Owen 2007).
    A single run leaves the samples alone; of two or three, the part of the runs is a rough one, too narrow if they
    differ far more than the samples explain.

    Args:
        values: (M, S, N), such as differences of right answers or of costs
    """
    means, runs, samples = values.shape
    # Rounded, because shares that sum to 1 only nearly must not look like a difference.
    flat = np.round(values, 12).reshape(means * runs, samples).T
    random = np.random.default_rng(seed)
    drawn = np.empty((resamples, means))
    for start in range(0, resamples, _CHUNK):
        count = min(_CHUNK, resamples - start)
        by_run = (_counts(random, count, samples) @ flat).reshape(count, means, runs)
        drawn[start : start + count] = np.einsum("rms,rs->rm", by_run, _counts(random, count, runs))
    found: NDArray[np.float64] = np.quantile(drawn / (runs * samples), [0.025, 0.975], axis=0).T
    return np.round(found, 12)


def _counts(random: np.random.Generator, resamples: int, of: int) -> NDArray[np.float64]:
    """(resamples, of) how often each is drawn when as many are drawn as there are."""
    drawn = random.integers(of, size=(resamples, of)) + of * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * of).reshape(resamples, of).astype(np.float64)
