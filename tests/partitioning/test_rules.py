"""EdgeLessPart's rules and boundaries by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_problems import problems
from sample_profiles import encoder_graph

from edgepart.errors import PlanError, UnknownName
from edgepart.partitioning.by_hand import ByHand
from edgepart.partitioning.edgelesspart import LatencyMatch, MemoryShare, prefix_memory_bytes
from edgepart.partitioning.prefixes import cut_points
from edgepart.partitioning.problem import Placement, Problem, Tier
from edgepart.testing.hardware import example_device, example_link


def encoder(rates: tuple[float, ...] = (4.0, 1.0), **settings: object) -> Problem:
    graph = encoder_graph()
    names = ("mobile", "edge", "cloud")
    tiers = tuple(
        Tier(name, example_device(), {layer.name: rate for layer in graph.layers})
        for name, rate in zip(names, rates, strict=False)
    )
    return Problem(graph, tiers, tuple(example_link() for _ in tiers[1:]), **settings)  # type: ignore[arg-type]


def counts(problem: Problem, placement: Placement) -> list[int]:
    return [list(placement.tier_of.values()).count(tier) for tier in range(len(problem.tiers))]


@settings(max_examples=80)
@given(problems(limits=False, pins=False, tiers=(2,)), st.sampled_from([0.3, 0.7, 1.0]))
def test_memory_share_is_the_longest_prefix_within_it(problem: Problem, share: float) -> None:
    held = counts(problem, MemoryShare(share).solve(problem))[0]
    total = len(problem.graph.layers)
    allowed = share * prefix_memory_bytes(problem.graph, total)
    fits = [prefix_memory_bytes(problem.graph, length) <= allowed for length in range(total + 1)]
    assert fits == sorted(fits, reverse=True)
    assert fits[held]
    assert held == total or not fits[held + 1]


def test_one_share_is_applied_again_to_what_is_left() -> None:
    problem = encoder((4.0, 2.0, 1.0))
    assert MemoryShare(0.5).solve(problem).tier_of == MemoryShare((0.5, 0.75)).solve(problem).tier_of
    assert MemoryShare((0.3, 1.0)).solve(problem).tier_of["classify"] == 1


def test_memory_share_keeps_to_places_for_exits_when_nested() -> None:
    problem = encoder(deployment="nested")
    split, nested = (
        counts(each, MemoryShare(0.5).solve(each))[0] for each in (replace(problem, deployment="split"), problem)
    )
    assert nested in cut_points(problem)[1:-1]
    assert nested <= split


@pytest.mark.parametrize("share", [0.0, 1.2, (0.8, 0.3)])
def test_impossible_shares_are_refused(share: float | tuple[float, ...]) -> None:
    with pytest.raises(PlanError, match="expected shares above 0 %"):
        MemoryShare(share)


def test_too_many_shares_are_refused() -> None:
    with pytest.raises(PlanError, match="3 memory shares for 1 boundaries"):
        MemoryShare((0.1, 0.2, 0.3)).solve(encoder())


def test_latency_match_takes_as_long_below_as_the_whole_above() -> None:
    # 16 layers take 16 s in the cloud: as long as 4 layers on the mobile device
    problem = encoder((4.0, 1.0))
    assert counts(problem, LatencyMatch().solve(problem)) == [4, 12]


def test_latency_match_goes_on_with_what_is_left() -> None:
    problem = encoder((4.0, 2.0, 1.0))
    assert counts(problem, LatencyMatch().solve(problem)) == [4, 8, 4]


def test_by_hand_cuts_after_modules() -> None:
    problem = encoder((4.0, 2.0, 1.0))
    split_after = {"mobile": "encoder.layer.1", "edge": "encoder.layer.3"}
    placement = ByHand(split_after).solve(problem)
    assert placement.proof.status == "by hand"
    assert placement.tier_of["encoder.layer.1.output"] == 0
    assert placement.tier_of["encoder.layer.2.attention"] == 1
    assert placement.tier_of["encoder.layer.3.output"] == 1
    assert placement.tier_of["encoder.layer.4.attention"] == 2


@pytest.mark.parametrize(
    ("split_after", "error", "says"),
    [
        ({"mobile": "encoder.layer.1"}, PlanError, "no boundary is given for tier 'edge'"),
        ({"mobile": "encoder.layer.3", "edge": "encoder.layer.1"}, PlanError, "in the order of the tiers"),
        ({"mobile": "encoder.layer.1", "cloud": "pool"}, PlanError, "the last tier 'cloud' holds what is left"),
        ({"mobil": "encoder.layer.1"}, UnknownName, "did you mean mobile"),
        ({"mobile": "encoder.layer.9", "edge": "pool"}, UnknownName, "unknown module or layer 'encoder.layer.9'"),
    ],
)
def test_by_hand_says_what_is_wrong(split_after: dict[str, str], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        ByHand(split_after).solve(encoder((4.0, 2.0, 1.0)))
