"""What a part takes longer after waiting, on a clock that the test winds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepart.profiling.waiting import measure_wake_up, rounds_of_waiting, runs_a_round, wait_s


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
    # cold, until it has settled, and once more: between 3 and 10 runs, the more the shorter
    assert all(3 * 5 <= part.runs <= 3 * 12 for part in parts)
    assert world.waited == [wait_s(sum(hot))] * 3 * len(parts)


def test_a_part_that_is_faster_after_waiting_costs_nothing_more():
    world = World()
    found = measure_wake_up([Part(world, 1e-2, -1e-3)], 1e-2, 4, clock=world.clock, sleep=world.sleep)
    assert found.median_s == 0.0


def test_a_wait_is_as_long_as_the_network_takes_within_bounds():
    assert [wait_s(seconds) for seconds in (0.0, 0.004, 0.02, 3.0)] == [0.001, 0.004, 0.02, 0.05]


def test_a_small_network_is_not_timed_after_waiting_for_longer_than_everything_else():
    def found(layers, whole_s):
        cuts, rounds = rounds_of_waiting(layers, whole_s, 3, 12)
        # 2 passes for each layer, and two rounds in any case
        assert cuts * rounds * runs_a_round(whole_s) <= 2 * layers or (cuts, rounds) == (1, 2)
        return cuts, rounds

    assert [found(layers, 0.1) for layers in (1, 5, 24, 30, 60, 90, 1000)] == [
        (1, 2), (1, 2), (1, 9), (1, 12), (2, 12), (3, 12), (3, 12)
    ]  # fmt: skip
    assert [found(layers, 0.002) for layers in (24, 72, 216)] == [(1, 4), (1, 12), (3, 12)]
