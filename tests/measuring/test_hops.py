"""Hops of a chain of processes that hold no layers."""

import time
from dataclasses import replace

import numpy as np
import pytest

from edgepart.errors import MeasurementError
from edgepart.measuring.hops import measure_hops
from edgepart.measuring.processes import Processes, TierProcess
from edgepart.measuring.relay import Shape
from edgepart.measuring.stand_in import IdlePart, StandIn

SAMPLE = {"x": np.ones((1, 500), np.float32)}
WIDE = StandIn(busy_s=0.004, gives={"h": ("<f4", (1, 3000)), "ids": ("<i8", (1, 7))})
NARROW = StandIn(busy_s=0.002, gives={"h": ("<f2", (1, 10))})
LAST = StandIn(busy_s=0.003, gives={}, classes=4)


def chain(*stand_ins):
    return [TierProcess(f"tier{number}", None, stand_in=each) for number, each in enumerate(stand_ins)]


def run(tiers, split=True):
    working = [tier.tier for tier in tiers if tier.stand_in]
    order = {"run": working, "answer": tiers[-1].tier, "thresholds": None}
    with Processes(tiers, [SAMPLE], split=split, threads=1, timeout_s=60) as processes:
        return [processes.run(0, order) for _ in range(3)]


def test_what_would_go_on_goes_on_and_everybody_is_busy_as_long():
    for done in run(chain(WIDE, NARROW, LAST)):
        assert (done["exit"], done["class"]) == ("stand-in", 0)
        assert [(tier, whole) for tier, _, whole in done["work"]] == [("tier0", True), ("tier1", True), ("tier2", True)]
        for (_, seconds, _), stand_in in zip(done["work"], (WIDE, NARROW, LAST), strict=True):
            assert seconds >= stand_in.busy_s
        (first_s, first), (second_s, second) = done["hops"]
        assert 12_056 < first < 12_056 + 1000
        assert 20 < second < 20 + 1000
        assert min(first_s, second_s) > 0
        # no second is counted twice: each is a part's, a hop's, or the first process's own
        assert sum(seconds for _, seconds, _ in done["work"]) + first_s + second_s <= done["latency_s"]


def test_one_that_holds_nothing_passes_on_what_it_gets():
    done = run([*chain(WIDE), TierProcess("between", None), TierProcess("last", None, stand_in=LAST)])[-1]
    first, second = (sent for _, sent in done["hops"])
    assert abs(first - second) < 100
    assert [tier for tier, _, _ in done["work"]] == ["tier0", "last"]


def test_nested_the_raw_input_goes_on():
    done = run(chain(WIDE, LAST), split=False)[-1]
    assert 2000 < done["hops"][0][1] < 3000


def test_hops_are_measured_over_bare_loopback_and_without_long_waits():
    slow = Shape(up_bits_per_s=1e4, down_bits_per_s=1e4, delay_s=2.5)
    tiers = [replace(tier, shape=slow) for tier in chain(replace(WIDE, busy_s=60.0), LAST)]
    start = time.monotonic()
    (found,) = measure_hops(tiers, SAMPLE, split=True, timeout_s=60, runs=3)
    assert 0 < found < 5.0
    assert time.monotonic() - start < 60


def test_a_process_that_does_not_start_is_one_sentence():
    tiers = chain(WIDE, LAST)
    with pytest.raises(MeasurementError, match="tier1"):
        measure_hops([tiers[0], replace(tiers[1], cores=(4096,))], SAMPLE, split=True, timeout_s=20, runs=1)


def test_a_stand_in_gives_the_sizes_it_was_told():
    stages = IdlePart(replace(WIDE, busy_s=0.0)).stages(SAMPLE)
    with pytest.raises(StopIteration) as end:
        next(stages)
    given = end.value.value
    assert {name: (array.dtype.str, array.shape) for name, array in given.items()} == dict(WIDE.gives)
    exit_name, logits = next(IdlePart(LAST).stages(SAMPLE))
    assert (exit_name, logits.shape) == ("stand-in", (1, 4))
