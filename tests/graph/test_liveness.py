"""Peak activation memory against a simulation that runs the layers and drops what nobody needs."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import graphs

from edgepart.graph import Graph, peak_activation_bytes
from edgepart.testing.graphs import make_graph


def simulate(graph: Graph, part: set[str], held: set[str]) -> int:
    """Walk through the part with the set of tensors that are present."""
    todo = [layer for layer in graph.layers if layer.name in part]

    def needed(name: str) -> bool:
        tensor = graph.tensor(name)
        read_here = any(layer.name in tensor.consumers for layer in todo)
        leaves = name in graph.outputs or any(reader not in part for reader in tensor.consumers)
        return read_here or name in held or (tensor.producer in part and leaves)

    present = {t.name for t in graph.tensors if t.producer not in part and needed(t.name)}
    most = sum(graph.tensor(name).bytes for name in present)
    while todo:
        layer = todo[0]
        most = max(most, sum(graph.tensor(name).bytes for name in present) + layer.activation_bytes)
        del todo[0]
        present = {name for name in present | set(layer.outputs) if needed(name)}
        most = max(most, sum(graph.tensor(name).bytes for name in present))
    return most


@settings(max_examples=200)
@given(graphs(8), st.data())
def test_equals_the_simulation(graph: Graph, data: st.DataObject) -> None:
    names = [layer.name for layer in graph.layers]
    part = set(data.draw(st.lists(st.sampled_from(names))))
    arriving = [t.name for t in graph.tensors if t.producer not in part]
    held = set(data.draw(st.lists(st.sampled_from(arriving), max_size=2))) if arriving else set()
    assert peak_activation_bytes(graph, part, held) == simulate(graph, part, held)


def test_a_skip_keeps_its_tensor_alive() -> None:
    graph = make_graph(
        [("a", ["x"], {"a": 10}), ("b", ["a"], {"b": 1}), ("c", ["b", "a"], {"c": 2})], {"x": 100}, outputs=["c"]
    )
    # the input and a; then a and b; then a, b and c
    assert peak_activation_bytes(graph, ["a", "b", "c"]) == 110
    assert peak_activation_bytes(graph, ["b", "c"]) == 13
    assert peak_activation_bytes(graph, ["b"], held=["x"]) == 111
    assert peak_activation_bytes(graph, [], held=["x"]) == 100
