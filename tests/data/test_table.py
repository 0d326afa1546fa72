"""tsv and csv: columns, quoting, compression, and one sentence for what is wrong."""

import gzip

import pytest

from edgepart.data.table import read_table
from edgepart.errors import DataError


@pytest.fixture
def write(tmp_path):
    def _write(name, text):
        path = tmp_path / name
        content = text if isinstance(text, bytes) else text.encode()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return _write


@pytest.mark.parametrize(
    ("name", "text", "samples"),
    [
        ("a.tsv", "text\tlabel\ngood\t1\nbad\t0\n", ["good", "bad"]),
        ("a.tsv.gz", "text\tlabel\ngood\t1\nbad\t0\n", ["good", "bad"]),
        ("a.csv", "text,label\ngood,1\nbad,0\n", ["good", "bad"]),
        ("a.csv.gz", "label,sentence\n1,good\n0,bad\n", ["good", "bad"]),
        (
            "a.tsv",
            "id\tsentence1\tsentence2\tlabel\n7\tgood\tbad\t1\n8\tbad\tgood\t0\n",
            [("good", "bad"), ("bad", "good")],
        ),
        ("a.csv", "text_a,text_b,label\ngood,bad,1\nbad,good,0\n", [("good", "bad"), ("bad", "good")]),
        ("a.tsv", "\ufefftext\tlabel\r\ngood\t1\r\n\r\nbad\t0", ["good", "bad"]),
        ("a.tsv", 'text\tlabel\n"good" said he\t1\n"\t0\n', ['"good" said he', '"']),
        ("a.csv", 'text,label\n"good, very ""good""\nindeed",1\nbad,0\n', ['good, very "good"\nindeed', "bad"]),
        ("A.TSV", "text\tlabel\n\t 1\nbad\t0 \n", ["", "bad"]),
    ],
)
def test_samples_and_labels(write, name, text, samples):
    raw = read_table(write(name, text))
    assert list(raw.samples) == samples
    assert list(raw.labels) == ["1", "0"]


def test_places_are_lines_of_the_file(write):
    raw = read_table(write("a.csv", 'text,label\n"two\nlines",1\n\nbad,0\n'))
    assert [raw.where(0), raw.where(1)] == ["line 3", "line 5"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "a.tsv",
            "",
            "has no column of texts: the first line must name label and text, or text_a and text_b; it has nothing",
        ),
        ("a.tsv", "text\tlabel\n", "holds no samples"),
        ("a.tsv", "text,label\ngood,1\n", "it has 'text,label'"),
        ("a.csv", "text,class\ngood,1\n", "has no column 'label'"),
        ("a.csv", "text,class\ngood,1\n", "it has 'text', 'class'"),
        ("a.csv", "text_a,label\ngood,1\n", "has no column of texts"),
        ("a.tsv", "text\tlabel\ngood\t1\nbad\n", "line 3 has 1 cells, expected 2 (text, label)"),
        ("a.csv", "text,label\ngood,1\nbad, very,0\n", "line 3 has 3 cells, expected 2"),
        ("a.csv", 'text,label\n"good,1\nbad,0\n', "line 3: unexpected end of data"),
        ("a.tsv", b"text\tlabel\ngood\xff\t1\n", "is not UTF-8 text (byte"),
    ],
)
def test_one_sentence_for_what_is_wrong(write, name, text, expected):
    path = write(name, text)
    with pytest.raises(DataError) as raised:
        read_table(path)
    assert expected in str(raised.value)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_damaged_gzip(write, tmp_path):
    whole = write("a.tsv.gz", "text\tlabel\n" + "good film\t1\n" * 1000).read_bytes()
    path = tmp_path / "b.tsv.gz"
    for content in (whole[: len(whole) // 2], b"text\tlabel\n", whole[:30] + b"0000" + whole[34:]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"b\.tsv\.gz is not a complete gzip file"):
            read_table(path)
