"""Peak activation memory of a part, from the lifetimes of its tensors."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from edgepart.graph.graph import Graph


def peak_activation_bytes(graph: Graph, layers: Iterable[str], held: Collection[str] = ()) -> int:
    """Most bytes of activations alive at once while a part runs one sample, layers in topological order.

    A tensor that arrives from outside is alive from the start to its last use inside; one that a layer outside
    reads, or that leaves the network, is alive from its making to the end of the part. Memory inside a layer
    (:attr:`Layer.activation_bytes`) comes on top while it runs. Tensors named in ``held`` arrive from outside and
    stay from start to end, read or not (those that are only passed on, for one).
    """
    order = graph.in_order(set(layers))
    inside = set(order)
    step = {name: index for index, name in enumerate(order)}
    last_use: dict[str, int] = {}
    for tensor in graph.tensors:
        uses = [step[c] for c in tensor.consumers if c in inside]
        if tensor.producer in inside and (tensor.name in graph.outputs or len(uses) < len(tensor.consumers)):
            uses.append(len(order))
        if tensor.name in held:
            uses.append(len(order))
        if uses:
            last_use[tensor.name] = max(uses)
    live = {name: graph.tensor(name).bytes for name in last_use if graph.tensor(name).producer not in inside}
    peak = sum(live.values())
    for index, name in enumerate(order):
        layer = graph.layer(name)
        peak = max(peak, sum(live.values()) + layer.activation_bytes)
        live.update((t, graph.tensor(t).bytes) for t in layer.outputs if last_use.get(t, -1) > index)
        for tensor_name in layer.inputs:
            if last_use[tensor_name] == index:
                # a layer may read a tensor twice
                live.pop(tensor_name, None)
    return max(peak, sum(live.values()))
