"""The loss weights against the papers' formulas, worked out by hand."""

import pytest

from edgepart.errors import TrainingError
from edgepart.training.losses import exit_weights, weighted_sum

LOSSES = (0.9, 0.5, 0.2)


def test_joint_is_the_plain_sum():
    # DIMEC-DC, eq. 3
    assert weighted_sum(LOSSES, exit_weights("joint", 3)) == pytest.approx(0.9 + 0.5 + 0.2)


def test_pabee_is_the_mean_weighted_by_depth():
    # PABEE, eq. 7: sum of k * CE_k over sum of k
    expected = (1 * 0.9 + 2 * 0.5 + 3 * 0.2) / (1 + 2 + 3)
    assert weighted_sum(LOSSES, exit_weights("pabee", 3)) == pytest.approx(expected)


def test_branchynet_weighs_by_its_own_defaults_or_what_the_user_gives():
    assert weighted_sum(LOSSES, exit_weights("branchynet", 3)) == pytest.approx(0.9 + 0.5 + 0.3 * 0.2)
    assert weighted_sum(LOSSES, exit_weights("branchynet", 3, (0.5, 0, 2))) == pytest.approx(0.5 * 0.9 + 2 * 0.2)


def test_heads_count_alike_and_the_frozen_classifier_not_at_all():
    assert exit_weights("heads", 3) == (1.0, 1.0, 0.0)
    assert weighted_sum((0.9, 0.5, float("nan")), exit_weights("heads", 3)) == pytest.approx(1.4)


@pytest.mark.parametrize("given", [(1.0, 1.0), (1.0, 1.0, 1.0, 1.0), (1.0, -0.1, 1.0), (0.0, 0.0, 0.0)])
def test_given_weights_must_be_one_per_exit_not_negative_not_all_zero(given):
    with pytest.raises(TrainingError, match="expected 3 numbers of at least 0"):
        exit_weights("branchynet", 3, given)


@pytest.mark.parametrize("mode", ["heads", "joint", "pabee"])
def test_given_weights_are_for_branchynet_only(mode):
    with pytest.raises(TrainingError, match=f"'{mode}' has its own"):
        exit_weights(mode, 2, (1.0, 1.0))
