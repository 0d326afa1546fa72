"""YAML files as they are read: nothing given twice, numbers as numbers."""

import pytest

from edgepart.errors import FileError
from edgepart.yaml_fields import read_fields


@pytest.fixture
def read(tmp_path):
    def written(text):
        path = tmp_path / "box.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_fields(path)

    return written


def test_exponents_need_no_point(read):
    found = read("memory_bytes: 4e9\nrate: 1.5E+3\nsmall: -2e-3\nname: 4e\nrun: e9\n")
    assert found == {"memory_bytes": 4e9, "rate": 1500.0, "small": -2e-3, "name": "4e", "run": "e9"}


def test_the_same_name_in_two_groups_is_not_given_twice(read):
    assert read("a: {x: 1}\nb: {x: 2}\n") == {"a": {"x": 1}, "b": {"x": 2}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", r"box.yaml, line 3: 'a' is given twice: give it once"),
        ("facts:\n  cpu: x\n  cpu: y\n", r"line 3: 'cpu' is given twice"),
        ("a: 1\nb: [1\n", r"is not valid YAML \(line 3\): while parsing a flow sequence, expected ',' or '\]'"),
        ("a: 1\n\tb: 1\n", r"is not valid YAML \(line 2\)"),
        ("[1, 2]: 3\n", r"is not valid YAML \(line 1\)"),
        ("a: 2020-13-45\n", r"is not valid YAML: month must be in 1..12"),
        ("a: !!python/name:os.system\n", r"could not determine a constructor"),
        ("", r"holds no fields"),
        ("- a\n", r"holds no fields"),
        (b"\xff\xfe\x00", r"is not a text file"),
        (b"a: \x00", r"is not valid YAML"),
    ],
)
def test_a_wrong_file_is_one_sentence_that_names_the_line(read, text, says):
    with pytest.raises(FileError, match=says) as caught:
        read(text)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileError, match=r"cannot read .*none.yaml: No such file"):
        read_fields(tmp_path / "none.yaml")
