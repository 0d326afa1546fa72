"""The journal of a search: what a killed process or a full disk leaves behind does not keep the next one from it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from banks import chain_problem, random_bank

from edgepart.errors import FileError
from edgepart.search import journal as journals
from edgepart.search import search
from edgepart.search.journal import open_journal
from edgepart.search.study import Study

#: takes the lock of a journal, by a relative path, and is killed while it holds it
HOLDER = """
import os, signal
from pathlib import Path
from edgepart.search.journal import open_journal
backend = open_journal(Path("trials.journal"), print)._backend
backend._lock.acquire()
os.kill(os.getpid(), signal.SIGKILL)
"""


def trials(journal: Path, count: int = 5, tell=lambda text: None):
    problem = chain_problem()
    return search(problem, random_bank(problem, 0), most_listed=0, trials=count, storage=journal, tell=tell)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(journals, "STALE_S", 0.4)
    monkeypatch.setattr(journals, "DANGLING_S", 0.2)
    monkeypatch.setattr(journals, "_TOLD_AFTER_S", 0.1)
    return tmp_path


def test_a_search_that_was_killed_while_it_held_a_relative_journal_goes_on(here):
    killed = subprocess.run([sys.executable, "-c", HOLDER], check=False, cwd=here)
    assert killed.returncode == -signal.SIGKILL
    assert Path("trials.journal.lock").is_symlink()
    assert trials(Path("trials.journal")).how == "found by 5 trials, not proven"
    assert sorted(os.listdir()) == ["trials.journal"]


def test_a_lock_that_leads_nowhere_is_taken_away(here):
    folder = here / "out"
    folder.mkdir()
    # what Optuna's own lock left behind for the relative path out/trials.journal
    (folder / "trials.journal.lock").symlink_to("out/trials.journal")
    assert trials(Path("out/trials.journal")).trials == 5
    assert os.listdir(folder) == ["trials.journal"]


def test_a_lock_that_is_held_is_waited_for_and_told_once(here, monkeypatch):
    monkeypatch.setattr(journals, "STALE_S", 60.0)
    path, told = here / "trials.journal", []
    lock = open_journal(path, told.append)._backend._lock
    lock.acquire()
    timer = threading.Timer(0.6, lock.release)
    timer.start()
    start = time.monotonic()
    front = trials(Path("trials.journal"), tell=told.append)
    assert time.monotonic() - start > 0.5
    assert front.trials == 5
    assert len(told) == 1
    assert told[0].startswith("waiting for trials.journal, which another search holds")


def test_a_lock_that_was_taken_away_is_not_let_go_for_its_new_owner(here):
    path = here / "trials.journal"
    slow, next_one = (open_journal(path, str)._backend._lock for _ in range(2))
    slow.acquire()
    next_one.acquire()
    slow.release()
    assert (here / "trials.journal.lock").is_symlink()
    next_one.release()
    assert not (here / "trials.journal.lock").is_symlink()


@pytest.mark.parametrize("half", [b'{"op_code":6,"worker', b"x" * 200_000])
def test_a_line_that_was_half_written_is_cut_off(here, half):
    path = here / "trials.journal"
    first = trials(path)
    whole = path.read_bytes()
    path.write_bytes(whole + half)
    assert [p.values for p in trials(path).points] == [p.values for p in first.points]
    assert path.read_bytes().startswith(whole)
    assert all(json.loads(line) for line in path.read_bytes().splitlines())
    assert trials(path, 9).trials == 9


def test_a_half_line_alone_is_a_journal_that_was_just_begun(here):
    path = here / "trials.journal"
    path.write_bytes(b'{"op_co')
    assert trials(path).trials == 5


@pytest.mark.parametrize(
    "line", [b'{"op_code":6,"worker', b'{"op_code":6}', b"[1]", b"7", b"\xff\xfe", b'{"op_code":99}']
)
def test_a_damaged_journal_is_one_sentence_that_names_it(here, line):
    path = here / "trials.journal"
    trials(path)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:7], line, *lines[7:]]) + b"\n")
    with pytest.raises(FileError, match=r"the journal .*trials\.journal of the search is damaged .*remove it") as error:
        trials(path)
    assert "\n" not in str(error.value)
    assert "line 8" in str(error.value) or "op_code" in line.decode("latin1")


@pytest.mark.parametrize("line", [b"not JSON", b'{"op_code":6}'])
def test_a_journal_that_is_damaged_during_the_search_stops_it(here, monkeypatch, line):
    path, score, scored = here / "trials.journal", Study._score, []

    def damaging(self, chosen):
        scored.append(chosen)
        if len(scored) == 4:
            with path.open("ab") as stream:
                stream.write(line + b"\n")
        return score(self, chosen)

    monkeypatch.setattr(Study, "_score", damaging)
    front = trials(path)
    assert isinstance(front.stopped, FileError)
    assert "trials.journal of the search is damaged (line" in str(front.stopped)
    assert front.points
