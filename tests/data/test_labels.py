"""Labels to indices, classes from labels, empty classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepart.data.dataset import Dataset
from edgepart.data.labels import derive_classes, index_labels, require_every_class
from edgepart.errors import DataError


@pytest.mark.parametrize(
    ("labels", "classes", "indices"),
    [
        (["b", "a", "b"], ("a", "b"), [1, 0, 1]),
        ([10, 2], ("2", "10"), [1, 0]),
        (["10", "2"], ("2", "10"), [1, 0]),
        ([1, 0], ("LABEL_0", "LABEL_1"), [1, 0]),
        (["1", "0"], ("negative", "positive"), [1, 0]),
        (["positive", "0"], ("negative", "positive"), [1, 0]),
        ([3], ("1", "3", "5"), [1]),
    ],
)
def test_labels_of_known_classes(labels, classes, indices):
    found, known = index_labels(labels, classes, "data")
    assert found.tolist() == indices
    assert found.dtype == np.int64
    assert known == classes


def test_classes_from_labels():
    assert derive_classes(["10", "9", "9", "-1"]) == ("-1", "9", "10")
    assert derive_classes(["10", "9", "x"]) == ("10", "9", "x")
    found, known = index_labels(["9", "10", "9"], None, "data")
    assert (found.tolist(), known) == ([0, 1, 0], ("9", "10"))


@given(st.lists(st.one_of(st.integers(-50, 50), st.text("abc", min_size=1, max_size=3)), min_size=1))
def test_derived_classes_give_the_labels_back(labels):
    found, known = index_labels(labels, None, "data")
    assert [known[index] for index in found] == [str(label) for label in labels]
    assert sorted(set(known)) == sorted(known)


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        (["a", "c"], ("a", "b"), "data, line 2 has the label 'c', which is none of the classes a, b"),
        (
            [0, 2],
            ("negative", "positive"),
            "data, line 2 has the label '2', which is none of the classes negative, positive",
        ),
        ([0], ("1", "2"), "the label '0'"),
        (["a", ""], None, "data, line 2 has no label"),
        (["x"], tuple(str(i) for i in range(1000)), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 … (1000 in all)"),
    ],
)
def test_labels_outside_the_classes(labels, classes, expected):
    with pytest.raises(DataError) as raised:
        index_labels(labels, classes, "data", lambda index: f"line {index + 1}")
    assert expected in str(raised.value)


def test_an_empty_class_is_named():
    def dataset(labels):
        return Dataset(labels, np.array(labels), ("a", "b", "c"), lambda samples: {}, "data")

    require_every_class(dataset([0, 1, 2]))
    with pytest.raises(DataError, match="data has no sample of the class 'b': training"):
        require_every_class(dataset([0, 2]))
    with pytest.raises(DataError, match=r"the class 'b' \(nor of 1 other"):
        require_every_class(dataset([0]))
