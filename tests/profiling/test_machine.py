"""Facts about this machine, and the load that other processes put on it."""

import os
import time

import psutil
import pytest

from edgepart.profiling import machine
from edgepart.profiling.machine import LoadSampler, processor, this_device


class Scripted(LoadSampler):
    """Reads (clock, processor seconds of others) from a script; then the process is gone."""

    def __init__(self, script):
        self.script = iter(script)
        super().__init__(os.getpid())

    def _busy_s(self):
        try:
            return next(self.script)
        except StopIteration:
            raise psutil.NoSuchProcess(1) from None


def finished(sampler):
    sampler._thread.join(10)
    return sampler.stop()


def test_load_is_processor_time_of_others_over_time(monkeypatch):
    monkeypatch.setattr(machine, "_SAMPLE_S", 0.0)
    load = finished(Scripted([(0.0, 5.0), (1.0, 5.5), (3.0, 9.5), (4.0, 9.5)]))
    assert load.mean_cores == pytest.approx((0.5 + 2.0 + 0.0) / 3)
    assert load.maximum_cores == 2.0


def test_rounding_of_the_counters_is_no_negative_load(monkeypatch):
    monkeypatch.setattr(machine, "_SAMPLE_S", 0.0)
    assert finished(Scripted([(0.0, 5.0), (1.0, 4.9)])).mean_cores == 0.0


def test_a_process_that_is_gone_at_once_leaves_no_load():
    assert finished(Scripted([])).maximum_cores == 0.0


def test_the_real_counters_rise(monkeypatch):
    monkeypatch.setattr(machine, "_SAMPLE_S", 0.01)
    sampler = LoadSampler(os.getpid())
    time.sleep(0.1)
    load = sampler.stop()
    assert 0 <= load.mean_cores <= load.maximum_cores < 10 * (psutil.cpu_count() or 1)


def test_this_device_says_what_it_is():
    device = this_device(2e9, threads=1)
    assert (device.name, device.basis, device.macs_per_s) == ("this", "measured", 2e9)
    assert device.memory_bytes == psutil.virtual_memory().total
    assert 1 <= device.cores <= device.facts["logical_cores"]
    assert device.facts["processor"] == processor() != ""
    assert device.facts["threads"] == 1
