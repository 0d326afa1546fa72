"""The validation split: a partition that keeps the classes' shares."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepart.data.dataset import Dataset
from edgepart.data.split import split_dataset
from edgepart.errors import DataError


def dataset(labels, classes=4):
    return Dataset(list(range(len(labels))), np.array(labels), tuple("abcdefgh"[:classes]), lambda s: {}, "data")


@given(
    st.lists(st.integers(0, 3), min_size=2, max_size=200).filter(lambda labels: len(labels) > len(set(labels))),
    st.floats(0.05, 0.95),
    st.integers(0, 2**32),
)
def test_every_sample_is_on_one_side(labels, fraction, seed):
    given_set = dataset(labels)
    training, validation = split_dataset(given_set, fraction, seed)
    assert sorted([*training.samples, *validation.samples]) == given_set.samples
    for side in (training, validation):
        assert side.samples == sorted(side.samples)
        assert side.labels.tolist() == [labels[index] for index in side.samples]
        assert side.classes == given_set.classes
    for label in set(labels):
        count, chosen = labels.count(label), int((validation.labels == label).sum())
        assert (1 <= chosen < count) if count > 1 else chosen == 0
        assert abs(chosen - fraction * count) <= 1


def test_the_seed_decides():
    given_set = dataset([0, 1] * 50)
    first, second, other = (split_dataset(given_set, 0.2, seed)[1].samples for seed in (1, 1, 2))
    assert first == second
    assert first != other


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_shares_that_are_none(fraction):
    with pytest.raises(DataError, match="expected a number between 0 and 1"):
        split_dataset(dataset([0, 0]), fraction, 0)


def test_too_few_samples():
    with pytest.raises(DataError, match=r"too few samples \(2\)"):
        split_dataset(dataset([0, 1]), 0.5, 0)
