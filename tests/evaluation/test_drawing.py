import itertools
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_samples import branches, chain, graph_of, plan_for, transformer

from edgepart.errors import PlanError
from edgepart.evaluation.drawing import describe, draw_plan
from edgepart.evaluation.drawing_layout import WIDTH, lay_out
from edgepart.evaluation.drawing_routes import lanes
from edgepart.graph import Graph
from edgepart.partitioning.plan import Plan

SVG = "{http://www.w3.org/2000/svg}"


def assert_sound(graph: Graph, plan: Plan, limit: int = 24) -> None:
    """Every layer in exactly one block, no block over a cut, edges downwards, no two blocks in one place."""
    layout = lay_out(graph, plan, limit)
    inside = [layer for block in layout.blocks for layer in block.layers]
    assert sorted(inside) == sorted(layer.name for layer in graph.layers)
    for block in layout.blocks:
        assert set(block.layers) <= set(plan.tiers[block.tier].layers)
        assert 0 <= block.column < block.columns <= WIDTH
    places = [(block.tier, block.row, block.column) for block in layout.blocks]
    assert len(set(places)) == len(places)
    for source, target in layout.edges:
        above, below = layout.blocks[source], layout.blocks[target]
        assert (above.tier, above.row) < (below.tier, below.row)
    for point in plan.exits:
        block = layout.blocks[layout.block_of(point.tensor)]
        assert block.layers[-1] == point.tensor


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def titles(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}title")]


def test_a_long_chain_is_drawn_with_few_blocks_and_its_exits_end_one() -> None:
    graph = chain(300)
    plan = plan_for(graph, (100, 200), [("mobile-1", "mobile", 37), ("edge-1", "edge", 51)])
    assert_sound(graph, plan)
    assert len(lay_out(graph, plan).blocks) <= 24
    svg = draw_plan(graph, plan)
    assert "layers.291 – 299" in texts(svg)
    assert len(svg) < 60_000


def test_few_layers_are_drawn_one_by_one() -> None:
    graph = transformer(2)
    layout = lay_out(graph, plan_for(graph, (3,)))
    assert [block.label for block in layout.blocks] == [layer.name for layer in graph.layers]
    assert layout.readers == {"input_ids": (0,), "attention_mask": (1,)}


def test_branches_stand_side_by_side_and_never_more_than_fit() -> None:
    graph = branches(1, 6)
    layout = lay_out(graph, plan_for(graph))
    rows = [block.row for block in layout.blocks if "branch" in block.label]
    assert rows == [1, 1, 1, 1, 2, 2]
    assert_sound(graph, plan_for(graph))


def test_branching_blocks_are_grouped_by_module_and_not_cut_in_the_middle() -> None:
    graph = branches(5, 6)
    labels = [block.label for block in lay_out(graph, plan_for(graph)).blocks]
    assert labels == ["stem", "block0", "block1", "block2", "block3", "block4", "classifier"]


def test_a_module_cut_by_an_exit_says_that_it_goes_on() -> None:
    names = [f"stage{number // 4}.{number % 4}" for number in range(24)]
    graph = graph_of([(name, [names[index - 1] if index else "x"]) for index, name in enumerate(names)])
    plan = plan_for(graph, (), [("early", "mobile", 6)])
    labels = [block.label for block in lay_out(graph, plan, limit=8).blocks]
    assert labels == ["stage0", "stage1", "stage1 (cont.)", "stage2", "stage3", "stage4", "stage5"]


def test_the_drawing_names_tiers_exits_hops_and_accuracies() -> None:
    graph = transformer(4)
    plan = plan_for(graph, (6, 8), [("mobile-1", "mobile", 4)])
    shown = texts(draw_plan(graph, plan, {"mobile-1": 0.836, "final": 0.91}))
    assert "mobile-1" in shown
    assert "linear · 83.6 %" in shown
    assert "classifier · 91.0 %" in shown
    assert sum("64 B in" in text for text in shown) == 2
    assert any("estimate" in text for text in shown)


def test_the_line_to_an_exit_passes_below_the_boxes_beside_its_own() -> None:
    graph = graph_of([("left", ["x"]), ("right", ["y"]), ("join", ["left", "right"])], "two", ("x", "y"))
    plan = plan_for(graph, (), [("early", "mobile", 1)])
    layout = lay_out(graph, plan)
    assert [(block.row, block.column) for block in layout.blocks] == [(0, 0), (0, 1), (1, 0)]
    svg = ElementTree.fromstring(draw_plan(graph, plan))
    group = next(each for each in svg.iter(f"{SVG}g") if (each.findtext(f"{SVG}title") or "").startswith("right:"))
    box = {
        name: float(value)
        for name, value in group.find(f"{SVG}rect").attrib.items()
        if name in ("x", "y", "width", "height")
    }
    group = next(each for each in svg.iter(f"{SVG}g") if (each.findtext(f"{SVG}title") or "").startswith("exit early"))
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", group.find(f"{SVG}path").attrib["d"])]
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    assert points[0][0] < box["x"] < box["x"] + box["width"] < points[-1][0]
    for (left, top), (right, bottom) in itertools.pairwise(points):
        for share in np.linspace(0, 1, 50):
            x, y = left + share * (right - left), top + share * (bottom - top)
            assert not (box["x"] <= x <= box["x"] + box["width"] and box["y"] <= y <= box["y"] + box["height"])


def test_a_nested_plan_says_what_travels_and_that_tiers_start_afresh() -> None:
    graph = chain(9)
    plan = plan_for(graph, (3, 6), [("m", "mobile", 3), ("e", "edge", 3)], "nested")
    shown = texts(draw_plan(graph, plan))
    assert sum(text.startswith("the raw input") for text in shown) == 2
    assert sum(text.startswith("starts afresh") for text in shown) == 2


@pytest.mark.parametrize("ends", [(0, 0), (12, 12), (5, 5)])
def test_tiers_without_layers_are_drawn(ends: tuple[int, int]) -> None:
    graph = chain(12)
    plan = plan_for(graph, ends)
    assert_sound(graph, plan)
    assert "no layers of its own" in texts(draw_plan(graph, plan))


def test_a_network_on_one_tier_without_exits() -> None:
    graph = chain(1)
    svg = draw_plan(graph, plan_for(graph))
    assert "final" in texts(svg)
    assert titles(svg)[0] == "Plan of the network network"


def test_names_from_outside_are_escaped() -> None:
    nasty = '<script>alert("1")</script>&\x00'
    graph = graph_of([(nasty, ["x"]), ("b", [nasty])], name=nasty)
    plan = plan_for(graph, (1,), [("m", "mobile", 1)])
    svg = draw_plan(graph, plan)
    assert "<script" not in svg
    assert "\x00" not in svg
    assert any("<script>" in title for title in titles(svg))


def test_a_plan_of_another_network_is_refused() -> None:
    with pytest.raises(PlanError, match="not for"):
        draw_plan(chain(4), plan_for(chain(5)))


def test_the_description_tells_all_in_words() -> None:
    graph = chain(3)
    assert describe(plan_for(graph, (1,), [("m", "mobile", 1)])) == (
        "mobile (Raspberry Pi 4 Model B) runs 1 layer in 1 ms (estimate), with exits m; "
        "edge (Jetson Orin Nano) runs 2 layers in 2 ms, with exits final; 64 B travel from mobile to edge in 4.05 ms."
    )


@settings(max_examples=60)
@given(data=st.data())
def test_any_network_and_plan_can_be_laid_out(data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 40))
    modules = data.draw(st.lists(st.sampled_from(["a", "a.b", "a.b.c", "d"]), min_size=length, max_size=length))
    names = [f"{module}.{number}" for number, module in enumerate(modules)]
    layers = []
    for index, name in enumerate(names):
        reads = data.draw(st.sets(st.sampled_from(["x", *names[:index]]), min_size=1, max_size=3))
        layers.append((name, sorted(reads)))
    graph = graph_of(layers)
    ends = sorted(data.draw(st.lists(st.integers(0, length), max_size=2)))
    plan = plan_for(graph, ends)
    assert_sound(graph, plan, data.draw(st.integers(2, 24)))
    ElementTree.fromstring(draw_plan(graph, plan))


@given(st.lists(st.none() | st.tuples(st.integers(0, 20), st.integers(1, 20)).map(lambda x: (x[0], x[0] + x[1]))))
def test_connections_in_one_lane_do_not_meet(spans: list[tuple[int, int] | None]) -> None:
    chosen = lanes(spans)
    assert [lane is None for lane in chosen] == [span is None for span in spans]
    found = [(lane, span) for lane, span in zip(chosen, spans, strict=True) if span is not None]
    for index, (lane, span) in enumerate(found):
        for other_lane, other in found[:index]:
            assert lane != other_lane or span[0] >= other[1] or other[0] >= span[1]
