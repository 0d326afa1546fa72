"""What it costs to start a tier's part: paid by who comes to it, and chosen with in mind, exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limited_problems import WHOLE, assert_best, chain_problems, tight_problem
from random_problems import rich_problems
from sample_profiles import encoder_profile, measured
from test_planning import DIMEC, LINKS, MEASURED, TIERS

from edgepart.errors import InfeasiblePlan
from edgepart.hardware.scaling import tier_start_s
from edgepart.partitioning import Plan, partition
from edgepart.partitioning.exhaustive import placements
from edgepart.partitioning.limits import broken
from edgepart.partitioning.minimum_cut import MinimumCut
from edgepart.partitioning.parameter import parameter
from edgepart.partitioning.pins import windows
from edgepart.partitioning.placement_cost import evaluate
from edgepart.partitioning.problem import ExitShare, Problem, Tier
from edgepart.partitioning.values import power_w, value
from edgepart.testing.graphs import make_graph
from edgepart.testing.hardware import example_device, example_link

slowly = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
ADDITIVE = ("latency", "full-latency", "energy", "mobile.energy", "edge.energy")


def free(problem: Problem) -> Problem:
    """Where no start costs anything."""
    return replace(problem, tiers=tuple(replace(tier, start_s=0.0) for tier in problem.tiers))


def groups(problem: Problem, tier_of: Mapping[str, int]) -> list[tuple[float, set[int]]]:
    """Samples by where they leave: their share, and the tiers that run a layer for them."""
    before, found = 1.0, []
    for depth, going_on in [*((x.depth, x.going_on) for x in problem.exits), (len(problem.graph.layers), 0.0)]:
        run = {tier_of[layer.name] for layer in problem.graph.layers[:depth]}
        found.append((before - going_on, run))
        before = going_on
    return found


@settings(max_examples=150, suppress_health_check=slowly)
@given(rich_problems(), st.data())
def test_a_start_is_paid_by_the_samples_for_which_the_tier_runs_a_layer(problem: Problem, data: st.DataObject) -> None:
    problem = replace(problem, pins={}, forbidden={}, together=(), kept=())
    every = [each for each in placements(problem, windows(problem)) if not broken(problem, each)]
    tier_of = data.draw(st.sampled_from(every))
    starts = [tier.start_s for tier in problem.tiers]
    paid = {
        "latency": sum(share * starts[tier] for share, run in groups(problem, tier_of) for tier in run),
        "full-latency": sum(starts[tier] for tier in set(tier_of.values())),
        "energy": sum(
            share * starts[tier] * power_w(problem.tiers[tier])
            for share, run in groups(problem, tier_of)
            for tier in run
        ),
        "period": 0.0,
    }
    for name, more in paid.items():
        found = value(problem, tier_of, name) - value(free(problem), tier_of, name)
        assert found == pytest.approx(more, abs=1e-9), name


def test_a_start_is_billed_with_the_layers() -> None:
    for seed in range(200):
        problem = tight_problem(seed)
        tier_of = dict.fromkeys(problem.graph.position, 0)
        first = problem.tiers[0]
        if first.price is None or problem.exits or not first.price.sizes:
            continue
        # as a layer that takes as long would be
        layer = problem.graph.layers[0].name
        longer = {**first.latency_s, layer: first.latency_s[layer] + first.start_s}
        other = replace(problem, tiers=(replace(first, latency_s=longer, start_s=0.0), *problem.tiers[1:]))
        try:
            expected = value(other, tier_of, "money")
        except InfeasiblePlan:
            continue
        assert value(problem, tier_of, "money") == pytest.approx(expected)


@settings(max_examples=150, suppress_health_check=slowly)
@given(chain_problems(most_layers=6, tiers=(3, 4)), st.sampled_from(ADDITIVE))
def test_up_to_four_tiers_with_exits_equal_exhaustive_search(problem: Problem, objective: str) -> None:
    assert_best(replace(problem, objective=objective, limits={}), MinimumCut())


@pytest.mark.slow
@settings(max_examples=2000, suppress_health_check=slowly)
@given(chain_problems(most_layers=8, tiers=(3, 4)), st.sampled_from(ADDITIVE))
def test_up_to_four_tiers_with_exits_equal_exhaustive_search_on_many(problem: Problem, objective: str) -> None:
    assert_best(replace(problem, objective=objective, limits={}), MinimumCut())


def optimum(problem: Problem) -> float:
    try:
        return value(problem, MinimumCut().solve(problem).tier_of, problem.objective)
    except InfeasiblePlan:
        return float("inf")


def test_a_longer_start_never_lowers_the_optimum() -> None:
    for seed in range(2000, 2080):
        problem = replace(tight_problem(seed), objective=WHOLE[seed % len(WHOLE)])
        which = seed % len(problem.tiers)
        tiers = list(problem.tiers)
        tiers[which] = replace(tiers[which], start_s=tiers[which].start_s + 1.5)
        assert optimum(replace(problem, tiers=tuple(tiers))) >= optimum(problem) * (1 - 1e-6) - 1e-6


def chain(starts: tuple[float, float, float], **settings: object) -> Problem:
    """Three layers, the best tier of the first the lowest, of the second the middle one; a byte takes a second."""
    layers = [(f"l{i}", [f"l{i - 1}" if i else "x"], {f"l{i}": 1}) for i in range(3)]
    seconds = ((1.0, 9.0, 9.0), (9.0, 1.0, 9.0), (9.0, 5.0, 1.0))
    tiers = tuple(
        Tier(name, example_device(), {f"l{i}": each for i, each in enumerate(of)}, start_s=start)
        for name, of, start in zip(("mobile", "edge", "cloud"), seconds, starts, strict=True)
    )
    links = (example_link(), example_link())
    return Problem(make_graph(layers, {"x": 8}), tiers, links, **settings)  # type: ignore[arg-type]


def test_a_tier_is_used_as_long_as_it_gains_more_than_its_start() -> None:
    assert list(MinimumCut().solve(chain((1.0, 1.0, 1.0))).tier_of.values()) == [0, 1, 2]
    # the third one gains 7 s over the second one
    assert list(MinimumCut().solve(chain((1.0, 1.0, 6.5))).tier_of.values()) == [0, 1, 2]
    assert list(MinimumCut().solve(chain((1.0, 1.0, 7.5))).tier_of.values()) == [0, 1, 1]
    # the second one 4 s over the third
    assert list(MinimumCut().solve(chain((1.0, 3.5, 0.0))).tier_of.values()) == [0, 1, 2]
    found = MinimumCut().solve(chain((1.0, 4.5, 0.0)))
    assert list(found.tier_of.values()) == [0, 2, 2]
    assert found.proof.status == "optimal"
    assert found.proof.gap == pytest.approx(0.0, abs=1e-6)


def test_who_leaves_before_a_tier_does_not_start_it() -> None:
    early = chain((1.0, 8.5, 0.0), exits=(ExitShare("early", "l0", 1, 0.5),))
    tier_of = {"l0": 0, "l1": 1, "l2": 2}
    assert value(early, tier_of, "latency") == pytest.approx(1 + 1 + 0.5 * (8.5 + 1 + 1 + 1 + 1))
    assert value(early, tier_of, "full-latency") == 1 + 1 + 8.5 + 1 + 1 + 1 + 1
    assert value(early, tier_of, "period") == 1


def test_nested_tiers_each_pay_their_own_start() -> None:
    problem = chain((1.0, 2.0, 4.0), deployment="nested")
    costs = evaluate(problem, {"l0": 0, "l1": 1, "l2": 1})
    assert costs.compute_s == (1 + 1, 2 + 9 + 1 + 9, 0.0)
    assert costs.latency_s == 2 + 9 + 1 + 9 + 8


def test_a_slower_tier_starts_more_slowly() -> None:
    problem = chain((1.0, 2.0, 4.0))
    applied = parameter("tier.edge.speed=0.5..2", problem).applied(problem, 0.5)
    assert [tier.start_s for tier in applied.tiers] == [1.0, 4.0, 4.0]


# --- in a plan --------------------------------------------------------------------------------------------------------


def plan(**settings: object) -> Plan:
    profile = encoder_profile(MEASURED).model_copy(update={"wake_up": measured(0.25e-3)})
    return partition(profile, TIERS, LINKS, **settings)  # type: ignore[arg-type]


def test_a_profile_s_wake_up_is_carried_over_to_devices() -> None:
    profile = encoder_profile(MEASURED).model_copy(update={"wake_up": measured(0.25e-3)})
    assert tier_start_s(profile, MEASURED) == 0.25e-3
    assert tier_start_s(profile, example_device("slow", macs_per_s=1e9)) == 1e-3
    assert tier_start_s(encoder_profile(MEASURED), MEASURED) == 0.0


def test_a_plan_adds_up_with_starts() -> None:
    made = plan(split_after=DIMEC)
    assert [tier.start_s for tier in made.tiers] == pytest.approx([1e-3, 0.5e-3, 0.25e-3])
    for tier in made.tiers:
        assert tier.compute_s == pytest.approx(sum(tier.layer_s) + tier.start_s)
        # without cuts a part is its layers, and wakes up once
        assert tier.part_s == pytest.approx(tier.compute_s)
    assert made.latency_s == pytest.approx(sum(x.compute_s for x in made.tiers) + sum(x.transfer_s for x in made.hops))
    assert made.predicted["period"] == pytest.approx(max(sum(tier.layer_s) for tier in made.tiers))
    for point in made.exits:
        tier = next(tier for tier in made.tiers if tier.name == point.tier)
        assert point.compute_s == pytest.approx(tier.start_s + sum(tier.layer_s[: point.depth]))
        assert point.part_s == pytest.approx(point.compute_s)


def test_a_tier_without_layers_has_no_start() -> None:
    made = partition(
        encoder_profile(MEASURED).model_copy(update={"wake_up": measured(1.0)}),
        {"mobile": "this", "cloud": "this"},
        {"mobile:cloud": "wifi"},
    )
    assert [(tier.start_s, tier.compute_s) for tier in made.tiers if not tier.layers] == [(0.0, 0.0)]


def test_a_plan_of_before_has_no_starts() -> None:
    text = plan(split_after=DIMEC).model_dump()
    for tier in text["tiers"]:
        del tier["start_s"]
    assert [tier.start_s for tier in Plan.model_validate(text).tiers] == [0.0] * 3
