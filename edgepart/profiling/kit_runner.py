"""Times the pieces of a network that lie beside this file: ``python3 run.py [--threads 1] [--quick] [-o FILE]``.

``edgepart profile MODEL --kit FOLDER`` wrote this folder. Copy it to the machine to be measured and run this file
there. It needs Python 3.8, NumPy and the package ``onnxruntime``, or ``executorch``; neither edgepart nor the framework
that the network comes from. What it writes, ``edgepart profile MODEL --from-kit FILE`` turns into a profile.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import math
import os
import platform
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HERE = Path(__file__).resolve().parent
PACKAGES = {"onnxruntime": "onnxruntime", "executorch": "executorch.runtime"}
#: at least and at most so often, and so many seconds, each piece is run; until medians are known to this share
RUNS, MOST_RUNS, BUDGET_S, PRECISION, WARM_UP = 10, 300, 20.0, 0.005, 3
QUICK_BUDGET_S, QUICK_PRECISION = 1.0, 0.05
#: runs until caches are a call's own: at least, at most, and in between for so many seconds
LEAST_SETTLING, MOST_SETTLING, SETTLING_S = 3, 10, 0.03
#: waiting: cuts whose sides are timed after it, and rounds of each; turns of a round; seconds at most, and on the way
WAITING, QUICK_WAITING, TURNS, MOST_WAIT_S, HOP_S = (3, 12), (1, 5), 4, 0.05, 0.0005


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write; returns the exit code."""
    parser = argparse.ArgumentParser(description="Time the pieces of a network that lie beside this file.")
    parser.add_argument("--threads", type=int, default=1, help="threads for one operation (1)")
    parser.add_argument("--quick", action="store_true", help="a first impression, with more spread")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "measurements.json")
    given = parser.parse_args(arguments)
    kit = json.loads((HERE / "kit.json").read_text(encoding="utf-8"))
    if given.threads < 1:
        return _fail(f"--threads {given.threads} cannot run anything: give 1 or more")
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(given.threads)
    for package in ("numpy", PACKAGES[kit["runtime"]]):
        try:
            importlib.import_module(package)
        except ImportError as error:
            name = package.partition(".")[0]
            return _fail(f"the package {name} is missing ({error}): install it here with 'pip install {name}'")
    found = measure(kit, given.threads, given.quick)
    temporary = given.output.with_name(given.output.name + ".part")
    temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    os.replace(str(temporary), str(given.output))
    sys.stdout.write(f"written to {given.output}\n")
    return 0


def measure(kit: dict[str, Any], threads: int, quick: bool) -> dict[str, Any]:
    """All pieces with the whole in turn, then both sides of each cut, then what lies between cuts."""
    opened: Callable[[dict[str, Any]], Callable[[], object]] = OPENERS[kit["runtime"]](threads)
    whole = opened(kit["whole"])
    load = [_busy()]
    *pieces, end_to_end = time_in_turn([*(opened(one) for one in kit["pieces"]), whole], quick)
    gc.collect()
    cuts, longer = [], []
    waiting_cuts, rounds = QUICK_WAITING if quick else WAITING
    for number, cut in enumerate(kit["cuts"]):
        load.append(_busy())
        sides = [opened(cut["before"]), opened(cut["after"])]
        before, after, beside = time_in_turn([*sides, whole], quick, in_a_row=4)
        cuts.append({"position": cut["position"], "before": before, "after": after, "whole": beside})
        if number < waiting_cuts:
            longer += after_waiting(sides, end_to_end["median_s"], rounds, threads)
    between = [opened(one) for one in kit["middles"]]
    *middles, beside = time_in_turn([*between, whole], quick, in_a_row=4) if between else [{}]
    load.append(_busy())
    busy = [_cores(before, after) for before, after in zip(load, load[1:])]  # noqa: B905, RUF007  (Python 3.8)
    return {
        "kind": "edgepart.kit-measurements",
        "version": 1,
        "network": kit["network"],
        "fingerprint": kit["fingerprint"],
        "runtime": kit["runtime"],
        "runtime_version": _version(kit["runtime"]),
        "threads": threads,
        "machine": machine(),
        "mean_cores": _cores(load[0], load[-1]),
        "maximum_cores": max(busy),
        "end_to_end": end_to_end,
        "pieces": [
            {"start": one["start"], "stop": one["stop"], "latency": latency}
            for one, latency in zip(kit["pieces"], pieces)  # noqa: B905  (Python 3.8)
        ],
        "cuts": cuts,
        "middles": [
            {"start": one["start"], "stop": one["stop"], "latency": latency, "whole": beside}
            for one, latency in zip(kit["middles"], middles)  # noqa: B905
        ],
        "wake_up": summarise(longer or after_waiting([whole], end_to_end["median_s"], rounds, threads)),
    }


def time_in_turn(calls: Sequence[Callable[[], object]], quick: bool, in_a_row: int = 1) -> list[dict[str, Any]]:
    """Time every call once, then all of them again, and so on, until their medians are known well enough."""
    budget_s, precision = (QUICK_BUDGET_S, QUICK_PRECISION) if quick else (BUDGET_S, PRECISION)
    times: list[list[float]] = [[] for _ in calls]
    for call in list(calls) * WARM_UP:
        call()
    gc.disable()
    start = time.perf_counter()
    while not _enough(times, time.perf_counter() - start, budget_s, precision):
        for call, taken in zip(calls, times):  # noqa: B905
            if in_a_row > 1:
                settle(call)
            for _ in range(in_a_row):
                taken.append(_timed(call))
    gc.enable()
    return [summarise(taken) for taken in times]


def settle(call: Callable[[], object]) -> None:
    """Run a call until caches are as it leaves them itself."""
    start = time.perf_counter()
    for run in range(MOST_SETTLING):
        if run >= LEAST_SETTLING and time.perf_counter() - start >= SETTLING_S:
            break
        call()


def after_waiting(calls: Sequence[Callable[[], object]], whole_s: float, rounds: int, threads: int) -> list[float]:
    """Seconds that calls take longer when they come in turn, each on a core of its own, than over and over.

    A single one sleeps meanwhile, for about as long as the whole takes.
    """
    workers = [ThreadPoolExecutor(1) for _ in calls]
    try:
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        if threads == 1 and len(cores) >= len(calls) > 1:
            for worker, core in zip(workers, cores):  # noqa: B905  (Python 3.8)
                worker.submit(os.sched_setaffinity, 0, {core}).result()
        longer = []
        for _ in range(rounds):
            settled = [worker.submit(_settled, call).result() for worker, call in zip(workers, calls)]  # noqa: B905
            for turn in range(TURNS):
                for worker, call, settled_s in zip(workers, calls, settled):  # noqa: B905
                    time.sleep(min(whole_s, MOST_WAIT_S) if len(calls) == 1 else HOP_S)
                    taken = worker.submit(_timed, call).result()
                    if turn:  # before the first one the wait was longer
                        longer.append(taken - settled_s)
        return longer
    finally:
        for worker in workers:
            worker.shutdown()


def _settled(call: Callable[[], object]) -> float:
    settle(call)
    return _timed(call)


def _timed(call: Callable[[], object]) -> float:
    before = time.perf_counter()
    call()
    return time.perf_counter() - before


def summarise(taken: Sequence[float]) -> dict[str, Any]:
    """Median and distance between the quartiles."""
    low, _, high = statistics.quantiles(taken, n=4, method="inclusive")
    return {"median_s": statistics.median(taken), "spread_s": high - low, "runs": len(taken)}


def machine() -> dict[str, Any]:
    """What is known about this machine."""
    processor = platform.processor() or platform.machine()
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        pairs = (line.partition(":") for line in listing.read_text(errors="replace").splitlines())
        processor = next((x[2].strip() for x in pairs if x[0].strip() in ("model name", "Model")), processor)
    return {
        "processor": processor,
        "cores": os.cpu_count() or 1,
        "memory_bytes": _memory_bytes(),
        "operating_system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _enough(times: Sequence[Sequence[float]], spent_s: float, budget_s: float, precision: float) -> bool:
    runs = len(times[0])
    if runs < RUNS:
        return False
    if runs >= MOST_RUNS or spent_s >= budget_s:
        return True
    found = [summarise(taken) for taken in times]
    error = sum(0.93 * one["spread_s"] / math.sqrt(runs) for one in found)  # standard error of medians
    return bool(error <= precision * sum(one["median_s"] for one in found))


def _onnxruntime(threads: int) -> Callable[[dict[str, Any]], Callable[[], object]]:
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4

    def opened(piece: dict[str, Any]) -> Callable[[], object]:
        session = runtime.InferenceSession(str(HERE / piece["file"]), options, providers=["CPUExecutionProvider"])
        values = _values(piece)
        return lambda: session.run(piece["outputs"], values)

    return opened


def _executorch(threads: int) -> Callable[[dict[str, Any]], Callable[[], object]]:
    torch = importlib.import_module("torch")  # ExecuTorch takes its tensors
    runtime = importlib.import_module("executorch.runtime").Runtime.get()
    bindings = importlib.import_module("executorch.extension.pybindings.portable_lib")
    bindings._unsafe_reset_threadpool(threads)

    def opened(piece: dict[str, Any]) -> Callable[[], object]:
        content = (HERE / piece["file"]).read_bytes()
        program = runtime.load_program(content)
        method = program.load_method("forward")
        values = _values(piece)
        tensors = [torch.from_numpy(values[name]) for name in piece["inputs"]]

        def call(held: object = (content, program)) -> object:  # a method reads what it was loaded from
            return method.execute(tensors)

        return call

    return opened


OPENERS: dict[str, Any] = {"onnxruntime": _onnxruntime, "executorch": _executorch}


def _values(piece: dict[str, Any]) -> dict[str, Any]:
    numpy = importlib.import_module("numpy")
    with numpy.load(str(HERE / piece["values"]), allow_pickle=False) as stored:
        return {name: stored[f"input_{place}"] for place, name in enumerate(piece["inputs"])}


def _version(runtime: str) -> str:
    from importlib.metadata import version

    return version(runtime)


def _busy() -> tuple[float, float]:
    """(now, processor seconds that all other processes have spent so far), on Linux; elsewhere they are 0."""
    times, own, listing = os.times(), 0.0, Path("/proc/stat")
    if listing.is_file():
        user, nice, system, _, _, interrupts, soft = map(int, listing.read_text().split()[1:8])
        own = (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK") - times.user - times.system
    return time.monotonic(), own


def _cores(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Cores that other processes kept busy between two times."""
    return max(0.0, (after[1] - before[1]) / max(after[0] - before[0], 1e-9))


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**30


def _fail(message: str) -> int:
    sys.stderr.write(f"run.py: {message}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
