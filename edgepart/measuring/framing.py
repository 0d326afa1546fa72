"""Frames on a connection: a magic word, two lengths, a JSON header, and bytes. Nothing in a frame is executed."""

from __future__ import annotations

import json
import math
import re
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepart.errors import MeasurementError

#: first bytes of every frame: who else answers on a port does not begin so
MAGIC = b"EPM1"
_LENGTHS = struct.Struct("!IQ")
MOST_HEADER_BYTES = 1 << 20
MOST_PAYLOAD_BYTES = 1 << 32
_DISCARD_BYTES = 1 << 16

Header = Mapping[str, Any]
Arrays = Mapping[str, NDArray[np.generic]]


class Closed(MeasurementError):
    """The other side has ended the connection between two frames."""


@dataclass(frozen=True)
class Announced:
    """A frame whose payload has not been read yet."""

    header: dict[str, Any]
    payload_bytes: int


def connect(host: str, port: int, timeout_s: float) -> socket.socket:
    """Open a connection that sends small frames at once.

    Raises:
        MeasurementError: no such host, nobody listens there, or no answer in time.
    """
    try:
        connection = socket.create_connection((host, port), timeout=timeout_s)
    except socket.gaierror as error:
        raise MeasurementError(f"the host '{host}' is not known ({error.strerror}): check its name") from None
    except ConnectionRefusedError:
        raise MeasurementError(
            f"{host}:{port} refuses connections: start 'edgepart profile --serve-link {host}:{port}' there first"
        ) from None
    except TimeoutError:
        raise MeasurementError(
            f"{host}:{port} did not answer within {timeout_s:g} s: check the address, and that no firewall is between"
        ) from None
    except (OSError, OverflowError) as error:
        raise MeasurementError(f"{host}:{port} cannot be reached: {error}") from None
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def address(text: str, default_port: int | None = None) -> tuple[str, int]:
    """``host:port``, ``[v6]:port`` or, with a default, ``host``.

    Raises:
        MeasurementError: not of that form, or a port out of range.
    """
    found = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\[\]\s]+))(?::(\d{1,5}))?", text.strip())
    if not found or (found[3] is None and default_port is None) or int(found[3] or 0) > 65535:
        raise MeasurementError(f"'{text}' is not an address: expected HOST:PORT with a port up to 65535, as edge:7700")
    return found[1] or found[2], int(found[3]) if found[3] is not None else int(default_port or 0)


def send(connection: socket.socket, header: Header, payload: Sequence[memoryview | bytes] = ()) -> int:
    """Send a frame; returns its bytes, header and all.

    Raises:
        MeasurementError: the other side is gone or takes nothing any more.
    """
    text = json.dumps(header).encode()
    length = sum(memoryview(piece).nbytes for piece in payload)
    try:
        connection.sendall(MAGIC + _LENGTHS.pack(len(text), length) + text)
        for piece in payload:
            connection.sendall(piece)
    except OSError as error:
        raise _broken(connection, error) from None
    return len(MAGIC) + _LENGTHS.size + len(text) + length


def announced(connection: socket.socket, most_payload_bytes: int = MOST_PAYLOAD_BYTES) -> Announced:
    """Read the beginning of a frame; its payload comes next on the connection.

    Raises:
        Closed: no frame comes any more.
        MeasurementError: what comes is not a frame of edgepart, too large, or cut short.
    """
    magic = bytes(_read(connection, len(MAGIC), at_start=True))
    if magic != MAGIC:
        raise MeasurementError(f"{_peer(connection)} is no endpoint of edgepart: its answer begins with {magic!r}")
    header_bytes, payload_bytes = _LENGTHS.unpack(_read(connection, _LENGTHS.size))
    if header_bytes > MOST_HEADER_BYTES or payload_bytes > most_payload_bytes:
        raise MeasurementError(
            f"{_peer(connection)} announces a frame of {header_bytes + payload_bytes} bytes, at most "
            f"{most_payload_bytes} are taken: is it the same version of edgepart?"
        )
    text = _read(connection, header_bytes)
    try:
        header = json.loads(bytes(text))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise MeasurementError(f"{_peer(connection)} sends a frame whose header is not a JSON object")
    return Announced(header, payload_bytes)


def receive(
    connection: socket.socket, most_payload_bytes: int = MOST_PAYLOAD_BYTES
) -> tuple[dict[str, Any], bytearray]:
    """Read a whole frame; raises as :func:`announced`."""
    frame = announced(connection, most_payload_bytes)
    return frame.header, _read(connection, frame.payload_bytes)


def discard(connection: socket.socket, count: int) -> None:
    """Read so many bytes of a payload and forget them, in little memory; raises as :func:`announced`."""
    buffer = memoryview(bytearray(min(count, _DISCARD_BYTES)))
    while count:
        count -= _read_some(connection, buffer[: min(count, _DISCARD_BYTES)])


def packed(arrays: Arrays) -> tuple[list[dict[str, Any]], list[memoryview]]:
    """Arrays as what a header says of them and the bytes of each."""
    plain = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    described = [{"name": name, "dtype": a.dtype.str, "shape": list(a.shape)} for name, a in plain.items()]
    return described, [a.reshape(-1).view(np.uint8).data for a in plain.values()]


def unpacked(described: Sequence[Any], payload: bytearray) -> dict[str, NDArray[np.generic]]:
    """The arrays of :func:`packed`, on the payload itself.

    Raises:
        MeasurementError: the header does not describe the payload, or names a type that is no plain number.
    """
    found: dict[str, NDArray[np.generic]] = {}
    start = 0
    try:
        for entry in described:
            dtype, shape = np.dtype(entry["dtype"]), [int(size) for size in entry["shape"]]
            if dtype.kind not in "biufc" or min(shape, default=0) < 0:
                raise ValueError(f"{dtype} {shape}")
            count = math.prod(shape)
            found[str(entry["name"])] = np.frombuffer(payload, dtype, count, start).reshape(shape)
            start += count * dtype.itemsize
    except (KeyError, TypeError, ValueError) as error:
        raise MeasurementError(f"a frame describes an array that it does not hold: {error}") from None
    if start != len(payload):
        raise MeasurementError(f"a frame of {len(payload)} bytes describes arrays of {start}")
    return found


def _read(connection: socket.socket, count: int, at_start: bool = False) -> bytearray:
    buffer = bytearray(count)
    view, done = memoryview(buffer), 0
    while done < count:
        done += _read_some(connection, view[done:], at_start and done == 0)
    return buffer


def _read_some(connection: socket.socket, view: memoryview, at_start: bool = False) -> int:
    try:
        count = connection.recv_into(view)
    except OSError as error:
        raise _broken(connection, error) from None
    if not count:
        if at_start:
            raise Closed(f"{_peer(connection)} has closed the connection")
        raise MeasurementError(f"{_peer(connection)} closed the connection in the middle of a frame")
    return count


def _broken(connection: socket.socket, error: OSError) -> MeasurementError:
    if isinstance(error, TimeoutError):
        waited = connection.gettimeout()
        return MeasurementError(
            f"{_peer(connection)} keeps the connection open and says nothing for {waited:g} s: is it an endpoint of "
            "edgepart, and does it still run?"
        )
    return MeasurementError(f"the connection to {_peer(connection)} broke: {error.strerror or error}")


def _peer(connection: socket.socket) -> str:
    try:
        name = connection.getpeername()
    except OSError:
        return "the other side"
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else "the other side"
