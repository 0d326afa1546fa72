"""The file that trials are kept in: an Optuna journal that outlives a process that was killed and a disk that was full.

The lock is a symbolic link ``<journal>.lock``, which file systems make in one step, network ones included, as Optuna's
own lock is, so that both keep each other out.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from edgepart.errors import FileError

#: a lock is held for one line; one that was held so long, by a process that is gone or stopped, is taken away
STALE_S = 30.0
#: the same for a link that leads nowhere: earlier versions left them if they were killed, and were waited for forever
DANGLING_S = 2.0
#: a wait is told from here on
_TOLD_AFTER_S = 3.0
#: between two looks at a lock
_FIRST_SLEEP_S, _LONGEST_SLEEP_S = 0.001, 0.25
#: what Optuna raises for a line that is JSON but nothing it has written
_NOT_A_LOG = (ValueError, KeyError, TypeError, AttributeError, IndexError, AssertionError)


def open_journal(path: Path, tell: Callable[[str], None]) -> JournalStorage:
    """The storage of a journal file, which is made if there is none; a line that was half written is cut off.

    Args:
        tell: told once if another process holds the journal for more than a few seconds

    Raises:
        FileError: it is damaged.
        OSError: it cannot be read or written.
    """
    absolute = Path(os.path.abspath(path))
    lock = _Lock(absolute, path, tell)
    lock.acquire()
    lock.release()
    with readable(path):
        return JournalStorage(_Journal(str(absolute), lock))


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """While nothing but Optuna reads a journal: what it raises for one that is damaged, as a sentence.

    Raises:
        FileError: it is damaged.
    """
    try:
        yield
    except _NOT_A_LOG as error:
        raise _damaged(path, f"{type(error).__name__} while reading it") from error


def _damaged(path: Path | str, how: str) -> FileError:
    return FileError(
        f"the journal {path} of the search is damaged ({how}): remove it to start anew, or name another one with "
        "--storage"
    )


class _Journal(JournalFileBackend):
    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        read = log_number_from
        try:
            for log in super().read_logs(log_number_from):
                read += 1
                if not (isinstance(log, dict) and {"op_code", "worker_id"} <= log.keys()):
                    raise _damaged(self._file_path, f"line {read} is no entry of it")
                yield log
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise _damaged(self._file_path, f"line {read + 1} is not JSON") from error


class _Lock(JournalFileSymlinkLock):
    """Of a journal; whoever gets it finds the journal ending in a whole line."""

    def __init__(self, journal: Path, shown: Path, tell: Callable[[str], None]) -> None:
        """``journal``: its absolute path; ``shown``: as it was given."""
        super().__init__(str(journal))
        self._journal, self._shown, self._tell = journal, shown, tell
        self._link = journal.with_name(journal.name + ".lock")
        self._held: tuple[int, int] | None = None
        self._told = False

    def acquire(self) -> bool:
        """Wait until it is free, or nobody can hold it any more."""
        seen, since, sleep_s = None, time.monotonic(), _FIRST_SLEEP_S
        start = since
        while True:
            try:
                # the bare name leads to the journal from wherever its folder is mounted
                self._link.symlink_to(self._journal.name)
            except FileExistsError:
                pass
            else:
                self._held = _identity(self._link)
                break
            now, found = time.monotonic(), _identity(self._link)
            if found != seen:
                seen, since = found, now
            elif found is not None and now - since > (STALE_S if self._link.exists() else DANGLING_S):
                _remove(self._link, found)
                continue
            if now - start > _TOLD_AFTER_S and not self._told:
                self._told = True
                self._tell(
                    f"waiting for {self._shown}, which another search holds (if none does, it goes on by itself "
                    f"within {STALE_S:.0f} s)"
                )
            time.sleep(sleep_s)
            sleep_s = min(2 * sleep_s, _LONGEST_SLEEP_S)
        try:
            _cut(self._journal)
        except BaseException:
            self.release()
            raise
        return True

    def release(self) -> None:
        """Let others in; a lock that others have taken away meanwhile is theirs."""
        if self._held is not None:
            _remove(self._link, self._held)
            self._held = None


def _identity(link: Path) -> tuple[int, int] | None:
    try:
        found = link.lstat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _remove(link: Path, identity: tuple[int, int]) -> None:
    if _identity(link) == identity:
        link.unlink(missing_ok=True)


def _cut(journal: Path) -> None:
    """Cut off what follows the last newline: a line that a full disk or a killed process has left half written."""
    with suppress(FileNotFoundError), journal.open("r+b") as stream:
        end = stream.seek(0, os.SEEK_END)
        whole = end
        while whole > 0:
            step = min(whole, 65_536)
            stream.seek(whole - step)
            newline = stream.read(step).rfind(b"\n")
            if newline >= 0:
                whole += newline + 1 - step
                break
            whole -= step
        if whole < end:
            stream.truncate(whole)
