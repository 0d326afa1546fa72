"""Nothing half-written; a file that is not what it should be is one sentence."""

import json
import os
import stat
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field
from safetensors import safe_open

from edgepart.errors import FileError
from edgepart.files import (
    Document,
    atomic_file,
    atomic_folder,
    read_arrays,
    read_json,
    require_parent,
    require_replaceable,
    sha256,
    write_arrays,
    write_json,
    write_text,
)


class Note(Document):
    """A document for these tests."""

    kind: ClassVar[str] = "note"

    text: str
    stars: int = Field(ge=0)
    by: str | None = None


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def fail_half_way(path, error):
    with atomic_file(path) as temporary:
        temporary.write_text("half")
        raise error


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    target = tmp_path / "a.txt"
    with pytest.raises(RuntimeError):
        fail_half_way(target, RuntimeError)
    assert names(tmp_path) == []
    write_text(target, "whole")
    with pytest.raises(KeyboardInterrupt):
        fail_half_way(target, KeyboardInterrupt)
    assert (names(tmp_path), target.read_text()) == (["a.txt"], "whole")


def write_folder(path, name, error=None):
    with atomic_folder(path) as temporary:
        (temporary / name).write_text("")
        if error:
            raise error


def test_a_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    target = tmp_path / "bundle"
    write_folder(target, "old")
    with pytest.raises(RuntimeError):
        write_folder(target, "new", RuntimeError)
    assert (names(tmp_path), names(target)) == (["bundle"], ["old"])
    write_folder(target, "new")
    assert (names(tmp_path), names(target)) == (["bundle"], ["new"])


def test_an_error_inside_a_folder_names_its_place_and_not_the_temporary_one(tmp_path):
    def fill():
        with atomic_folder(tmp_path / "result") as temporary:
            write_text(temporary / "missing" / "a.txt", "a")

    with pytest.raises(FileError) as raised:
        fill()
    assert f"cannot write {tmp_path / 'result' / 'missing' / 'a.txt'}" in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_results_have_ordinary_permissions(tmp_path):
    mask = os.umask(0o022)
    try:
        write_text(tmp_path / "a", "")
        write_folder(tmp_path / "b", "c")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o755


def test_a_link_gives_way_to_the_folder_and_what_it_points_to_stays(tmp_path):
    write_folder(tmp_path / "elsewhere", "mine")
    (tmp_path / "result").symlink_to(tmp_path / "elsewhere")
    for name in ("first", "second"):
        write_folder(tmp_path / "result", name)
        assert names(tmp_path / "result") == [name]
    assert names(tmp_path / "elsewhere") == ["mine"]
    assert names(tmp_path) == ["elsewhere", "result"]


@pytest.mark.parametrize("write", [write_text, write_folder])
def test_a_missing_parent_is_named(tmp_path, write):
    with pytest.raises(FileError, match=r"the folder .*nowhere does not exist"):
        write(tmp_path / "nowhere" / "a", "x")


@given(text=st.text(), stars=st.integers(0, 10**12), by=st.none() | st.text())
def test_a_document_comes_back_as_it_was(tmp_path_factory, text, stars, by):
    path = tmp_path_factory.mktemp("note") / "note.json"
    note = Note(text=text, stars=stars, by=by)
    note.save(path)
    assert Note.load(path) == note


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not valid JSON"),
        ('{"kind": "edgepart.note", "ver', "was it cut short"),
        ("[]", "holds no edgepart document, expected edgepart.note"),
        ('{"kind": "edgepart.plan", "version": 1}', "holds edgepart.plan, expected edgepart.note"),
        ('{"kind": "edgepart.note", "version": 2}', "format version 2, this edgepart reads version 1"),
        ('{"kind": "edgepart.note", "version": 1, "text": "x"}', "field 'stars' is missing"),
        (
            '{"kind": "edgepart.note", "version": 1, "text": "x", "stars": -1}',
            "field 'stars' is -1, expected 0 or more",
        ),
        ('{"kind": "edgepart.note", "version": 1,\n "text": "x",\n "text": "y"}', "line 3: 'text' is given twice"),
        ('{"a": {"b{": 1, "c": [{"b": 1}, {"b": 2}]},\n "a\\u0062": 1, "ab": 2}', "line 2: 'ab' is given twice"),
        ('{"kind": "edgepart.note", "version": 1, "text": "x", "stars": 1, "star": 1}', "field 'star'"),
    ],
)
def test_a_wrong_document_is_refused_with_its_name(tmp_path, content, message):
    path = tmp_path / "note.json"
    path.write_text(content)
    with pytest.raises(FileError, match=r"note\.json") as caught:
        Note.load(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("make", "write"), [("mkstemp", atomic_file), ("mkdtemp", atomic_folder)])
def test_a_folder_that_cannot_be_written_to_is_one_sentence(tmp_path, monkeypatch, make, write):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile." + make, refuse)
    with pytest.raises(FileError, match=r"^cannot write .*plan: Permission denied$"), write(tmp_path / "plan"):
        pass


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(FileError, match="does not exist"):
        read_json(tmp_path / "none.json")
    with pytest.raises(FileError, match="cannot read"):
        read_json(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match="not a text file"):
        read_json(tmp_path / "binary")


def test_json_refuses_nan_rather_than_writing_what_others_cannot_read(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert names(tmp_path) == []
    write_json(tmp_path / "a.json", {"ü": 1})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"ü": 1}


def test_sha256_is_the_standard_one(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_arrays_and_their_header_give_the_same_bytes_every_time(tmp_path):
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array(7)}
    header = {name: f'"{name}" ☃\x01' for name in ("classes", "exits", "kind", "tiers", "version")}
    for number in range(8):  # safetensors' own order of five names is another one nearly every time
        write_arrays(tmp_path / f"{number}", arrays, header)
    assert len({sha256(tmp_path / f"{number}") for number in range(8)}) == 1
    with safe_open(tmp_path / "0", framework="numpy") as stored:
        assert stored.metadata() == header
    assert {name: array.tolist() for name, array in read_arrays(tmp_path / "0").items()} == {
        name: array.tolist() for name, array in arrays.items()
    }


@pytest.mark.parametrize("header", [{}, {"framework": "x"}])
def test_arrays_with_a_short_header_come_back(tmp_path, header):
    write_arrays(tmp_path / "arrays", {"a": np.ones(3)}, header)
    assert read_arrays(tmp_path / "arrays")["a"].tolist() == [1, 1, 1]


def test_where_nothing_can_be_written_is_told_beforehand(tmp_path, monkeypatch):
    with pytest.raises(FileError, match=r"^cannot write .*aaa: File name too long$"):
        require_parent(tmp_path / ("a" * 300))
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(
        FileError, match=r"^cannot write .*plan: you may not write to the folder .*, so give another place$"
    ):
        require_parent(tmp_path / "plan")


def test_only_a_folder_of_the_same_kind_is_replaceable(tmp_path):
    folder = tmp_path / "batched"
    require_replaceable(folder, "measurement", "batches.json", "batches.svg")
    folder.mkdir()
    require_replaceable(folder, "measurement", "batches.json", "batches.svg")
    (folder / "batches.svg").touch()
    with pytest.raises(FileError, match="holds files that are no measurement: give a new folder"):
        require_replaceable(folder, "measurement", "batches.json", "batches.svg")
    (folder / "batches.json").touch()
    (folder / ".hidden").touch()
    require_replaceable(folder, "measurement", "batches.json", "batches.svg")
    (folder / ".git").mkdir()
    with pytest.raises(FileError, match=r"holds \.git beside its measurement"):
        require_replaceable(folder, "measurement", "batches.json", "batches.svg")
    (folder / ".git").rmdir()
    (folder / "mine.csv").touch()
    with pytest.raises(FileError, match=r"holds mine\.csv beside its measurement"):
        require_replaceable(folder, "measurement", "batches.json", "batches.svg")
    with pytest.raises(FileError, match="is a file: give a folder for the measurement"):
        require_replaceable(folder / "mine.csv", "measurement", "batches.json")
