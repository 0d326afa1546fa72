"""The side of a link measurement that asks: round trip, jitter, and the rates both ways, within a few seconds."""

from __future__ import annotations

import datetime
import socket
import time
from collections.abc import Callable

from edgepart.errors import MeasurementError
from edgepart.files import Record
from edgepart.hardware import Link
from edgepart.measuring import framing
from edgepart.measuring.link_fit import Estimate, Transfer, bits_per_s, jitter_s, sending_s
from edgepart.measuring.link_server import MOST_TRANSFER_BYTES
from edgepart.progress import progress
from edgepart.units import seconds, significant

#: transfers of one round, as shares of the largest
_SHARES = (0.25, 0.5, 0.75, 1.0)
#: a round of transfers may take that share of the time there is for one direction
_ROUND_SHARE = 0.15
_FIRST_BYTES = 1 << 14
#: a first transfer on a slow link is made smaller by so much at most
_LEAST_SHARE = 1 / 16
_GROWTH = 4
_MOST_PINGS = 200
_LEAST_PINGS = 5
_LEAST_ROUNDS = 2


class LinkMeasurement(Record):
    """What a link was measured to be, from the client's side: up is from the client to the server."""

    host: str
    port: int
    date: str
    took_s: float
    round_trip_s: Estimate
    #: mean change of the delay of one way from one frame to the next
    jitter_s: float
    up_bits_per_s: Estimate
    down_bits_per_s: Estimate
    #: largest transfers that the rates rest on
    up_bytes: int
    down_bytes: int

    def link(self, name: str) -> Link:
        """As a link of the catalogue."""
        up, down, trip = self.up_bits_per_s, self.down_bits_per_s, self.round_trip_s
        return Link(
            name=name,
            title=f"measured to {self.host}",
            up_bits_per_s=float(f"{up.median:.5g}"),
            down_bits_per_s=float(f"{down.median:.5g}"),
            round_trip_s=float(f"{trip.median:.4g}"),
            basis="measured",
            source=f"edgepart profile --link {self.host}:{self.port}, {self.date[:10]}; this machine was the lower "
            f"tier, {self.host} the upper one",
            note=f"medians; quartiles: up {_rates(up)} of {up.runs} rounds with up to {self.up_bytes} bytes, down "
            f"{_rates(down)} of {down.runs} rounds with up to {self.down_bytes} bytes, round trip "
            f"{seconds(trip.lower)} to {seconds(trip.upper)} of {trip.runs}; jitter {seconds(self.jitter_s)}; TCP's "
            "slow start is left out",
        )


def measure_link(host: str, port: int, *, budget_s: float = 5.0, timeout_s: float = 5.0) -> LinkMeasurement:
    """Measure the link to a machine on which ``edgepart profile --serve-link`` runs.

    One TCP connection, kept busy. A round trip is a frame of a few bytes, there and back. A rate is fitted to transfers
    of several sizes (:func:`edgepart.measuring.link_fit.bits_per_s`), each timed from its first byte to the word that
    the last one is there; transfers that grow come first and are not counted, so that TCP's slow start is over: the
    rate is the one that a connection in use has. The first transfer after a pause may be slower.

    Args:
        budget_s: about how long it takes; a link on which a few small transfers take longer takes longer
        timeout_s: how long to wait for a connection, and for each answer beyond what the budget allows

    Raises:
        MeasurementError: nobody answers, it is no endpoint of edgepart, it serves another client, or it breaks off.
    """
    if budget_s <= 0 or timeout_s <= 0:
        raise MeasurementError(f"a link cannot be measured in {min(budget_s, timeout_s):g} s: give some seconds")
    start = time.monotonic()
    with framing.connect(host, port, timeout_s) as connection, progress(f"measuring {host}:{port}", 100) as advance:
        link = _Session(connection, timeout_s, budget_s)
        trips = link.round_trips(budget_s * 0.2)
        advance(20)
        up, up_bytes = link.rate("up", budget_s * 0.4)
        advance(40)
        down, down_bytes = link.rate("down", budget_s * 0.4)
        advance(40)
    return LinkMeasurement(
        host=host,
        port=port,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        took_s=time.monotonic() - start,
        round_trip_s=Estimate.of(trips),
        jitter_s=jitter_s(trips),
        up_bits_per_s=up,
        down_bits_per_s=down,
        up_bytes=up_bytes,
        down_bytes=down_bytes,
    )


class _Session:
    """A connection to a :class:`LinkServer`."""

    def __init__(self, connection: socket.socket, timeout_s: float, budget_s: float) -> None:
        self._connection = connection
        # the first answer shows who is there; later ones may have to wait for a slow transfer
        connection.settimeout(timeout_s)
        self._exchange(0, 0)
        connection.settimeout(timeout_s + budget_s)
        self._zeros = memoryview(bytes(MOST_TRANSFER_BYTES))

    def round_trips(self, budget_s: float) -> list[float]:
        ends = time.monotonic() + budget_s
        found: list[float] = []
        while len(found) < _LEAST_PINGS or (len(found) < _MOST_PINGS and time.monotonic() < ends):
            found.append(self._exchange(0, 0))
        return found

    def rate(self, direction: str, budget_s: float) -> tuple[Estimate, int]:
        """The rate of one direction and the largest transfer it rests on."""
        transfer: Callable[[int], float] = self._up if direction == "up" else self._down
        ends = time.monotonic() + budget_s
        size, trip = _FIRST_BYTES, transfer(0)
        # what the bytes take has to stand out against the round trip
        wanted = max(budget_s * _ROUND_SHARE / sum(_SHARES), trip)
        enough = wanted / _GROWTH

        def beyond_trip(size: int) -> float:
            return sending_s(lambda: transfer(size) - trip, enough)

        while (sending := beyond_trip(size)) < enough and size * _GROWTH <= MOST_TRANSFER_BYTES:
            size *= _GROWTH
        if sending > 0:
            size = int(min(MOST_TRANSFER_BYTES, size * max(_LEAST_SHARE, wanted / sending)))
        sizes = [int(size * share) for share in _SHARES]
        rounds: list[list[Transfer]] = []
        while len(rounds) < _LEAST_ROUNDS or time.monotonic() < ends:
            rounds.append([(each, transfer(each)) for each in sizes])
        found = bits_per_s(rounds)
        if found is None:
            raise MeasurementError(
                f"the rate {direction} cannot be told: {len(rounds) * len(sizes)} transfers of {sizes[0]} to "
                f"{sizes[-1]} bytes took no longer the larger they were; measure again for longer"
            )
        return found, sizes[-1]

    def _up(self, size: int) -> float:
        return self._exchange(size, 0)

    def _down(self, size: int) -> float:
        return self._exchange(0, size)

    def _exchange(self, up_bytes: int, down_bytes: int) -> float:
        """Seconds from the request's first byte to the answer's last."""
        start = time.perf_counter()
        payload = [self._zeros[:up_bytes]] if up_bytes else []
        framing.send(self._connection, {"edgepart": "link", "send_bytes": down_bytes}, payload)
        answer = framing.announced(self._connection, MOST_TRANSFER_BYTES)
        if answer.header.get("edgepart") != "link":
            raise MeasurementError("the other side is an endpoint of edgepart, but not 'edgepart profile --serve-link'")
        if "error" in answer.header:
            raise MeasurementError(f"the endpoint refuses to measure: {str(answer.header['error'])[:200]}")
        if answer.payload_bytes != down_bytes:
            raise MeasurementError(
                f"the endpoint sends {answer.payload_bytes} bytes, asked for were {down_bytes}: is it the same version "
                "of edgepart?"
            )
        framing.discard(self._connection, answer.payload_bytes)
        return time.perf_counter() - start


def _rates(estimate: Estimate) -> str:
    return f"{significant(estimate.lower / 1e6)} to {significant(estimate.upper / 1e6)} Mbit/s"
