"""The Graph as networkx sees it."""

import networkx
from hypothesis import given
from random_graphs import graphs

from edgepart.graph import Graph


@given(graphs(8))
def test_the_same_layers_and_dependencies(graph: Graph) -> None:
    found = graph.to_networkx()
    assert list(found.nodes) == [layer.name for layer in graph.layers]
    assert networkx.is_directed_acyclic_graph(found)
    for layer, parents in zip(graph.layers, graph.parents, strict=True):
        assert set(found.predecessors(layer.name)) == {graph.layers[parent].name for parent in parents}
        closed = graph.boundary([layer.name]).layers
        assert closed == networkx.ancestors(found, layer.name) | {layer.name}


@given(graphs(8))
def test_an_edge_carries_every_tensor_that_passes_once(graph: Graph) -> None:
    for source, target, passing in graph.to_networkx().edges(data=True):
        made, read = graph.layer(source).outputs, graph.layer(target).inputs
        assert set(passing["tensors"]) == set(made) & set(read)
        assert passing["bytes"] == sum(graph.tensor(name).bytes for name in set(made) & set(read))
