"""The exits of a placement: which of a part's candidates are used, and what a sample has cost by then."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgepart.errors import InfeasiblePlan, PlanError
from edgepart.exits.placement import Candidate, Rule, after, candidates, place, worthwhile
from edgepart.partitioning.placement_cost import TierOf, compute_s, layers_run
from edgepart.partitioning.plan import FINAL, PlannedExit
from edgepart.partitioning.problem import ExitShare, Problem
from edgepart.partitioning.shares import exit_tier


@dataclass(frozen=True)
class Wanted:
    """Exits by a rule, at most ``most`` a part; or, if ``by_hand`` holds (name or None, module) pairs, after those."""

    rule: Rule
    most: int
    by_hand: Sequence[tuple[str | None, str]] = field(default=())

    @classmethod
    def make(cls, rule: Rule, most: int, exit_after: Mapping[str, str] | Sequence[str]) -> Wanted:
        """From modules to exit after, or exit name → module."""
        if isinstance(exit_after, Mapping):
            return cls(rule, most, tuple(exit_after.items()))
        return cls(rule, most, tuple((None, module) for module in exit_after))


@dataclass(frozen=True)
class _Part:
    """The layers of one tier, with what has run before them."""

    tier: str
    layers: tuple[str, ...]
    before: frozenset[str]
    places: tuple[Candidate, ...]
    #: seconds of each layer, and before them: of the start, and of the layers that the tier runs first under ``nested``
    time_s: tuple[float, ...]
    start_s: float
    final: bool


#: a place and, if it was given one by hand, its name
Chosen = list[tuple[Candidate, str | None]]


def plan_exits(problem: Problem, tier_of: TierOf, wanted: Wanted, head: str | None) -> list[PlannedExit]:
    """The exits of every part, in the order in which a sample meets them.

    Under ``nested`` every tier below the last one that holds layers gets an exit at its end, asked for or not: it can
    answer nowhere else.

    Raises:
        UnknownName: no such module.
        PlanError: an exit cannot sit where it is asked for or needed, or two have the same place or name.
        InfeasiblePlan: a tier would hold more exits than its limit.
    """
    parts = _parts(problem, tier_of)
    chosen = {part.tier: _by_rule(problem, part, wanted) for part in parts}
    exits: dict[str, Chosen] = {tier: [(each, None) for each in places] for tier, places in chosen.items()}
    if wanted.by_hand:
        exits = _by_hand(problem, tier_of, parts, wanted.by_hand)
    planned: list[PlannedExit] = []
    for part in parts:
        here = exits[part.tier]
        if problem.deployment == "nested" and not part.final:
            here = _with_end(part, here)
        limit = problem.limits.get(f"{part.tier}.exits", math.inf)
        if len(here) > limit:
            raise InfeasiblePlan(
                f"'{part.tier}' would hold {len(here)} exits, above its limit of {limit:g}: "
                "raise it, or ask for fewer exits there"
            )
        planned += _planned(part, here, head)
    names = [point.name for point in planned]
    if len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise PlanError(f"two exits would be called '{double}': give the one by hand another name")
    return planned


def plan_known_exits(problem: Problem, tier_of: TierOf) -> list[PlannedExit]:
    """The exits that the problem states, each on the tier that makes its tensor."""
    planned: list[PlannedExit] = []
    for point in problem.exits:
        tier = problem.tiers[exit_tier(problem, tier_of, point)]
        own = [
            layer.name for layer in problem.graph.layers[: point.depth] if problem.tiers[tier_of[layer.name]] is tier
        ]
        number = 1 + sum(other.tier == tier.name for other in planned)
        planned.append(
            PlannedExit(
                name=f"{tier.name}-{number}",
                tier=tier.name,
                tensor=point.tensor,
                depth=len(own),
                compute_s=compute_s(tier, own),
                head=point.head,
                parameters=dict(point.parameters),
                head_macs=point.head_macs,
                head_bytes=point.head_bytes,
                going_on=point.going_on,
            )
        )
    return planned


def assumed_exits(problem: Problem, rule: Rule, count: int, leave: float, head: str | None) -> tuple[ExitShare, ...]:
    """Exits by a rule over the whole network as one part, the same share leaving at each of those who come to it.

    Raises:
        PlanError: the share is not one, or there is no place for an exit.
    """
    if not 0 <= leave <= 1:
        raise PlanError(f"a share of {leave:g} is assumed to leave at every exit: expected 0 to 1, or 0% to 100%")
    graph, everything = problem.graph, tuple(layer.name for layer in problem.graph.layers)
    places = worthwhile(graph, everything, candidates(graph, frozenset(), everything))
    time_s = [problem.tiers[0].latency_s[name] for name in everything]
    chosen = place(rule, places, time_s, [layer.macs for layer in graph.layers], count, True)
    if not chosen:
        raise PlanError(f"no exit is placed ({rule}), so nothing can leave early: use --exits linear or pareto")
    return tuple(
        ExitShare(f"exit-{number}", where.tensor, where.depth, (1 - leave) ** number, head=head)
        for number, where in enumerate(chosen, start=1)
    )


def _by_rule(problem: Problem, part: _Part, wanted: Wanted) -> list[Candidate]:
    places = worthwhile(problem.graph, part.layers, part.places) if part.final else part.places
    macs = [problem.graph.layer(name).macs for name in part.layers]
    most = int(min(wanted.most, problem.limits.get(f"{part.tier}.exits", math.inf)))
    return place(wanted.rule, places, part.time_s, macs, most, part.final)


def _parts(problem: Problem, tier_of: TierOf) -> list[_Part]:
    parts = []
    for index, tier in enumerate(problem.tiers):
        layers = tuple(layer.name for layer in problem.graph.layers if tier_of[layer.name] == index)
        if layers:
            before = frozenset(layer for layer, where in tier_of.items() if where < index)
            own = set(layers)
            first = [name for name in layers_run(problem, tier_of, index) if name not in own]
            parts.append(
                _Part(
                    tier=tier.name,
                    layers=layers,
                    before=before,
                    places=candidates(problem.graph, before, layers),
                    time_s=tuple(tier.latency_s[name] for name in layers),
                    start_s=tier.start_s + sum(tier.latency_s[name] for name in first),
                    final=index == max(tier_of.values()),
                )
            )
    return parts


def _by_hand(
    problem: Problem, tier_of: TierOf, parts: Sequence[_Part], asked: Sequence[tuple[str | None, str]]
) -> dict[str, Chosen]:
    exits: dict[str, Chosen] = {part.tier: [] for part in parts}
    for name, module in asked:
        tier = problem.tiers[max(tier_of[layer] for layer in problem.graph.after(module).layers)].name
        part = next(each for each in parts if each.tier == tier)
        where = after(problem.graph, module, part.before, part.layers)
        if any(where == other for other, _ in exits[tier]):
            raise PlanError(f"two exits are asked for at the same place, after '{module}': give it once")
        exits[tier].append((where, name))
    return {tier: sorted(places, key=lambda pair: pair[0].depth) for tier, places in exits.items()}


def _with_end(part: _Part, here: Chosen) -> Chosen:
    if here and here[-1][0].depth == len(part.layers):
        return here
    end = next((each for each in part.places if each.depth == len(part.layers)), None)
    if end is None:
        raise PlanError(
            f"a nested tier answers at its end, but not exactly one feature tensor crosses after '{part.layers[-1]}', "
            f"where '{part.tier}' ends: split after another module"
        )
    return [*here, (end, None)]


def _planned(part: _Part, here: Chosen, head: str | None) -> list[PlannedExit]:
    return [
        PlannedExit(
            name=_checked(name or f"{part.tier}-{number}"),
            tier=part.tier,
            tensor=where.tensor,
            depth=where.depth,
            compute_s=part.start_s + sum(part.time_s[: where.depth]),
            head=head,
        )
        for number, (where, name) in enumerate(here, start=1)
    ]


def _checked(name: str) -> str:
    if name == FINAL or not name[0].isalnum() or not all(letter.isalnum() or letter in "-_" for letter in name):
        raise PlanError(f"'{name}' cannot name an exit: use letters, digits, '-' and '_', and not '{FINAL}'")
    return name
