"""The cost of a placement against a second account of the same definition."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_problems import problems, slow_latency_s, slow_memory_bytes

from edgepart.partitioning.exhaustive import placements
from edgepart.partitioning.limits import exceeded
from edgepart.partitioning.pins import windows
from edgepart.partitioning.placement_cost import crossing, evaluate, memory
from edgepart.partitioning.problem import Problem, Tier
from edgepart.testing.graphs import make_graph
from edgepart.testing.hardware import example_device, example_link


@settings(max_examples=150)
@given(problems(most_layers=6, pins=False), st.data())
def test_split_costs_and_memory_equal_the_slow_account(problem: Problem, data: st.DataObject) -> None:
    every = list(placements(problem, windows(problem)))
    tier_of = every[data.draw(st.integers(0, len(every) - 1))]
    assert evaluate(problem, tier_of).latency_s == pytest.approx(slow_latency_s(problem, tier_of))
    expected = [slow_memory_bytes(problem, tier_of, tier) for tier in range(len(problem.tiers))]
    assert [needed.total_bytes for needed in memory(problem, tier_of)] == expected
    over = {
        f"{tier.name}.memory": needed - tier.memory_limit_bytes
        for tier, needed in zip(problem.tiers, expected, strict=True)
        if tier.memory_limit_bytes is not None and needed > tier.memory_limit_bytes
    }
    assert exceeded(problem, tier_of) == over


def three_tiers() -> Problem:
    """x → a → b, a → c; b and c both read a; x also goes straight to c."""
    graph = make_graph(
        [("a", ["x"], {"a": 10}), ("b", ["a"], {"b": 20}), ("c", ["a", "b", "x"], {"c": 1})],
        {"x": 5, "unread": 99},
        parameters={"a": {"w": 100}, "b": {"w": 100}, "c": {"v": 50}},
    )
    tiers = tuple(
        Tier(name, example_device(), dict.fromkeys("abc", seconds))
        for name, seconds in (("mobile", 4.0), ("edge", 2.0), ("cloud", 1.0))
    )
    return Problem(graph, tiers, (example_link(8.0, 0.5), example_link(80.0, 3.0)))


def test_a_tensor_crosses_each_hop_once() -> None:
    costs = evaluate(three_tiers(), {"a": 0, "b": 1, "c": 2})
    # a is read on edge and on cloud, x passes through the edge, and nobody reads the other input
    assert costs.crossing == (("x", "a"), ("x", "a", "b"))
    assert costs.crossing_bytes == (15, 35)
    assert costs.transfer_s == (0.5 + 15, 3 + 3.5)
    assert costs.compute_s == (4, 2, 1)
    assert costs.latency_s == 7 + 15.5 + 6.5


def test_a_hop_that_nothing_crosses_is_free() -> None:
    costs = evaluate(three_tiers(), {"a": 0, "b": 1, "c": 1})
    assert costs.transfer_s[1] == 0
    assert costs.crossing[1] == ()


def test_memory_counts_shared_parameters_once_and_what_is_passed_on() -> None:
    mobile, edge, cloud = memory(three_tiers(), {"a": 0, "b": 0, "c": 2})
    # a and b share one parameter; x (to be sent), a (read later) and b being made are alive together
    assert (mobile.parameter_bytes, mobile.activation_bytes) == (100, 5 + 10 + 20)
    # the edge runs nothing but holds what passes through
    assert (edge.parameter_bytes, edge.activation_bytes) == (0, 35)
    assert (cloud.parameter_bytes, cloud.activation_bytes) == (50, 35 + 1)


def test_nested_tiers_hold_prefixes_and_send_the_raw_input() -> None:
    problem = replace(three_tiers(), deployment="nested")
    tier_of = {"a": 0, "b": 1, "c": 2}
    costs = evaluate(problem, tier_of)
    assert costs.crossing == (("x",), ("x",))
    assert costs.compute_s == (4, 4, 3)
    assert costs.latency_s == pytest.approx((0.5 + 5) + (3 + 0.5) + 3)
    mobile, edge, cloud = memory(problem, tier_of)
    assert (mobile.parameter_bytes, edge.parameter_bytes, cloud.parameter_bytes) == (100, 100, 150)
    # the raw input stays, in case the sample is sent on
    assert mobile.activation_bytes == 5 + 10
    assert edge.activation_bytes == 5 + 10 + 20


def test_nested_sends_nothing_above_the_last_tier_with_layers() -> None:
    problem = replace(three_tiers(), deployment="nested")
    assert crossing(problem, {"a": 0, "b": 1, "c": 1}) == (("x",), ())
