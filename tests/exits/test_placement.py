"""Where exits may sit, and where the rules put them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import graphs

from edgepart.errors import PlanError, UnknownName
from edgepart.exits.placement import Candidate, Rule, after, candidates, place, positions, worthwhile
from edgepart.graph import Graph
from edgepart.testing.graphs import make_graph


def brute_force(graph: Graph, before: frozenset[str], part: list[str]) -> dict[int, str]:
    """Depth → the only feature tensor that crosses, made in the part, straight from the definition."""
    found = {}
    for depth in range(1, len(part) + 1):
        crossing = graph.crossing(before | frozenset(part[:depth]))
        features = [name for name in crossing if graph.tensor(name).feature]
        if len(features) == 1 and graph.tensor(features[0]).producer in part:
            found[depth] = features[0]
    return found


@settings(max_examples=200)
@given(graphs(8), st.data())
def test_candidates_are_where_one_feature_crosses(graph: Graph, data: st.DataObject) -> None:
    names = [layer.name for layer in graph.layers]
    wanted = data.draw(st.lists(st.sampled_from(names), max_size=3))
    before = graph.boundary(wanted).layers if wanted else frozenset()
    stop = data.draw(st.integers(0, len(names)))
    part = [name for name in names[:stop] if name not in before]
    places, expected = candidates(graph, before, part), brute_force(graph, before, part)
    assert all(expected[each.depth] == each.tensor for each in places)
    assert {each.tensor for each in places} == set(expected.values())
    assert len({each.tensor for each in places}) == len(places)
    assert [each.depth for each in places] == sorted(each.depth for each in places)
    assert (len(part) in expected) == any(each.depth == len(part) for each in places)


def masked_chain() -> Graph:
    """a → b → (mask) → c → d with a skip from b to d, and a mask that c reads."""
    return make_graph(
        [
            ("a", ["x"], {"a": 4}),
            ("b", ["a"], {"b": 4}),
            ("mask", ["m"], {"mask": 4}),
            ("c", ["b", "mask"], {"c": 4}),
            ("d", ["c", "b"], {"d": 4}),
            ("e", ["d"], {"e": 4}),
        ],
        {"x": 4, "m": 4},
        masks=frozenset({"mask"}),
    )


@pytest.mark.parametrize(
    ("shape", "dtype", "classifiable"),
    [
        (("batch", 4), "float32", True),
        (("batch", "sequence", 16), "bfloat16", True),
        (("batch", 8, 6, 6), "float16", True),
        (("2*batch", 4), "float32", False),
        ((1, "sequence", 16), "float32", False),
        (("batch", 8, 6, 6, 6), "float32", False),
        (("batch",), "float32", False),
        (("batch", 4), "int64", False),
    ],
)
def test_only_what_a_head_can_classify_is_a_place(shape: tuple[int | str, ...], dtype: str, classifiable: bool) -> None:
    graph = masked_chain()
    tensors = [t.model_copy(update={"shape": shape, "dtype": dtype}) if t.name == "d" else t for t in graph.tensors]
    places = candidates(graph.model_copy(update={"tensors": tuple(tensors)}), frozenset(), list(graph.position))
    assert ("d" in [each.tensor for each in places]) == classifiable


def test_masks_do_not_count_and_skips_do() -> None:
    places = candidates(masked_chain(), frozenset(), ["a", "b", "mask", "c", "d", "e"])
    assert places == (Candidate("a", 1), Candidate("b", 2), Candidate("d", 5))


def test_a_tensor_that_lasts_to_the_end_of_the_part_is_read_there() -> None:
    places = candidates(masked_chain(), frozenset(), ["a", "b", "mask"])
    assert places == (Candidate("a", 1), Candidate("b", 3))


def test_an_integer_feature_cannot_be_classified() -> None:
    graph = masked_chain()
    text = graph.model_dump()
    for tensor in text["tensors"]:
        if tensor["name"] == "b":
            tensor["dtype"] = "int64"
    places = candidates(Graph.model_validate(text), frozenset(), ["a", "b", "mask", "c", "d", "e"])
    assert [each.tensor for each in places] == ["a", "d"]


def test_no_rule_puts_an_exit_where_nothing_is_left_to_save() -> None:
    text = masked_chain().model_dump()
    for layer, macs in zip(text["layers"], (100, 100, 0, 100, 1, 1), strict=True):
        layer["macs"] = macs
    graph = Graph.model_validate(text)
    part = [layer.name for layer in graph.layers]
    places = candidates(graph, frozenset(), part)
    assert [each.tensor for each in places] == ["a", "b", "d"]
    assert [each.tensor for each in worthwhile(graph, part, places)] == ["a", "b"]


def test_wanted_positions() -> None:
    assert positions("linear", 4, final=False) == [0.25, 0.5, 0.75, 1.0]
    assert positions("linear", 3, final=True) == [0.25, 0.5, 0.75]
    assert positions("pareto", 5, final=False)[3] == pytest.approx(0.2)
    # the rule again inside the first fifth: 64 % of the exits in the first 4 %
    assert positions("pareto", 25, final=False)[15] == pytest.approx(0.04)
    assert positions("pareto", 3, final=False)[-1] == 1.0


def evenly(count: int) -> tuple[list[Candidate], list[float]]:
    return [Candidate(f"t{depth}", depth) for depth in range(1, count + 1)], [1.0] * count


def depths(rule: Rule, count: int, layers: int = 20, final: bool = False) -> list[int]:
    places, time_s = evenly(layers)
    return [each.depth for each in place(rule, places[: layers - final], time_s, [1] * layers, count, final)]


def test_linear_is_even_and_ends_at_the_part() -> None:
    assert depths("linear", 4) == [5, 10, 15, 20]
    assert depths("linear", 3, final=True) == [5, 10, 15]


def test_pareto_is_dense_early_and_distinct() -> None:
    # .0003, .054, 1 of 20 layers; then .0, .0, .0 , .2 → the next free ones
    assert depths("pareto", 3) == [1, 2, 20]
    assert depths("pareto", 5) == [1, 2, 3, 4, 20]


def test_none_and_too_few_places() -> None:
    assert depths("none", 3) == []
    assert depths("linear", 9, layers=2) == [1, 2]
    assert place("linear", [], [1.0], [1], 3, final=True) == []


@settings(max_examples=150)
@given(
    st.sampled_from(["linear", "pareto"]),
    st.lists(st.integers(0, 9), min_size=1, max_size=15),
    st.integers(1, 6),
    st.booleans(),
    st.data(),
)
def test_exits_are_distinct_ordered_and_as_many_as_possible(
    rule: Rule, time_s: list[int], count: int, final: bool, data: st.DataObject
) -> None:
    where = data.draw(st.sets(st.integers(1, len(time_s))))
    places = [Candidate(f"t{depth}", depth) for depth in sorted(where)]
    macs = [1] * len(time_s)
    found = [each.depth for each in place(rule, places, [float(s) for s in time_s], macs, count, final)]
    assert len(set(found)) == len(found) == min(count, len(places))
    assert found == sorted(found)
    assert set(found) <= where
    ends = [depth for depth in where if sum(time_s[:depth]) == sum(time_s) > 0]
    if not final and ends:
        assert set(found) & set(ends)


@settings(max_examples=150)
@given(
    st.sampled_from(["linear", "pareto"]),
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from([0, 0, 1, 40, 900])), min_size=1, max_size=15),
    st.integers(1, 6),
    st.booleans(),
    st.data(),
)
def test_something_is_multiplied_between_any_two_exits(
    rule: Rule, layers: list[tuple[int, int]], count: int, final: bool, data: st.DataObject
) -> None:
    time_s, macs = [float(time) for time, _ in layers], [macs for _, macs in layers]
    where = data.draw(st.sets(st.integers(1, len(layers)), min_size=1))
    places = [Candidate(f"t{depth}", depth) for depth in sorted(where)]
    found = [each.depth for each in place(rule, places, time_s, macs, count, final)]

    def apart(one: int, other: int) -> bool:
        return one != other and sum(macs[min(one, other) : max(one, other)]) >= 0.01 * sum(macs)

    assert all(apart(one, other) for number, one in enumerate(found) for other in found[:number])
    # none is left out that could have been there
    assert len(found) == count or not any(all(apart(depth, other) for other in found) for depth in where)


def test_a_convolution_and_its_normalisation_share_an_exit() -> None:
    """Three blocks of a convolution, its normalisation and its activation, as Keras and torch list them."""
    places = [Candidate(f"t{depth}", depth) for depth in range(1, 10)]
    found = place("pareto", places, [1.0] * 9, [100, 0, 0] * 3, 3, final=False)
    # .0003, .054, 1 of the time: without the rule 1, 2 and 9
    assert [each.depth for each in found] == [1, 4, 9]


def test_by_hand_after_a_module() -> None:
    graph = masked_chain()
    assert after(graph, "d", frozenset({"a", "b"}), ["mask", "c", "d", "e"]) == Candidate("d", 3)
    assert after(graph, "b", frozenset(), ["a", "b", "mask"]) == Candidate("b", 3)


def test_by_hand_where_no_exit_can_sit() -> None:
    graph, part = masked_chain(), ["a", "b", "mask", "c", "d", "e"]
    with pytest.raises(PlanError, match=r"after 'c': not exactly one feature tensor crosses .* 'a', 'b', 'd'"):
        after(graph, "c", frozenset(), part)
    with pytest.raises(PlanError, match="after 'e': the network ends there"):
        after(graph, "e", frozenset(), part)
    with pytest.raises(UnknownName, match="unknown module or layer 'z'"):
        after(graph, "z", frozenset(), part)
