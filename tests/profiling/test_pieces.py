"""Where cuts are timed, and that all timing together stays within its budget of forward passes."""

import itertools

import pytest
from fake_framework import LAYERS, FakeProgram, graph
from hypothesis import given
from hypothesis import strategies as st

from edgepart.profiling.pieces import measure_cuts, spent_s, spread
from edgepart.profiling.timing import Effort, settling, time_in_turn


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 5)), min_size=1, max_size=40))
def test_every_place_comes_once(layers):
    seconds, crossing = [one for one, _ in layers], [count for _, count in layers[1:]]
    assert sorted(spread(seconds, crossing)) == list(range(1, len(layers)))


def test_places_are_denser_towards_the_ends():
    chosen = sorted(itertools.islice(spread([1.0] * 200, [1] * 199), 15))
    gaps = [high - low for low, high in itertools.pairwise([0, *chosen, 200])]
    middle = len(gaps) // 2
    assert gaps[0] < gaps[middle] > gaps[-1]
    assert chosen[0] < 10
    assert chosen[-1] > 190


def test_a_place_that_few_bytes_cross_is_preferred():
    crossing = [100] * 99
    crossing[54] = 1
    assert next(spread([1.0] * 100, crossing)) == 55


@pytest.mark.parametrize("allowed", [0.0, 1.0, 100.0])
def test_cuts_stop_before_the_time_allowed_for_runs_is_spent_but_two_are_timed(allowed):
    """``allowed``: in forward passes."""
    runs, shares = [], []

    def runner(part, values):
        return lambda: runs.append(len(part.layers))

    effort = Effort(runs=4, most_runs=4, budget_s=100, warm_up=0, in_a_row=2)
    layers_s = [1.0] * len(LAYERS)
    cuts, middles = measure_cuts(FakeProgram(), layers_s, effort, allowed * len(LAYERS), shares.append, runner)
    # the calls take no time, so only the estimate of the next ones can stop it: 10 calls of two cuts, what lies between
    # them and the whole
    assert len(cuts) == (2 if allowed < 40 else len(LAYERS) - 1)
    positions = {cut.position for cut in cuts}
    assert len(middles) == len(cuts) // 2
    assert all(one.start < one.stop and {one.start, one.stop} <= positions for one in middles)
    assert [cut.position for cut in cuts] == sorted({cut.position for cut in cuts})
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    # whole, then the parts before two cuts, those after them and the one between, in rows of untimed runs and two timed
    row = settling(0.0) + 2
    assert runs[:row] == [len(LAYERS)] * row
    low, high, above_low, above_high, between = runs[row : 6 * row : row]
    assert low + above_low == high + above_high == low + between + above_high == len(LAYERS)


def test_the_budget_ends_cuts_after_those_that_were_begun():
    effort = Effort(runs=1, most_runs=1, budget_s=1e-9, warm_up=0)
    cuts, _ = measure_cuts(
        FakeProgram(), [1e-9] * len(LAYERS), effort, 1e9, lambda done: None, lambda part, values: list
    )
    assert len(cuts) == 2


def test_the_values_that_enter_a_part_are_those_that_the_lower_ones_make():
    seen = {}

    def runner(part, values):
        seen[part.layers] = set(values)
        return part.runner(values)

    effort = Effort(runs=1, most_runs=1, budget_s=100, warm_up=0)
    measure_cuts(FakeProgram(), [1.0] * len(LAYERS), effort, 1e9, lambda done: None, runner)
    names = tuple(x[0] for x in LAYERS)
    for position, boundary in enumerate(graph().boundaries(), start=1):
        assert seen[names[position:]] == set(boundary.tensors)
    middles = [layers for layers in seen if names[0] not in layers and names[-1] not in layers]
    assert len(middles) == (len(LAYERS) - 1) // 2
    for inside in middles:
        made = {name for layer, _, name, _ in LAYERS if layer in inside}
        read = {name for layer, reads, _, _ in LAYERS if layer in inside for name in reads}
        assert read - made <= seen[inside]


def test_time_spent_counts_runs_that_are_not_timed():
    calls, now = [], [0.0]

    def call():
        calls.append(1)
        now[0] += seconds

    for seconds in (1.0, 0.011, 0.004, 0.0001):
        for effort in (Effort(runs=6, most_runs=6, warm_up=2), Effort(runs=6, most_runs=6, warm_up=1, in_a_row=3)):
            calls.clear()
            measured = time_in_turn([call], effort, clock=lambda: now[0])
            assert measured[0].runs == 6
            assert spent_s(measured, effort) == pytest.approx(len(calls) * seconds)
            assert effort.calls(seconds) == len(calls)
