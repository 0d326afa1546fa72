"""Small banks of exits on small networks, and every choice from them by plain loops."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from edgepart.errors import InfeasiblePlan
from edgepart.partitioning.limits import broken, exceeded
from edgepart.partitioning.problem import ExitShare, Problem, Tier
from edgepart.partitioning.values import value
from edgepart.search import Bank, Head, Level
from edgepart.testing.graphs import make_graph, random_graph
from edgepart.testing.hardware import example_device, example_link

NAMES = ("mobile", "edge", "cloud")


def chain_problem(layers: int = 5, tiers: int = 2, seed: int = 0, **fields: object) -> Problem:
    """A chain whose tensors shrink, on tiers each faster than the one before."""
    random = np.random.default_rng(seed)
    sizes = [int(size) for size in np.sort(random.integers(1, 40, layers))[::-1]]
    described = [(f"l{i}", ["x" if i == 0 else f"l{i - 1}"], {f"l{i}": sizes[i]}) for i in range(layers)]
    weights = {f"l{i}": {f"l{i}.weight": int(random.integers(1, 20))} for i in range(layers)}
    return on_tiers(make_graph(described, {"x": 30}, parameters=weights), tiers, random, **fields)


def random_problem(seed: int, most_layers: int = 5) -> Problem:
    """A small network with skips."""
    random = np.random.default_rng(seed)
    return on_tiers(random_graph(random, most_layers), int(random.integers(2, 4)), random)


def on_tiers(graph, tiers, random, **fields):
    places = tuple(
        Tier(
            name=NAMES[tier],
            device=example_device(power_w=float(random.integers(1, 5))),
            latency_s={layer.name: float(random.integers(1, 8)) / (1 + tier) for layer in graph.layers},
        )
        for tier in range(tiers)
    )
    links = tuple(
        example_link(float(random.choice([8.0, 40.0, 200.0])), float(random.integers(0, 4)), energy_j_per_byte=0.5)
        for _ in range(tiers - 1)
    )
    return Problem(graph=graph, tiers=places, links=links, **fields)


def random_bank(
    problem: Problem, seed: int, places: int = 2, heads: int = 2, levels: int = 3, samples: int = 40
) -> Bank:
    """Heads after some of the layers, better and larger the deeper they are."""
    random = np.random.default_rng(seed)
    graph = problem.graph
    able = [index for index, layer in enumerate(graph.layers[:-1]) if layer.outputs]
    chosen = sorted(random.permutation(able)[:places].tolist())
    found = []
    for index in chosen:
        tensor = graph.layers[index].outputs[0]
        here = []
        for number in range(int(random.integers(1, heads + 1))):
            certainty = random.random(samples)
            skill = 0.4 + 0.4 * index / len(graph.layers) + 0.1 * number
            here.append(
                Head(
                    tensor=tensor,
                    depth=index + 1,
                    certainty=certainty,
                    correct=random.random(samples) < skill * (0.4 + certainty),
                    macs=int(random.integers(0, 3)) * 10**9,
                    bytes=int(random.integers(0, 9)),
                    template=("linear", "mlp")[number],
                    bundle=f"bundle{number}",
                )
            )
        found.append(tuple(here))
    cuts = [Level(share, share) for share in np.linspace(0.2, 0.9, levels)]
    return Bank(tuple(found), random.random(samples) < 0.9, tuple(cuts))


def every_choice(problem: Problem, bank: Bank, objectives, separate: bool, most_exits: int):
    """The values of every choice of exits, thresholds and placement that is allowed, sample by sample."""
    most = {f"{name}.exits": float(most_exits) for name in problem.tier_names}
    layers = [layer.name for layer in problem.graph.layers]
    placements = [
        dict(zip(layers, tiers, strict=True))
        for tiers in itertools.product(range(len(problem.tiers)), repeat=len(layers))
    ]
    placements = [each for each in placements if rises(problem, each)]
    for heads in itertools.product(*([None, *here] for here in bank.places)):
        chosen = [head for head in heads if head is not None]
        for levels in itertools.product(bank.levels, repeat=len(chosen)):
            if not separate and len(set(levels)) > 1:
                continue
            accuracy, shares = walk(bank, chosen, levels)
            known = replace(problem, exits=shares, limits={**problem.limits, **most})
            for tier_of in placements:
                if not broken(known, tier_of) and not exceeded(known, tier_of):
                    try:
                        values = [accuracy if n == "accuracy" else value(known, tier_of, n) for n in objectives]
                    except InfeasiblePlan:
                        continue
                    yield tuple(values)


def rises(problem: Problem, tier_of) -> bool:
    home = {t.name: 0 if t.producer is None else tier_of[t.producer] for t in problem.graph.tensors}
    return all(home[name] <= tier_of[layer.name] for layer in problem.graph.layers for name in layer.inputs)


def walk(bank: Bank, chosen, levels) -> tuple[float, tuple[ExitShare, ...]]:
    samples = len(bank.final_correct)
    right, past = 0, [0] * len(chosen)
    for sample in range(samples):
        for index, (head, level) in enumerate(zip(chosen, levels, strict=True)):
            if head.certainty[sample] >= level.certainty:
                right += int(head.correct[sample])
                break
            past[index] += 1
        else:
            right += int(bank.final_correct[sample])
    shares = tuple(
        ExitShare(f"e{i}", head.tensor, head.depth, past[i] / samples, head.macs, head.bytes)
        for i, head in enumerate(chosen)
    )
    return right / samples, shares


def beats(left, right, objectives) -> bool:
    """Whether values are as good in all objectives and better in one, rounding aside."""
    signs = [-1 if name == "accuracy" else 1 for name in objectives]
    gaps = [sign * (b - a) for a, b, sign in zip(left, right, signs, strict=True)]
    sizes = [1e-7 * max(abs(a), abs(b)) for a, b in zip(left, right, strict=True)]
    return all(gap >= -size for gap, size in zip(gaps, sizes, strict=True)) and any(
        gap > size for gap, size in zip(gaps, sizes, strict=True)
    )


def best_values(values, objectives) -> list[tuple[float, ...]]:
    """Those that no other beats, each once."""
    found = {tuple(float(f"{x:.7g}") for x in each): each for each in values}
    kept = [each for each in found.values() if not any(beats(other, each, objectives) for other in found.values())]
    return sorted(kept)
