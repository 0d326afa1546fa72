"""Texts to token numbers, with the tokenizers package alone."""

import json
import sys

import numpy as np
import pytest
from data_samples import WORDS, graph, token_graph, vocabulary

from edgepart.data.raw import RawData, Rows
from edgepart.data.text import TextPreprocessing
from edgepart.data.tokenizer import read_tokenizer
from edgepart.errors import DataError, FileError, MissingExtra

BERT = ("input_ids", "attention_mask", "token_type_ids")


def ids(*words):
    return [WORDS.index(word) for word in words]


def encode(folder, samples, network=None, **settings):
    preprocessing = TextPreprocessing(tokenizer=str(vocabulary(folder)), **settings)
    return preprocessing.bind(network or token_graph(*BERT)).encoder()(samples)


def test_batches_are_padded_to_their_longest(tmp_path):
    arrays = encode(tmp_path, ["Good films!", "bad"])
    assert arrays["input_ids"].tolist() == [
        ids("[CLS]", "good", "film", "##s", "!", "[SEP]"),
        ids("[CLS]", "bad", "[SEP]", "[PAD]", "[PAD]", "[PAD]"),
    ]
    assert arrays["attention_mask"].tolist() == [[1] * 6, [1, 1, 1, 0, 0, 0]]
    assert not arrays["token_type_ids"].any()
    assert all(array.dtype == np.int64 for array in arrays.values())


def test_pairs(tmp_path):
    arrays = encode(tmp_path, [("good", "bad film"), ("zzz", "")])
    assert arrays["input_ids"][0].tolist() == ids("[CLS]", "good", "[SEP]", "bad", "film", "[SEP]")
    assert arrays["token_type_ids"][0].tolist() == [0, 0, 0, 1, 1, 1]
    assert arrays["input_ids"][1].tolist() == ids("[CLS]", "[UNK]", "[SEP]", "[SEP]", "[PAD]", "[PAD]")


def test_long_texts_are_cut(tmp_path):
    arrays = encode(tmp_path, ["good " * 50], max_length=5)
    assert arrays["input_ids"].tolist() == [ids("[CLS]", "good", "good", "good", "[SEP]")]


def test_a_network_of_one_length(tmp_path):
    network = token_graph(*BERT, length=7)
    arrays = encode(tmp_path, ["good", "good " * 50], network)
    assert arrays["input_ids"].shape == (2, 7)
    assert encode(tmp_path, ["good"], network)["input_ids"].shape == (1, 7)


def test_inputs_of_other_names_and_types(tmp_path):
    network = graph(tokens=("int32", ("sequence",)), mask=("int32", ("sequence",)))
    arrays = encode(tmp_path, ["good"], network, inputs={"tokens": "input_ids", "mask": "attention_mask"})
    assert {name: (array.dtype.name, array.tolist()) for name, array in arrays.items()} == {
        "tokens": ("int32", [ids("[CLS]", "good", "[SEP]")]),
        "mask": ("int32", [[1, 1, 1]]),
    }


def test_token_numbers_are_taken_as_they_are(tmp_path):
    preprocessing = TextPreprocessing(tokenizer=str(vocabulary(tmp_path))).bind(token_graph("input_ids"))
    numbers = np.arange(6, dtype=np.int32).reshape(2, 3)
    preprocessing.check(RawData(Rows({"input_ids": numbers}), [0, 1], "data"))
    made = preprocessing.encoder()([{"input_ids": row} for row in numbers])
    assert made["input_ids"].dtype == np.int64
    assert np.array_equal(made["input_ids"], numbers)
    with pytest.raises(DataError, match="is float64"):
        preprocessing.check(RawData(Rows({"input_ids": numbers / 2}), [0, 1], "data"))


@pytest.mark.parametrize(
    ("network", "inputs", "expected"),
    [
        (
            token_graph("tokens"),
            [],
            "takes 'tokens', but a tokenizer gives input_ids, attention_mask, token_type_ids: map it",
        ),
        (
            graph(input_ids=("float32", ("sequence",))),
            [],
            "takes input_ids float32 (batch, sequence), but the preprocessing of text gives int64",
        ),
        (graph(input_ids=("int64", ("sequence", 3))), [], "gives int64 (batch, sequence)"),
        (token_graph("input_ids"), ["input_ids", "attention_mask"], "gives 'attention_mask' too"),
    ],
)
def test_networks_that_do_not_take_tokens(network, inputs, expected):
    with pytest.raises(DataError) as raised:
        TextPreprocessing(tokenizer="unused", inputs=inputs).bind(network)
    assert expected in str(raised.value)


@pytest.mark.parametrize(("sample", "what"), [(3, "a int"), (("a", "b", "c"), "a tuple of 3"), (("a", 3), "a pair")])
def test_samples_that_are_no_texts(sample, what):
    with pytest.raises(DataError, match=f"sample 1 is {what}.*texts or pairs of texts"):
        TextPreprocessing(tokenizer="unused").check(RawData(["good", sample], [0, 1], "data"))


def test_forms_of_a_tokenizer_are_the_same(tmp_path):
    vocabulary(tmp_path)
    whole = read_tokenizer(tmp_path / "vocab.txt")
    (tmp_path / "saved").mkdir()
    whole.enable_padding(length=77)
    whole.enable_truncation(9)
    whole.save(str(tmp_path / "saved" / "tokenizer.json"))
    for path in (tmp_path, tmp_path / "saved", tmp_path / "saved" / "tokenizer.json"):
        tokenizer = read_tokenizer(path)
        assert tokenizer.encode_batch(["Good " * 30])[0].ids == ids("[CLS]", *["good"] * 30, "[SEP]")
        assert tokenizer.truncation is None
        assert tokenizer.padding["length"] is None


def test_case_is_the_tokenizers_own(tmp_path):
    vocabulary(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert read_tokenizer(tmp_path).encode("Good").ids == ids("[CLS]", "[UNK]", "[SEP]")


def test_tokenizers_without_what_they_need(tmp_path):
    with pytest.raises(FileError, match=r"does not exist: give a tokenizer\.json"):
        read_tokenizer(tmp_path / "nowhere")
    with pytest.raises(FileError, match="holds no tokenizer with its vocabulary"):
        read_tokenizer(tmp_path)
    saved = json.loads(read_tokenizer(vocabulary(tmp_path)).to_str())
    path = tmp_path / "tokenizer.json"

    def write(**changes):
        path.write_text(json.dumps(saved | changes))

    write(model=saved["model"] | {"vocab": {}})
    with pytest.raises(FileError, match="has no vocabulary: save it again"):
        read_tokenizer(path)
    write(model=saved["model"] | {"vocab": {"good": 0, "[PAD]": 1}}, added_tokens=[], post_processor=None, padding=None)
    with pytest.raises(FileError, match="lacks tokens it needs"):
        read_tokenizer(path)
    write(padding=None)
    assert read_tokenizer(path).padding["pad_id"] == 0
    assert read_tokenizer(path, "!").padding["pad_id"] == WORDS.index("!")
    with pytest.raises(FileError, match=r"has no token \[FILL\] to fill short texts"):
        read_tokenizer(path, "[FILL]")
    path.write_text(json.dumps(saved)[:-20])
    with pytest.raises(FileError, match="no tokenizer that can be read"):
        read_tokenizer(path)
    (tmp_path / "vocab.txt").write_text("good\nbad\n")
    with pytest.raises(FileError, match=r"vocab\.txt is no tokenizer that can be read"):
        read_tokenizer(tmp_path / "vocab.txt")


def test_the_package_may_be_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtra, match=r"edgepart\[text\]"):
        read_tokenizer(vocabulary(tmp_path))
