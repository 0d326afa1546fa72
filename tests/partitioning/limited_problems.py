"""Random placement problems with prices, with limits of every kind that may bind, and chains."""

from __future__ import annotations

import itertools
from dataclasses import replace
from random import Random

import pytest
from hypothesis import strategies as st
from random_problems import NAMES, exits, rich_problems

from edgepart.errors import InfeasiblePlan
from edgepart.graph import Graph
from edgepart.hardware import ServerlessPrice
from edgepart.hardware.price import GB
from edgepart.partitioning.exhaustive import Exhaustive
from edgepart.partitioning.limits import broken, exceeded
from edgepart.partitioning.problem import ExitShare, Partitioner, Problem, Tier
from edgepart.partitioning.values import value
from edgepart.testing.graphs import make_graph
from edgepart.testing.hardware import example_device, example_link

WHOLE = ("latency", "full-latency", "energy", "money", "period")
OF_A_TIER = ("memory", "exits", "energy", "money")


def quantities(tiers: int) -> list[str]:
    """Everything that a placement on so many tiers can minimise or be limited in."""
    names = NAMES[:tiers]
    of_tiers = [f"{name}.{kind}" for name in names for kind in OF_A_TIER]
    return [*WHOLE, *of_tiers, *(f"{lower}:{upper}.bytes" for lower, upper in itertools.pairwise(names))]


@st.composite
def prices(draw: st.DrawFn) -> ServerlessPrice:
    """Some sizes of a few bytes, larger ones dearer; steps that layers of whole seconds fill, or not."""
    sizes = draw(st.lists(st.sampled_from([4, 8, 16, 32]), min_size=0, max_size=3, unique=True))
    return ServerlessPrice(
        model="serverless",
        name="example",
        title="Example",
        usd_per_gb_s=GB * draw(st.sampled_from([0.0, 0.125])),
        usd_per_ghz_s=draw(st.sampled_from([0.0, 1.0])),
        usd_per_request=draw(st.sampled_from([0.0, 3.0])),
        usd_per_gb_egress=GB * draw(st.sampled_from([0.0, 0.5])),
        step_s=draw(st.sampled_from([1.0, 3.0, 0.75])),
        sizes=tuple((size, size / 16) for size in [*sizes, draw(st.sampled_from([48, 200]))]),
        source="made up",
    )


@st.composite
def with_limits(draw: st.DrawFn, problem: Problem, most: int = 2, only: tuple[str, ...] = ()) -> Problem:
    """Prices, an objective and limits of ``problem``, near to what some placement has."""
    known = [name for name in quantities(len(problem.tiers)) if not only or name.rpartition(".")[2] in only]
    tiers = tuple(replace(tier, price=draw(st.none() | prices())) for tier in problem.tiers)
    problem = replace(problem, tiers=tiers)
    limits = {}
    for name in draw(st.lists(st.sampled_from(known), max_size=most, unique=True)):
        cuts = sorted(draw(st.integers(0, len(problem.graph.layers))) for _ in problem.links)
        tier_of = {layer.name: sum(index >= cut for cut in cuts) for index, layer in enumerate(problem.graph.layers)}
        try:
            near = value(problem, tier_of, name)
        except InfeasiblePlan:
            near = 10.0
        limits[name] = max(0.0, near + draw(st.sampled_from([0.0, 0.0, 1.0, -1.0])))
    return replace(problem, limits=limits)


@st.composite
def limited_problems(draw: st.DrawFn, most_layers: int = 6, most: int = 2) -> Problem:
    """Any network, objective, limits, exits and rules."""
    problem = draw(with_limits(draw(rich_problems(most_layers)), most))
    return replace(problem, objective=draw(st.sampled_from(quantities(len(problem.tiers)))))


def tight_problem(seed: int, most_layers: int = 6, chain: bool = False) -> Problem:
    """Costs, exits, prices and rules of all kinds, and limits that mostly bind: what hypothesis, drawn to small and
    simple problems, seldom makes.
    """
    random, runtimes, starts = Random(seed), Random(-seed - 1), Random(f"starts {seed}")
    graph, count = _random_graph(random, random.randint(2, most_layers), chain), random.choice([2, 3, 3])
    names = [layer.name for layer in graph.layers]
    tiers = tuple(
        Tier(
            name,
            example_device(power_w=random.choice([0.5, 1.0, 4.0])),
            {layer: float(random.randint(1, most)) for layer in names},
            price=_random_price(random) if random.random() < 0.7 else None,
            runtime_bytes=runtimes.choice([0, 0, 3, 12]),
            start_s=starts.choice([0.0, 0.25, 2.0, 6.0]),
        )
        for name, most in zip(NAMES[:count], (20, 10, 5), strict=False)
    )
    links = tuple(
        example_link(random.choice([2.0, 8.0, 80.0]), random.choice([0.0, 1.0, 5.0]), energy_j_per_byte=0.5)
        for _ in tiers[1:]
    )
    problem = Problem(graph, tiers, links, answer_bytes=random.choice([0, 4]))
    problem = replace(problem, exits=_random_exits(random, problem))
    if random.random() < 0.3:
        problem = replace(problem, pins={random.choice(names): random.choice(NAMES[:count])})
    if random.random() < 0.2:
        problem = replace(problem, forbidden={random.choice(names): frozenset({random.choice(NAMES[:count])})})
    if random.random() < 0.2:
        problem = replace(problem, together=(frozenset(random.sample(names, 2)),))
    objective = random.choice([*WHOLE, *WHOLE, *quantities(count)])
    some = [_random_placement(random, graph, count) for _ in range(12)]
    legal = [each for each in some if not broken(problem, each)] or some
    best = min(legal, key=lambda each: _or_ten(problem, each, objective))
    limitable = [name for name in quantities(count) if not chain or "." in name or name == "period"]
    limits = {}
    for name in random.sample(limitable, random.choice([0, 1, 1, 2, 2, 3])):
        # below what a good placement has, where some other one is
        most, values = _or_ten(problem, best, name), [_or_ten(problem, each, name) for each in legal]
        limits[name] = max((each for each in values if each < most), default=most)
    return replace(problem, limits=limits, objective=objective)


def _random_graph(random: Random, count: int, chain: bool) -> Graph:
    known, layers, odd = ["x"], [], not chain and random.random() < 0.2
    for index in range(count):
        name = f"l{index}"
        reads = set(random.sample(known[-3:], random.randint(0 if odd else 1, min(2, len(known[-3:])))))
        if chain:
            reads.add(known[-1])
        made = {name: random.randint(0 if odd else 1, 9)} | ({f"{name}:1": 3} if random.random() < 0.2 else {})
        known = [*known, *reversed(made)]
        layers.append((name, sorted(reads), made))
    names = [name for name, _, _ in layers]
    parameters = {name: {f"{name}.w": random.randint(0, 9)} for name in names}
    for name in random.sample(names, random.choice([0, 0, 2]) if count > 2 else 0):
        parameters[name]["tied"] = 5
    read = {tensor for _, reads, _ in layers for tensor in reads}
    answers = [t for _, _, made in layers for t in made if t not in read or random.random() < 0.1]
    workspace = {name: random.randint(0, 4) for name in names}
    return make_graph(layers, {"x": random.randint(1, 20)}, parameters=parameters, workspace=workspace, outputs=answers)


def _random_price(random: Random) -> ServerlessPrice:
    return ServerlessPrice(
        model="serverless",
        name="example",
        title="Example",
        usd_per_gb_s=GB * random.choice([0.03, 0.125]),
        usd_per_ghz_s=random.choice([0.0, 1.0]),
        usd_per_request=random.choice([0.0, 3.0]),
        usd_per_gb_egress=GB * random.choice([0.0, 0.5]),
        step_s=random.choice([1.0, 3.0, 0.75]),
        sizes=tuple((size, size / 16) for size in random.sample([8, 16, 24, 32, 48, 200], 3)),
        source="made up",
    )


def _random_exits(random: Random, problem: Problem) -> tuple[ExitShare, ...]:
    layers, found, remaining = problem.graph.layers, [], 1.0
    for depth in sorted(random.sample(range(1, len(layers)), min(random.choice([0, 1, 2]), len(layers) - 1))):
        remaining *= random.choice([0.0, 0.25, 0.5, 0.5, 1.0])
        tensor = random.choice([name for layer in layers[:depth] for name in layer.outputs])
        macs, size = random.randint(0, 2) * 10**9, random.randint(0, 5)
        found.append(ExitShare(f"exit{depth}", tensor, depth, remaining, macs, size))
    return tuple(found)


def _random_placement(random: Random, graph: Graph, tiers: int) -> dict[str, int]:
    tier_of: dict[str, int] = {}
    for index, layer in enumerate(graph.layers):
        lowest = max([0, *(tier_of[graph.layers[parent].name] for parent in graph.parents[index])])
        tier_of[layer.name] = min(tiers - 1, lowest + (random.random() < 0.35))
    return tier_of


def _or_ten(problem: Problem, tier_of: dict[str, int], name: str) -> float:
    try:
        return value(problem, tier_of, name)
    except InfeasiblePlan:
        return 10.0


@st.composite
def chains(draw: st.DrawFn, most_layers: int = 8) -> Graph:
    """Every layer reads the one before, and maybe an earlier tensor."""
    count = draw(st.integers(1, most_layers))
    known, layers = ["x"], []
    for index in range(count):
        reads = {known[-1], *draw(st.lists(st.sampled_from(known), max_size=1))}
        name = f"l{index}"
        layers.append((name, sorted(reads), {name: draw(st.integers(0, 9))}))
        known.append(name)
    names = [name for name, _, _ in layers]
    parameters = {name: {f"{name}.w": draw(st.integers(0, 9))} for name in names}
    for name in draw(st.lists(st.sampled_from(names), max_size=3)):
        parameters[name]["tied"] = 5
    also = draw(st.lists(st.sampled_from(names), max_size=1))
    return make_graph(
        layers,
        {"x": draw(st.integers(1, 9))},
        parameters=parameters,
        workspace={name: draw(st.integers(0, 4)) for name in names},
        outputs=list(dict.fromkeys([names[-1], *also])),
    )


@st.composite
def chain_problems(draw: st.DrawFn, most_layers: int = 8, tiers: tuple[int, ...] = (1, 2, 3, 4)) -> Problem:
    """A chain with exits, rules and limits of tiers and links (and of the objective)."""
    graph, count = draw(chains(most_layers)), draw(st.sampled_from(tiers))
    names = [layer.name for layer in graph.layers]
    places = tuple(
        Tier(
            name,
            example_device(power_w=draw(st.sampled_from([0.5, 2.0]))),
            {layer: float(draw(st.integers(0, most))) for layer in names},
            runtime_bytes=draw(st.sampled_from([0, 0, 3, 12])),
            start_s=draw(st.sampled_from([0.0, 0.0, 0.5, 4.0])),
        )
        for name, most in zip(NAMES[:count], (20, 10, 4, 4), strict=False)
    )
    links = tuple(
        example_link(draw(st.sampled_from([1.0, 8.0, 80.0])), draw(st.sampled_from([0.0, 5.0])), energy_j_per_byte=0.5)
        for _ in places[1:]
    )
    problem = Problem(graph, places, links, answer_bytes=draw(st.sampled_from([0, 4])))
    layer = st.sampled_from(names)
    problem = replace(
        problem,
        exits=draw(exits(problem)),
        pins=draw(st.dictionaries(layer, st.sampled_from(NAMES[:count]), max_size=1)),
        forbidden=draw(st.dictionaries(layer, st.frozensets(st.sampled_from(NAMES[:count]), max_size=1), max_size=1)),
        kept=tuple(draw(st.lists(layer, max_size=1))),
    )
    problem = draw(with_limits(problem, 2, ("memory", "exits", "energy", "money", "bytes", "period")))
    objective = draw(st.sampled_from(quantities(count)))
    local = {name: most for name, most in problem.limits.items() if name not in ("energy", "money")}
    return replace(problem, objective=objective, limits=local)


def assert_best(problem: Problem, method: Partitioner) -> None:
    """As good as the best of all legal placements, and called so; refused where there is none."""
    try:
        best = Exhaustive().solve(problem).proof.bound
    except InfeasiblePlan:
        with pytest.raises(InfeasiblePlan):
            method.solve(problem)
        return
    found = method.solve(problem)
    assert broken(problem, found.tier_of) == []
    assert exceeded(problem, found.tier_of) == {}
    assert best is not None
    assert found.proof.bound is not None
    assert found.proof.bound <= best * (1 + 1e-6) + 1e-6
    assert value(problem, found.tier_of, problem.objective) == pytest.approx(best, rel=1e-6, abs=1e-6)
    assert found.proof.status == "optimal"
