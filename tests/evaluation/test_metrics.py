"""Metrics against their definitions."""

import numpy as np
import pytest

from edgepart.dispatch.base import Decisions
from edgepart.evaluation import metrics
from edgepart.testing.traces import synthetic_trace

# 3 true positives, 1 false positive, 2 false negatives, 4 true negatives
LABELS = np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 0])
ANSWERS = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])


def test_binary_metrics_by_hand() -> None:
    assert metrics.accuracy(ANSWERS, LABELS) == 0.7
    assert metrics.f1(ANSWERS, LABELS) == pytest.approx(2 * 3 / (2 * 3 + 1 + 2))
    assert metrics.matthews(ANSWERS, LABELS, 2) == pytest.approx((3 * 4 - 1 * 2) / np.sqrt(4 * 5 * 5 * 6))
    assert metrics.confusion(ANSWERS, LABELS, 2).tolist() == [[4, 1], [2, 3]]


def test_matthews_equals_the_correlation_of_indicators_for_two_classes() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 500)
    predicted = np.where(random.random(500) < 0.8, labels, 1 - labels)
    assert metrics.matthews(predicted, labels, 2) == pytest.approx(np.corrcoef(predicted, labels)[0, 1])


def test_matthews_of_three_classes_is_the_covariance_ratio() -> None:
    """Gorodkin 2004: cov(X, Y) / sqrt(cov(X, X) cov(Y, Y)) of one-hot matrices."""
    random = np.random.default_rng(1)
    labels = random.integers(0, 3, 400)
    predicted = np.where(random.random(400) < 0.6, labels, random.integers(0, 3, 400))
    one_hot = [np.eye(3)[values] - np.eye(3)[values].mean(axis=0) for values in (predicted, labels)]
    covariance = [[(a * b).sum() for b in one_hot] for a in one_hot]
    expected = covariance[0][1] / np.sqrt(covariance[0][0] * covariance[1][1])
    assert metrics.matthews(predicted, labels, 3) == pytest.approx(expected)


def test_undefined_metrics_are_zero() -> None:
    zeros, ones = np.zeros(4, np.int64), np.ones(4, np.int64)
    assert metrics.f1(zeros, zeros) == 0.0
    assert metrics.matthews(ones, LABELS[:4], 2) == 0.0
    assert metrics.matthews(zeros, ones, 2) == 0.0


def test_answers_stand_at_their_own_samples() -> None:
    trace = synthetic_trace(50, classes=4)
    exits = np.arange(50) % 3
    found = metrics.answers(trace, Decisions(np.zeros(50, np.int64), exits))
    assert found.tolist() == [int(trace.logits[i, exits[i]].argmax()) for i in range(50)]


def test_summary_names_f1_for_two_classes_only() -> None:
    for classes, names in ((2, {"accuracy", "matthews", "f1"}), (3, {"accuracy", "matthews"})):
        trace = synthetic_trace(50, classes=classes)
        decisions = Decisions(np.zeros(50, np.int64), np.full(50, 2))
        found = metrics.summary(trace, decisions)
        assert set(found) == names
        assert found["accuracy"] == trace.correct[:, 2].mean()


def test_shares() -> None:
    assert metrics.shares(("a", "b"), np.array([1, 3])) == {"a": 0.25, "b": 0.75}
