"""The one definition of what a placement costs: latency, what crosses each link, memory of each tier.

Latency of one sample under ``split`` is the sum of every layer's latency on its tier plus, for every link that
something crosses, one round trip and the bytes sent up (:meth:`Link.transfer_s`). A tensor that is read two tiers up
pays both links and each of them once, however many layers read it there. The inputs of the network are on the first
tier. The answer's way back is inside the round trips, unless the problem states its size. Every tier that holds a layer
adds its start (:attr:`~edgepart.partitioning.problem.Tier.start_s`). Under ``nested`` a sample that no lower tier
answers costs the way of the raw inputs to the last tier that holds layers, and its start and the whole network there.

Memory of a tier is the bytes of the parameters its layers use, each counted once, plus the most bytes of activations
alive at once (:func:`edgepart.graph.peak_activation_bytes`). A tensor that arrives and is passed on to a higher tier
stays in memory all the while, whether the tier reads it or not; so do, on a nested tier that another one follows, the
raw inputs. A tier that holds a layer also needs what its runtime takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgepart.graph import peak_activation_bytes
from edgepart.hardware import Link
from edgepart.partitioning.problem import Problem, Tier

#: layer → index of its tier
TierOf = Mapping[str, int]


@dataclass(frozen=True)
class Costs:
    """What a placement costs one sample; per tier, and per hop (one fewer), in order.

    ``compute_s`` of a tier counts its start and everything that it runs: under ``nested`` the whole prefix.
    ``latency_s`` is that of a sample that takes no early exit.
    """

    compute_s: tuple[float, ...]
    crossing: tuple[tuple[str, ...], ...]
    crossing_bytes: tuple[int, ...]
    transfer_s: tuple[float, ...]
    latency_s: float


@dataclass(frozen=True)
class Memory:
    """Bytes that a tier needs; ``runtime_bytes`` is 0 where the tier holds no layer, and so needs no runtime."""

    parameter_bytes: int
    activation_bytes: int
    runtime_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        return self.parameter_bytes + self.activation_bytes + self.runtime_bytes


def crossing(problem: Problem, tier_of: TierOf) -> tuple[tuple[str, ...], ...]:
    """The tensors that cross each hop, each named once, in the order of :attr:`Graph.tensors`."""
    hops: list[list[str]] = [[] for _ in problem.links]
    last = max(tier_of.values())
    for tensor in problem.graph.tensors:
        if not tensor.consumers:
            continue
        if problem.deployment == "nested":
            start, stop = (0, last) if tensor.producer is None else (0, 0)
        else:
            start = 0 if tensor.producer is None else tier_of[tensor.producer]
            stop = max(tier_of[consumer] for consumer in tensor.consumers)
        for hop in range(start, stop):
            hops[hop].append(tensor.name)
    return tuple(tuple(names) for names in hops)


def layers_run(problem: Problem, tier_of: TierOf, tier: int) -> tuple[str, ...]:
    """The layers that a tier runs, in topological order; under ``nested`` the lower tiers' too."""
    own = [layer.name for layer in problem.graph.layers if tier_of[layer.name] == tier]
    if problem.deployment == "split" or not own:
        return tuple(own)
    return tuple(layer.name for layer in problem.graph.layers if tier_of[layer.name] <= tier)


def evaluate(problem: Problem, tier_of: TierOf) -> Costs:
    """Latency and traffic of a placement."""
    crossed = crossing(problem, tier_of)
    sizes = tuple(sum(problem.graph.tensor(name).bytes for name in names) for names in crossed)
    transfer = tuple(trip_s(problem, link, sent) for link, sent in zip(problem.links, sizes, strict=True))
    compute = tuple(compute_s(tier, layers_run(problem, tier_of, index)) for index, tier in enumerate(problem.tiers))
    nested = problem.deployment == "nested"
    computing = compute[max(tier_of.values())] if nested else sum(compute)
    return Costs(compute, crossed, sizes, transfer, computing + sum(transfer))


def compute_s(tier: Tier, layers: Sequence[str]) -> float:
    """Seconds of layers on a tier, its start included; no layers are no part."""
    return tier.start_s + sum(tier.latency_s[name] for name in layers) if layers else 0.0


def trip_s(problem: Problem, link: Link, sent_bytes: float) -> float:
    """Seconds that a sample spends on a link, up with the tensors and back with the answer; none if nothing is sent."""
    back = 8 * problem.answer_bytes / link.down_bits_per_s
    return link.transfer_s(sent_bytes) + (back if sent_bytes > 0 else 0.0)


def memory(problem: Problem, tier_of: TierOf) -> tuple[Memory, ...]:
    """Memory of every tier."""
    graph, crossed, needed = problem.graph, crossing(problem, tier_of), []
    for index, tier in enumerate(problem.tiers):
        layers = layers_run(problem, tier_of, index)
        leaving = crossed[index] if index < len(crossed) else ()
        held = {name for name in leaving if graph.tensor(name).producer not in layers}
        runtime = tier.runtime_bytes if layers else 0
        needed.append(Memory(graph.parameter_bytes(layers), peak_activation_bytes(graph, layers, held), runtime))
    return tuple(needed)


def uniform(problem: Problem, tier: int, lowest: Sequence[int], highest: Sequence[int]) -> dict[str, int]:
    """Every layer on one tier, or as near to it as its pins (see :mod:`edgepart.partitioning.pins`) allow."""
    bounds = zip(problem.graph.layers, lowest, highest, strict=True)
    return {layer.name: min(max(tier, low), high) for layer, low, high in bounds}
