"""The learned router's models against scikit-learn's own answers."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from edgepart.dispatch.predictors import Events, Points, boosting, logistic, neighbours


@pytest.fixture
def known() -> tuple[Points, Events]:
    """Two events: one that the first coordinate tells, and one that always happens."""
    random = np.random.default_rng(0)
    points = random.normal(size=(150, 6))
    return points, np.stack([points[:, 0] + random.normal(size=150) > 0, np.ones(150, np.bool_)], axis=1)


ASKED = np.random.default_rng(1).normal(size=(70, 6))


def test_logistic(known: tuple[Points, Events]) -> None:
    points, events = known
    found = logistic(0.02)(points, events).probabilities(ASKED)
    oracle = LogisticRegression(C=1 / (0.02 * 150), max_iter=1000).fit(points, events[:, 0])
    assert found[:, 0] == pytest.approx(oracle.predict_proba(ASKED)[:, 1])


def test_boosting(known: tuple[Points, Events]) -> None:
    points, events = known
    found = boosting(7, 5, 0.2, 3)(points, events).probabilities(ASKED)
    oracle = HistGradientBoostingClassifier(max_iter=7, max_leaf_nodes=5, learning_rate=0.2, early_stopping=False)
    assert found[:, 0] == pytest.approx(oracle.fit(points, events[:, 0]).predict_proba(ASKED)[:, 1])


def test_neighbours(known: tuple[Points, Events]) -> None:
    points, events = known
    found = neighbours(11)(points, events).probabilities(ASKED)
    oracle = KNeighborsClassifier(11, algorithm="brute").fit(points, events[:, 0])
    assert found[:, 0] == pytest.approx(oracle.predict_proba(ASKED)[:, 1])
    assert found[:, 1].tolist() == [1.0] * 70
    every = neighbours(1000)(points, events).probabilities(ASKED)
    assert every[:, 0] == pytest.approx(np.full(70, events[:, 0].mean()))


@pytest.mark.parametrize("learner", [logistic(0.1), boosting(2, 3, 0.1, 0)])
def test_what_always_happened_gets_its_rate_after_laplace(known: tuple[Points, Events], learner) -> None:  # type: ignore[no-untyped-def]
    points, events = known
    assert learner(points, events).probabilities(ASKED)[:, 1].tolist() == [151 / 152] * 70
    assert learner(points, ~events).probabilities(ASKED)[:, 1].tolist() == [1 / 152] * 70


@pytest.mark.parametrize("learner", [logistic(0.1), neighbours(3), boosting(2, 3, 0.1, 0)])
def test_nothing_known_and_nothing_asked(known: tuple[Points, Events], learner) -> None:  # type: ignore[no-untyped-def]
    points, events = known
    assert learner(points[:0], events[:0]).probabilities(ASKED).tolist() == [[0.5, 0.5]] * 70
    assert learner(points, events).probabilities(ASKED[:0]).shape == (0, 2)
    assert learner(points, events[:, :0]).probabilities(ASKED).shape == (70, 0)
