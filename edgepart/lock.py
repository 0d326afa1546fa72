"""One process at a time: a lock that goes with its process, however that ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgepart.errors import FileError


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Hold the lock file, which is there only as long as it is held; whether no other process holds it.

    Where the system or the file system has no such locks (Windows, some network ones) everybody gets it.

    Raises:
        FileError: the file cannot be made.
    """
    handle = _opened(path)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            with suppress(OSError):
                path.unlink()
            os.close(handle)


def _opened(path: Path) -> int | None:
    """The lock file, locked; None if another process has it."""
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise FileError(f"cannot write {path}: {error.strerror or error}") from error
        try:
            _lock(handle)
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError:  # no locks here
            return handle
        # whoever held it before may have removed the file between the two steps
        if os.fstat(handle).st_nlink:
            return handle
        os.close(handle)


def _lock(handle: int) -> None:
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
