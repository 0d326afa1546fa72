"""A small residual network with a mask, as a profile."""

from __future__ import annotations

from random_graphs import make_graph

from edgepart.graph import Graph
from edgepart.hardware import Device, LayerProfile, Load, Measurement, Profile, Segment


def make_profile(graph: Graph, latency_s: dict[str, float], device: Device) -> Profile:
    """A profile with one segment a layer, so that the layers' latencies are the given ones."""

    def taken(seconds: float) -> Measurement:
        return Measurement(median_s=seconds, spread_s=0.0, runs=3)

    costs = {x.name: (x.macs, graph.parameter_bytes([x.name]), x.activation_bytes) for x in graph.layers}
    return Profile(
        graph=graph,
        device=device,
        runtime="torch",
        runtime_version="0",
        threads=1,
        layers=tuple(
            LayerProfile(
                name=name,
                latency=taken(latency_s[name]),
                macs=macs,
                parameter_bytes=parameters,
                activation_bytes=activations,
            )
            for name, (macs, parameters, activations) in costs.items()
        ),
        segments=tuple(
            Segment(
                start=index,
                stop=index + 1,
                latency=taken(latency_s[name]),
                macs=macs,
                parameter_bytes=parameters,
                activation_bytes=activations,
            )
            for index, (name, (macs, parameters, activations)) in enumerate(costs.items())
        ),
        end_to_end=taken(sum(latency_s.values())),
        machine_load=Load(mean_cores=0.0, maximum_cores=0.0),
    )


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
