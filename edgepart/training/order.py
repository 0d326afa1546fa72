"""In which order samples are seen: fixed by (seed, epoch) alone, so that a run can be taken up anywhere.

Samples of about the same length share a batch, because a batch of texts is padded to its longest one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

#: batches whose samples are sorted among each other: enough to save padding, few enough to stay random
POOL = 50


def lengths(samples: Sequence[object]) -> Indices:
    """(N,) the length of every text (or texts) in characters, a stand-in for its tokens; 0 for anything else."""
    return np.array([_length(sample) for sample in samples], dtype=np.int64)


def by_length(size: Indices, batch_size: int) -> list[Indices]:
    """Batches of all samples for inference, longest first, so that memory runs out at once or not at all."""
    return _cut(np.argsort(-size, kind="stable").astype(np.int64), batch_size)


def shuffled(size: Indices, batch_size: int, seed: int, epoch: int) -> list[Indices]:
    """The batches of one epoch: a random order, sorted by length inside pools of batches, the batches shuffled."""
    generator = np.random.Generator(np.random.PCG64([seed, epoch]))
    order = generator.permutation(len(size)).astype(np.int64)
    if not size.any():
        return _without_single(_cut(order, batch_size))
    batches: list[Indices] = []
    for pool in _cut(order, POOL * batch_size):
        batches += _cut(pool[np.argsort(size[pool], kind="stable")], batch_size)
    batches = _without_single(batches)
    return [batches[index] for index in generator.permutation(len(batches))]


def step_seed(seed: int, epoch: int, step: int) -> int:
    """The seed of a step's random numbers (dropout), so that a step is the same whatever ran before it."""
    return int(np.random.SeedSequence([seed, epoch, step]).generate_state(1, np.uint64)[0])


def _cut(order: Indices, batch_size: int) -> list[Indices]:
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def _without_single(batches: list[Indices]) -> list[Indices]:
    """A last batch of one sample has no variance for batch normalisation: it joins the batch before it."""
    if len(batches) > 1 and len(batches[-1]) == 1:
        return [*batches[:-2], np.concatenate(batches[-2:])]
    return batches


def _length(sample: object) -> int:
    if isinstance(sample, str):
        return len(sample)
    if isinstance(sample, (tuple, list)) and all(isinstance(text, str) for text in sample):
        return sum(len(text) for text in sample)
    return 0
