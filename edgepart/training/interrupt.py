"""Ctrl-C as a request to stop at the next safe place."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

#: asked after every step; True asks for the state to be saved and the work to end
Stop = Callable[[], bool]


@contextmanager
def stop_on_interrupt() -> Iterator[Stop]:
    """Yield a function that says whether Ctrl-C was pressed; pressed twice, it interrupts at once as usual."""
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread can handle signals, and only it gets KeyboardInterrupt.
        yield lambda: False
        return
    requested = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield requested.is_set
    finally:
        signal.signal(signal.SIGINT, previous)
