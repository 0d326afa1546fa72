"""The processes of a bundle's tiers: started together, joined by loopback or by shaped links, always ended."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from edgepart.errors import MeasurementError
from edgepart.files import write_arrays
from edgepart.measuring.framing import Arrays
from edgepart.measuring.relay import Relay, Shape
from edgepart.measuring.stand_in import StandIn
from edgepart.measuring.worker import Configuration
from edgepart.profiling.machine import KEEP_MEMORY

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
#: how long the others are given to end after one has
_LAST_WORDS_S = 2.0
#: what a process ends with that has told an error
_MISTAKE = 2


@dataclasses.dataclass(frozen=True)
class TierProcess:
    """What to start for a tier.

    Attributes:
        folder: of its part; None: it holds no layers
        cores: to pin it to; None: all
        shape: of the link to the next tier; None: loopback as it is
        stand_in: of a part, instead of one
    """

    tier: str
    folder: Path | None
    cores: tuple[int, ...] | None = None
    shape: Shape | None = None
    stand_in: StandIn | None = None


class Processes:
    """One process for each tier, in order from the first; a context manager that ends them whatever happens.

    Args:
        samples: batches of one of the network's inputs, which orders name by their number
        timeout_s: most that a sample may take in all tiers together, start-up included

    Raises:
        MeasurementError: a process ends before it is ready; names the tier and says why.
    """

    def __init__(
        self, tiers: Sequence[TierProcess], samples: Sequence[Arrays], *, split: bool, threads: int, timeout_s: float
    ) -> None:
        self._tiers, self._samples, self._split = tiers, samples, split
        self._threads, self._timeout_s = threads, timeout_s
        self._stack = contextlib.ExitStack()
        self._running: dict[str, _Running] = {}

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def ids(self) -> tuple[int, ...]:
        """Of the processes."""
        return tuple(each.process.pid for each in self._running.values())

    def run(self, sample: int, order: Mapping[str, Any]) -> dict[str, Any]:
        """Send a sample through the tiers (:meth:`edgepart.measuring.worker.Node.work`); what its process tells.

        Raises:
            MeasurementError: a process ended meanwhile; names the tier and says why.
        """
        first = self._running[self._tiers[0].tier]
        self._say(first, {"sample": sample, **order})
        return self._hear(first, "done")

    def _start(self, stack: contextlib.ExitStack) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgepart-measure-")))
        samples = folder / "samples.safetensors"
        named = {
            f"{number}/{name}": array for number, sample in enumerate(self._samples) for name, array in sample.items()
        }
        write_arrays(samples, named, {})
        token = secrets.token_hex(16)
        for number, tier in enumerate(self._tiers):
            running = stack.enter_context(_Running(tier.tier, folder / f"{number}.txt", self._threads))
            self._running[tier.tier] = running
            configuration = Configuration(
                tier=tier.tier,
                folder=None if tier.folder is None else str(tier.folder.absolute()),
                split=self._split,
                first=number == 0,
                samples=str(samples),
                threads=self._threads,
                cores=None if tier.cores is None else list(tier.cores),
                token=token,
                timeout_s=self._timeout_s,
                stand_in=None if tier.stand_in is None else dataclasses.asdict(tier.stand_in),
            )
            self._say(running, dataclasses.asdict(configuration))
        above: tuple[str, int] | None = None
        for number in reversed(range(len(self._tiers))):
            running, shape = self._running[self._tiers[number].tier], self._tiers[number].shape
            if above is not None and shape is not None:
                above = stack.enter_context(Relay(above, shape)).address
            self._say(running, above)
            if number:
                above = ("127.0.0.1", self._hear(running, "listening")["port"])
        for running in self._running.values():
            self._hear(running, "ready")

    def _say(self, running: _Running, what: object) -> None:
        try:
            running.orders.write(json.dumps(what) + "\n")
            running.orders.flush()
        except OSError:
            raise self._why(running, None) from None

    def _hear(self, running: _Running, awaited: str) -> dict[str, Any]:
        line = running.events.readline()
        event: dict[str, Any] = json.loads(line) if line else {"event": "error", "message": None}
        if event["event"] == "error":
            raise self._why(running, event["message"])
        if event["event"] != awaited:
            raise MeasurementError(f"the process of '{running.tier}' says {event['event']} instead of {awaited}")
        return event

    def _why(self, running: _Running, message: str | None) -> MeasurementError:
        """One sentence about what went wrong where it began; the tiers below only see their connection break."""
        ends = time.monotonic() + _LAST_WORDS_S
        everyone = list(self._running.values())
        while time.monotonic() < ends and any(each.process.poll() is None for each in everyone):
            time.sleep(0.01)
        for each in reversed(everyone):
            if each.process.poll() not in (None, 0, _MISTAKE):
                return MeasurementError(each.why())
        for each in reversed(everyone):
            told = message if each is running else each.last_words()
            if told is not None:
                return MeasurementError(f"the part of '{each.tier}' cannot be run: {told}")
        return MeasurementError(running.why())


class _Running:
    """One process with its pipes; killed at the end of the ``with`` block."""

    def __init__(self, tier: str, complaints: Path, threads: int) -> None:
        self.tier, self._complaints = tier, complaints
        environment = os.environ | KEEP_MEMORY | {variable: str(threads) for variable in THREAD_VARIABLES}
        # -P: no file of the current folder is taken for a module
        command = [sys.executable, "-P", "-m", "edgepart.measuring.worker"]
        with complaints.open("w", encoding="utf-8") as errors:
            # a session of its own: Ctrl-C at the terminal reaches the parent, which ends the others
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
                start_new_session=True,
            )  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.orders: IO[str] = self.process.stdin
        self.events: IO[str] = self.process.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        with contextlib.suppress(OSError):
            self.orders.close()
        self.events.close()
        self.process.wait()

    def last_words(self) -> str | None:
        """The error that a process told before it ended, if it did."""
        if self.process.poll() is None:
            return None
        events = [json.loads(line) for line in self.events]
        return next((event["message"] for event in events if event["event"] == "error"), None)

    def why(self) -> str:
        """One sentence about how the process ended."""
        code = self.process.poll()
        if code is None:
            return f"the process of '{self.tier}' runs but says nothing more"
        return ending(f"the process of '{self.tier}'", code, self._complaints)


def ending(who: str, code: int, complaints: Path) -> str:
    """One sentence about a process that ended with ``code`` before it should have; ``complaints``: its stderr."""
    if code == -signal.SIGKILL:
        return f"{who} was killed, probably because memory ran out: free some, or measure on a larger machine"
    if code < 0:
        return f"{who} crashed ({signal.Signals(-code).name}); is its runtime sound?"
    lines = [
        line.strip() for line in complaints.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
    ]
    return f"{who} failed: {lines[-1] if lines else f'exit code {code}, no message'}"
