"""What is written past Python is dropped inside the block, and only there."""

import contextlib
import io
import logging
import os
import subprocess
import sys
import threading
import warnings

import pytest

from edgepart.silence import quiet, silence, silent_import


def shout(word):
    os.write(1, f"{word} on 1\n".encode())
    os.write(2, f"{word} on 2\n".encode())
    warnings.warn(word, stacklevel=1)
    logging.getLogger("edgepart.tests").error(word)


def test_inside_and_after(capfd, caplog):
    with silence():
        shout("inside")
        with silence():
            shout("nested")
        shout("still inside")
    os.write(1, b"after on 1\n")
    os.write(2, b"after on 2\n")
    logging.getLogger("edgepart.tests").error("after")
    assert capfd.readouterr() == ("after on 1\n", "after on 2\n")
    assert [record.message for record in caplog.records] == ["after"]


def test_what_c_keeps_in_its_buffer(tmp_path):
    """As a solver's printf, in a process whose stdout is a pipe."""
    script = """
import ctypes, os
from edgepart.silence import silence
libc = ctypes.CDLL(None)
libc.printf(b"before ")
with silence():
    libc.printf(b"inside ")
libc.printf(b"after")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "before after"


def test_streams_of_python_that_end_elsewhere():
    with contextlib.redirect_stderr(io.StringIO()) as elsewhere:
        with silence():
            sys.stderr.write("inside")
        sys.stderr.write("after")
    assert elsewhere.getvalue() == "after"


def test_quiet_leaves_what_is_written_past_python(capfd, caplog):
    with warnings.catch_warnings(record=True) as warned, quiet():
        shout("inside")
        sys.stderr.write("printed")
    assert capfd.readouterr() == ("inside on 1\n", "inside on 2\n")
    assert not warned
    logging.getLogger("edgepart.tests").error("after")
    assert [record.message for record in caplog.records] == ["after"]


def test_after_an_error(capfd):
    with pytest.raises(KeyError), silence():
        raise KeyError
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_threads_that_overlap(capfd):
    """The one that goes last puts things back, whichever came first; no descriptor is left open."""
    before = len(os.listdir("/proc/self/fd"))
    first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()

    def first():
        with silence():
            first_in.set()
            second_in.wait(10)
        first_out.set()

    thread = threading.Thread(target=first)
    thread.start()
    assert first_in.wait(10)
    with silence():
        second_in.set()
        assert first_out.wait(10)
        os.write(2, b"inside\n")
    thread.join()
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
    assert len(os.listdir("/proc/self/fd")) == before
    assert logging.root.manager.disable == logging.NOTSET
    with pytest.warns(UserWarning, match="after"):
        warnings.warn("after", stacklevel=1)


def test_a_package_that_the_users_code_imports(tmp_path, monkeypatch, capfd):
    """What it says is dropped, what the user's code says is not; the package is the same."""
    (tmp_path / "talkative.py").write_text("import os\nos.write(2, b'noise\\n')\nANSWER = 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = list(sys.meta_path)
    with silent_import("talkative"):
        os.write(2, b"user\n")
        import talkative
    assert talkative.ANSWER == 42
    assert sys.modules.pop("talkative") is talkative
    assert capfd.readouterr().err == "user\n"
    with silent_import("talkative"):
        pass  # nobody imports it
    assert sys.meta_path == before
