"""The process of one tier, ``python -m edgepart.measuring.worker``: runs the tier's part on what reaches it.

The first line on stdin is the configuration (:class:`Configuration` as JSON). The process answers on stdout, one JSON
object a line: ``listening`` with its port, ``ready`` once its part is open, and for the first tier ``done`` for every
order that comes on stdin; ``error`` with a message before it ends for a mistake of the user's. Tensors travel on the
connection from the tier below and the one to the tier above, answers come back the same way. It ends when stdin or the
connection from below does.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from edgepart.bundle.part import BundlePart, open_part
from edgepart.errors import EdgepartError, MeasurementError
from edgepart.files import read_arrays
from edgepart.measuring import framing
from edgepart.measuring.stand_in import IdlePart, StandIn

Values = dict[str, NDArray[np.generic]]
AnyPart = BundlePart | IdlePart
#: most seconds that a part is run over and over
_AGAIN_S = 10.0
Tell = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Configuration:
    """What a tier's process is told first.

    Attributes:
        folder: of its part; None: it holds no layers and passes everything on
        stand_in: fields of a :class:`StandIn` in the place of a part
        split: its part continues from the one before; otherwise it starts from the raw input
        first: it takes orders on stdin and samples from the file ``samples``; others listen
        cores: to run on; None: all
        token: that a connection from below has to show
        timeout_s: of a sample in all the tiers above
    """

    tier: str
    folder: str | None
    split: bool
    first: bool
    samples: str
    threads: int
    cores: list[int] | None
    token: str
    timeout_s: float
    stand_in: dict[str, Any] | None = None


@dataclass(frozen=True)
class Answer:
    """Logits, and what each tier and hop took on the way to them.

    Attributes:
        exit: at which the sample left
        work: (tier, seconds, whether all stages ran) of the tiers that ran something
        hops: (seconds, bytes sent) of each hop crossed, the first one first
    """

    exit: str
    logits: NDArray[np.generic]
    work: list[tuple[str, float, bool]]
    hops: list[tuple[float, int]]


class Node:
    """A tier: its part and the connection to the tier above."""

    def __init__(self, configuration: Configuration, part: AnyPart | None) -> None:
        self._own, self._part = configuration, part
        self.upper: socket.socket | None = None

    def work(self, arrays: Values, order: dict[str, Any]) -> Answer:
        """Run the part where the order says so, and ask the tiers above where it has not answered.

        ``order``: ``run``, the tiers whose parts run; ``answer``, the tier that answers at the latest; ``thresholds``,
        exit → the confidence at which a sample leaves there, or None; ``again``, how often more each part runs on the
        sample at once.
        """
        work: list[tuple[str, float, bool]] = []
        if self._part is not None and self._own.tier in order["run"]:
            start = time.perf_counter()
            exit_name, logits, going_on, whole = self._run(self._part, arrays, order)
            work.append((self._own.tier, time.perf_counter() - start, whole))
            work += self._again(self._part, arrays, order)
            if exit_name is not None:
                return Answer(exit_name, logits, work, [])
            if self._own.split:
                arrays = going_on
        above = self._ask(arrays, order)
        return Answer(above.exit, above.logits, [*work, *above.work], above.hops)

    def _again(self, part: AnyPart, arrays: Values, order: dict[str, Any]) -> list[tuple[str, float, bool]]:
        """Run the part over and over on one sample, for so many times or seconds."""
        work: list[tuple[str, float, bool]] = []
        ends = time.perf_counter() + _AGAIN_S
        while len(work) < order.get("again", 0) and time.perf_counter() < ends:
            start = time.perf_counter()
            self._run(part, arrays, order)
            work.append((self._own.tier, time.perf_counter() - start, True))
        return work

    def _run(
        self, part: AnyPart, arrays: Values, order: dict[str, Any]
    ) -> tuple[str | None, NDArray[np.generic], Values, bool]:
        """(exit or None, its logits, what goes on, whether every stage ran)."""
        stages, thresholds, asked = part.stages(arrays), order["thresholds"] or {}, 0
        last: str | None = None
        logits: NDArray[np.generic] = np.empty(0)
        try:
            while True:
                last, logits = next(stages)
                asked += 1
                if last in thresholds and _confidence(logits) >= thresholds[last]:
                    return last, logits, {}, asked == part.stage_count
        except StopIteration as end:
            going_on: Values = end.value
        return (last if order["answer"] == self._own.tier else None), logits, going_on, True

    def _ask(self, arrays: Values, order: dict[str, Any]) -> Answer:
        if self.upper is None:
            raise MeasurementError(f"'{self._own.tier}' has no tier above it to answer")
        start = time.perf_counter()
        described, payload = framing.packed(arrays)
        sent = framing.send(self.upper, {"order": order, "arrays": described}, payload)
        header, answer = framing.receive(self.upper)
        work, hops = [tuple(each) for each in header["work"]], [tuple(each) for each in header["hops"]]
        # what neither a part above nor a hop above has taken is this hop's
        taken = time.perf_counter() - start - sum(each[1] for each in work) - sum(each[0] for each in hops)
        logits = framing.unpacked(header["arrays"], answer)["logits"]
        return Answer(
            exit=header["exit"],
            logits=logits,
            work=work,
            hops=[(taken, sent), *hops],
        )


def main(orders: TextIO, tell: Tell) -> None:
    """Run the tier that the first line of ``orders`` describes; ``tell`` sends an event to the parent."""
    own = Configuration(**json.loads(orders.readline()))
    if own.cores is not None:
        os.sched_setaffinity(0, own.cores)
    listening = None
    if not own.first:
        listening = socket.create_server(("127.0.0.1", 0))
        listening.settimeout(own.timeout_s)
        tell({"event": "listening", "port": listening.getsockname()[1]})
    part = open_part(own.folder) if own.folder is not None else None
    if part is not None:
        part.set_threads(own.threads)
    node = Node(own, IdlePart(StandIn(**own.stand_in)) if own.stand_in else part)
    above = json.loads(orders.readline())
    if above is not None:
        node.upper = framing.connect(above[0], above[1], own.timeout_s)
        framing.send(node.upper, {"token": own.token})
    lower = _accept(listening, own.token) if listening is not None else None
    # what the runtime has made so far stays; looking through it at every collection takes longer than measuring
    gc.collect()
    gc.freeze()
    tell({"event": "ready"})
    if lower is None:
        _take_orders(node, orders, own, tell)
    else:
        _serve(node, lower)


def _take_orders(node: Node, orders: Iterator[str], own: Configuration, tell: Tell) -> None:
    stored: dict[int, Values] = {}
    for name, array in read_arrays(own.samples).items():
        number, _, tensor = name.partition("/")
        stored.setdefault(int(number), {})[tensor] = array
    for line in orders:
        order = json.loads(line)
        arrays = stored[order.pop("sample")]
        start = time.perf_counter()
        answer = node.work(arrays, order)
        taken = time.perf_counter() - start
        tell(
            {
                "event": "done",
                "latency_s": taken,
                "exit": answer.exit,
                "class": int(np.argmax(answer.logits)),
                "work": answer.work,
                "hops": answer.hops,
            }
        )


def _accept(listening: socket.socket, token: str) -> socket.socket:
    """The connection from the tier below; others that try are turned away."""
    while True:
        connection, _ = listening.accept()
        connection.settimeout(listening.gettimeout())
        try:
            hello, _ = framing.receive(connection, most_payload_bytes=0)
        except MeasurementError:
            hello = {}
        if hello.get("token") == token:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # from now on the parent decides how long to wait
            connection.settimeout(None)
            listening.close()
            return connection
        connection.close()


def _serve(node: Node, lower: socket.socket) -> None:
    while True:
        try:
            header, payload = framing.receive(lower)
        except framing.Closed:
            return
        answer = node.work(framing.unpacked(header["arrays"], payload), header["order"])
        described, logits = framing.packed({"logits": answer.logits})
        reply = {"exit": answer.exit, "work": answer.work, "hops": answer.hops, "arrays": described}
        framing.send(lower, reply, logits)


def _confidence(logits: NDArray[np.generic]) -> float:
    """Largest probability of the one sample's classes."""
    row = np.asarray(logits[0], dtype=np.float64)
    return float(1 / np.exp(row - row.max()).sum())


if __name__ == "__main__":
    # What a framework prints must not mix with the events: it goes to stderr.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]

    def send(event: dict[str, Any]) -> None:
        """Write one event."""
        print(json.dumps(event), file=channel, flush=True)

    try:
        main(sys.stdin, send)
    except EdgepartError as error:
        send({"event": "error", "message": str(error)})
        sys.exit(2)
