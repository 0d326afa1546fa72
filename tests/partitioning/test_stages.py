"""Stages: what is run in order, whole and on each tier."""

import pytest
from small_networks import captured, image_plan, network, plan_for

from edgepart.errors import PlanError
from edgepart.partitioning.stages import chain, part_stages


@pytest.fixture(scope="module")
def graph():
    return captured(network())


def layers(graph, stage):
    before = stage.start.layers if stage.start else frozenset()
    return graph.in_order((stage.stop.layers if stage.stop else frozenset(graph.position)) - before)


def test_the_chain_covers_every_layer_once_and_in_order(graph):
    stages = chain(image_plan(graph), graph)
    assert [layer for stage in stages for layer in layers(graph, stage)] == [layer.name for layer in graph.layers]
    assert [(stage.tier, stage.exit) for stage in stages] == [
        ("mobile", "early"),
        ("mobile", "late"),
        ("edge", "middle"),
        ("cloud", "final"),
    ]
    assert [stage.tensor for stage in stages] == ["stem.2", "first.relu", "second.relu", None]


def test_a_part_ends_where_its_tier_ends_even_without_an_exit(graph):
    plan = plan_for(graph, (("mobile", "first"), ("cloud", None)), (("early", "mobile", "stem"),))
    assert [(stage.tier, stage.exit) for stage in chain(plan, graph)] == [
        ("mobile", "early"),
        ("mobile", None),
        ("cloud", "final"),
    ]
    assert [stage.exit for stage in part_stages(plan, graph, "mobile")] == ["early", None]


def test_nested_parts_start_at_the_input_with_their_own_exits(graph):
    plan = image_plan(graph, "nested")
    found = {tier: part_stages(plan, graph, tier) for tier in plan.tier_names}
    assert [stage.exit for stage in found["mobile"]] == ["early", "late"]
    assert [stage.exit for stage in found["edge"]] == ["middle"]
    assert [stage.exit for stage in found["cloud"]] == ["final"]
    assert all(stages[0].start is None for stages in found.values())
    assert (
        layers(graph, found["edge"][0])
        == layers(graph, found["mobile"][0]) + layers(graph, found["mobile"][1]) + plan.tiers[1].layers
    )
    assert layers(graph, found["cloud"][0]) == tuple(layer.name for layer in graph.layers)


@pytest.mark.parametrize("deployment", ["split", "nested"])
def test_a_tier_without_layers_runs_nothing(graph, deployment):
    plan = image_plan(graph, deployment)
    lower, middle, upper = plan.tiers
    empty = upper.model_copy(update={"layers": ()})
    everything = middle.model_copy(update={"layers": (*middle.layers, *upper.layers)})
    moved = plan.model_copy(update={"tiers": (lower, everything, empty)})
    assert part_stages(moved, graph, "cloud") == []
    assert [stage.exit for stage in part_stages(moved, graph, "edge")] == ["middle", "final"]


def test_a_nested_tier_that_cannot_answer_is_refused(graph):
    plan = image_plan(graph, "nested")
    silent = plan.model_copy(update={"exits": plan.exits[:2]})
    with pytest.raises(PlanError, match="tier 'edge' has layers but no exit"):
        part_stages(silent, graph, "edge")


def test_two_exits_at_one_place_are_refused(graph):
    plan = image_plan(graph)
    twice = plan.model_copy(
        update={"exits": (*plan.exits[:2], plan.exits[1].model_copy(update={"name": "again"}), plan.exits[2])}
    )
    with pytest.raises(PlanError, match="exit 'again' lies where another exit or part ends"):
        chain(twice, graph)
