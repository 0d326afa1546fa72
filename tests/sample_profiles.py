"""Made-up profiles: of a chain of layers, and of a small residual network with a mask."""

from __future__ import annotations

from edgepart.graph import Graph
from edgepart.hardware import Device, LayerProfile, Load, Measurement, Profile, Segment
from edgepart.testing.graphs import make_graph


def measured(seconds: float) -> Measurement:
    return Measurement(median_s=seconds, spread_s=seconds / 10, runs=10)


def make_profile(
    graph: Graph, alone_s: dict[str, float], device: Device, segments: list[tuple[int, int, float]] | None = None
) -> Profile:
    """A profile from the seconds of every layer alone, and (start, stop, seconds) of every segment.

    By default every layer is a segment of its own.
    """
    costs = [
        {"macs": x.macs, "parameter_bytes": graph.parameter_bytes([x.name]), "activation_bytes": x.activation_bytes}
        for x in graph.layers
    ]
    if segments is None:
        segments = [(index, index + 1, alone_s[x.name]) for index, x in enumerate(graph.layers)]
    return Profile(
        graph=graph,
        device=device,
        runtime="fake",
        runtime_version="1",
        threads=1,
        layers=tuple(
            LayerProfile(name=x.name, latency=measured(alone_s[x.name]), **cost)
            for x, cost in zip(graph.layers, costs, strict=True)
        ),
        segments=tuple(
            Segment(start=start, stop=stop, latency=measured(seconds), **costs[start])
            for start, stop, seconds in segments
        ),
        end_to_end=measured(1.1 * sum(seconds for _, _, seconds in segments)),
        machine_load=Load(mean_cores=0.1, maximum_cores=0.5),
    )


def chain_profile(alone_s: dict[str, float], segments: list[tuple[int, int, float]], device: Device) -> Profile:
    """A profile of a chain of layers."""
    names = list(alone_s)
    layers = [(name, [before], {name: 16}) for before, name in zip(["input", *names], names, strict=False)]
    return make_profile(make_graph(layers, {"input": 16}), alone_s, device, segments)


def encoder_graph(blocks: int = 6) -> Graph:
    """Embedding, blocks with a skip over attention, and a classifier; a mask goes to every block."""
    layers: list[tuple[str, list[str], dict[str, int]]] = [
        ("mask", ["attention_mask"], {"mask": 40}),
        ("embed", ["ids"], {"embed": 400}),
    ]
    modules = {"mask": "encoder", "embed": "encoder.embed"}
    last = "embed"
    for number in range(blocks):
        attention, output = f"encoder.layer.{number}.attention", f"encoder.layer.{number}.output"
        layers += [(attention, [last, "mask"], {attention: 400}), (output, [attention, last], {output: 400})]
        modules |= {attention: attention, output: output}
        last = output
    layers += [("pool", [last], {"pool": 40}), ("classify", ["pool"], {"logits": 8})]
    return make_graph(
        layers,
        {"ids": 80, "attention_mask": 80},
        parameters={name: {f"{name}.weight": 1000} for name, _, _ in layers if name not in ("mask", "pool")},
        masks=frozenset({"mask"}),
        modules=modules,
        outputs=["logits"],
    )


def encoder_profile(device: Device, blocks: int = 6) -> Profile:
    """Every layer of :func:`encoder_graph` takes 1 ms."""
    graph = encoder_graph(blocks)
    return make_profile(graph, {layer.name: 1e-3 for layer in graph.layers}, device)
