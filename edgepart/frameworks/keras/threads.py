"""Threads of TensorFlow, whose pool has a fixed size once it has computed something."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import tensorflow as tf

from edgepart.errors import ModelError

_TASKS = Path("/proc/self/task")
#: processors that this process may use, as it was started
_PROCESSORS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def set_threads(count: int) -> None:
    """Threads that one operation may use in this process; one operation runs at a time.

    Where TensorFlow has computed something before, its pool stays as large as it is: then its threads, and the one that
    calls this, are kept to ``count`` processors (Linux).

    Raises:
        ModelError: it has computed something with fewer threads, or this system cannot keep threads to processors.
    """
    threading = tf.config.threading
    try:
        threading.set_intra_op_parallelism_threads(count)
        threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        pool = threading.get_intra_op_parallelism_threads() or os.cpu_count() or 1
        if count > pool and pool < (os.cpu_count() or 1):
            raise _too_late(count, pool) from None
        _confine(count, pool)


def _confine(count: int, pool: int) -> None:
    """Let TensorFlow's threads run on some processors only."""
    if not _PROCESSORS or not _TASKS.is_dir():
        if count < pool:
            raise _too_late(count, pool)
        return
    if count >= pool and os.sched_getaffinity(0) == set(_PROCESSORS):
        return
    processors = _PROCESSORS[:count]
    os.sched_setaffinity(0, processors)
    for task in _TASKS.iterdir():
        # a thread may end meanwhile
        with contextlib.suppress(OSError):
            if (task / "comm").read_text().startswith("tf_"):
                os.sched_setaffinity(int(task.name), processors)


def _too_late(count: int, pool: int) -> ModelError:
    return ModelError(
        f"TensorFlow already runs with {pool} threads in this process, and cannot change to {count}: set the threads "
        "before anything is computed"
    )
