"""How good the answers are, and where they are given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.base import Decisions
from edgepart.dispatch.trace import Trace

Labels = NDArray[np.int64]


def answers(trace: Trace, decisions: Decisions) -> Labels:
    """(N,) class that each sample's exit answers with, at the sample's own place."""
    found: Labels = trace.logits[np.arange(len(trace)), decisions.exit].argmax(axis=-1)
    return found


def accuracy(predicted: Labels, labels: Labels) -> float:
    """Share of right answers."""
    return float((predicted == labels).mean())


def confusion(predicted: Labels, labels: Labels, classes: int) -> Labels:
    """(C, C) counts: row the label, column the answer."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def matthews(predicted: Labels, labels: Labels, classes: int) -> float:
    """Matthews correlation coefficient, -1 … 1, of any number of classes (Gorodkin 2004, R_K).

    0 where it is undefined: all labels or all answers of one class. CoLA is reported with it.
    """
    counts = confusion(predicted, labels, classes).astype(np.float64)
    total, right = counts.sum(), np.trace(counts)
    labelled, answered = counts.sum(axis=1), counts.sum(axis=0)
    spread = (total**2 - (answered**2).sum()) * (total**2 - (labelled**2).sum())
    return float((right * total - labelled @ answered) / np.sqrt(spread)) if spread > 0 else 0.0


def f1(predicted: Labels, labels: Labels, positive: int = 1) -> float:
    """Harmonic mean of precision and recall of one class; 0 where it is undefined. MRPC and QQP report it."""
    hits = int(((predicted == positive) & (labels == positive)).sum())
    named = int((predicted == positive).sum() + (labels == positive).sum())
    return 2 * hits / named if named else 0.0


def summary(trace: Trace, decisions: Decisions) -> dict[str, float]:
    """Accuracy and Matthews correlation, and F1 of the second class where there are two."""
    predicted, classes = answers(trace, decisions), len(trace.classes)
    found = {
        "accuracy": accuracy(predicted, trace.labels),
        "matthews": matthews(predicted, trace.labels, classes),
    }
    return found | ({"f1": f1(predicted, trace.labels)} if classes == 2 else {})


def shares(names: Sequence[str], counts: NDArray[np.int64]) -> dict[str, float]:
    """Counts of samples by name, as shares of all of them."""
    total = int(counts.sum())
    return {name: int(count) / total for name, count in zip(names, counts, strict=True)}
