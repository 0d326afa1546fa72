"""Running a kit on another machine through the system's own ssh and scp, which never ask anything (BatchMode)."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgepart.errors import ProfileError
from edgepart.profiling.kit import MEASUREMENTS, RUNNER

#: never ask for a password or whether a host key is right; a host that does not answer is given up
_OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
#: exit code of ssh itself, and of a shell that knows no such command
_SSH_FAILED, _NO_COMMAND = 255, (126, 127)
#: the other end's answer to "is the host key known"
_UNKNOWN_KEY = "Host key verification failed"


def require_host(host: str, python: str = "python3") -> None:
    """Check that a host can be reached without a question and has a Python: before a kit is written for it.

    Raises:
        ProfileError: as :func:`measure_on`.
    """
    if not re.fullmatch(r"[^-\s:][^\s:]*", host):
        raise ProfileError(f"'{host}' is no host: expected user@host or a name of ~/.ssh/config, which knows the port")
    for program in ("ssh", "scp"):
        if shutil.which(program) is None:
            raise ProfileError(f"'{program}' is not installed here: install OpenSSH's client, or copy the kit yourself")
    done = _ssh(host, shlex.join([python, "--version"]))
    if done.returncode in _NO_COMMAND:
        raise ProfileError(f"{host} has no '{python}': name the Python there with --remote-python")
    if done.returncode:
        raise ProfileError(f"'{python}' does not run on {host}: {_last_line(done)}")


def measure_on(
    host: str, kit: Path, output: Path, *, python: str = "python3", threads: int = 1, quick: bool = False
) -> None:
    """Copy a kit to a host, run it there and fetch what it measured; nothing is left there.

    Args:
        host: ``user@host``, or a name of ``~/.ssh/config``, where a port or key goes
        output: the file to write
        python: the Python there, which has NumPy and the kit's runtime

    Raises:
        ProfileError: no ssh here, the host cannot be reached without a question, or the kit lacks something there.
    """
    require_host(host, python)
    with _folder_on(host) as there:
        _copy(host, ["-r", str(kit)], f"{host}:{there}/kit")
        words = [python, f"{there}/kit/{RUNNER}", "--threads", str(threads), *(["--quick"] if quick else [])]
        done = _ssh(host, shlex.join(words))
        if done.returncode:
            raise ProfileError(f"the kit failed on {host}: {_last_line(done).removeprefix('run.py: ')}")
        _copy(host, [f"{host}:{there}/kit/{MEASUREMENTS}"], str(output))


@contextlib.contextmanager
def _folder_on(host: str) -> Iterator[str]:
    """A new folder on the host, removed at the end."""
    made = _ssh(host, "mktemp -d")
    there = made.stdout.strip()
    if made.returncode or not re.fullmatch(r"/[\w./-]+", there):
        raise ProfileError(f"{host} makes no temporary folder with 'mktemp -d': {_last_line(made)}")
    try:
        yield there
    finally:
        # what went wrong before must not be hidden by what goes wrong now
        with contextlib.suppress(ProfileError):
            _ssh(host, f"rm -rf {shlex.quote(there)}")


def _ssh(host: str, command: str) -> subprocess.CompletedProcess[str]:
    return _run(host, ["ssh", *_OPTIONS, "--", host, command])


def _copy(host: str, sources: Sequence[str], target: str) -> None:
    *options, source = sources
    done = _run(host, ["scp", "-q", *_OPTIONS, *options, "--", source, target])
    if done.returncode:
        raise ProfileError(f"copying between here and {host} failed: {_last_line(done)}")


def _run(host: str, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        words, capture_output=True, stdin=subprocess.DEVNULL, text=True, errors="replace", check=False
    )
    if done.returncode == _SSH_FAILED:
        if _UNKNOWN_KEY in done.stderr:
            raise ProfileError(f"the host key of {host} is not known here: connect once with 'ssh {host}' and check it")
        raise ProfileError(
            f"cannot reach {host} over SSH ({_last_line(done)}): expected that 'ssh {host} true' works without a "
            "question"
        )
    return done


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f"exit code {done.returncode}, no message"
