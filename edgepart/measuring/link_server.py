"""The side of a link measurement that waits: it echoes, takes bytes and forgets them, sends what is asked."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Self

from edgepart.errors import MeasurementError
from edgepart.measuring import framing

DEFAULT_PORT = 7740
#: what one transfer may hold; more would not measure better
MOST_TRANSFER_BYTES = 1 << 26
#: clients served at once; another one is told to come back, since it would falsify their measurement
_MOST_CLIENTS = 1
_IDLE_S = 10.0
_SESSION_S = 120.0
_CHUNK = bytes(1 << 16)


class LinkServer:
    """Listens for clients of :func:`edgepart.measuring.measure_link`; a context manager.

    Whoever can reach it can have it send and take bytes at the speed of the link, for two minutes a connection, one
    client at a time; it holds nothing else. It listens on loopback unless it is told otherwise.

    Attributes:
        address: (host, port) it listens on

    Raises:
        MeasurementError: the port is in use, or the address is not this machine's.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = DEFAULT_PORT) -> None:
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._listening = socket.create_server((host, port), family=family)
        except OSError as error:
            raise MeasurementError(
                f"cannot listen on {host}:{port}: {error.strerror or error}; give an address of this machine and a "
                "port that is free, or port 0 for any"
            ) from None
        self.address: tuple[str, int] = self._listening.getsockname()[:2]
        self._clients: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._start(self.serve_forever)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def serve_forever(self) -> None:
        """Serve until :meth:`close` is called, or the process is interrupted."""
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            with self._lock:
                busy = len(self._clients) >= _MOST_CLIENTS
                if not busy:
                    self._clients.add(client)
                self._threads = [thread for thread in self._threads if thread.is_alive()]
            self._start(_turn_away if busy else self._serve, client)

    def close(self) -> None:
        """End all connections; a second time does nothing."""
        with self._lock:
            for each in (self._listening, *self._clients):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join()
        self._listening.close()

    def _start(self, what: object, *given: object) -> None:
        thread = threading.Thread(target=what, args=given, name="edgepart-link", daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _serve(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.settimeout(_IDLE_S)
        ends = time.monotonic() + _SESSION_S
        try:
            # a client that breaks off, stalls or talks nonsense only loses its connection
            with contextlib.suppress(MeasurementError, OSError):
                while time.monotonic() < ends:
                    _answer(client)
        finally:
            with self._lock:
                self._clients.discard(client)
            client.close()


def _answer(client: socket.socket) -> None:
    """Serve one request."""
    frame = framing.announced(client, MOST_TRANSFER_BYTES)
    framing.discard(client, frame.payload_bytes)
    wanted = frame.header.get("send_bytes", 0)
    if not isinstance(wanted, int) or not 0 <= wanted <= MOST_TRANSFER_BYTES:
        framing.send(client, {"edgepart": "link", "error": f"at most {MOST_TRANSFER_BYTES} bytes can be asked for"})
        return
    whole, rest = divmod(wanted, len(_CHUNK))
    framing.send(client, {"edgepart": "link"}, [_CHUNK] * whole + [_CHUNK[:rest]])


def _turn_away(client: socket.socket) -> None:
    with contextlib.suppress(MeasurementError, OSError):
        client.settimeout(_IDLE_S)
        framing.send(client, {"edgepart": "link", "error": "it measures with another client: try again in a minute"})
        client.shutdown(socket.SHUT_WR)
        # closing with bytes unread would reset the connection before the client has read why
        while client.recv(1 << 12):
            pass
    client.close()
