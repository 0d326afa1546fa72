"""Small graphs, plans and traces made by hand for the tests of the report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgepart.dispatch.trace import Trace
from edgepart.evaluation.report import (
    Curve,
    CurvePoint,
    DataReport,
    ExitReport,
    FullModel,
    PlanReport,
    Provenance,
    Report,
    StrategyReport,
    wilson,
)
from edgepart.graph import Graph, Layer, Tensor
from edgepart.hardware import Device, LayerProfile, Link, Load, Measurement, Profile, Segment
from edgepart.partitioning.plan import Deployment, Hop, Plan, PlannedExit, Proof, TierPlan

TIERS = ("mobile", "edge", "cloud")
TITLES = {"mobile": "Raspberry Pi 4 Model B", "edge": "Jetson Orin Nano", "cloud": "This machine"}


def graph_of(
    layers: Sequence[tuple[str, Sequence[str]]], name: str = "network", inputs: Sequence[str] = ("x",)
) -> Graph:
    """A graph from (layer, names of the layers or inputs that it reads); module names as in the layers' names."""
    readers: dict[str, list[str]] = {made: [] for made in (*inputs, *(layer for layer, _ in layers))}
    for layer, reads in layers:
        for made in reads:
            readers[made].append(layer)
    tensors = [
        Tensor(
            name=made,
            shape=("batch", 16),
            dtype="float32",
            bytes=64,
            producer=None if made in inputs else made,
            consumers=tuple(uses),
            feature=made not in inputs,
        )
        for made, uses in readers.items()
    ]
    return Graph(
        name=name,
        framework="torch",
        symbols={"batch": 1},
        layers=tuple(
            Layer(
                name=layer,
                module=layer,
                kind="Linear",
                ops=("linear",),
                inputs=tuple(reads),
                outputs=(layer,),
                macs=256,
            )
            for layer, reads in layers
        ),
        tensors=tuple(tensors),
        inputs=tuple(inputs),
        outputs=(layers[-1][0],),
        parameters={},
    )


def chain(length: int, pattern: str = "layers.{}") -> Graph:
    names = [pattern.format(number) for number in range(length)]
    return graph_of([(name, [names[index - 1] if index else "x"]) for index, name in enumerate(names)])


def branches(blocks: int = 4, width: int = 6) -> Graph:
    """Blocks of parallel branches joined again, with a skip connection around each block."""
    layers: list[tuple[str, list[str]]] = [("stem", ["x"])]
    last = "stem"
    for block in range(blocks):
        inside = [f"block{block}.branch{number}" for number in range(width)]
        layers += [(name, [last]) for name in inside]
        layers.append((f"block{block}.join", [*inside, last]))
        last = f"block{block}.join"
    return graph_of([*layers, ("classifier", [last])], "branches")


def transformer(blocks: int = 6) -> Graph:
    """A chain of blocks of which each reads a mask as well."""
    layers: list[tuple[str, list[str]]] = [("embeddings.words", ["input_ids"]), ("mask", ["attention_mask"])]
    last = "embeddings.words"
    for block in range(blocks):
        attention, output = f"encoder.layer.{block}.attention", f"encoder.layer.{block}.output"
        layers += [(attention, [last, "mask"]), (output, [attention, last])]
        last = output
    return graph_of([*layers, ("classifier", [last])], "transformer", ("input_ids", "attention_mask"))


def plan_for(
    graph: Graph,
    ends: Sequence[int] = (),
    exits: Sequence[tuple[str, str, int]] = (),
    deployment: Deployment = "split",
    tiers: Sequence[str] | None = None,
) -> Plan:
    """A plan whose parts end at those places of the topological order; exits as (name, tier, depth)."""
    names = list(tiers or TIERS[: len(ends) + 1])
    edges = [0, *ends, len(graph.layers)]
    parts = [tuple(x.name for x in graph.layers[edges[i] : edges[i + 1]]) for i in range(len(names))]
    link = {"up_bits_per_s": 1e7, "down_bits_per_s": 1e7, "basis": "data-sheet", "source": "made up"}
    hops = []
    for index in range(len(names) - 1):
        size = 64 if index + 1 < len(edges) - 1 and parts[index + 1] else 0
        hop_link = Link(name="wifi", title="Wi-Fi", round_trip_s=0.004, **link)
        tensor = (parts[index] or ("x",))[-1]
        hops.append(
            Hop(
                source=names[index],
                target=names[index + 1],
                link=hop_link,
                tensors=(tensor,),
                bytes=size,
                transfer_s=hop_link.transfer_s(size),
            )
        )
    planned = [
        PlannedExit(
            name=name,
            tier=tier,
            tensor=parts[names.index(tier)][depth - 1],
            depth=depth,
            compute_s=0.001 * depth,
            head="linear",
        )
        for name, tier, depth in exits
    ]
    return Plan(
        network=graph.name,
        fingerprint=graph.fingerprint,
        deployment=deployment,
        tiers=tuple(
            tier_plan(name, layers, estimated=name == "mobile") for name, layers in zip(names, parts, strict=True)
        ),
        hops=tuple(hops),
        exits=tuple(planned),
        latency_s=sum(0.001 * len(layers) for layers in parts) + sum(hop.transfer_s for hop in hops),
        unsplit_s={names[0]: 0.05, names[-1]: 0.03},
        proof=Proof(status="optimal", method="minimum-cut", bound=0.03, gap=0.0),
    )


def tier_plan(name: str, layers: tuple[str, ...], estimated: bool) -> TierPlan:
    device = Device(
        name=name,
        title=TITLES.get(name, name),
        tier="cloud",
        memory_bytes=10**9,
        macs_per_s=1e9,
        cores=2,
        basis="measured",
        source="made up",
    )
    return TierPlan(
        name=name,
        device=device,
        layers=layers,
        compute_s=0.001 * len(layers),
        parameter_bytes=1000 * len(layers),
        activation_bytes=640,
        estimated=estimated,
    )


def trace_for(plan: Plan, samples: int = 300, classes: int = 3, epochs: int = 4, seed: int = 0) -> Trace:
    """A trace whose exits get better one after another; samples differ in difficulty. No dynamics for 0 epochs."""
    generator = np.random.default_rng(seed)
    exits = len(plan.exit_names)
    labels = np.arange(samples) % classes
    ease = generator.uniform(-0.5, 3.0, samples)
    logits = generator.normal(0, 1, (samples, exits, classes))
    gain = np.linspace(1.0, 1.8, exits)
    logits[np.arange(samples)[:, None], np.arange(exits)[None, :], labels[:, None]] += ease[:, None] * gain
    centre = 1 / (1 + np.exp(-ease))
    dynamics = np.clip(centre[None, :, None] + generator.normal(0, 0.15, (epochs, samples, exits)), 0.01, 0.99)
    return Trace(
        logits=logits.astype(np.float32),
        labels=labels.astype(np.int64),
        embeddings=(ease[:, None] + generator.normal(0, 0.5, (samples, 8))).astype(np.float32),
        exits=plan.exit_names,
        exit_tiers=plan.exit_tiers,
        tiers=plan.tier_names,
        classes=tuple(f"class {number}" for number in range(classes)),
        dynamics=dynamics.astype(np.float32) if epochs else None,
    )


def report_for(plan: Plan, strategies: Sequence[str] = ("confidence", "oracle"), classes: int = 3) -> Report:
    """A report with made-up numbers: later settings cost more and are more often right."""
    exits = plan.exit_names
    share = {name: 1 / len(exits) for name in exits}
    by_tier = {
        tier: sum(share[e] for e, t in zip(exits, plan.exit_tiers, strict=True) if t == tier)
        for tier in plan.tier_names
    }
    curves, chosen = [], []
    for name in strategies:
        points = [
            CurvePoint(
                setting=f"{name} {number}",
                accuracy=0.8 + 0.01 * number,
                cost=0.01 + 0.002 * number,
                validation_accuracy=0.81 + 0.01 * number,
                validation_cost=0.01 + 0.002 * number,
            )
            for number in range(10)
        ]
        curves.append(Curve(strategy=name, points=tuple(points)))
        chosen += [
            StrategyReport(
                name=name,
                setting=point.setting,
                chosen_for=f"accuracy drop ≤ {100 * drop:g} %",
                allowed_drop=drop,
                deployable=name != "oracle",
                accuracy=point.accuracy,
                cost=point.cost,
                saving=1 - point.cost / 0.03,
                tier_share=by_tier,
                exit_share=share,
                validation_accuracy=point.validation_accuracy,
                validation_cost=point.validation_cost,
            )
            for drop, point in ((0.005, points[9]), (0.01, points[8]))
        ]
    return Report(
        title="a report",
        cost_model="latency",
        cost_unit="s",
        cost_description="seconds for one sample alone",
        full_model=FullModel(accuracy=0.894, interval=wilson(894, 1000), cost=0.03),
        exits=tuple(
            ExitReport(name=name, tier=tier, head=None if name == "final" else "linear", accuracy=0.8, cost=0.02)
            for name, tier in zip(exits, plan.exit_tiers, strict=True)
        ),
        strategies=tuple(chosen),
        curves=tuple(curves),
        plan=PlanReport.of(plan),
        data=DataReport(
            source="dev.tsv",
            samples=1000,
            validation_samples=300,
            classes=tuple(f"class {number}" for number in range(classes)),
        ),
        provenance=Provenance(
            command="edgepart evaluate bundle",
            date="2026-01-01 00:00:00 UTC",
            edgepart="0",
            python="3.11",
            packages={},
            machine={},
        ),
    )


def profile_for(graph: Graph) -> Profile:
    """Every layer takes a millisecond on a device that is twice as fast as the plan's tiers."""
    device = tier_plan("this", (), estimated=False).device.model_copy(update={"macs_per_s": 2e9})
    one = Measurement(median_s=0.001, spread_s=0.0, runs=3)
    count = len(graph.layers)
    return Profile(
        graph=graph,
        device=device,
        runtime="torch",
        runtime_version="0",
        threads=1,
        layers=tuple(
            LayerProfile(name=layer.name, latency=one, macs=256, parameter_bytes=1000, activation_bytes=64)
            for layer in graph.layers
        ),
        segments=tuple(
            Segment(start=index, stop=index + 1, latency=one, macs=256, parameter_bytes=1000, activation_bytes=64)
            for index in range(count)
        ),
        end_to_end=Measurement(median_s=0.001 * count, spread_s=0.0, runs=3),
        machine_load=Load(mean_cores=0.0, maximum_cores=0.0),
    )
