"""An artefact that answers wrongly is refused, in whatever precision; one that only rounds is not."""

from types import SimpleNamespace

import numpy as np
import pytest

from edgepart.bundle.comparison import compare
from edgepart.bundle.targets import Target
from edgepart.errors import ExportError
from edgepart.graph import Tensor

MASK = Tensor(name="mask", shape=("batch", "sequence"), dtype="int64", bytes=0)
LOGITS, TOKENS = ("batch", 10), ("batch", "sequence", 16)


class Answers:
    """Gives its answers to one batch after the other."""

    def __init__(self, shape, answers):
        self.signature = SimpleNamespace(outputs=[Tensor(name="y", shape=shape, dtype="float32", bytes=0)])
        self._answers = iter(answers)

    def run(self, arrays):
        return {"y": next(self._answers)}


def compared(expected, found, precision="int8", shape=LOGITS, mask=None):
    """The difference of an artefact that gives ``found``, batch by batch."""
    runtime = SimpleNamespace(name="fake", open=lambda path: Answers(shape, found), version=lambda: "1")
    batches = [{"mask": mask} if mask is not None else {} for _ in expected]
    tolerance = {"int8": 0.5, "float32": 1e-4}[precision]
    answers = [np.array(each, np.float32) for each in expected]
    source, told = Answers(shape, answers), MASK if mask is not None else None
    difference, known = compare(Target(runtime, precision), source, PATH, batches, tolerance, told)
    for batch, answer in zip(known, answers, strict=True):
        np.testing.assert_array_equal(batch["y"], answer)
    return difference


PATH = SimpleNamespace(name="stage_0.tflite", parent=SimpleNamespace(name="mobile"))


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def batches(count=9, rows=8):
    return [drawn(rows, 10, seed=seed) for seed in range(count)]


def changed(arrays, place, value):
    """Copies with other values at one place of one batch."""
    copies = [array.copy() for array in arrays]
    copies[place[0]][place[1:]] = value
    return copies


def test_rounding_passes_and_its_size_is_told():
    expected = batches()
    found = [array + 0.05 * drawn(*array.shape, seed=50) for array in expected]
    worst = max(np.sqrt(np.square(f - e).mean(1)).max() for e, f in zip(expected, found, strict=True))
    values = np.sqrt(np.square(np.concatenate(expected)).mean())
    assert compared(expected, found) == pytest.approx(worst / values, rel=1e-6)
    assert 0.05 < worst / values < 0.12


@pytest.mark.parametrize("precision", ["int8", "float32"])
@pytest.mark.parametrize(
    "wrong",
    [lambda x: 0 * x, lambda x: -x, lambda x: x[::-1], lambda x: x + 1, lambda x: 2 * x, lambda x: np.nan * x],
    ids=["nought", "negative", "turned round", "shifted", "doubled", "nan"],
)
def test_one_wrong_sample_of_many_is_enough(wrong, precision):
    """Of 72 samples it would be lost in a mean over all of them."""
    expected = batches()
    found = changed(expected, (4, 3), wrong(expected[4][3]))
    with pytest.raises(ExportError, match=r"stage_0\.tflite of mobile makes another 'y' than the network"):
        compared(expected, found, precision)
    assert compared(expected, expected, precision) == 0


def test_the_answer_to_another_sample_is_wrong():
    expected = batches()
    with pytest.raises(ExportError, match="give this tier a finer precision than int8"):
        compared(expected, [*expected[1:], expected[0]])


def test_a_single_element_may_be_far_off_in_8_bits_only():
    expected = [drawn(4, 1000)]
    found = changed(expected, (0, 2, 7), 9.0)
    assert 0.2 < compared(expected, found, shape=("batch", 1000)) < 0.4
    with pytest.raises(ExportError, match="check that the network gives the same answer twice"):
        compared(expected, found, "float32", shape=("batch", 1000))
    with pytest.raises(ExportError):
        compared(expected, changed(expected, (0, 2, 7), 30.0), shape=("batch", 1000))


def test_an_undecided_sample_is_held_to_the_size_of_the_others():
    expected = changed(batches(), (0, 0), 1e-4 * drawn(10))
    assert compared(expected, [array + 0.01 for array in expected]) == pytest.approx(0.01, rel=0.1)


def test_padding_does_not_count_and_the_sample_beside_it_does():
    expected, mask = [drawn(3, 8, 16)], np.ones((3, 8), np.int64)
    mask[1, 3:] = 0
    padded = changed(expected, (0, 1, slice(3, None)), 100.0)
    assert compared(expected, padded, shape=TOKENS, mask=mask) == 0
    for found in (padded, changed(expected, (0, 1, slice(0, 3)), 0.0), changed(expected, (0, 2), 0.0)):
        with pytest.raises(ExportError):
            compared(expected, found, shape=TOKENS, mask=mask if found is not padded else None)
    with pytest.raises(ExportError, match="difference inf"):
        compared(expected, changed(expected, (0, 1, 7), np.nan), shape=TOKENS, mask=mask)
    with pytest.raises(ExportError):
        compared(expected, padded, "float32", shape=TOKENS, mask=mask)


def test_a_mask_is_not_taken_for_that_of_another_tensor():
    """Logits have no positions, and attention scores have two."""
    mask = np.zeros((8, 10), np.int64)
    with pytest.raises(ExportError):
        compared(batches(), [0 * array for array in batches()], mask=mask)


def test_equal_infinities_differ_by_nothing_and_others_by_all():
    expected = changed(batches(), (0, 0, 0), -np.inf)
    assert compared(expected, expected) == 0
    with pytest.raises(ExportError, match="difference inf"):
        compared(expected, changed(expected, (0, 0, 0), 0.0))


def test_what_has_no_samples_is_compared_as_a_whole():
    expected = [drawn(4, 10)]
    assert compared(expected, changed(expected, (0, 2), 0.0), shape=("4*batch", 10)) == pytest.approx(0.5, abs=0.1)
    with pytest.raises(ExportError):
        compared(expected, [0 * expected[0]], shape=("4*batch", 10))


@pytest.mark.parametrize("precision", ["int8", "float32"])
@pytest.mark.parametrize("other", [lambda x: x[:, :-1], lambda x: x.astype(np.float64)], ids=["shape", "type"])
def test_another_shape_or_type_is_refused(other, precision):
    expected = batches()
    with pytest.raises(ExportError, match="difference inf"):
        compared(expected, [other(array) for array in expected], precision)
