"""The measurement loop, on a clock that the test winds."""

import gc
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepart.profiling.timing import Effort, settling, summarise, time_in_turn


class World:
    """Calls that take a known time on a clock of their own, and a record of their order."""

    def __init__(self):
        self.now = 0.0
        self.order = []

    def clock(self):
        return self.now

    def call(self, name, durations):
        durations = iter(durations)

        def run():
            self.order.append(name)
            self.now += next(durations)

        return run

    def steady(self, name, duration):
        return self.call(name, iter(lambda: duration, None))


def test_medians_are_those_of_the_timed_runs_and_warm_up_is_not_counted():
    world = World()
    times = [100.0, 100.0, *[1.0, 2.0, 3.0, 4.0, 5.0]]
    effort = Effort(runs=5, most_runs=5, warm_up=2)
    [found] = time_in_turn([world.call("a", times)], effort, clock=world.clock)
    assert (found.median_s, found.spread_s, found.runs) == (3.0, 2.0, 5)


def test_calls_take_turns_so_that_drift_hits_all_alike():
    world = World()
    calls = [world.steady(name, 1e-3) for name in "abc"]
    time_in_turn(calls, Effort(runs=4, most_runs=4, warm_up=1), clock=world.clock)
    assert world.order == list("abc" * 5)

    drifting = World()
    calls = [drifting.call(name, (1.0 + 0.1 * n for n in range(1000))) for name in "ab"]
    first, second = time_in_turn(calls, Effort(runs=10, most_runs=40, budget_s=1e9), clock=drifting.clock)
    assert first == second


@pytest.mark.parametrize(("seconds", "untimed"), [(1e-4, 10), (0.1, 3)])
def test_calls_in_a_row_are_timed_once_they_have_settled(seconds, untimed):
    """The first runs find the caches of another call; a long call settles in few."""
    world = World()
    turn = [*[2 * seconds] * untimed, *[seconds] * 2]
    calls = [world.call("a", itertools.cycle(turn)), world.steady("b", seconds)]
    found = time_in_turn(calls, Effort(runs=4, most_runs=4, in_a_row=2, warm_up=0), clock=world.clock)
    assert world.order == [name for _ in range(2) for name in "ab" for _ in turn]
    assert [(one.median_s, one.spread_s) for one in found] == [(pytest.approx(seconds), pytest.approx(0))] * 2


def test_how_often_a_call_settles():
    assert [settling(seconds) for seconds in (0.0, 1e-4, 0.004, 0.011, 1.0)] == [10, 10, 8, 3, 3]


def test_steady_calls_stop_at_the_least_number_of_runs():
    world = World()
    found = time_in_turn([world.steady("a", 1e-3), world.steady("b", 2e-3)], Effort(runs=10), clock=world.clock)
    assert [one.runs for one in found] == [10, 10]


def test_unsteady_calls_go_on_until_the_budget_is_spent_and_never_below_the_least_number_of_runs():
    def unsteady():
        return World(), (1.0 if n % 2 else 3.0 for n in range(10**6))

    world, times = unsteady()
    [found] = time_in_turn([world.call("a", times)], Effort(most_runs=10**6, budget_s=100), clock=world.clock)
    assert found.runs == 50
    world, times = unsteady()
    [found] = time_in_turn([world.call("a", times)], Effort(most_runs=10**6, budget_s=1), clock=world.clock)
    assert found.runs == 10
    world, times = unsteady()
    [found] = time_in_turn([world.call("a", times)], Effort(most_runs=30, budget_s=1e9), clock=world.clock)
    assert found.runs == 30


def test_a_small_unsteady_call_beside_a_large_steady_one_does_not_delay():
    world = World()
    calls = [world.steady("large", 1.0), world.call("small", (1e-6 if n % 2 else 9e-6 for n in range(10**6)))]
    found = time_in_turn(calls, Effort(runs=10, budget_s=1e9), clock=world.clock)
    assert [one.runs for one in found] == [10, 10]


def test_progress_rises_to_one():
    world, told = World(), []
    time_in_turn([world.steady("a", 1.0)], Effort(runs=10, budget_s=20), progress=told.append, clock=world.clock)
    assert told == sorted(told)
    assert 0 < told[0] < told[-1] == 1.0


def test_garbage_is_not_collected_meanwhile_and_again_afterwards():
    seen = []
    time_in_turn([lambda: seen.append(gc.isenabled())], Effort(most_runs=10))
    assert seen
    assert not any(seen)
    assert gc.isenabled()

    def fails():
        raise RuntimeError

    with pytest.raises(RuntimeError):
        time_in_turn([fails], Effort())
    assert gc.isenabled()


def test_nothing_to_time_is_an_empty_answer():
    assert time_in_turn([], Effort()) == []


@given(st.lists(st.floats(1e-7, 10), min_size=1, max_size=30))
def test_summary_lies_within_the_times(times):
    found = summarise(times)
    assert min(times) <= found.median_s <= max(times)
    assert 0 <= found.spread_s <= max(times) - min(times) + 1e-12
    assert found.runs == len(times)
