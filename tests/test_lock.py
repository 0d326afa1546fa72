"""A lock: one at a time, gone with its process."""

import subprocess
import sys

import pytest

from edgepart.errors import FileError
from edgepart.lock import alone

HOLD = """
import sys, time
from pathlib import Path
from edgepart.lock import alone
with alone(Path(sys.argv[1])) as is_alone:
    print(is_alone, flush=True)
    time.sleep(60)
"""


def test_only_one_holds_it_and_no_file_stays(tmp_path):
    path = tmp_path / "lock"
    with alone(path) as first, alone(path) as second:
        assert (first, second) == (True, False)
    assert not path.exists()
    with alone(path) as again:
        assert again


def test_who_does_not_get_it_leaves_it_to_the_other(tmp_path):
    path = tmp_path / "lock"
    with alone(path):
        with alone(path) as second:
            assert not second
        with alone(path) as third:
            assert not third


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks there")
def test_a_process_that_is_killed_lets_go(tmp_path):
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        with alone(path) as second:
            assert not second
        holder.kill()
    with alone(path) as is_alone:
        assert is_alone


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(FileError, match=r"cannot write .*lock"), alone(tmp_path / "missing" / "lock"):
        pass
