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
#: threads inside :func:`silence`, and copies of the descriptors that the first of them has set aside
_inside = 0
_aside: dict[int, int] = {}


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Drop warnings, log messages and whatever is written to stdout and stderr while the block runs.

    The descriptors belong to the process: what other threads write meanwhile is dropped with it. Blocks may nest, and
    run in several threads at once; the last to leave puts everything back.
    """
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    _enter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        _leave()
        logging.disable(before)


def _enter() -> None:
    global _inside
    with _lock:
        _inside += 1
        if _inside > 1:
            return
        _flush()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (_STDOUT, _STDERR):
            with contextlib.suppress(OSError):  # closed, as in a daemon
                _aside[descriptor] = os.dup(descriptor)
                os.dup2(nowhere, descriptor)
        os.close(nowhere)


def _leave() -> None:
    global _inside
    with _lock:
        _inside -= 1
        if _inside:
            return
        _flush()
        while _aside:
            descriptor, copy = _aside.popitem()
            os.dup2(copy, descriptor)
            os.close(copy)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):  # None, closed or broken
            stream.flush()
