"""The data sets under $EDGEPART_DATA load, whole."""

import os
from pathlib import Path

import numpy as np
import pytest
from data_samples import graph, token_graph

from edgepart.data import load_dataset, preprocessing_for, require_every_class, split_dataset

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data():
    return Path(os.environ["EDGEPART_DATA"])


@pytest.fixture(scope="module")
def bert(data):
    given = {"kind": "text", "tokenizer": str(data / "weights" / "bert_vocab" / "vocab.txt"), "max_length": 64}
    return preprocessing_for(token_graph("input_ids", "attention_mask", "token_type_ids"), given)


#: folder → rows of each file, number of classes
TABLES = {
    "sst2": ({"train.tsv": 67_349, "dev.tsv": 872}, 2),
    "mrpc": ({"train.tsv": 3_668, "dev.tsv": 408}, 2),
    "rte": ({"train.tsv": 2_490, "dev.tsv": 277}, 2),
    "blitzer_books": ({"train.tsv.gz": 1_700, "dev.tsv.gz": 300, "test.tsv.gz": 2_000}, 2),
    "clinc150": ({"train.tsv": 15_100, "test.tsv": 5_500}, 151),
    "banking77": ({"train.tsv": 10_003, "test.tsv": 3_080}, 77),
    "tweet_emotion": ({"train.tsv": 3_257}, 4),
}


@pytest.mark.parametrize("name", TABLES)
def test_texts(data, bert, name):
    files, count = TABLES[name]
    classes = None
    for file, rows in files.items():
        dataset = load_dataset(data / "text" / name / file, bert, classes=classes)
        assert len(dataset) == rows
        assert len(dataset.classes) == count
        require_every_class(dataset)
        classes = dataset.classes
        arrays = dataset.batch(range(64))
        assert arrays["input_ids"].shape == arrays["attention_mask"].shape
        assert arrays["input_ids"].shape[1] <= 64
        assert (arrays["input_ids"][:, 0] == 101).all()
        pairs = isinstance(dataset.samples[0], tuple)
        assert arrays["token_type_ids"].any() == pairs


def test_split_of_sst2(data, bert):
    dataset = load_dataset(data / "text" / "sst2" / "train.tsv", bert)
    training, validation = split_dataset(dataset, 0.1, seed=0)
    assert len(training) + len(validation) == len(dataset)
    assert abs(validation.labels.mean() - dataset.labels.mean()) < 1e-4


def test_cifar10(data):
    given = {"kind": "image", "size": 32, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    preprocessing = preprocessing_for(graph(image=("float32", (3, 32, 32))), given)
    dataset = load_dataset(data / "images" / "cifar10" / "test.npz", preprocessing)
    assert len(dataset) == 5_000
    assert dataset.classes[:3] == ("airplane", "automobile", "bird")
    require_every_class(dataset)
    batch = dataset.batch(range(500))["image"]
    assert batch.shape == (500, 3, 32, 32)
    assert np.abs(batch.mean((0, 2, 3))).max() < 0.5
    assert np.abs(batch.std((0, 2, 3)) - 1).max() < 0.3


def test_imagenette(data):
    given = {"kind": "image", "size": 224, "shorter_side": 256, "scale": 127.5, "mean": 1.0}
    preprocessing = preprocessing_for(graph(image=("float32", (3, 224, 224))), given)
    dataset = load_dataset(data / "images" / "imagenette160" / "test.npz", preprocessing)
    assert len(dataset) == 250
    assert len(dataset.classes) == 10
    batch = dataset.batch(range(32))["image"]
    assert batch.shape == (32, 3, 224, 224)
    assert batch.min() >= -1
    assert batch.max() <= 1
    thousand = load_dataset(dataset.source, preprocessing, classes=[str(number) for number in range(1000)])
    assert thousand.labels[:3].tolist() == [569, 482, 0]
