"""Facts about this machine, and what else it does while something is measured."""

from __future__ import annotations

import platform
import sys
import threading
import time
from pathlib import Path

import psutil

from edgepart.hardware import THIS, Device, Load

_SAMPLE_S = 0.25

#: What a process whose inferences are timed is started with: glibc keeps memory that is freed (blocks of 32 MiB are the
#: most that it can keep). Otherwise chance, the order of what lies in memory, decides whether every inference asks the
#: kernel for its activations anew: parts of a ResNet-18 then take up to 20 % of the network's time more.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**30)}


def this_device(macs_per_s: float, **facts: str | int | float) -> Device:
    """The machine that runs this, at the effective rate measured on it."""
    frequency = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    known: dict[str, str | int | float] = {
        "processor": processor(),
        "logical_cores": psutil.cpu_count() or 1,
        "operating_system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    if frequency and (frequency.max or frequency.current):
        known["frequency_mhz"] = round(frequency.max or frequency.current)
    return Device(
        name=THIS,
        title=f"this machine ({processor()})",
        tier="edge",
        memory_bytes=psutil.virtual_memory().total,
        macs_per_s=macs_per_s,
        cores=psutil.cpu_count(logical=False) or psutil.cpu_count() or 1,
        basis="measured",
        source="edgepart profile",
        facts=known | facts,
    )


def processor() -> str:
    """The processor's name, as well as this system tells it."""
    listing = Path("/proc/cpuinfo")
    if sys.platform == "linux" and listing.is_file():
        pairs = (line.partition(":") for line in listing.read_text(errors="replace").splitlines())
        names = [value.strip() for key, _, value in pairs if key.strip() in ("model name", "Model")]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


class LoadSampler:
    """Samples in the background how many cores all processes but those named keep busy, from now to ``stop``."""

    def __init__(self, *measured: int) -> None:
        self._processes = [psutil.Process(each) for each in measured]
        self._samples: list[float] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> Load:
        """End sampling; a process that was gone before the first sample leaves a load of 0."""
        self._stopped.set()
        self._thread.join()
        samples = self._samples or [0.0]
        return Load(mean_cores=sum(samples) / len(samples), maximum_cores=max(samples))

    def _sample(self) -> None:
        try:
            before = self._busy_s()
            while not self._stopped.wait(_SAMPLE_S):
                now = self._busy_s()
                elapsed = now[0] - before[0]
                self._samples.append(max(0.0, (now[1] - before[1]) / elapsed))
                before = now
        except psutil.Error:
            return

    def _busy_s(self) -> tuple[float, float]:
        """(now, processor seconds spent so far by all others)."""
        all_of_them = psutil.cpu_times()
        idle = all_of_them.idle + getattr(all_of_them, "iowait", 0.0)
        # guest time is counted in user time already
        busy = sum(all_of_them) - idle - getattr(all_of_them, "guest", 0.0) - getattr(all_of_them, "guest_nice", 0.0)
        own = sum(times.user + times.system for times in (each.cpu_times() for each in self._processes))
        return time.monotonic(), busy - own
