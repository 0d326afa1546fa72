"""Defaults of the modes, and the learning-rate schedule."""

import itertools

import pytest

from edgepart.errors import TrainingError
from edgepart.training.settings import DEFAULTS, TrainingSettings, learning_rate_factor


@pytest.mark.parametrize("mode", list(DEFAULTS))
def test_every_mode_has_defaults_that_what_is_given_replaces(mode):
    default = TrainingSettings.for_mode(mode)
    assert default.epochs == DEFAULTS[mode]["epochs"]
    assert TrainingSettings.for_mode(mode, epochs=None, seed=3) == default.model_copy(update={"seed": 3})
    assert TrainingSettings.for_mode(mode, epochs=7).epochs == 7


@pytest.mark.parametrize(
    ("given", "field"),
    [({"epochs": 0}, "epochs"), ({"learning_rate": -1}, "learning_rate"), ({"warm_up": 2}, "warm_up"), ({"x": 1}, "x")],
)
def test_wrong_settings_are_named(given, field):
    with pytest.raises(TrainingError, match=f"field '{field}'"):
        TrainingSettings.for_mode("heads", **given)


def test_an_unknown_mode_is_refused_with_the_known_ones():
    with pytest.raises(TrainingError, match="'heads', 'joint', 'branchynet' or 'pabee'"):
        TrainingSettings.for_mode("zigzag")


def test_the_learning_rate_rises_linearly_then_falls_linearly():
    factors = [learning_rate_factor(step, 100, 0.1) for step in range(100)]
    assert factors.index(max(factors)) == 10
    assert max(factors) == 1
    rises = {round(b - a, 9) for a, b in itertools.pairwise(factors[:11])}
    falls = {round(a - b, 9) for a, b in itertools.pairwise(factors[10:])}
    assert len(rises) == len(falls) == 1
    assert 0 < factors[0] < 0.1
    assert 0 < factors[-1] < 0.02


@pytest.mark.parametrize(("steps", "warm_up"), [(1, 0.0), (1, 1.0), (7, 1.0), (3, 0.5)])
def test_the_factor_is_always_positive_and_at_most_one(steps, warm_up):
    assert all(0 < learning_rate_factor(step, steps, warm_up) <= 1 for step in range(steps))
