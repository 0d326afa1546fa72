"""Checkpoint folders of transformers."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from edgepart.errors import FileError, MissingExtra, ModelError
from edgepart.frameworks import capture, split
from edgepart.frameworks.model import load_model

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "short", "sentence", "that", "and", "##s", "good", "bad"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    import transformers

    folder = tmp_path_factory.mktemp("hf") / "tiny-bert"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=40,
        id2label={0: "negative", 1: "neutral", 2: "positive"},
        label2id={"negative": 0, "neutral": 1, "positive": 2},
    )
    torch.manual_seed(0)
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "model_max_length": 32})
    )
    return folder


@pytest.fixture
def copied(checkpoint, tmp_path):
    return shutil.copytree(checkpoint, tmp_path / "copied")


def changed(folder, file, **values):
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_checkpoint_of_a_text_classifier(checkpoint, capfd):
    loaded = load_model(f"hf:{checkpoint}")
    assert (loaded.name, loaded.classes, loaded.notes) == ("tiny-bert", ("negative", "neutral", "positive"), ())
    preprocessing = dict(loaded.preprocessing)
    tokenizer = preprocessing.pop("tokenizer")
    assert preprocessing == {
        "kind": "text",
        "max_length": 32,
        "inputs": ["input_ids", "attention_mask", "token_type_ids"],
        "pad_token": "[PAD]",
    }
    assert json.loads(Path(tokenizer).read_text())["model"]["vocab"]["good"] == WORDS.index("good")
    assert {name: tuple(tensor.shape) for name, tensor in loaded.example.items()} == dict.fromkeys(
        preprocessing["inputs"], (1, 32)
    )
    graph = capture(loaded.model, loaded.example)
    assert graph.symbols == {"batch": 1, "sequence": 32}
    assert graph.tensor(graph.outputs[0]).shape == ("batch", 3)
    assert capfd.readouterr() == ("", "")


def test_its_parts_give_its_logits(checkpoint):
    loaded = load_model(f"hf:{checkpoint}")
    graph = capture(loaded.model, loaded.example)
    ids = np.array([[2, 5, 11, 3], [2, 12, 3, 0], [2, 6, 7, 3]])
    known = {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64), "token_type_ids": np.zeros_like(ids)}
    with torch.no_grad():
        (expected,) = loaded.model(**{name: torch.from_numpy(array) for name, array in known.items()})
    for part in split(loaded.model, graph, [graph.boundaries()[12]]):
        known |= part.run(known)
    np.testing.assert_array_equal(known[graph.outputs[0]], expected.numpy())


def test_lengths_and_class_names(copied):
    changed(copied, "tokenizer_config.json", max_length=20)
    changed(copied, "config.json", id2label={"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}, label2id=None)
    loaded = load_model(f"hf:{copied}")
    assert loaded.preprocessing["max_length"] == 20
    assert loaded.classes == ("0", "1", "2")
    changed(copied, "tokenizer_config.json", max_length=None, model_max_length=10**30)
    assert load_model(f"hf:{copied}").preprocessing["max_length"] == 40


def test_weights_that_are_missing_are_random_but_always_the_same(copied):
    from safetensors.torch import load_file, save_file

    weights = load_file(copied / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith("classifier")}
    save_file(kept, copied / "model.safetensors", metadata={"format": "pt"})
    torch.manual_seed(5)
    first, second = load_model(f"hf:{copied}"), load_model(f"hf:{copied}")
    assert "classifier.bias, classifier.weight" in first.notes[0]
    assert torch.equal(first.model.classifier.weight, second.model.classifier.weight)


def _without_vocabulary(folder):
    (folder / "vocab.txt").unlink()


def _empty_vocabulary(folder):
    (folder / "vocab.txt").write_text("")


def _without_weights(folder):
    (folder / "model.safetensors").unlink()


def _truncated_weights(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def _larger_vocabulary(folder):
    (folder / "vocab.txt").write_text("\n".join([*WORDS, "more", "words"]) + "\n")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without_vocabulary, "no tokenizer with its vocabulary"),
        (_empty_vocabulary, "no tokenizer with its vocabulary"),
        (_without_weights, "does not load as a text classifier"),
        (_truncated_weights, "does not load as a text classifier"),
        (_larger_vocabulary, "do not belong together"),
        (lambda folder: changed(folder, "config.json", model_type=""), "does not load as a text classifier"),
        (lambda folder: changed(folder, "config.json", model_type="clip_vision_model"), "text classifier"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json"),
        (lambda folder: (folder / "config.json").write_text("{}"), "model_type"),
        (lambda folder: (folder / "config.json").unlink(), "config.json"),
    ],
)
def test_incomplete_folders(copied, change, words):
    change(copied)
    with pytest.raises((ModelError, FileError), match=words) as caught:
        load_model(f"hf:{copied}")
    assert "\n" not in str(caught.value)


def test_without_transformers(checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"edgepart\[text\]"):
        load_model(f"hf:{checkpoint}")
