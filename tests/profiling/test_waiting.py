"""What a part takes longer after waiting, on a clock that the test winds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepart.profiling.waiting import RUNS_A_ROUND, measure_wake_up, rounds_of_waiting, wait_s


class Part:
    """Takes ``cold_s`` more the first time after a wait, half of that the second time, and ``hot_s`` afterwards."""

    def __init__(self, world, hot_s, cold_s):
        self.world, self.hot_s, self.cold_s, self.runs, self.seen = world, hot_s, cold_s, 0, 0

    def __call__(self):
        since = self.world.waits - self.seen
        self.fresh = 0 if since else self.fresh + 1
        self.seen = self.world.waits
        self.world.now += self.hot_s + self.cold_s * {0: 1.0, 1: 0.5}.get(self.fresh, 0.0)
        self.runs += 1


class World:
    def __init__(self):
        self.now, self.waits, self.waited = 0.0, 0, []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.waits += 1
        self.waited.append(seconds)


@given(st.lists(st.floats(1e-4, 1e-2), min_size=1, max_size=4), st.floats(0.0, 2e-3))
def test_the_extra_time_is_found_whatever_the_parts_take(hot, cold_s):
    world = World()
    parts = [Part(world, hot_s, cold_s) for hot_s in hot]
    found = measure_wake_up(parts, sum(hot), 3, clock=world.clock, sleep=world.sleep)
    assert found.median_s == pytest.approx(cold_s, abs=1e-9)
    assert found.runs == 3 * len(parts)
    assert [part.runs for part in parts] == [3 * RUNS_A_ROUND] * len(parts)
    assert world.waited == [wait_s(sum(hot))] * 3 * len(parts)


def test_a_part_that_is_faster_after_waiting_costs_nothing_more():
    world = World()
    found = measure_wake_up([Part(world, 1e-2, -1e-3)], 1e-2, 4, clock=world.clock, sleep=world.sleep)
    assert found.median_s == 0.0


def test_a_wait_is_as_long_as_the_network_takes_within_bounds():
    assert [wait_s(seconds) for seconds in (0.0, 0.004, 0.02, 3.0)] == [0.001, 0.004, 0.02, 0.05]


def test_a_small_network_is_not_timed_after_waiting_for_longer_than_everything_else():
    assert [rounds_of_waiting(layers, 3, 12) for layers in (1, 5, 20, 24, 48, 72, 1000)] == [
        (1, 2), (1, 2), (1, 10), (1, 12), (2, 12), (3, 12), (3, 12)
    ]  # fmt: skip
