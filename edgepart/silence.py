"""Frameworks and solvers log, warn and print about what is raised or does not matter: nothing of it reaches the user.

``quiet`` is for what only speaks through Python, ``silence`` also for C++ that writes to the terminal past it.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import io
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_STDOUT, _STDERR = 1, 2
_lock = threading.Lock()
#: threads inside :func:`silence`; what the first of them has set aside, for the last to put back
_inside = 0
_aside = contextlib.ExitStack()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings, log messages and what Python prints on stderr while the block runs."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Drop warnings, log messages and what is written to stdout and stderr, by Python or past it, in the block.

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


class _SilentImport(MetaPathFinder):
    """Finds one package as Python does, to be executed in silence."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._package:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_silently(module: ModuleType) -> None:
                with silence():
                    execute(module)

            setattr(spec.loader, "exec_module", execute_silently)  # noqa: B010
        return spec


@contextlib.contextmanager
def silent_import(package: str) -> Iterator[None]:
    """Keep quiet what a package writes when code in the block imports it; everything else is heard."""
    finder = _SilentImport(package)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)


def _set_aside(stack: contextlib.ExitStack) -> None:
    stack.callback(logging.disable, logging.root.manager.disable)
    logging.disable(logging.CRITICAL)
    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")
    _flush()
    # C++ may write to Python's streams, which need not end at the descriptors
    dropped = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    stack.enter_context(contextlib.redirect_stdout(dropped))
    stack.enter_context(contextlib.redirect_stderr(dropped))
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
    # what C has written to a pipe waits in a buffer of its own
    with contextlib.suppress(AttributeError, OSError, TypeError):  # not on every system
        ctypes.CDLL(None).fflush(None)
