"""npz: arrays by name, JPEG archives, and one sentence for what is wrong."""

import io

import numpy as np
import pytest
from PIL import Image

from edgepart.data.archive import read_archive
from edgepart.data.raw import Rows
from edgepart.errors import DataError


@pytest.fixture
def write(tmp_path):
    def _write(**arrays):
        path = tmp_path / "data.npz"
        np.savez_compressed(path, **arrays)
        return path

    return _write


def jpegs(count):
    files = []
    for number in range(count):
        stream = io.BytesIO()
        Image.new("RGB", (8 + number, 6), (40 * number, 0, 0)).save(stream, "JPEG")
        files.append(np.frombuffer(stream.getvalue(), np.uint8))
    return np.concatenate(files), np.cumsum([0, *map(len, files)])


@pytest.mark.parametrize("key", ["x", "images", "data", "input"])
@pytest.mark.parametrize("label", ["y", "label", "labels"])
def test_one_array(write, key, label):
    values = np.arange(6.0).reshape(3, 2)
    raw = read_archive(write(**{key: values, label: np.array([2, 0, 1], np.uint8), "other": 1}), ["input"])
    assert isinstance(raw.samples, Rows)
    assert len(raw.samples) == 3
    assert np.array_equal(raw.samples.arrays["input"], values)
    assert np.array_equal(raw.samples[1]["input"], [2, 3])
    assert raw.labels == [2, 0, 1]
    assert raw.classes is None


def test_arrays_by_input_name(write):
    raw = read_archive(write(a=np.zeros((2, 3)), b=np.ones(2), y=["no", "yes"], classes=["no", "yes"]), ["b", "a"])
    assert list(raw.samples.arrays) == ["b", "a"]
    assert raw.labels == ["no", "yes"]
    assert raw.classes == ("no", "yes")


def test_objects_that_are_not_needed_are_not_loaded(write):
    raw = read_archive(write(x=np.zeros((2, 3)), y=[0, 1], notes=np.array([{}], dtype=object)), ["x"])
    assert len(raw.samples) == 2


def test_members_are_read_once(write, monkeypatch):
    path = write(x=np.zeros((2, 3)), y=[0, 1])
    read = []
    original = np.lib.npyio.NpzFile.__getitem__
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", lambda self, key: read.append(key) or original(self, key))
    read_archive(path, ["x"])
    assert sorted(read) == ["x", "y"]


def test_jpeg_archive(write):
    data, offsets = jpegs(3)
    raw = read_archive(write(jpeg=data, off=offsets, y=[0, 1, 0]), ["image"])
    assert [Image.open(io.BytesIO(sample)).width for sample in raw.samples] == [8, 9, 10]
    assert raw.labels == [0, 1, 0]


def test_float_labels_that_are_integers(write):
    assert read_archive(write(x=np.zeros((2, 1)), y=[1.0, 0.0]), ["x"]).labels == [1, 0]
    assert read_archive(write(x=np.zeros((2, 1)), y=[True, False]), ["x"]).labels == [1, 0]


def test_labels_in_a_column(write):
    assert read_archive(write(x=np.zeros((2, 1)), y=[[1], [0]]), ["x"]).labels == [1, 0]
    assert read_archive(write(x=np.zeros((2, 1)), y=[["b"], ["a"]]), ["x"]).labels == ["b", "a"]


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"x": np.zeros((2, 1))}, "has no array of labels: call it y or label or labels (found x)"),
        (
            {"z": np.zeros((2, 1)), "y": [0, 1]},
            "has no array for the network's input 'input' (or x, images, data): found z, y",
        ),
        ({"x": np.zeros((3, 1)), "y": [0, 1]}, "has 3 samples in 'input' but 2 labels"),
        ({"x": np.float64(1), "y": [0, 1]}, "has no samples in 'input' but 2 labels"),
        ({"x": np.zeros((0, 1)), "y": np.zeros(0, int)}, "holds no samples"),
        ({"x": np.zeros((2, 1)), "y": np.eye(2)}, "have shape (2, 2), expected (samples,): give the index"),
        ({"x": np.zeros((2, 1)), "y": [0.5, 1]}, "are of type float64, expected integers or strings"),
        ({"x": np.zeros((2, 1)), "y": [np.nan, 1]}, "are of type float64, expected integers or strings"),
        ({"x": np.array([{}, {}]), "y": [0, 1]}, "holds Python objects, which are not loaded"),
        ({"jpeg": np.zeros(9, np.uint8), "off": [0, 4, 9]}, "has no array of labels"),
        ({"jpeg": np.zeros(9), "off": [0, 9], "y": [0]}, "'jpeg' must be bytes"),
        ({"jpeg": np.zeros(9, np.uint8), "off": [0, 4, 10], "y": [0, 1]}, "must rise from 0 to the 9 bytes"),
        ({"jpeg": np.zeros(9, np.uint8), "off": [0, 5, 4], "y": [0, 1]}, "must rise"),
        ({"jpeg": np.zeros(9, np.uint8), "off": [0, 5, 9], "y": [0]}, "has 2 samples but 1 labels"),
    ],
)
def test_one_sentence_for_what_is_wrong(write, arrays, expected):
    path = write(**arrays)
    with pytest.raises(DataError) as raised:
        read_archive(path, ["input"])
    assert expected in str(raised.value)
    assert str(path) in str(raised.value)


def test_two_inputs_have_their_names(write):
    with pytest.raises(DataError, match="no array for the network's input 'b': found a, y"):
        read_archive(write(a=np.zeros(2), y=[0, 1]), ["a", "b"])


def test_damaged_archives(write, tmp_path):
    whole = write(x=np.random.default_rng(0).random((50, 50)), y=np.arange(50)).read_bytes()
    np.save(tmp_path / "one.npy", np.zeros(3))
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 0xFF
    for content in (b"", b"junk", whole[: len(whole) // 2], bytes(flipped), (tmp_path / "one.npy").read_bytes()):
        path = tmp_path / "broken.npz"
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"broken\.npz is not a complete archive of arrays"):
            read_archive(path, ["x"])


def test_a_single_label_is_no_list_of_labels(write):
    with pytest.raises(DataError, match=r"have shape \(\), expected \(samples,\)"):
        read_archive(write(a=np.zeros((2, 3)), y=3), ["a"])
