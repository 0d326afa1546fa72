"""Boundaries against their definition."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import graphs

from edgepart.errors import GraphError, UnknownName
from edgepart.graph import Boundary, Graph
from edgepart.testing.graphs import make_graph


def crossing(graph: Graph, inside: set[str]) -> set[str]:
    """Tensors made inside (or entering the network) that a layer outside reads."""
    found = set()
    for layer in graph.layers:
        for name in layer.inputs if layer.name not in inside else ():
            producer = graph.tensor(name).producer
            if producer is None or producer in inside:
                found.add(name)
    return found


@settings(max_examples=150)
@given(graphs(9))
def test_boundaries_of_the_order_equal_the_definition(graph: Graph) -> None:
    found = graph.boundaries()
    assert len(found) == len(graph.layers) - 1
    for length, boundary in enumerate(found, start=1):
        inside = {layer.name for layer in graph.layers[:length]}
        assert boundary.layers == inside
        assert set(boundary.tensors) == crossing(graph, inside)
        # each tensor crosses once, however many layers read it
        assert len(set(boundary.tensors)) == len(boundary.tensors)
        assert boundary.bytes == sum(graph.tensor(name).bytes for name in boundary.tensors)


@settings(max_examples=150)
@given(graphs(7), st.data())
def test_a_boundary_is_the_smallest_closed_set(graph: Graph, data: st.DataObject) -> None:
    names = [layer.name for layer in graph.layers]
    wanted = set(data.draw(st.lists(st.sampled_from(names))))
    closed = [
        set(some)
        for size in range(len(names) + 1)
        for some in itertools.combinations(names, size)
        if wanted <= set(some) and is_closed(graph, set(some))
    ]
    boundary = graph.boundary(wanted)
    assert boundary.layers == min(closed, key=len)
    assert all(boundary.layers <= other for other in closed)
    assert set(boundary.tensors) == set(graph.crossing(boundary.layers)) == crossing(graph, set(boundary.layers))


def is_closed(graph: Graph, layers: set[str]) -> bool:
    producers = {graph.tensor(name).producer for layer in layers for name in graph.layer(layer).inputs}
    return producers <= layers | {None}


@settings(max_examples=100)
@given(graphs(8), st.data())
def test_a_chain_of_boundaries_covers_every_layer_once(graph: Graph, data: st.DataObject) -> None:
    lengths = sorted(data.draw(st.sets(st.integers(1, len(graph.layers)), max_size=3)))
    boundaries = [graph.boundary(layer.name for layer in graph.layers[:length]) for length in lengths]
    parts = graph.chain(boundaries)
    assert len(parts) == len(boundaries) + 1
    assert sorted(name for part in parts for name in part) == sorted(graph.position)
    assert [len(part) for part in parts[:-1]] == [stop - start for start, stop in itertools.pairwise([0, *lengths])]


def diamond() -> Graph:
    return make_graph(
        [("a", ["x"], {"a": 3}), ("b", ["a"], {"b": 5}), ("c", ["a"], {"c": 7}), ("d", ["b", "c", "x"], {"d": 1})],
        {"x": 2},
        modules={"b": "block.left", "c": "block.right"},
    )


def test_a_skip_crosses_beside_the_rest() -> None:
    boundary = diamond().boundary(["b"])
    assert boundary.layers == {"a", "b"}
    assert set(boundary.tensors) == {"x", "a", "b"}
    assert boundary.bytes == 2 + 3 + 5


def test_after_a_module_or_a_layer() -> None:
    graph = diamond()
    assert graph.after("block").layers == {"a", "b", "c"}
    assert graph.after("block.left").layers == {"a", "b"}
    assert graph.after("c").layers == {"a", "c"}
    with pytest.raises(UnknownName, match="did you mean block"):
        graph.after("blok")


def test_boundaries_that_do_not_nest_or_close_are_refused() -> None:
    graph = diamond()
    left, right = graph.boundary(["b"]), graph.boundary(["c"])
    with pytest.raises(GraphError, match="boundary 2 lacks layer 'b'"):
        graph.chain([left, right])
    with pytest.raises(GraphError, match="holds layer 'b' but not 'a'"):
        graph.chain([Boundary(layers=frozenset({"b"}), tensors=(), bytes=0)])
    with pytest.raises(UnknownName, match="unknown layer 'z'"):
        graph.chain([Boundary(layers=frozenset({"z"}), tensors=(), bytes=0)])
