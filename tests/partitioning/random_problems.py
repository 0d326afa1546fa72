"""Random placement problems, and a second, slower account of what a placement costs."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from random_graphs import graphs

from edgepart.partitioning.placement_cost import TierOf
from edgepart.partitioning.problem import ExitShare, Problem, Tier
from edgepart.testing.hardware import example_device, example_link

NAMES = ("mobile", "edge", "cloud", "beyond")


@st.composite
def problems(
    draw: st.DrawFn,
    most_layers: int = 7,
    limits: bool = True,
    pins: bool = True,
    odd: bool = True,
    tiers: tuple[int, ...] = (2, 2, 3, 3),
) -> Problem:
    """Two or three tiers, small whole numbers (so that ties occur), maybe runtimes' memory, pins and memory limits."""
    graph = draw(graphs(most_layers, odd))
    count = draw(st.sampled_from(tiers))
    whole = sum(graph.parameters.values()) + sum(tensor.bytes for tensor in graph.tensors)
    some = st.none() | st.integers(0, whole) if limits else st.none()
    # upper tiers are faster, mostly
    ranges = ((0, 20), (0, 10), (0, 4), (0, 4))
    places = tuple(
        Tier(
            name=NAMES[index],
            device=example_device(),
            latency_s={layer.name: float(draw(st.integers(*ranges[index]))) for layer in graph.layers},
            memory_limit_bytes=draw(some),
            start_s=float(draw(st.sampled_from([0, 0, 1, 3, 10]))),
            runtime_bytes=draw(st.sampled_from([0, 0, 1, 6, 20])),
        )
        for index in range(count)
    )
    links = tuple(
        example_link(draw(st.sampled_from([1.0, 4.0, 8.0, 80.0])), draw(st.sampled_from([0.0, 1.0, 5.0])))
        for _ in range(count - 1)
    )
    pinned = draw(
        st.dictionaries(
            st.sampled_from([layer.name for layer in graph.layers]), st.sampled_from(NAMES[:count]), max_size=2
        )
        if pins
        else st.just({})
    )
    return Problem(graph=graph, tiers=places, links=links, pins=pinned)


@st.composite
def rich_problems(draw: st.DrawFn, most_layers: int = 6, objectives: tuple[str, ...] = ("latency",)) -> Problem:
    """With exits, powers, an answer that travels back, and constraints that say where layers and tensors may be."""
    problem = draw(problems(most_layers, limits=False, pins=draw(st.booleans())))
    names, layers = problem.tier_names, [layer.name for layer in problem.graph.layers]
    forbidden = draw(
        st.dictionaries(st.sampled_from(layers), st.frozensets(st.sampled_from(names), max_size=1), max_size=1)
    )
    together = (
        draw(st.lists(st.frozensets(st.sampled_from(layers), min_size=2, max_size=3), max_size=1))
        if len(layers) > 1
        else []
    )
    kept = draw(st.lists(st.sampled_from([tensor.name for tensor in problem.graph.tensors]), max_size=1))
    return replace(
        problem,
        tiers=tuple(
            replace(tier, device=tier.device.model_copy(update={"power_w": draw(st.sampled_from([0.5, 1.0, 4.0]))}))
            for tier in problem.tiers
        ),
        links=tuple(
            link.model_copy(update={"energy_j_per_byte": draw(st.integers(0, 3)) / 2}) for link in problem.links
        ),
        objective=draw(st.sampled_from(objectives)),
        forbidden=forbidden,
        together=tuple(together),
        kept=tuple(kept),
        exits=draw(exits(problem)),
        answer_bytes=draw(st.sampled_from([0, 4])),
    )


@st.composite
def exits(draw: st.DrawFn, problem: Problem) -> tuple[ExitShare, ...]:
    """Up to three exits, each at a tensor made by then; heads that take whole seconds."""
    graph = problem.graph
    depths = draw(st.sets(st.integers(1, max(1, len(graph.layers) - 1)), max_size=3))
    found: list[ExitShare] = []
    remaining = 1.0
    for depth in sorted(depths):
        made = [t.name for layer in graph.layers[:depth] for t in graph.tensors if t.producer == layer.name]
        if depth < len(graph.layers) and made:
            remaining *= draw(st.sampled_from([0.0, 0.25, 0.5, 1.0]))
            macs, size = draw(st.integers(0, 2)), draw(st.integers(0, 5))
            found.append(ExitShare(f"exit{depth}", draw(st.sampled_from(made)), depth, remaining, macs * 10**9, size))
    return tuple(found)


def without_limits(problem: Problem) -> Problem:
    """The same problem without memory limits."""
    return replace(problem, tiers=tuple(replace(tier, memory_limit_bytes=None) for tier in problem.tiers))


def slow_latency_s(problem: Problem, tier_of: TierOf) -> float:
    """Latency of a split placement straight from the definition: walk over tiers and links one by one."""
    total = sum(problem.tiers[tier].latency_s[layer] for layer, tier in tier_of.items())
    total += sum(problem.tiers[tier].start_s for tier in set(tier_of.values()))
    for hop, link in enumerate(problem.links):
        sent = 0
        for tensor in problem.graph.tensors:
            home = 0 if tensor.producer is None else tier_of[tensor.producer]
            if home <= hop and any(tier_of[reader] > hop for reader in tensor.consumers):
                sent += tensor.bytes
        if sent:
            total += link.round_trip_s + 8 * sent / link.up_bits_per_s
    return total


def slow_memory_bytes(problem: Problem, tier_of: TierOf, tier: int) -> int:
    """Memory of a tier of a split placement by simulation: run its layers, drop what nobody needs any more."""
    graph = problem.graph
    own = [layer for layer in graph.layers if tier_of[layer.name] == tier]
    names = {name for layer in own for name in layer.parameters}

    def home(tensor: str) -> int:
        producer = graph.tensor(tensor).producer
        return 0 if producer is None else tier_of[producer]

    def goes_on(tensor: str) -> bool:
        return home(tensor) <= tier and any(tier_of[reader] > tier for reader in graph.tensor(tensor).consumers)

    def needed(tensor: str, todo: list[str]) -> bool:
        made_here = graph.tensor(tensor).producer is not None and home(tensor) == tier
        answer = made_here and tensor in graph.outputs
        return goes_on(tensor) or answer or any(reader in todo for reader in graph.tensor(tensor).consumers)

    todo = [layer.name for layer in own]
    arrived = [t.name for t in graph.tensors if t.producer is None or home(t.name) < tier]
    present = {name for name in arrived if needed(name, todo)}
    peak = sum(graph.tensor(name).bytes for name in present)
    for layer in own:
        peak = max(peak, sum(graph.tensor(name).bytes for name in present) + layer.activation_bytes)
        todo.remove(layer.name)
        present = {name for name in {*present, *layer.outputs} if needed(name, todo)}
        peak = max(peak, sum(graph.tensor(name).bytes for name in present))
    runtime = problem.tiers[tier].runtime_bytes if own else 0
    return sum(graph.parameters[name] for name in names) + peak + runtime
