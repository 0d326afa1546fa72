"""Ten samples at four exits whose paths can be followed by hand."""

import numpy as np

from edgepart.dispatch.trace import Trace

#: answer, its probability and the second one's, at each exit
SAID = (
    ((0, 0.90, 0.06), (0, 0.95, 0.03), (0, 0.97, 0.02), (0, 0.99, 0.006)),
    ((1, 0.50, 0.40), (1, 0.60, 0.30), (1, 0.80, 0.10), (1, 0.90, 0.05)),
    ((2, 0.40, 0.35), (1, 0.45, 0.40), (1, 0.70, 0.20), (1, 0.90, 0.05)),
    ((0, 0.50, 0.30), (1, 0.50, 0.30), (0, 0.50, 0.30), (0, 0.60, 0.30)),
    ((2, 0.70, 0.20), (2, 0.80, 0.15), (0, 0.50, 0.45), (0, 0.70, 0.20)),
    ((0, 0.40, 0.30), (0, 0.40, 0.30), (0, 0.40, 0.30), (0, 0.40, 0.30)),
    ((1, 0.95, 0.04), (0, 0.60, 0.30), (0, 0.60, 0.30), (1, 0.60, 0.30)),
    ((2, 0.34, 0.33), (2, 0.50, 0.40), (2, 0.90, 0.08), (2, 0.95, 0.03)),
    ((0, 0.45, 0.45), (1, 0.60, 0.30), (1, 0.70, 0.20), (1, 0.80, 0.10)),
    ((1, 0.60, 0.20), (1, 0.55, 0.20), (2, 0.60, 0.20), (2, 0.60, 0.20)),
)
LABELS = (0, 1, 1, 0, 0, 2, 1, 2, 1, 2)


def _logits() -> np.ndarray:
    made = np.empty((10, 4, 3))
    for sample, exits in enumerate(SAID):
        for index, (answer, best, second) in enumerate(exits):
            made[sample, index, answer] = best
            made[sample, index, (answer + 1) % 3] = second
            made[sample, index, (answer + 2) % 3] = 1 - best - second
    return np.log(made)


TEN = Trace(
    logits=_logits(),
    labels=np.array(LABELS),
    embeddings=np.zeros((10, 1), np.float32),
    exits=("x0", "x1", "x2", "final"),
    exit_tiers=("m", "m", "e", "c"),
    tiers=("m", "e", "c"),
    classes=("0", "1", "2"),
)
COSTS = np.array([[1.0, 2.0, 4.0, 10.0], [np.inf, np.inf, 3.0, 9.0], [np.inf, np.inf, np.inf, 8.0]])
