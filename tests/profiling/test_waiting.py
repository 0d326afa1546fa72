"""What a part takes longer after waiting, on a clock that the test winds."""

import os
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepart.profiling.waiting import Side, measure_wake_up, rounds_of_waiting, runs_a_round, wait_s

VALUES = {"a": np.arange(6, dtype=np.int64).reshape(2, 3), "b": np.float32(0.5) * np.ones((3, 4), np.float32).T}


class World:
    """Seconds, who ran last, and for how long it was waited in between."""

    def __init__(self):
        self.now, self.last, self.waited = 0.0, None, []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.waited.append(seconds)


class Part:
    """Takes ``cold_s`` more where others ran or everybody slept since it ran, ``handed_s`` more on inputs that came."""

    def __init__(self, world, hot_s, cold_s, handed_s=0.0):
        self.world, self.hot_s, self.cold_s, self.handed_s = world, hot_s, cold_s, handed_s
        self.runs, self.given, self.threads, self.cores = 0, [], set(), set()
        self.seen = None

    @property
    def side(self):
        return Side(VALUES, self.handed, self.again)

    def handed(self, arrays):
        self.given.append(arrays)
        self.world.now += self.handed_s
        self.again()

    def again(self):
        state = (self, len(self.world.waited))
        self.world.now += self.hot_s + self.cold_s * (self.world.last != state)
        self.world.last = state
        self.runs += 1
        self.threads.add(threading.get_ident())
        if hasattr(os, "sched_getaffinity"):
            self.cores.add(frozenset(os.sched_getaffinity(0)))


@given(st.lists(st.tuples(st.floats(1e-4, 1e-2), st.floats(0.0, 2e-3)), min_size=1, max_size=3), st.floats(0.0, 1e-3))
def test_the_extra_time_is_found_whatever_the_parts_take(parts, handed_s):
    world = World()
    parts = [Part(world, hot_s, cold_s, handed_s) for hot_s, cold_s in parts]
    whole_s = sum(part.hot_s for part in parts)
    found = measure_wake_up([[part.side for part in parts]], whole_s, 3, clock=world.clock, sleep=world.sleep)
    # a chain pays for each of its parts: their mean
    assert found.median_s == pytest.approx(handed_s + sum(part.cold_s for part in parts) / len(parts), abs=1e-9)
    assert found.spread_s == pytest.approx(0.0, abs=1e-9)
    assert found.runs == 3 * 3 * len(parts)
    # until it has settled, once more, and its turns: between 3 and 10 runs, the more the shorter
    assert all(3 * (3 + 1 + 4) <= part.runs <= 3 * (10 + 1 + 4) for part in parts)
    # one that has nobody to wait for sleeps as long as the network takes; others for a hop
    assert set(world.waited) == {wait_s(whole_s) if len(parts) == 1 else 0.0005}


def test_every_cut_counts():
    world = World()
    cuts = [[Part(world, 1e-3, cold_s).side for cold_s in colds] for colds in ((1e-3, 3e-3), (2e-3, 6e-3))]
    assert measure_wake_up(cuts, 2e-3, 2, clock=world.clock, sleep=world.sleep).median_s == pytest.approx(3e-3)


def test_a_part_that_is_faster_after_waiting_costs_nothing_more():
    world = World()
    parts = [Part(world, 1e-2, -1e-3), Part(world, 1e-2, -2e-3)]
    assert (
        measure_wake_up([[part.side for part in parts]], 2e-2, 4, clock=world.clock, sleep=world.sleep).median_s == 0.0
    )


def test_inputs_come_anew_each_time_and_as_they_were():
    world = World()
    part, other = Part(world, 1e-3, 0.0), Part(world, 1e-3, 0.0)
    measure_wake_up([[part.side, other.side]], 2e-3, 2, clock=world.clock, sleep=world.sleep)
    assert len(part.given) == 2 * 4
    for arrays in part.given:
        assert list(arrays) == list(VALUES)
        for name, array in VALUES.items():
            assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
            assert (arrays[name] == array).all()
            assert not np.shares_memory(arrays[name], array)
    assert not np.shares_memory(part.given[0]["a"], part.given[1]["a"])


def test_each_side_has_a_thread_and_where_there_are_enough_a_core_of_its_own():
    world = World()
    parts = [Part(world, 1e-3, 0.0) for _ in range(2)]
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    measure_wake_up([[part.side for part in parts]], 2e-3, 2, clock=world.clock, sleep=world.sleep)
    assert all(len(part.threads) == 1 for part in parts)
    assert parts[0].threads.isdisjoint(parts[1].threads | {threading.get_ident()})
    if len(allowed) >= 2:
        assert [part.cores for part in parts] == [{frozenset({core})} for core in sorted(allowed)[:2]]
    if allowed:
        assert os.sched_getaffinity(0) == allowed


def test_threads_of_a_part_are_not_kept_on_one_core():
    world = World()
    parts = [Part(world, 1e-3, 0.0) for _ in range(2)]
    measure_wake_up([[part.side for part in parts]], 2e-3, 2, threads=2, clock=world.clock, sleep=world.sleep)
    if hasattr(os, "sched_getaffinity"):
        assert all(part.cores == {frozenset(os.sched_getaffinity(0))} for part in parts)


def test_a_part_that_fails_ends_it_and_leaves_no_thread():
    before = threading.active_count()
    world = World()
    good, bad = Part(world, 1e-3, 0.0), Part(world, 1e-3, 0.0)

    def fail(arrays):
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        measure_wake_up([[good.side, Side(VALUES, fail, bad.again)]], 2e-3, 2, clock=world.clock, sleep=world.sleep)
    assert threading.active_count() == before


def test_a_part_that_reads_nothing_waits_for_its_turn():
    world = World()
    part, other = Part(world, 1e-3, 2e-3), Part(world, 1e-3, 2e-3)
    bare = Side({}, part.handed, part.again)
    assert measure_wake_up(
        [[other.side, bare]], 2e-3, 2, clock=world.clock, sleep=world.sleep
    ).median_s == pytest.approx(2e-3)
    assert part.given == [{}] * 8


def test_a_wait_is_as_long_as_the_network_takes_within_bounds():
    assert [wait_s(seconds) for seconds in (0.0, 0.004, 0.02, 3.0)] == [0.001, 0.004, 0.02, 0.05]


def test_a_small_network_is_not_timed_after_waiting_for_longer_than_everything_else():
    def found(layers, whole_s):
        cuts, rounds = rounds_of_waiting(layers, whole_s, 3, 12)
        # 2 passes for each layer, and two rounds in any case
        assert cuts * rounds * runs_a_round(whole_s) <= 2 * layers or (cuts, rounds) == (1, 2)
        return cuts, rounds

    assert [found(layers, 0.1) for layers in (1, 5, 24, 40, 60, 90, 150, 1000)] == [
        (1, 2), (1, 2), (1, 6), (1, 10), (1, 12), (1, 12), (3, 12), (3, 12)
    ]  # fmt: skip
    assert [found(layers, 0.002) for layers in (24, 72, 360)] == [(1, 3), (1, 9), (3, 12)]
