"""Tiers that are joined in more than one way, held to every placement on every route."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from limited_problems import WHOLE, tight_problem
from random_problems import NAMES

from edgepart.cli.what_if import show_what_if
from edgepart.errors import InfeasiblePlan, PlanError, UndecidedPlan
from edgepart.hardware import Link
from edgepart.hardware.bandwidth_trace import BandwidthTrace
from edgepart.partitioning.conflicts import conflict, only
from edgepart.partitioning.exhaustive import Exhaustive
from edgepart.partitioning.limits import broken
from edgepart.partitioning.minimum_cut import MinimumCut
from edgepart.partitioning.parameter import parameter
from edgepart.partitioning.plan import Proof
from edgepart.partitioning.planning import make_plan
from edgepart.partitioning.problem import Placement, Problem, Tier
from edgepart.partitioning.routes import Routed, best, routes
from edgepart.partitioning.switching import under_trace
from edgepart.partitioning.values import value
from edgepart.partitioning.what_if import what_if
from edgepart.testing.graphs import make_graph
from edgepart.testing.hardware import example_device, example_link

#: the tiers of a route, and a placement on it
OnRoute = tuple[tuple[str, ...], dict[str, int]]


def joined_problem(seed: int, most_layers: int = 5, objectives: tuple[str, ...] = ()) -> Problem:
    """A tight problem on three or four tiers, joined by some links, with limits that mostly bind."""
    random = Random(seed)
    base = next(
        each for each in (tight_problem(random.random(), most_layers) for _ in range(99)) if len(each.links) == 2
    )  # type: ignore[arg-type]
    if random.random() < 0.2:
        slower = {layer: random.randint(1, 5) for layer in base.graph.position}
        base = replace(base, tiers=(*base.tiers, replace(base.tiers[-1], name=NAMES[3], latency_s=slower)))
    names = base.tier_names
    hops = [hop for hop in itertools.combinations(names, 2) if random.random() < 0.7]
    hops += [(names[random.randrange(index)], upper) for index, upper in enumerate(names) if index]
    joined = {
        hop: example_link(
            random.choice([2.0, 8.0, 80.0]),
            random.choice([0.0, 1.0, 5.0]),
            energy_j_per_byte=random.choice([0.25, 1.0]),
        )
        for hop in itertools.combinations(names, 2)
        if hop in hops
    }
    known = [name for name in base.limits if ":" not in name]
    limits = {name: base.limits[name] for name in known}
    if random.random() < 0.3:
        lower, upper = random.choice(list(joined))
        limits[f"{lower}:{upper}.bytes"] = float(random.choice([0, 3, 9]))
    objective = random.choice(objectives) if objectives else base.objective
    if not objectives and (":" in objective or random.random() < 0.1):
        objective = ":".join(random.choice(list(joined))) + ".bytes"
    return replace(base, links=(), joined=joined, limits=limits, objective=objective)


def ways(hops: Mapping[tuple[str, str], object], taken: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """All routes that start with some tiers, those included that others go on from."""
    yield taken
    for lower, upper in hops:
        if lower == taken[-1]:
            yield from ways(hops, (*taken, upper))


def worth(problem: Problem, way: tuple[str, ...], tier_of: dict[str, int], name: str) -> float:
    """A quantity on a route, from the definitions of the chain that it is; 0 of what is not on it."""
    assert problem.joined is not None
    where = name.rpartition(".")[0]
    if where and (tuple(where.split(":")) not in itertools.pairwise(way) if ":" in where else where not in way):
        return 0.0
    return value(chain_of(problem, way), tier_of, name)


def chain_of(problem: Problem, way: tuple[str, ...]) -> Problem:
    """A route as a chain without constraints."""
    assert problem.joined is not None
    by_name = {tier.name: tier for tier in problem.tiers}
    return Problem(
        problem.graph,
        tuple(by_name[name] for name in way),
        tuple(problem.joined[hop] for hop in itertools.pairwise(way)),
        exits=problem.exits,
        answer_bytes=problem.answer_bytes,
    )


def allowed(problem: Problem, way: tuple[str, ...], tier_of: dict[str, int]) -> bool:
    """Whether a placement on a route keeps to everything."""
    if any(tier not in way or way[tier_of[layer]] != tier for layer, tier in problem.pins.items()):
        return False
    if any(way[tier_of[layer]] in tiers for layer, tiers in problem.forbidden.items()):
        return False
    rest = replace(chain_of(problem, way), together=problem.together, kept=problem.kept)
    if broken(rest, tier_of):
        return False
    limits = dict(problem.limits)
    for tier in problem.tiers:
        if tier.memory_limit_bytes is not None:
            limits[f"{tier.name}.memory"] = min(tier.memory_limit_bytes, limits.get(f"{tier.name}.memory", math.inf))
    try:
        return all(worth(problem, way, tier_of, name) <= most * (1 + 1e-9) for name, most in limits.items())
    except InfeasiblePlan:
        return False


def everything(problem: Problem) -> Iterator[OnRoute]:
    """Every placement on every route in which no layer lies below one that it reads from."""
    graph = problem.graph
    names = [layer.name for layer in graph.layers]
    for way in ways(problem.joined or {}, (problem.tiers[0].name,)):
        for tiers in itertools.product(range(len(way)), repeat=len(names)):
            if all(tiers[parent] <= tiers[index] for index in range(len(names)) for parent in graph.parents[index]):
                yield way, dict(zip(names, tiers, strict=True))


def least(problem: Problem) -> float | None:
    """The optimum; None where nothing is allowed."""
    found = []
    for way, tier_of in everything(problem):
        try:
            cost = worth(problem, way, tier_of, problem.objective)
        except InfeasiblePlan:  # no size on offer holds a part
            continue
        if (not found or cost < min(found)) and allowed(problem, way, tier_of):
            found.append(cost)
    return min(found, default=None)


def assert_best(problem: Problem) -> Routed | None:
    """As good as the best of all placements on all routes, and proven so; refused where there is none."""
    optimum = least(problem)
    if optimum is None:
        with pytest.raises(InfeasiblePlan) as caught:
            best(problem, MinimumCut())
        assert "\n" not in str(caught.value)
        return None
    found = best(problem, MinimumCut())
    way, tier_of, proof = found.route.names, dict(found.placement.tier_of), found.placement.proof
    assert allowed(problem, way, tier_of)
    assert worth(problem, way, tier_of, problem.objective) == pytest.approx(optimum, rel=1e-6, abs=1e-6)
    assert proof.status == "optimal"
    assert proof.bound is not None
    assert proof.bound <= optimum * (1 + 1e-6) + 1e-6
    return found


@pytest.mark.parametrize("seed", range(250))
def test_the_best_over_all_routes(seed: int) -> None:
    assert_best(joined_problem(seed, 4))


@pytest.mark.slow
@pytest.mark.parametrize("block", range(24))
def test_the_best_over_all_routes_many(block: int) -> None:
    for seed in range(1000 + 100 * block, 1100 + 100 * block):
        assert_best(joined_problem(seed))


@pytest.mark.parametrize("objective", WHOLE)
@given(seed=st.integers(0, 10**6))
def test_every_objective(objective: str, seed: int) -> None:
    assert_best(replace(joined_problem(seed, 4, (objective,)), limits={}))


def test_the_problems_that_are_tried_take_other_routes_and_none() -> None:
    solved = [assert_best(joined_problem(seed, 4)) for seed in range(60)]
    found = [each.route for each in solved if each]
    assert len(found) < 60, "some have no placement"
    assert any(route.tiers != routes(route.whole)[0].tiers for route in found)
    assert any(len(route.tiers) == len(route.whole.tiers) for route in found)


# --- what conflicts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [range(150), pytest.param(range(150, 900), marks=pytest.mark.slow)])
def test_the_conflict_is_one_on_every_route_and_a_smallest(block: range) -> None:
    for seed in block:
        problem = joined_problem(seed, 4)
        if "money" in problem.objective or least(replace(problem, objective="latency")) is not None:
            continue
        found, proven = conflict(problem, 60.0)
        assert found
        assert proven
        of_limits = any(each.kind == "limit" for each in found)
        assert least(replace(only(problem, found, exits=of_limits), objective="latency")) is None
        for each in found:
            fewer = [other for other in found if other != each]
            assert least(replace(only(problem, fewer, exits=of_limits), objective="latency")) is not None


# --- three tiers, by hand ---------------------------------------------------------------------------------------------


def phone() -> Problem:
    """Each tier is faster. All on mobile 24 s, on the edge 12 + 1 + 10, in the cloud by the edge 3 + 2 + 20."""
    layers = [("a", ["x"], {"a": 8}), ("b", ["a"], {"b": 2}), ("c", ["b"], {"c": 1})]
    work = dict.fromkeys("abc", 8.0)
    tiers = tuple(
        Tier(name, example_device(power_w=1.0), {layer: s / factor for layer, s in work.items()})
        for name, factor in zip(NAMES, (1.0, 2.0, 8.0), strict=False)
    )
    weights = {name: {f"{name}.weight": 10} for name in work}
    graph = make_graph(layers, {"x": 10}, parameters=weights)
    return Problem(graph, tiers, (_link(8.0), _link(8.0)))


def _link(bits_per_s: float) -> Link:
    return example_link(bits_per_s, 1.0, energy_j_per_byte=1.0)


def joined(problem: Problem, **links: float) -> Problem:
    """With more links: ``mobile_cloud=16.0`` of so many bit/s and a round trip of a second."""
    more = {tuple(name.split("_")): _link(rate) for name, rate in links.items()}
    together: dict[tuple[str, ...], Link] = {**dict(zip(problem.hops, problem.links, strict=True)), **more}
    ordered = {hop: together[hop] for hop in itertools.combinations(problem.tier_names, 2) if hop in together}
    return replace(problem, links=(), joined=ordered)


def test_a_fast_direct_link_leaves_the_edge_out() -> None:
    problem = joined(phone(), mobile_cloud=80.0)
    found = best(problem, MinimumCut())
    plan = make_plan(found.route, found.placement, "")
    assert plan.tier_names == ("mobile", "cloud")
    assert [(hop.source, hop.target, hop.bytes) for hop in plan.hops] == [("mobile", "cloud", 10)]
    assert [(tier.name, tier.after) for tier in plan.left_out] == [("edge", "mobile")]
    assert plan.passed_by(plan.hops[0]) == ("edge",)
    assert plan.latency_s == pytest.approx(3 + 1 + 1)
    assert plan.unsplit_s == pytest.approx({"mobile": 24.0, "edge": 12 + 11, "cloud": 5.0})
    assert plan.proof.status == "optimal"
    assert "2 routes" in plan.proof.method
    again = type(plan).model_validate_json(plan.model_dump_json())
    assert again == plan
    known = plan.model_dump(exclude={"left_out"})
    assert type(plan).model_validate(known).left_out == (), "plans of earlier versions have none"


def test_a_direct_link_that_is_worse_than_both_hops_changes_nothing() -> None:
    worse = replace(phone(), links=(example_link(80.0, 0.5), example_link(80.0, 0.5)))
    plain = MinimumCut().solve(worse)
    found = best(joined(worse, mobile_cloud=0.5), MinimumCut())
    assert found.route.names == ("mobile", "edge", "cloud")
    assert found.placement.tier_of == plain.tier_of
    assert found.placement.proof.bound == pytest.approx(plain.proof.bound or 0.0)


@given(seed=st.integers(0, 10**6))
def test_another_link_never_raises_the_optimum(seed: int) -> None:
    problem = joined_problem(seed, 4)
    names, known = problem.tier_names, dict(problem.joined or {})
    missing = [hop for hop in itertools.combinations(names, 2) if hop not in known]
    before = _cost(problem)
    if not missing or before is None:
        return
    after = _cost(
        replace(problem, joined={**known, missing[seed % len(missing)]: example_link(8.0, 1.0, energy_j_per_byte=0.5)})
    )
    assert after is not None
    assert after <= before * (1 + 1e-6) + 1e-6


@given(seed=st.integers(0, 10**6), factor=st.sampled_from([2.0, 10.0]))
def test_a_faster_direct_link_never_raises_the_latency(seed: int, factor: float) -> None:
    problem = replace(joined_problem(seed, 4, ("latency",)), limits={})
    links = dict(problem.joined or {})
    hop = list(links)[seed % len(links)]
    links[hop] = links[hop].model_copy(update={"up_bits_per_s": links[hop].up_bits_per_s * factor})
    before, after = _cost(problem), _cost(replace(problem, joined=links))
    assert (before is None) == (after is None)
    assert before is None or (after is not None and after <= before * (1 + 1e-6) + 1e-6)


def _cost(problem: Problem) -> float | None:
    try:
        found = best(problem, MinimumCut())
    except InfeasiblePlan:
        return None
    return found.route.value(found.placement.tier_of, problem.objective)


def test_neighbours_need_no_link_where_another_way_leads_up() -> None:
    problem = replace(phone(), links=())
    problem = replace(problem, joined={("mobile", "edge"): example_link(80.0), ("mobile", "cloud"): example_link(8.0)})
    assert [route.names for route in routes(problem)] == [("mobile", "edge"), ("mobile", "cloud")]
    both = replace(problem, pins={"a": "edge", "c": "cloud"})
    with pytest.raises(InfeasiblePlan) as caught:
        best(both, MinimumCut())
    says = "no placement on any route satisfies these together: pin a=edge and pin c=cloud; loosen one of them"
    assert str(caught.value) == says


def test_the_excess_is_that_of_the_nearest_route() -> None:
    with pytest.raises(InfeasiblePlan) as caught:
        best(replace(joined(phone(), mobile_cloud=80.0), limits={"latency": 4.0}), MinimumCut())
    assert (
        str(caught.value) == "no placement on any route satisfies latency <= 4 s (the least excess is 1 s); loosen it"
    )
    small = [replace(tier, memory_limit_bytes=20) for tier in phone().tiers]
    with pytest.raises(InfeasiblePlan, match="on any route fits the memory limits: even in the one that falls short"):
        best(
            joined(replace(phone(), tiers=tuple(small)), mobile_edge=1.0, edge_cloud=1.0, mobile_cloud=8.0),
            MinimumCut(),
        )


def test_what_is_minimised_of_a_tier_that_is_left_out_is_nothing() -> None:
    problem = replace(joined(phone(), mobile_cloud=80.0), objective="edge.energy", pins={"c": "cloud"})
    found = best(problem, MinimumCut())
    plan = make_plan(found.route, found.placement, "")
    assert plan.tier_names == ("mobile", "cloud")
    assert plan.objective == "edge.energy"
    assert plan.predicted["edge.energy"] == 0.0
    assert (plan.proof.status, plan.proof.bound, plan.proof.gap) == ("optimal", 0.0, 0.0)
    limited = replace(problem, objective="latency", limits={"edge.energy": 1e-3, "mobile:cloud.bytes": 9.0})
    found = best(limited, MinimumCut())
    assert make_plan(found.route, found.placement, "").limits == limited.limits


class _Half:
    """Knows the optimum only on routes of three tiers; on others half of what it finds, or nothing in time."""

    def __init__(self, gives_up: bool) -> None:
        self.gives_up = gives_up

    def solve(self, problem: Problem) -> Placement:
        if self.gives_up and len(problem.tiers) < 3:
            raise UndecidedPlan("nothing was found")
        found = MinimumCut().solve(problem)
        if len(problem.tiers) == 3:
            return found
        bound = (found.proof.bound or 0.0) / 2
        return Placement(found.tier_of, Proof(status="bound", method="half", bound=bound, gap=0.5))


def test_the_proof_is_that_of_all_routes() -> None:
    near = joined(phone(), mobile_cloud=8.0)
    found = best(near, _Half(gives_up=False))
    assert (found.placement.proof.status, found.placement.proof.bound) == ("bound", pytest.approx(7.0))
    lost = best(near, _Half(gives_up=True))
    assert lost.route.names == ("mobile", "edge", "cloud")
    assert (lost.placement.proof.status, lost.placement.proof.bound, lost.placement.proof.gap) == ("bound", 0.0, 1.0)
    worse = joined(phone(), mobile_cloud=0.01)
    assert best(worse, _Half(gives_up=False)).placement.proof.status == "bound"
    with pytest.raises(UndecidedPlan):
        best(replace(near, limits={"latency": 5.0}), _Half(gives_up=True))


def test_solvers_refuse_what_has_several_routes() -> None:
    for method in (MinimumCut(), Exhaustive()):
        with pytest.raises(PlanError, match="joined in more than one way"):
            method.solve(joined(phone(), mobile_cloud=8.0))


# --- what if ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [range(40), pytest.param(range(40, 400), marks=pytest.mark.slow)])
@pytest.mark.parametrize("what", ["bandwidth", "round_trip", "speed", "limit"])
def test_the_best_plan_over_a_range(what: str, block: range) -> None:
    for seed in block:
        random = Random(seed)
        problem = replace(joined_problem(seed, 4, ("latency", "energy")), limits={})
        hop = random.choice(problem.hops)
        text = {
            "bandwidth": f"link.{':'.join(hop)}.bandwidth=0.5..200bps",
            "round_trip": f"link.{':'.join(hop)}.round_trip=0..20s",
            "speed": f"tier.{random.choice(problem.tier_names)}.speed=0.25..4",
            "limit": f"limit.{':'.join(hop)}.bytes=0..30B",
        }[what]
        varied = parameter(text, problem)
        if least(problem) is None:
            continue
        found = what_if(problem, varied)
        assert found.method == ("steps" if what == "limit" else "parametric")
        for piece, share in itertools.product(found.pieces, (0.01, 0.5, 0.99)):
            at = piece.start + (piece.stop - piece.start) * share
            optimum = least(varied.applied(problem, at))
            assert found.value_at(at) == (None if optimum is None else pytest.approx(optimum, rel=1e-6, abs=1e-6))
        for piece in found.pieces:
            if piece.plan is not None:
                plan = found.plans[piece.plan]
                middle = (piece.start + piece.stop) / 2
                way = plan.route
                tier_of = {layer: way.index(problem.tier_names[tier]) for layer, tier in plan.tier_of.items()}
                cost = worth(varied.applied(problem, middle), way, tier_of, problem.objective)
                assert cost == pytest.approx(found.value_at(middle), rel=1e-6, abs=1e-6)
                assert allowed(varied.applied(problem, middle), way, tier_of)


def test_where_the_direct_link_takes_over(capsys: pytest.CaptureFixture[str]) -> None:
    found = what_if(joined(phone(), mobile_cloud=8.0), "link.mobile:cloud.bandwidth=1..800bps")
    # 3 + 1 + 80 / rate in the cloud; before that c alone is sent there (b: 2 B), after 16 s on mobile
    show_what_if(found)
    printed = capsys.readouterr().out
    assert "mobile > edge" not in printed.splitlines()[0]
    assert [plan.route for plan in found.plans][-1] == ("mobile", "cloud")
    assert "mobile > cloud" in printed
    assert found.value_at(80.0) == pytest.approx(5.0)


# --- under a trace ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_the_best_plan_at_each_moment_of_a_trace(seed: int) -> None:
    random = Random(seed)
    problem = replace(joined_problem(seed, 4, ("latency",)), limits={})
    hop = random.choice(problem.hops)
    rates = np.array([random.choice([1.0, 4.0, 30.0, 200.0]) for _ in range(5)] + [0.0])
    if least(problem) is None:
        return
    found = under_trace(problem, ":".join(hop), BandwidthTrace("walk", "walk.csv", np.ones(6), rates), most_plans=9)
    links = dict(problem.joined or {})
    costs = []
    for rate in rates[:-1]:
        now = replace(problem, joined={**links, hop: links[hop].model_copy(update={"up_bits_per_s": rate})})
        costs.append(least(now))
    assert found.oracle == pytest.approx(np.mean(costs), rel=1e-6, abs=1e-6)
    without = least(replace(problem, joined={each: link for each, link in links.items() if each != hop}))
    assert found.outage.value == (None if without is None else pytest.approx(without, rel=1e-6, abs=1e-6))
