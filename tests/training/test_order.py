"""The order of samples: everything once, fixed by seed and epoch, texts of a length together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepart.training.order import by_length, lengths, shuffled, step_seed


def cases():
    sizes = st.lists(st.integers(0, 50), min_size=1, max_size=300).map(lambda x: np.array(x, dtype=np.int64))
    return sizes, st.integers(1, 40), st.integers(0, 5), st.integers(1, 5)


@given(*cases())
def test_an_epoch_sees_every_sample_once(size, batch_size, seed, epoch):
    batches = shuffled(size, batch_size, seed, epoch)
    assert sorted(np.concatenate(batches)) == list(range(len(size)))
    assert all(len(batch) <= batch_size + 1 for batch in batches)


@given(*cases())
def test_no_batch_of_one_unless_there_is_no_other(size, batch_size, seed, epoch):
    batches = shuffled(size, batch_size, seed, epoch)
    if len(size) > 1 and batch_size > 1:
        assert min(len(batch) for batch in batches) > 1


@given(*cases())
def test_inference_sees_every_sample_once_longest_first(size, batch_size, seed, epoch):
    order = np.concatenate(by_length(size, batch_size))
    assert sorted(order) == list(range(len(size)))
    assert (np.diff(size[order]) <= 0).all()


def test_the_order_depends_on_seed_and_epoch_alone():
    size = np.arange(200) % 17
    again = [np.concatenate(shuffled(size, 8, 3, 2)).tolist() for _ in range(2)]
    assert again[0] == again[1]
    assert again[0] != np.concatenate(shuffled(size, 8, 3, 1)).tolist()
    assert again[0] != np.concatenate(shuffled(size, 8, 4, 2)).tolist()


def test_batches_of_texts_need_far_less_padding_than_random_ones():
    size = np.random.default_rng(0).integers(1, 100, size=1000)

    def padded(batches):
        return sum(len(batch) * size[batch].max() for batch in batches)

    random = np.array_split(np.random.default_rng(1).permutation(1000), 125)
    assert padded(shuffled(size, 8, 0, 1)) < 0.6 * padded(random)


def test_the_number_of_batches_is_the_same_in_every_epoch():
    size = np.random.default_rng(0).integers(0, 40, size=801)
    assert len({len(shuffled(size, 8, 0, epoch)) for epoch in range(1, 30)}) == 1


@pytest.mark.parametrize(
    ("sample", "length"), [("four", 4), (("two", "texts"), 8), ({"image": np.zeros(3)}, 0), (b"jpeg", 0)]
)
def test_only_texts_have_a_length(sample, length):
    assert lengths([sample]).tolist() == [length]


def test_seeds_of_steps_differ():
    seeds = {step_seed(seed, epoch, step) for seed in range(3) for epoch in range(3) for step in range(20)}
    assert len(seeds) == 180
