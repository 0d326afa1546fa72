"""Frameworks whose C++ writes to the terminal past Python: nothing of it reaches the user."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator

_STDOUT, _STDERR = 1, 2
_lock = threading.Lock()
#: threads inside :func:`silence`; what the first of them has set aside, for the last to put back
_inside = 0
_aside = contextlib.ExitStack()


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Drop warnings, log messages and what is written to the descriptors of stdout and stderr while the block runs.

    They belong to the process: what other threads write meanwhile is dropped with it. Blocks may nest, and run in
    several threads at once; the last to leave puts everything back.
    """
    global _inside
    with _lock:
        if _inside == 0:
            _set_aside(_aside)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _aside.close()


def _set_aside(stack: contextlib.ExitStack) -> None:
    stack.callback(logging.disable, logging.root.manager.disable)
    logging.disable(logging.CRITICAL)
    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")
    _flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (_STDOUT, _STDERR):
        with contextlib.suppress(OSError):  # closed, as in a daemon
            copy = os.dup(descriptor)
            stack.callback(_put_back, descriptor, copy)
            os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _put_back(descriptor: int, copy: int) -> None:
    _flush()
    os.dup2(copy, descriptor)
    os.close(copy)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):  # None, closed or broken
            stream.flush()
