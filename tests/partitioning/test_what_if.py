"""The best plan over a range against the best plan at many places of it, found by trying all placements."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_problems import problems, rich_problems

from edgepart.errors import InfeasiblePlan, PlanError, UnknownName
from edgepart.partitioning.exhaustive import Exhaustive, placements
from edgepart.partitioning.limits import broken, exceeded
from edgepart.partitioning.minimum_cut import MinimumCut
from edgepart.partitioning.parameter import Parameter, bit_rate, parameter
from edgepart.partitioning.parametric import Line, least_of, lower_envelope
from edgepart.partitioning.pins import windows
from edgepart.partitioning.placement_cost import crossing
from edgepart.partitioning.problem import Partitioner, Placement, Problem, Tier
from edgepart.partitioning.values import value
from edgepart.partitioning.what_if import Piece, WhatIf, what_if
from edgepart.testing.graphs import make_graph
from edgepart.testing.hardware import example_device, example_link

slowly = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
CLOSE = {"rel": 1e-6, "abs": 1e-9}


class Counted:
    """A solver that keeps what it was asked."""

    def __init__(self, solver: Partitioner) -> None:
        self.solver, self.asked = solver, 0

    def solve(self, problem: Problem) -> Placement:
        self.asked += 1
        return self.solver.solve(problem)


def chain() -> Problem:
    """Three layers, ever smaller tensors, a link of 1 B/s and a second tier that takes no time."""
    layers = [("a", ["x"], {"a": 8}), ("b", ["a"], {"b": 2}), ("c", ["b"], {"c": 1})]
    device = example_device(power_w=2.0)
    tiers = (
        Tier("mobile", device, {"a": 1.0, "b": 4.0, "c": 3.0}),
        Tier("cloud", device, {"a": 0.0, "b": 0.0, "c": 0.0}),
    )
    return Problem(
        make_graph(layers, {"x": 12}, parameters={n: {f"{n}.w": 10} for n in "abc"}), tiers, (example_link(8.0),)
    )


def places(found: WhatIf, count: int = 9) -> list[tuple[Piece, float]]:
    """The ends of every piece, and values inside."""
    return [(piece, float(at)) for piece in found.pieces for at in np.linspace(piece.start, piece.stop, count)]


def assert_covers(found: WhatIf) -> None:
    assert (found.pieces[0].start, found.pieces[-1].stop) == (found.low, found.high)
    for left, right in itertools.pairwise(found.pieces):
        assert left.stop == right.start
        assert left.plan != right.plan


def assert_best_everywhere(problem: Problem, varied: Parameter, found: WhatIf) -> None:
    """At every place the plan of its piece is as good as the best of all placements."""
    assert_covers(found)
    for piece, at in places(found):
        there = varied.applied(problem, at)
        best = value(there, Exhaustive().solve(there).tier_of, problem.objective)
        assert piece.plan is not None
        mine = value(there, found.plans[piece.plan].tier_of, problem.objective)
        assert mine == pytest.approx(best, **CLOSE)
        assert found.value_at(at) == pytest.approx(best, **CLOSE)
        if at == piece.start:
            assert piece.at_start == pytest.approx(best, **CLOSE)
        if at == piece.stop:
            assert piece.at_stop == pytest.approx(best, **CLOSE)


def assert_ties(problem: Problem, varied: Parameter, found: WhatIf) -> None:
    """Two plans are equally good where one takes the place of the other."""
    for left, right in itertools.pairwise(found.pieces):
        there = varied.applied(problem, left.stop)
        values = [value(there, found.plans[p.plan or 0].tier_of, problem.objective) for p in (left, right)]
        assert values[0] == pytest.approx(values[1], **CLOSE)


@st.composite
def funnels(draw: st.DrawFn) -> Problem:
    """Chains with a shortcut here and there, whose tensors shrink as lower tiers work longer: many plans are best."""
    count, tiers = draw(st.integers(3, 6)), draw(st.sampled_from([2, 2, 3]))
    sizes = sorted(draw(st.lists(st.integers(1, 400), min_size=count + 1, max_size=count + 1)), reverse=True)
    layers = []
    for index in range(count):
        before = "x" if index == 0 else f"l{index - 1}"
        shortcut = [f"l{index - 3}"] if index > 2 and draw(st.booleans()) else []
        layers.append((f"l{index}", [before, *shortcut], {f"l{index}": sizes[index + 1]}))
    speeds = (1.0, draw(st.floats(0.05, 0.9)), 0.01)
    work = [float(draw(st.integers(1, 40))) for _ in range(count)]
    places = tuple(
        Tier(name, example_device(name, power_w=2.0), {f"l{i}": w * speed for i, w in enumerate(work)})
        for name, speed in zip(("mobile", "edge", "cloud")[:tiers], speeds, strict=False)
    )
    links = tuple(example_link(draw(st.floats(8.0, 800.0)), draw(st.sampled_from([0.0, 1.0]))) for _ in places[1:])
    return Problem(make_graph(layers, {"x": sizes[0]}), places, links)


RANGES = {"bandwidth": (0.5, 3000.0), "round_trip": (0.0, 40.0), "speed": (0.02, 50.0)}


def any_parameter(problem: Problem, what: str, index: int) -> Parameter:
    low, high = RANGES[what]
    names = problem.tier_names
    where = names[index] if what == "speed" else f"{names[index]}:{names[index + 1]}"
    unit = {"bandwidth": "bit/s", "round_trip": "s", "speed": ""}[what]
    return Parameter(f"{what} of {where}", what, index, low, high, unit)  # type: ignore[arg-type]


rich = rich_problems(most_layers=5, objectives=("latency", "full-latency", "energy", "mobile.energy"))


@st.composite
def varied_problems(draw: st.DrawFn) -> tuple[Problem, Parameter]:
    problem = draw(funnels() | rich)
    what = draw(st.sampled_from(sorted(RANGES)))
    return problem, any_parameter(problem, what, draw(st.integers(0, len(problem.links) - 1)))


def assert_exact(problem: Problem, varied: Parameter, solver: Partitioner) -> None:
    counted = Counted(solver)
    try:
        found = what_if(problem, varied, counted)
    except InfeasiblePlan:
        with pytest.raises(InfeasiblePlan):
            Exhaustive().solve(varied.applied(problem, varied.low))
        return
    assert found.method == "parametric"
    assert found.solved == counted.asked <= 2 * len(found.breakpoints) + 3
    assert_best_everywhere(problem, varied, found)
    assert_ties(problem, varied, found)


@settings(max_examples=150, suppress_health_check=slowly, deadline=None)
@given(varied_problems(), st.booleans())
def test_pieces_are_best_everywhere_and_few_questions_find_them(given: tuple[Problem, Parameter], cut: bool) -> None:
    assert_exact(*given, MinimumCut() if cut else Exhaustive())


@pytest.mark.slow
@settings(max_examples=3000, suppress_health_check=slowly, deadline=None)
@given(varied_problems())
def test_pieces_are_best_everywhere_on_many(given: tuple[Problem, Parameter]) -> None:
    assert_exact(*given, MinimumCut())


@settings(max_examples=60, suppress_health_check=slowly, deadline=None)
@given(problems(most_layers=5), st.sampled_from(["bandwidth", "round_trip", "speed"]))
def test_memory_limits_do_not_change_that(problem: Problem, what: str) -> None:
    varied = any_parameter(problem, what, 0)
    try:
        found = what_if(problem, varied, Exhaustive())
    except InfeasiblePlan:
        return
    assert found.method == "parametric"
    assert_best_everywhere(problem, varied, found)


LIMITED = {
    "mobile.memory": "bytes",
    "edge.memory": "bytes",
    "mobile:edge.bytes": "bytes",
    "latency": "s",
    "mobile.energy": "J",
}


@st.composite
def limitable(draw: st.DrawFn) -> tuple[Problem, str]:
    """A problem without limits, and what to limit."""
    problem = draw(funnels() | problems(most_layers=5, limits=False, pins=False))
    tiers = (replace(t, device=t.device.model_copy(update={"power_w": 2.0})) for t in problem.tiers)
    links = (link.model_copy(update={"energy_j_per_byte": 0.5}) for link in problem.links)
    objective = draw(st.sampled_from(["latency", "energy", "mobile:edge.bytes"]))
    named = replace(problem, tiers=tuple(tiers), links=tuple(links), objective=objective)
    return named, draw(st.sampled_from(sorted(LIMITED)))


def assert_all_steps(problem: Problem, name: str, solver: Partitioner) -> None:
    """Every piece is as good as the best of all placements that its limits allow, and no limit in between is better."""
    legal = [each for each in placements(problem, windows(problem)) if not broken(problem, each)]
    uses = [value(problem, each, name) for each in legal]
    worth = [value(problem, each, problem.objective) for each in legal]
    low, high = max(0.0, min(uses) - 2), max(uses) + 2
    counted = Counted(solver)
    found = what_if(problem, Parameter(f"limit.{name}", "limit", 0, low, high, LIMITED[name], name), counted)
    assert found.method == "steps"
    assert_covers(found)
    for piece in found.pieces:
        if piece.plan is None:
            assert piece is found.pieces[0]
            assert piece.why
            assert piece.stop == pytest.approx(min(uses))
            continue
        mine = value(problem, found.plans[piece.plan].tier_of, problem.objective)
        assert piece.at_start == piece.at_stop == mine
        # at its lower end, and just below the upper one
        for limit in (piece.start, piece.start + 0.999 * (piece.stop - piece.start)):
            best = min(v for v, used in zip(worth, uses, strict=True) if used <= limit * (1 + 1e-9))
            assert mine == pytest.approx(best, **CLOSE)
    values = [piece.at_start for piece in found.pieces if piece.at_start is not None]
    # each a step of its own
    assert all(tighter > looser * (1 + 1e-9) for tighter, looser in itertools.pairwise(values))
    assert counted.asked <= len({round(used, 6) for used in uses}) + 1


@settings(max_examples=80, suppress_health_check=slowly, deadline=None)
@given(limitable())
def test_steps_of_a_limit_are_all_found(given: tuple[Problem, str]) -> None:
    assert_all_steps(*given, Exhaustive())


@settings(max_examples=30, suppress_health_check=slowly, deadline=None)
@given(limitable())
def test_steps_of_a_limit_are_all_found_by_the_integer_program(given: tuple[Problem, str]) -> None:
    assert_all_steps(*given, MinimumCut())


@pytest.mark.slow
@settings(max_examples=2000, suppress_health_check=slowly, deadline=None)
@given(limitable())
def test_steps_of_a_limit_are_all_found_on_many(given: tuple[Problem, str]) -> None:
    assert_all_steps(*given, MinimumCut())


@settings(max_examples=30, suppress_health_check=slowly, deadline=None)
@given(problems(most_layers=4, limits=False), st.sampled_from(["bandwidth", "speed"]))
def test_what_is_not_linear_is_sampled_and_said_to_be(problem: Problem, what: str) -> None:
    problem = replace(problem, objective="period")
    varied = any_parameter(problem, what, 0)
    found = what_if(problem, varied, Exhaustive(), samples=7)
    assert (found.method, found.solved) == ("samples", 7)
    assert "7 values" in found.note
    assert found.breakpoints == ()
    for piece in found.pieces:
        for at, stated in ((piece.start, piece.at_start), (piece.stop, piece.at_stop)):
            there = varied.applied(problem, at)
            assert stated == pytest.approx(Exhaustive().solve(there).proof.bound)


def test_a_limit_that_depends_on_the_parameter_is_sampled() -> None:
    found = what_if(replace(chain(), limits={"latency": 9.0}), "link.mobile:cloud.bandwidth=1..80bps", Exhaustive())
    assert found.method == "samples"
    bytes_limited = replace(chain(), limits={"mobile:cloud.bytes": 9.0})
    assert what_if(bytes_limited, "link.mobile:cloud.bandwidth=1..80bps", Exhaustive()).method == "parametric"


@settings(max_examples=60, suppress_health_check=slowly, deadline=None)
@given(funnels(), st.sampled_from([0.25, 3.0, 1000.0]))
def test_scaling_times_and_rates_scales_the_breakpoints(problem: Problem, factor: float) -> None:
    slower = replace(
        problem,
        tiers=tuple(replace(t, latency_s={k: v * factor for k, v in t.latency_s.items()}) for t in problem.tiers),
        links=tuple(example_link(link.up_bits_per_s / factor, link.round_trip_s * factor) for link in problem.links),
    )
    first = what_if(problem, any_parameter(problem, "bandwidth", 0), Exhaustive())
    varied = any_parameter(problem, "bandwidth", 0)
    second = what_if(slower, replace(varied, low=varied.low / factor, high=varied.high / factor), Exhaustive())
    assert len(second.pieces) == len(first.pieces)
    assert [b * factor for b in second.breakpoints] == pytest.approx(list(first.breakpoints))
    for one, other in zip(first.pieces, second.pieces, strict=True):
        assert other.at_start == pytest.approx((one.at_start or 0.0) * factor)


def test_a_chain_by_hand() -> None:
    found = what_if(chain(), "link.mobile:cloud.bandwidth=0.5..100bps")
    # all in the cloud 96/B, after a 1 + 64/B, after b 5 + 16/B, all on mobile 8
    assert [piece.stop for piece in found.pieces] == pytest.approx([16 / 3, 12, 32, 100])
    assert [found.plans[piece.plan or 0].sends[0].bytes for piece in found.pieces] == [0, 2, 8, 12]
    assert [found.plans[piece.plan or 0].sends[0].tensors for piece in found.pieces] == [(), ("b",), ("a",), ("x",)]
    assert found.pieces[1].at_start == pytest.approx(8.0)
    assert found.pieces[1].at_stop == pytest.approx(5 + 16 / 12)
    assert (found.method, found.note) == ("parametric", "")
    assert found.gap is not None
    assert found.gap < 1e-6
    assert WhatIf.model_validate(found.model_dump(mode="json")) == found


def test_six_orders_of_magnitude() -> None:
    found = what_if(chain(), "link.mobile:cloud.bandwidth=0.001..1000bps")
    assert list(found.breakpoints) == pytest.approx([16 / 3, 12, 32], rel=1e-9)


def test_one_plan_may_be_best_everywhere() -> None:
    found = what_if(chain(), "link.mobile:cloud.bandwidth=50..100bps")
    assert len(found.pieces) == 1
    assert found.solved <= 3
    assert (found.pieces[0].start, found.pieces[0].stop) == (50.0, 100.0)


def test_the_speed_of_a_tier_holds_for_its_heads_and_its_energy() -> None:
    problem = chain()
    varied = parameter("tier.mobile.speed=0.5..4", problem)
    twice = varied.applied(problem, 2.0)
    assert twice.tiers[0].latency_s == {"a": 0.5, "b": 2.0, "c": 1.5}
    assert twice.tiers[0].device.macs_per_s == 2 * problem.tiers[0].device.macs_per_s
    everything = dict.fromkeys("abc", 0)
    assert value(twice, everything, "mobile.energy") == value(problem, everything, "mobile.energy") / 2
    assert twice.tiers[1] is problem.tiers[1]


def test_a_memory_limit_takes_the_place_of_the_one_before_and_not_of_the_devices() -> None:
    problem = chain()
    mobile = replace(problem.tiers[0], memory_limit_bytes=3)
    varied = parameter("limit.mobile.memory=1B..20GB", replace(problem, limits={"mobile.memory": 5}))
    assert varied.applied(replace(problem, tiers=(mobile, problem.tiers[1])), 40.0).tiers[0].memory_limit_bytes == 40
    applied = varied.applied(replace(problem, limits={"mobile.memory": 5, "latency": 3.0}), 2e10)
    assert applied.tiers[0].memory_limit_bytes == example_device().memory_bytes
    assert applied.limits == {"latency": 3.0}


def test_an_infeasible_range_says_why() -> None:
    problem = replace(chain(), pins={"a": "mobile", "b": "mobile", "c": "mobile"})
    found = what_if(problem, "limit.mobile.memory=10..60B", Exhaustive())
    assert [piece.plan for piece in found.pieces] == [None, 0]
    assert found.pieces[0].why
    assert (found.value_at(11.0), found.value_at(61.0), found.value_at(60.0)) == (None, None, 8.0)
    with pytest.raises(InfeasiblePlan):
        what_if(problem, "limit.mobile.memory=10..20B", Exhaustive())
    with pytest.raises(InfeasiblePlan):
        what_if(replace(problem, limits={"latency": 1.0}), "tier.mobile.speed=0.5..2", Exhaustive())


def test_limits_of_a_real_solver() -> None:
    # what is sent on is held until then: the input alone takes 12 bytes
    found = what_if(chain(), "limit.mobile.memory=12..60B")
    assert len(found.pieces) > 1
    for piece in found.pieces:
        assert piece.plan is not None
        for at in (piece.start, (piece.start + piece.stop) / 2):
            there = parameter("limit.mobile.memory=12..60B", chain()).applied(chain(), at)
            assert not exceeded(there, found.plans[piece.plan].tier_of)
            assert piece.at_start == pytest.approx(Exhaustive().solve(there).proof.bound)


def test_what_is_cut_is_what_crosses() -> None:
    found = what_if(chain(), "link.mobile:cloud.round_trip=0..20s")
    for plan in found.plans:
        assert tuple(sent.tensors for sent in plan.sends) == crossing(chain(), plan.tier_of)
        assert [(sent.lower, sent.upper) for sent in plan.sends] == [("mobile", "cloud")]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=12), st.integers(0, 3))
def test_an_envelope_of_lines_is_least_everywhere(ends: list[tuple[int, int]], low: int) -> None:
    lines = [Line(float(low), low + 7.0, float(a), float(b), number) for number, (a, b) in enumerate(ends)]
    asked = []

    def oracle(x: float) -> Line[int]:
        asked.append(x)
        return min(lines, key=lambda line: line.at(x))

    found = lower_envelope(oracle, float(low), low + 7.0)
    assert len(asked) <= 2 * (len(found) - 1) + 3
    again = least_of(lines)
    assert [start for start, _ in again] == pytest.approx([start for start, _ in found])
    assert [line.slope for _, line in again] == pytest.approx([line.slope for _, line in found])
    starts = [start for start, _ in found] + [low + 7.0]
    for (start, line), stop in zip(found, starts[1:], strict=True):
        for x in np.linspace(start, stop, 5):
            assert line.at(x) == pytest.approx(min(each.at(x) for each in lines), abs=1e-9)
    # concave: ever flatter
    slopes = [line.slope for _, line in found]
    assert all(after < before for before, after in itertools.pairwise(slopes))


@pytest.mark.parametrize(
    ("text", "low", "high", "unit"),
    [
        ("link.mobile:cloud.bandwidth=1..100Mbps", 1e6, 1e8, "bit/s"),
        ("link.mobile:cloud.bandwidth=500kbps .. 1.5 Gbit/s", 5e5, 1.5e9, "bit/s"),
        ("link.mobile:cloud.round_trip=1..200ms", 1e-3, 0.2, "s"),
        ("link.mobile:cloud.round_trip=0us..1s", 0.0, 1.0, "s"),
        ("tier.mobile.speed=.5..4", 0.5, 4.0, ""),
        ("tier.cloud.speed=0.5x..4x", 0.5, 4.0, ""),
        ("limit.mobile.memory=10..200MB", 1e7, 2e8, "bytes"),
        ("limit.mobile.memory=1kB..2MiB", 1e3, 2.0**21, "bytes"),
        ("limit.latency=20..90ms", 0.02, 0.09, "s"),
        ("limit.mobile.energy=20mJ..9J", 0.02, 9.0, "J"),
        ("limit.money=0.1..1e1USD", 0.1, 10.0, "USD"),
        ("limit.mobile.exits=0..3", 0.0, 3.0, ""),
    ],
)
def test_ranges_with_units(text: str, low: float, high: float, unit: str) -> None:
    found = parameter(text, chain())
    assert (found.low, found.high, found.unit) == (pytest.approx(low), pytest.approx(high), unit)
    assert found.name == text.partition("=")[0]
    assert math.isclose(found.value_of(found.coordinate(high)), high)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("link.mobile:cloud.bandwidth=1..100", PlanError, "=100 has no unit: expected a number with bit/s, bps, kbps"),
        (
            "link.mobile:cloud.bandwidth=1..100MB",
            PlanError,
            "'MB' in .* is not a unit of a rate in bits a second: did you mean 100Mbps",
        ),
        ("link.mobile:cloud.bandwidth=100..1Mbps", PlanError, "from 100 Mbit/s to 1.00 Mbit/s is no range"),
        ("link.mobile:cloud.bandwidth=5..5Mbps", PlanError, "is no range"),
        ("link.mobile:cloud.bandwidth=0..5Mbps", PlanError, "expected above 0"),
        ("link.mobile:cloud.bandwidth=-1..5Mbps", PlanError, "=-1 is below 0"),
        ("link.mobile:cloud.round_trip=-1..5ms", PlanError, "=-1 is below 0"),
        ("link.mobile:cloud.bandwidth=5Mbps", PlanError, "is no range: expected LOW..HIGH, as 1..100Mbps"),
        ("link.mobile:cloud.bandwidth=..5Mbps", PlanError, "bandwidth= is not a rate"),
        ("link.mobile:cloud.bandwidth=", PlanError, "does not say what varies"),
        ("bandwidth=1..5Mbps", PlanError, "does not say what varies"),
        ("link.mobile:cloud.speed=1..2", UnknownName, "unknown parameter of a link 'speed'"),
        ("link.mobile:clod.bandwidth=1..5Mbps", UnknownName, "unknown link 'mobile:clod'; did you mean mobile:cloud"),
        ("tier.moble.speed=1..2", UnknownName, "unknown tier 'moble'; did you mean mobile"),
        ("tier.mobile.memory=1..2", PlanError, "vary what it may be, as limit.mobile.memory"),
        ("tier.mobile.spede=1..2", UnknownName, "unknown parameter of a tier 'spede'; did you mean speed"),
        ("tier.mobile.speed=1..inf", PlanError, "tier.mobile.speed=inf is not a number"),
        ("limit.mobile.memory=1..2", PlanError, "limit.mobile.memory=2 has no unit"),
        ("limit.mobile.exits=0..1.5", PlanError, "a number of exits: expected whole ones"),
        ("limit.moble.memory=1..2MB", UnknownName, "unknown tier 'moble'"),
        ("limit.mobile.memory=1..2Mbps", PlanError, "'Mbps' in .* is not a unit"),
        ("lnk.mobile:cloud.bandwidth=1..5Mbps", UnknownName, "unknown parameter"),
    ],
)
def test_what_is_not_a_range_is_one_sentence(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        parameter(text, chain())
    assert "\n" not in str(raised.value)
    assert not re.search(r"\.\s+[A-Z]", str(raised.value))


def test_rates_read_well() -> None:
    assert [bit_rate(x) for x in (12.0, 1500.0, 999_990.0, 3.28e7, 2e9)] == [
        "12.0 bit/s",
        "1.50 kbit/s",
        "1.00 Mbit/s",
        "32.8 Mbit/s",
        "2.00 Gbit/s",
    ]
