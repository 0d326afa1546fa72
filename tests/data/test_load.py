"""Data sets from every form that --data takes."""

import numpy as np
import pytest
from data_samples import graph, token_graph, vocabulary
from PIL import Image

from edgepart.data import load_dataset, preprocessing_for
from edgepart.errors import DataError, UnknownName

VECTORS = preprocessing_for(graph(x=("float32", (2,))), None)
IMAGES = preprocessing_for(graph(image=("float32", (3, 4, 4))), {"kind": "image"})


@pytest.fixture
def texts(tmp_path):
    given = {"kind": "text", "tokenizer": str(vocabulary(tmp_path))}
    return preprocessing_for(token_graph("input_ids", "attention_mask"), given)


@pytest.fixture
def script(tmp_path):
    def _script(body, function="data"):
        path = tmp_path / "mine.py"
        path.write_text(body)
        return f"{path}:{function}"

    return _script


def test_table(tmp_path, texts):
    path = tmp_path / "a.tsv"
    path.write_text("text\tlabel\ngood\t1\nbad film\t0\ngood !\t1\n")
    dataset = load_dataset(path, texts)
    assert len(dataset) == 3
    assert dataset.classes == ("0", "1")
    assert dataset.labels.tolist() == [1, 0, 1]
    batches = list(dataset.batches(2))
    assert [indices.tolist() for indices, _ in batches] == [[0, 1], [2]]
    assert batches[0][1]["input_ids"].shape == (2, 4)
    assert load_dataset(str(path), texts, classes=["negative", "positive"]).labels.tolist() == [1, 0, 1]
    with pytest.raises(DataError, match=r"a\.tsv, line 2 has the label '1', which is none of the classes no, yes, 7"):
        load_dataset(path, texts, classes=["no", "yes", "7"])


def test_archive(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.arange(6.0).reshape(3, 2), y=[4, 2, 4])
    dataset = load_dataset(path, VECTORS)
    assert dataset.classes == ("2", "4")
    assert dataset.batch([2, 0])["x"].tolist() == [[4, 5], [0, 1]]
    assert dataset.subset([1]).batch([0])["x"].tolist() == [[2, 3]]
    assert load_dataset(path, VECTORS, classes=list("01234")).labels.tolist() == [4, 2, 4]


def test_archive_that_names_its_classes(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((3, 2)), y=[0, 2, 0], classes=["cat", "cow", "dog"])
    own = load_dataset(path, VECTORS)
    assert (own.classes, own.labels.tolist()) == (("cat", "cow", "dog"), [0, 2, 0])
    assert load_dataset(path, VECTORS, classes=["dog", "cow", "cat"]).labels.tolist() == [2, 0, 2]
    assert load_dataset(path, VECTORS, classes=["0", "1", "2"]).labels.tolist() == [0, 2, 0]
    assert load_dataset(path, VECTORS, classes=["LABEL_0", "LABEL_1", "LABEL_2"]).labels.tolist() == [0, 2, 0]
    with pytest.raises(DataError, match="the label 'cat', which is none of the classes dog, cow"):
        load_dataset(path, VECTORS, classes=["dog", "cow"])
    with pytest.raises(
        DataError, match="sample 0 has the label 'cat', which is none of the classes plane, ship, truck"
    ):
        load_dataset(path, VECTORS, classes=["plane", "ship", "truck"])


def test_image_folder(tmp_path):
    folder = tmp_path / "pets"
    for name, colour, count in (("dog", 255, 2), ("cat", 0, 1), ("10", 0, 0)):
        (folder / name / "deeper").mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (5 + number, 9), (colour,) * 3).save(folder / name / "deeper" / f"{number}.PNG")
    (folder / "cat" / "notes.txt").write_text("no image")
    (folder / "cat" / ".hidden.png").write_text("no image")
    (folder / ".thumbnails").mkdir()
    dataset = load_dataset(folder, IMAGES)
    assert dataset.classes == ("10", "cat", "dog")
    assert dataset.labels.tolist() == [1, 2, 2]
    assert dataset.batch(range(3))["image"].mean((1, 2, 3)).tolist() == [0, 1, 1]
    with pytest.raises(
        DataError, match=r"pets, cat/deeper/0\.PNG has the label 'cat', which is none of the classes dog, bird"
    ):
        load_dataset(folder, IMAGES, classes=["dog", "bird"])
    with pytest.raises(DataError, match="is an image file, but the network takes texts"):
        load_dataset(folder, preprocessing_for(token_graph("input_ids"), {"kind": "text", "tokenizer": "unused"}))
    for child in folder.rglob("*.PNG"):
        child.unlink()
    with pytest.raises(DataError, match="has no images in its 3 sub-folders"):
        load_dataset(folder, IMAGES)
    with pytest.raises(DataError, match="has no sub-folders: expected one a class"):
        load_dataset(folder / "dog" / "deeper", IMAGES)


@pytest.mark.parametrize(
    "body",
    [
        "def data(): return np.eye(2), [1, 0]",
        "def data(): return np.eye(2).tolist(), np.array([1, 0])",
        "def data(): return {'x': np.eye(2)}, ['1', '0']",
        "def data(): return {'x': np.eye(2), 'labels': [1, 0]}",
        "def data(): return [(row, label) for row, label in zip(np.eye(2), [1, 0])]",
        "def data(): return [{'x': row} for row in np.eye(2)], [1, 0]",
        "import torch\ndef data(): return torch.eye(2), torch.tensor([1, 0])",
    ],
)
def test_functions_that_return_arrays(script, body):
    dataset = load_dataset(script(f"import numpy as np\n{body}\n"), VECTORS)
    assert dataset.labels.tolist() == [1, 0]
    assert dataset.batch([0, 1])["x"].tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    "body",
    [
        "def data(): return ['good', 'bad'], [1, 0]",
        "def data(): return [('good', 1), ('bad', 0)]",
        "def data(): return {'text': ['good', 'bad'], 'label': [1, 0]}",
        "import numpy\ndef data(): return numpy.array(['good', 'bad']), [1, 0]",
    ],
)
def test_functions_that_return_texts(script, body, texts):
    dataset = load_dataset(script(body), texts)
    assert dataset.labels.tolist() == [1, 0]
    assert dataset.samples == ["good", "bad"]
    assert dataset.batch([0, 1])["input_ids"].shape == (2, 3)


def test_functions_that_return_images(script, tmp_path):
    Image.new("RGB", (9, 5), (255, 255, 255)).save(tmp_path / "a.png")
    bodies = [
        "def data(): return [HERE / 'a.png', HERE / 'a.png'], [0, 1]",
        "def data(): return [str(HERE / 'a.png')] * 2, [0, 1]",
        "def data(): return [(HERE / 'a.png').read_bytes()] * 2, [0, 1]",
        "def data(): return [Image.open(HERE / 'a.png')] * 2, [0, 1]",
        "def data(): return [np.full((5, 5, 3), 255, np.uint8), np.full((4, 9, 3), 255, np.uint8)], [0, 1]",
        "def data(): return np.full((2, 6, 6, 3), 255, np.uint8), [0, 1]",
    ]
    head = "import numpy as np\nfrom pathlib import Path\nfrom PIL import Image\nHERE = Path(__file__).parent\n"
    for body in bodies:
        dataset = load_dataset(script(head + body), IMAGES)
        assert np.array_equal(dataset.batch([0, 1])["image"], np.ones((2, 3, 4, 4))), body


def test_a_function_may_import_what_lies_beside_it(script, tmp_path):
    (tmp_path / "beside_the_script.py").write_text("labels = [0, 1]\n")
    dataset = load_dataset(
        script("from beside_the_script import labels\ndef data(): return [[0, 1], [1, 2]], labels"), VECTORS
    )
    assert dataset.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("def data(): return 3", "returned int, expected (inputs, labels)"),
        ("def data(): return [[1, 2]], [0, 1]", "has 1 samples but 2 labels"),
        ("def data(): return [], []", "holds no samples"),
        ("def data(): raise OSError('no disk\\nat all')", "raised OSError: no disk"),
        ("1 / 0\ndef data(): pass", "raised ZeroDivisionError: division by zero"),
        ("def data(:", "raised SyntaxError"),
        ("def data(): return {'x': [[1, 2]]}", "has no array of labels"),
        ("def data(): return {'z': [[1, 2]]}, [0]", "has no array for the network's input 'x': found z"),
        ("def data(): return {1, 2}, [0]", "gives inputs of type set, expected arrays, texts or images"),
        ("def data(): return [[1, 2, 3]], [0]", "but the network takes (batch, 2)"),
        ("def data(): return [[1, float('nan')]], [0]", "NaN or infinite numbers, first in sample 0"),
    ],
)
def test_one_sentence_for_a_wrong_function(script, body, expected):
    with pytest.raises(DataError) as raised:
        load_dataset(script(body), VECTORS)
    assert expected in str(raised.value)
    assert "mine.py:data" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_functions_and_files_that_are_not_there(script, tmp_path):
    with pytest.raises(UnknownName, match="'dta'; did you mean data"):
        load_dataset(script("def data(): pass", "dta"), VECTORS)
    with pytest.raises(DataError, match=r"none\.py does not exist"):
        load_dataset(tmp_path / "none.py:data", VECTORS)
    with pytest.raises(DataError, match="an empty name does not exist"):
        load_dataset("", VECTORS)
    with pytest.raises(DataError, match=r"none\.tsv does not exist: --data takes \.tsv or \.csv"):
        load_dataset(tmp_path / "none.tsv", VECTORS)
    (tmp_path / "a.parquet").write_text("")
    with pytest.raises(DataError, match=r"a\.parquet is of no known form: --data takes"):
        load_dataset(tmp_path / "a.parquet", VECTORS)
