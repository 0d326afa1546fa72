"""Graphs without a network: written down in a few lines, or drawn at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgepart.graph import Graph, Layer, Tensor


def make_graph(
    layers: Sequence[tuple[str, Sequence[str], Mapping[str, int]]],
    inputs: Mapping[str, int],
    *,
    parameters: Mapping[str, Mapping[str, int]] | None = None,
    workspace: Mapping[str, int] | None = None,
    outputs: Sequence[str] | None = None,
    masks: frozenset[str] = frozenset(),
    modules: Mapping[str, str] | None = None,
) -> Graph:
    """A graph from (layer, tensors read, tensors made with their bytes).

    Args:
        inputs: name → bytes
        parameters: layer → name → bytes
        workspace: layer → bytes that it needs beside its outputs
        outputs: by default the tensors that nobody reads
        masks: tensors that are no features although made by a layer
        modules: layer → path of its module; by default its own name
    """
    parameters, workspace, modules = parameters or {}, workspace or {}, modules or {}
    readers: dict[str, list[str]] = {}
    for name, reads, _ in layers:
        for read in dict.fromkeys(reads):
            readers.setdefault(read, []).append(name)

    def tensor(name: str, size: int, producer: str | None) -> Tensor:
        feature = producer is not None and name not in masks
        return Tensor(
            name=name,
            shape=("batch", size),
            dtype="float32" if feature else "int64",
            bytes=size,
            producer=producer,
            consumers=tuple(readers.get(name, ())),
            feature=feature,
        )

    tensors = [tensor(name, size, None) for name, size in inputs.items()]
    tensors += [tensor(name, size, layer) for layer, _, made in layers for name, size in made.items()]
    unread = [t.name for t in tensors if t.producer is not None and not t.consumers]
    return Graph(
        name="example",
        framework="torch",
        symbols={"batch": 1},
        layers=tuple(
            Layer(
                name=name,
                module=modules.get(name, name),
                kind="Example",
                ops=("op",),
                inputs=tuple(dict.fromkeys(reads)),
                outputs=tuple(made),
                parameters=tuple(parameters.get(name, {})),
                macs=1,
                activation_bytes=sum(made.values()) + workspace.get(name, 0),
            )
            for name, reads, made in layers
        ),
        tensors=tuple(tensors),
        inputs=tuple(inputs),
        outputs=tuple(unread if outputs is None else outputs),
        parameters={name: size for each in parameters.values() for name, size in each.items()},
    )


def random_graph(random: np.random.Generator, most_layers: int = 5) -> Graph:
    """A small network with skips, layers that share a parameter, and sometimes a second tensor from a layer."""
    known, layers, parameters = ["x"], [], {}
    for index in range(random.integers(1, most_layers, endpoint=True)):
        name = f"l{index}"
        recent = known[-3:]
        reads = [recent[i] for i in random.permutation(len(recent))[: random.integers(1, 2, endpoint=True)]]
        made = {name: int(random.integers(1, 9))} | ({f"{name}:1": 2} if random.random() < 0.2 else {})
        known += made
        layers.append((name, reads, made))
        parameters[name] = {f"{name}.weight": int(random.integers(0, 9))} | ({"tied": 5} if index % 3 == 1 else {})
    return make_graph(layers, {"x": int(random.integers(1, 9))}, parameters=parameters)
