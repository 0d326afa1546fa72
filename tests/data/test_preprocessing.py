"""Which preprocessing a network has: from dicts, by default, and through a bundle's folder."""

import json
import shutil

import numpy as np
import pytest
from data_samples import graph, token_graph, vocabulary

from edgepart.data.arrays import ArrayInput, ArrayPreprocessing, check_array
from edgepart.data.images import ImagePreprocessing
from edgepart.data.preprocessing import Preprocessing, default_preprocessing, preprocessing_for, read_preprocessing
from edgepart.data.raw import RawData, Rows
from edgepart.data.text import TextPreprocessing
from edgepart.errors import DataError, FileError

VECTORS = graph(x=("float32", (3,)))


def test_from_a_plain_dict():
    image = Preprocessing.from_dict({"kind": "image", "size": 32, "mean": [0.1, 0.2, 0.3], "std": 0.5})
    assert image == ImagePreprocessing(size=(32, 32), mean=(0.1, 0.2, 0.3), std=(0.5,))
    text = Preprocessing.from_dict({"kind": "text", "tokenizer": "t.json", "inputs": ["input_ids"]})
    assert text == TextPreprocessing(tokenizer="t.json", inputs={"input_ids": "input_ids"})
    arrays = Preprocessing.from_dict({"kind": "array", "inputs": ["a", {"name": "b", "dtype": "int64"}]})
    assert arrays == ArrayPreprocessing(inputs=(ArrayInput(name="a"), ArrayInput(name="b", dtype="int64")))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, "has the kind None, expected one of 'array', 'image', 'text'"),
        ({"kind": "sound"}, "has the kind 'sound'"),
        ([], "has the kind None"),
        ({"kind": "image", "sice": 32}, "of kind 'image' is not valid: field 'sice' is not known"),
        ({"kind": "image", "size": [1, 2, 3]}, "field 'size"),
        ({"kind": "image", "size": 0}, "size must be at least 1"),
        ({"kind": "image", "mean": [1, 2]}, "mean has 2 numbers, expected 3 for RGB"),
        ({"kind": "image", "std": [1, 1, 0]}, "std must be above 0"),
        ({"kind": "image", "color": "CMYK"}, "field 'color'"),
        ({"kind": "image", "scale": 0}, "field 'scale'"),
        ({"kind": "text"}, "field 'tokenizer' is missing"),
        ({"kind": "text", "tokenizer": "t", "inputs": ["tokens"]}, "field 'inputs.tokens'"),
        ({"kind": "text", "tokenizer": "t", "max_length": 1}, "field 'max_length'"),
        ({"kind": "array", "inputs": 3}, "field 'inputs'"),
    ],
)
def test_one_sentence_for_a_wrong_dict(value, expected):
    with pytest.raises(DataError) as raised:
        Preprocessing.from_dict(value)
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


def test_arrays_are_the_default():
    network = graph(a=("float32", (3, "length")), b=("int64", ()))
    made = default_preprocessing(network)
    assert (
        made == preprocessing_for(network, None) == preprocessing_for(network, {"kind": "array", "inputs": ["b", "a"]})
    )
    assert made.input_names == ("a", "b")
    rows = Rows({"a": np.ones((2, 3, 5)), "b": np.array([1, 2], np.int8)})
    made.check(RawData(rows, [0, 1], "data"))
    arrays = made.encoder()([rows[1], rows[0]])
    assert {name: (array.dtype.name, array.shape) for name, array in arrays.items()} == {
        "a": ("float32", (2, 3, 5)),
        "b": ("int64", (2,)),
    }
    assert arrays["b"].tolist() == [2, 1]


def test_other_inputs_than_the_networks():
    with pytest.raises(DataError, match=r"gives y, but the network takes x float32 \(batch, 3\)"):
        preprocessing_for(VECTORS, {"kind": "array", "inputs": ["y"]})


@pytest.mark.parametrize(
    ("wanted", "array", "expected"),
    [
        (("float32", (3,)), np.zeros((2, 4)), "is float64 (2, 4), but the network takes (batch, 3)"),
        (("float32", (3,)), np.zeros(2), "but the network takes (batch, 3)"),
        (("float32", (3,)), np.array([["a"] * 3] * 2), "expected numbers"),
        (("float32", (3,)), np.array([[1, 2, 3], [1, np.nan, 3]]), "NaN or infinite numbers, first in sample 1"),
        (("float32", (3,)), np.array([[1, 2, np.inf]] * 2), "first in sample 0"),
        (("int64", (3,)), np.zeros((2, 3)), "but the network takes int64: convert it"),
        (("float32", (3, 4, 4)), np.zeros((2, 4, 4, 3), np.uint8), "declare a preprocessing of kind 'image'"),
        (
            ("float32", (3, 4, 4)),
            np.zeros((2, 3, 4, 4), np.uint8),
            "scaled in a way that is not known: declare a preprocessing",
        ),
        (("float32", (3, 4, 4)), np.zeros((2, 4, 4, 3)), "but the network takes (batch, 3, 4, 4)"),
    ],
)
def test_arrays_that_do_not_fit(wanted, array, expected):
    made = default_preprocessing(graph(x=wanted))
    with pytest.raises(DataError) as raised:
        made.check(RawData(Rows({"x": array}), [0, 1], "data"))
    assert expected in str(raised.value)
    assert "the array 'x' of data is" in str(raised.value)


def test_what_fits_is_not_refused():
    for dtype in (np.float16, np.float64, np.int8, np.uint8, np.bool_):
        check_array(ArrayInput(name="x", dtype="float32", shape=("batch", 3)), np.zeros((2, 3), dtype), "data")
    check_array(ArrayInput(name="x", dtype="int64", shape=("batch", "sequence")), np.zeros((2, 9), np.uint16), "data")
    check_array(ArrayInput(name="x", dtype="uint8", shape=("batch", 4, 4)), np.zeros((2, 4, 4), np.uint8), "data")


@pytest.mark.parametrize(
    ("sample", "what"), [("good", "a text"), (("a", "b"), "a pair of texts"), (b"x", "an image file")]
)
def test_texts_and_files_are_not_arrays(sample, what):
    with pytest.raises(DataError, match=f"sample 0 is {what}, but the network takes arrays .x.: declare"):
        default_preprocessing(VECTORS).check(RawData([sample], [0], "data"))


def test_a_bundle_holds_the_tokenizer(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "bundle").mkdir()
    given = {"kind": "text", "tokenizer": str(vocabulary(tmp_path / "source")), "max_length": 9}
    before = preprocessing_for(token_graph("input_ids", "attention_mask"), given)
    samples = ["good film", ("bad", "very " * 20)]
    expected = before.encoder()(samples)
    before.save(tmp_path / "bundle")
    shutil.rmtree(tmp_path / "source")
    shutil.move(tmp_path / "bundle", tmp_path / "moved")
    assert sorted(path.name for path in (tmp_path / "moved").iterdir()) == ["preprocessing.json", "tokenizer.json"]
    assert str(tmp_path) not in (tmp_path / "moved" / "preprocessing.json").read_text()
    after = Preprocessing.load(tmp_path / "moved")
    for name, array in after.encoder()(samples).items():
        assert np.array_equal(array, expected[name])
    after.save(tmp_path / "moved")
    assert Preprocessing.load(tmp_path / "moved") == after


@pytest.mark.parametrize(
    ("network", "given"),
    [
        (graph(image=("float32", (3, 8, 8))), {"kind": "image", "mean": [0.1, 0.2, 0.3], "shorter_side": 9}),
        (graph(x=("float32", (3, "length"))), None),
    ],
)
def test_what_is_saved_is_read_back(tmp_path, network, given):
    made = preprocessing_for(network, given)
    made.save(tmp_path)
    assert Preprocessing.load(tmp_path) == made


def test_damaged_files(tmp_path):
    with pytest.raises(FileError, match="does not exist"):
        Preprocessing.load(tmp_path)
    default_preprocessing(VECTORS).save(tmp_path)
    path = tmp_path / "preprocessing.json"
    saved = json.loads(path.read_text())
    saved["preprocessing"]["kind"] = "sound"
    path.write_text(json.dumps(saved))
    with pytest.raises(FileError, match=r"preprocessing\.json: the preprocessing has the kind 'sound'"):
        Preprocessing.load(tmp_path)
    path.write_text("{")
    with pytest.raises(FileError, match="is not valid JSON"):
        Preprocessing.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind: array\nkind: image\n", "settings.yaml, line 2: 'kind' is given twice"),
        ("kind: [array\n", r"settings.yaml is not valid YAML \(line 2\)"),
        ("- kind\n", "settings.yaml holds no fields"),
    ],
)
def test_a_bad_file_of_settings(tmp_path, text, says):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(FileError, match=says):
        read_preprocessing(path)


def test_settings_from_a_file(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("kind: image\nsize: 32\nmean: [0.1, 0.2, 0.3]\nstd: 5e-1\n")
    assert read_preprocessing(path) == ImagePreprocessing(size=(32, 32), mean=(0.1, 0.2, 0.3), std=(0.5,))
