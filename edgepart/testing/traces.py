"""Made-up traces that behave like recorded ones: deeper exits are better, hard samples are hard for every exit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgepart.dispatch.trace import Trace

TIERS = ("mobile", "edge", "cloud")


def synthetic_trace(
    samples: int,
    exit_tiers: Sequence[str] = TIERS,
    tiers: Sequence[str] = TIERS,
    classes: int = 2,
    epochs: int = 5,
    dimension: int = 16,
    clustered: float = 1.0,
    seed: int = 0,
) -> Trace:
    """A trace of K = ``len(exit_tiers)`` exits.

    Every sample has a difficulty; an exit's margin for the true class is its skill less the difficulty, with noise of
    its own. Skill grows with depth and, in the dynamics, over the epochs.

    Args:
        exit_tiers: the tier of every exit in order, the final one last
        epochs: of the training dynamics; 0 for none
        clustered: how far difficulty shows in the embeddings; 0 not at all
    """
    random = np.random.default_rng(seed)
    exits = len(exit_tiers)
    labels = random.integers(0, classes, samples)
    difficulty = random.gamma(1.5, 1.0, samples)
    skill = np.linspace(1.5, 3.0, exits)
    noise = random.normal(0, 0.7, (samples, exits))
    wrong = random.integers(1, max(classes, 2), samples)

    def logits(progress: float) -> np.ndarray:
        margin = 3 * progress * (skill - difficulty[:, None] + noise)
        made = random.normal(0, 0.3, (samples, exits, classes))
        rows = np.arange(samples)
        made[rows, :, labels] += margin / 2
        made[rows, :, (labels + wrong) % classes] -= margin / 2
        return made.astype(np.float32)

    final = logits(1.0)
    direction = random.normal(0, 1, dimension)
    spread = random.normal(0, 1, (samples, dimension))
    made = Trace(
        logits=final,
        labels=labels.astype(np.int64),
        embeddings=(spread + clustered * difficulty[:, None] * direction / max(dimension, 1) ** 0.5).astype(np.float32),
        exits=(*(f"exit{number}" for number in range(1, exits)), "final"),
        exit_tiers=tuple(exit_tiers),
        tiers=tuple(tiers),
        classes=tuple(f"class{number}" for number in range(classes)),
    )
    if not epochs:
        return made
    history = [
        np.take_along_axis(_softmax(logits(epoch / epochs)), labels[:, None, None], axis=2)[..., 0]
        for epoch in range(1, epochs + 1)
    ]
    return Trace(
        made.logits,
        made.labels,
        made.embeddings,
        made.exits,
        made.exit_tiers,
        made.tiers,
        made.classes,
        np.stack(history).astype(np.float32),
    )


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return result
