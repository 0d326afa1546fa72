"""A link in user space: a relay for TCP that forwards bytes at the rate, delay and jitter of a link.

Each direction has a bottleneck that sends one byte after another at the link's rate, shared by all connections, and a
delay line behind it: a piece of n bytes that is read at t leaves the bottleneck at ``max(t, free) + 8 n / rate`` and
arrives ``delay`` later, never before the piece in front of it. These times are absolute, so what one sleep overshoots
the next makes good. Nothing is lost: TCP would only send it again. A queue that is full stops the relay from reading,
so that the sender feels it. Unlike a kernel's, this queue forwards to another TCP connection: acknowledgements do not
travel the delay, so a sender's window never limits it, and there is no slow start.
"""

from __future__ import annotations

import contextlib
import queue
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from edgepart.errors import MeasurementError
from edgepart.hardware import Link

#: of an Ethernet frame with TCP's time stamps
_SEGMENT_BYTES = 1448
#: pieces are at most what the link sends in this time, and at least a segment
_PIECE_S = 0.0005
_READ_BYTES = 1 << 16
_CONNECT_S = 10.0
#: pieces under way with the time of their arrival; None: the end of the stream
_Line = queue.SimpleQueue[tuple[float, memoryview | None]]


@dataclass(frozen=True)
class Shape:
    """What a relay makes of a connection. Up is from who connects to the relay to its target.

    Attributes:
        delay_s: one way; the round trip is twice that
        jitter_s: every piece is delayed by up to so much more or less, evenly, but overtakes none
        queue_bytes: that may wait at the bottleneck of a direction, and some megabytes in the system's buffers before
            it; None: as many as there are
    """

    up_bits_per_s: float
    down_bits_per_s: float
    delay_s: float = 0.0
    jitter_s: float = 0.0
    queue_bytes: int | None = None

    def __post_init__(self) -> None:
        if min(self.up_bits_per_s, self.down_bits_per_s) <= 0 or min(self.delay_s, self.jitter_s) < 0:
            raise MeasurementError("a link is shaped by rates above 0 and a delay and jitter of at least 0 s")
        if self.queue_bytes is not None and self.queue_bytes < 1:
            raise MeasurementError(f"a queue of {self.queue_bytes} bytes lets nothing through: give at least 1")

    @classmethod
    def of(cls, link: Link) -> Self:
        """The link's rates, and half of its round trip each way."""
        return cls(link.up_bits_per_s, link.down_bits_per_s, link.round_trip_s / 2)


class Bottleneck:
    """When the pieces of one direction leave its bottleneck and arrive. Knows no sockets and no clock."""

    def __init__(self, bits_per_s: float, shape: Shape, seed: int = 0) -> None:
        self._seconds_per_byte, self._shape = 8 / bits_per_s, shape
        self._random = random.Random(seed)
        self._free = 0.0
        self._lock = threading.Lock()
        self.piece_bytes = max(_SEGMENT_BYTES, int(_PIECE_S / self._seconds_per_byte))

    def full_s(self, now: float) -> float:
        """Seconds until the queue has room again; 0 where it has some."""
        if self._shape.queue_bytes is None:
            return 0.0
        with self._lock:
            return max(0.0, self._free - now - self._shape.queue_bytes * self._seconds_per_byte)

    def arrival(self, size_bytes: int, now: float, before: float) -> float:
        """When a piece that is read now arrives; ``before``: when the one in front of it on its connection does."""
        with self._lock:
            self._free = max(self._free, now) + size_bytes * self._seconds_per_byte
            jitter = self._random.uniform(-self._shape.jitter_s, self._shape.jitter_s)
            return max(before, self._free + max(0.0, self._shape.delay_s + jitter))


class Relay:
    """A listening port on loopback whose connections reach ``target`` through a shaped link; a context manager.

    Args:
        target: (host, port) to connect to for every connection taken
        host: to listen on

    Attributes:
        address: (host, port) to connect to instead of the target
    """

    def __init__(self, target: tuple[str, int], shape: Shape, host: str = "127.0.0.1") -> None:
        self.shape, self._target = shape, target
        self._up, self._down = Bottleneck(shape.up_bits_per_s, shape, 0), Bottleneck(shape.down_bits_per_s, shape, 1)
        self._listening = socket.create_server((host, 0))
        self.address: tuple[str, int] = self._listening.getsockname()[:2]
        self._sockets: list[socket.socket] = [self._listening]
        self._threads: list[threading.Thread] = []
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all connections and threads; a second time does nothing."""
        self._stopped.set()
        for each in self._sockets:
            # wakes whoever waits in it; closing alone would not
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()

    def _start(self, what: Callable[..., None], *given: object) -> None:
        thread = threading.Thread(target=what, args=given, name="edgepart-relay", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                lower, _ = self._listening.accept()
            except OSError:
                return
            self._sockets.append(lower)
            try:
                upper = socket.create_connection(self._target, timeout=_CONNECT_S)
            except OSError:
                lower.close()
                continue
            self._sockets.append(upper)
            upper.settimeout(None)
            for each in (lower, upper):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, target, bottleneck in ((lower, upper, self._up), (upper, lower, self._down)):
                line: _Line = queue.SimpleQueue()
                self._start(self._read, source, bottleneck, line)
                self._start(self._write, source, target, line)

    def _read(self, source: socket.socket, bottleneck: Bottleneck, line: _Line) -> None:
        """Read what comes, and put it on the delay line in pieces, each with the time of its arrival."""
        arrival = 0.0
        with contextlib.suppress(OSError):
            while chunk := source.recv(_READ_BYTES):
                now = time.monotonic()
                view = memoryview(chunk)
                for start in range(0, len(view), bottleneck.piece_bytes):
                    piece = view[start : start + bottleneck.piece_bytes]
                    arrival = bottleneck.arrival(len(piece), now, arrival)
                    line.put((arrival, piece))
                while (wait := bottleneck.full_s(time.monotonic())) > 0 and not self._stopped.wait(wait):
                    pass
        line.put((arrival, None))

    def _write(self, source: socket.socket, target: socket.socket, line: _Line) -> None:
        """Deliver every piece when it is due, and the end of the stream when it ends."""
        try:
            while not self._stopped.is_set():
                arrival, piece = line.get()
                wait = arrival - time.monotonic()
                if wait > 0 and self._stopped.wait(wait):
                    return
                if piece is None:
                    target.shutdown(socket.SHUT_WR)
                    return
                target.sendall(piece)
        except OSError:
            # nobody takes it any more: tell the sender
            with contextlib.suppress(OSError):
                source.shutdown(socket.SHUT_RDWR)
