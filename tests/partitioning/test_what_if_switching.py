"""The best plans under a recorded bandwidth against all sets of all placements, moment by moment."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_problems import problems

from edgepart.errors import InfeasiblePlan, PlanError, UnknownName
from edgepart.hardware.bandwidth_trace import BandwidthTrace
from edgepart.partitioning.exhaustive import Exhaustive, placements
from edgepart.partitioning.limits import broken, exceeded
from edgepart.partitioning.parameter import of_a_link
from edgepart.partitioning.pins import windows
from edgepart.partitioning.problem import Problem, Tier
from edgepart.partitioning.switching import Switching, under_trace
from edgepart.partitioning.values import value
from edgepart.testing.graphs import make_graph
from edgepart.testing.hardware import example_device, example_link

slowly = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
LINK = "mobile:edge"


def trace_of(rates: list[float], durations: list[float] | None = None) -> BandwidthTrace:
    lasting = np.ones(len(rates)) if durations is None else np.array(durations)
    return BandwidthTrace("made up", "made up", lasting, np.array(rates))


@st.composite
def traces(draw: st.DrawFn) -> BandwidthTrace:
    """Up to a dozen rates over four orders of magnitude, some the same, some of them outages, of unequal length."""
    spread = st.floats(-0.5, 3.5).map(lambda exponent: float(10**exponent))
    rates = [*draw(st.lists(spread | st.sampled_from([0.0, 8.0]) | spread, min_size=3, max_size=12)), draw(spread)]
    return trace_of(rates, [draw(st.sampled_from([0.25, 1.0, 3.0])) for _ in rates])


@st.composite
def shrinking(draw: st.DrawFn) -> Problem:
    """A chain whose tensors shrink ever less as its layers take ever longer: nearly all of its cuts are best somewhere.

    Half of the time in any order, so that some are not.
    """
    count, ordered = draw(st.integers(2, 6)), draw(st.booleans())
    less = draw(st.lists(st.integers(1, 100), min_size=count, max_size=count))
    longer = draw(st.lists(st.integers(1, 40), min_size=count, max_size=count))
    if ordered:
        less, longer = sorted(less, reverse=True), sorted(longer)
    sizes = [1 + sum(less[index:]) for index in range(count + 1)]
    layers = [(f"l{i}", [f"l{i - 1}" if i else "x"], {f"l{i}": sizes[i + 1]}) for i in range(count)]
    work = {f"l{i}": float(seconds) for i, seconds in enumerate(longer)}
    tiers = (Tier("mobile", example_device(), work), Tier("edge", example_device(), dict.fromkeys(work, 0.0)))
    return Problem(make_graph(layers, {"x": sizes[0]}), tiers, (example_link(8.0),))


def chain() -> Problem:
    """All on the edge 96/B, after a 1 + 64/B, after b 5 + 16/B, all on mobile 8."""
    layers = [("a", ["x"], {"a": 8}), ("b", ["a"], {"b": 2}), ("c", ["b"], {"c": 1})]
    work = {"a": 1.0, "b": 4.0, "c": 3.0}
    tiers = (Tier("mobile", example_device(), work), Tier("edge", example_device(), dict.fromkeys(work, 0.0)))
    return Problem(make_graph(layers, {"x": 12}), tiers, (example_link(8.0),))


def over_time(problem: Problem, trace: BandwidthTrace) -> np.ndarray:
    """(placements, moments) the objective of every allowed placement, moment by moment, outages left out."""
    rates = trace.bits_per_s[trace.bits_per_s > 0]
    varied = of_a_link(problem, LINK, "bandwidth", 1e-3, 1e9)
    allowed = [
        each
        for each in placements(problem, windows(problem))
        if not broken(problem, each) and not exceeded(problem, each)
    ]
    if not allowed:
        raise InfeasiblePlan("nothing is allowed")
    table = [[value(varied.applied(problem, at), each, problem.objective) for at in rates] for each in allowed]
    # plans that no moment can tell apart count once
    return np.unique(np.round(table, 9), axis=0)


def weights(trace: BandwidthTrace) -> np.ndarray:
    lasting = trace.duration_s[trace.bits_per_s > 0]
    return lasting / lasting.sum()


def assert_as_good_as_all_subsets(problem: Problem, trace: BandwidthTrace, most: int, found: Switching) -> None:
    table, weight = over_time(problem, trace), weights(trace)
    assert found.oracle == pytest.approx(table.min(axis=0) @ weight, rel=1e-6, abs=1e-6)
    means = [each.mean for each in found.sets]
    for size in range(1, most + 1):
        subsets = itertools.combinations(range(len(table)), min(size, len(table)))
        best = min(table[list(subset)].min(axis=0) @ weight for subset in subsets)
        assert means[min(size, len(means)) - 1] == pytest.approx(best, rel=1e-6, abs=1e-6)


def assert_states_what_it_does(problem: Problem, trace: BandwidthTrace, found: Switching) -> None:
    """Thresholds, shares, means and switches from a walk through the trace."""
    up = trace.bits_per_s > 0
    rates, weight = trace.bits_per_s[up], weights(trace)
    varied = of_a_link(problem, LINK, "bandwidth", 1e-3, 1e9)
    for number, each in enumerate(found.sets, 1):
        assert len(each.plans) == len(each.shares) == len(each.thresholds) + 1 == number
        assert list(each.thresholds) == sorted(each.thresholds)
        # at a threshold two plans are equally good, and either side of it is right
        tied = int(np.isclose(rates[:, None], np.array(each.thresholds)[None, :], rtol=1e-9).sum())
        used = np.searchsorted(each.thresholds, rates)
        plans = [found.plans[plan].tier_of for plan in each.plans]
        walked = [
            value(varied.applied(problem, at), plans[now], problem.objective)
            for at, now in zip(rates, used, strict=True)
        ]
        assert each.mean == pytest.approx(np.array(walked) @ weight, rel=1e-6, abs=1e-6)
        assert sum(each.shares) == pytest.approx(1.0)
        assert all(share > 0 for share in each.shares)
        assert abs(each.switches - sum(a != b for a, b in itertools.pairwise(used))) <= 2 * tied
        assert each.saved == pytest.approx(1 - each.mean / found.sets[0].mean)
        assert each.above_oracle == pytest.approx(each.mean / found.oracle - 1, abs=1e-9)
    assert found.oracle <= found.sets[-1].mean * (1 + 1e-9)
    assert found.oracle_plans >= len(found.sets)


@settings(max_examples=120, suppress_health_check=slowly, deadline=None)
@given(shrinking(), traces())
def test_sets_are_as_good_as_all_subsets_of_all_placements(problem: Problem, trace: BandwidthTrace) -> None:
    found = under_trace(problem, LINK, trace, most_plans=4)
    assert_as_good_as_all_subsets(problem, trace, 4, found)
    assert_states_what_it_does(problem, trace, found)


@pytest.mark.slow
@settings(max_examples=2000, suppress_health_check=slowly, deadline=None)
@given(shrinking(), traces())
def test_sets_are_as_good_as_all_subsets_on_many(problem: Problem, trace: BandwidthTrace) -> None:
    found = under_trace(problem, LINK, trace, most_plans=4)
    assert_as_good_as_all_subsets(problem, trace, 4, found)
    assert_states_what_it_does(problem, trace, found)


@settings(max_examples=60, suppress_health_check=slowly, deadline=None)
@given(problems(most_layers=4, odd=False), traces())
def test_graphs_with_limits_and_pins_too(problem: Problem, trace: BandwidthTrace) -> None:
    try:
        found = under_trace(problem, LINK, trace, most_plans=2, solver=Exhaustive())
    except InfeasiblePlan:
        with pytest.raises(InfeasiblePlan):
            over_time(problem, trace)
        return
    assert_as_good_as_all_subsets(problem, trace, 2, found)


@settings(max_examples=60, suppress_health_check=slowly, deadline=None)
@given(shrinking(), traces())
def test_the_single_plan_is_the_best_one_at_the_mean_of_one_over_bandwidth(
    problem: Problem, trace: BandwidthTrace
) -> None:
    found = under_trace(problem, LINK, trace, most_plans=1)
    at_mean = of_a_link(problem, LINK, "bandwidth", 1e-3, 1e9).applied(problem, found.mean_bits_per_s)
    assert found.sets[0].mean == pytest.approx(Exhaustive().solve(at_mean).proof.bound, rel=1e-6)
    assert len(found.sets) == 1


@settings(max_examples=40, suppress_health_check=slowly, deadline=None)
@given(shrinking(), traces(), st.sampled_from([0.125, 1000.0]))
def test_seconds_and_rates_in_other_units_change_nothing(
    problem: Problem, trace: BandwidthTrace, factor: float
) -> None:
    slower = replace(
        problem,
        tiers=tuple(replace(t, latency_s={k: v * factor for k, v in t.latency_s.items()}) for t in problem.tiers),
    )
    stretched = BandwidthTrace("same", "same", trace.duration_s * 7, trace.bits_per_s / factor)
    one, other = under_trace(problem, LINK, trace), under_trace(slower, LINK, stretched)
    assert other.oracle == pytest.approx(one.oracle * factor)
    assert [each.mean for each in other.sets] == pytest.approx([each.mean * factor for each in one.sets])
    assert [each.switches for each in other.sets] == [each.switches for each in one.sets]
    assert other.outage.share == pytest.approx(one.outage.share)


def test_by_hand() -> None:
    # half of the time 4 bit/s, half 96: alone, all on mobile takes 8; all on the edge 24 and 1; after b 9 and 5 1/6
    found = under_trace(chain(), LINK, trace_of([4.0, 96.0, 96.0, 4.0]))
    single, double = found.sets
    assert (single.mean, single.switches, single.thresholds) == (pytest.approx((9 + 5 + 1 / 6) / 2), 0, ())
    assert double.mean == pytest.approx((8 + 1) / 2) == pytest.approx(found.oracle)
    assert double.thresholds == pytest.approx((12.0,))
    assert [found.plans[plan].sends[0].tensors for plan in double.plans] == [(), ("x",)]
    assert (double.shares, double.switches) == ((0.5, 0.5), 2)
    assert found.mean_bits_per_s == pytest.approx(2 / (1 / 4 + 1 / 96))
    assert (found.low_bits_per_s, found.high_bits_per_s, found.oracle_plans) == (4.0, 96.0, 2)
    assert found.outage.model_dump() == {"share": 0.0, "seconds": 0.0, "plan": None, "value": None}
    assert Switching.model_validate(found.model_dump(mode="json")) == found


def test_a_bandwidth_that_never_changes_needs_one_plan() -> None:
    found = under_trace(chain(), LINK, trace_of([20.0, 20.0]))
    assert [each.mean for each in found.sets] == [pytest.approx(1 + 64 / 20)]
    assert (found.low_bits_per_s, found.high_bits_per_s) == (20.0, 20.0)
    assert found.sets[0].above_oracle == pytest.approx(0.0)


def test_outages_stand_beside_the_means() -> None:
    found = under_trace(chain(), LINK, trace_of([0.0, 96.0, 96.0], [2.0, 3.0, 3.0]))
    assert [each.mean for each in found.sets] == [pytest.approx(1.0)]
    assert (found.outage.share, found.outage.seconds, found.outage.value) == (0.25, 2.0, 8.0)
    assert found.plans[found.outage.plan or 0].tier_of == {"a": 0, "b": 0, "c": 0}
    pinned = under_trace(replace(chain(), pins={"c": "edge"}), LINK, trace_of([0.0, 96.0]))
    assert (pinned.outage.share, pinned.outage.plan, pinned.outage.value) == (0.5, None, None)


def test_in_an_outage_of_an_upper_link_the_lower_one_still_works() -> None:
    first = chain()
    cloud = Tier("cloud", example_device(), dict.fromkeys("abc", 0.0))
    problem = replace(first, tiers=(*first.tiers, cloud), links=(example_link(96.0), example_link(96.0)))
    found = under_trace(problem, "edge:cloud", trace_of([0.0, 50.0]))
    assert found.plans[found.outage.plan or 0].tier_of == {"a": 1, "b": 1, "c": 1}
    assert found.outage.value == pytest.approx(1.0)


def test_what_cannot_be_planned_for_is_said() -> None:
    trace = trace_of([1.0, 2.0])
    with pytest.raises(PlanError, match="not linear in 1 / bandwidth"):
        under_trace(replace(chain(), objective="period"), LINK, trace)
    with pytest.raises(PlanError, match="not linear in 1 / bandwidth"):
        under_trace(replace(chain(), limits={"latency": 8.0}), LINK, trace)
    with pytest.raises(PlanError, match="no bandwidth above 0"):
        under_trace(chain(), LINK, trace_of([0.0]))
    with pytest.raises(PlanError, match="0 plans to switch between"):
        under_trace(chain(), LINK, trace, most_plans=0)
    with pytest.raises(UnknownName, match="did you mean mobile:edge"):
        under_trace(chain(), "mobile:egde", trace)
