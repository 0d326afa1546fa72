"""Why no placement exists: a smallest set of constraints that conflict, in one sentence.

Every pin, forbidden layer, group, kept tensor, exit and limit is a constraint with a name. If the rules conflict, the
set is one of rules; else of limits and rules, with the exits' places given (they say whom a limit counts). One minimal
set is found by halving (Junker, "QuickXplain", AAAI 2004). That none is smaller follows from placements: whatever
conflicts must contain one of the constraints that a placement violates, so the fewest constraints that hit all these
are a lower bound, and the smallest set once they conflict (Ignatiev et al., "Smallest MUS extraction with minimal
hitting set dualization", CP 2015). Where there are several routes, a set conflicts if it does on each of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from edgepart.errors import InfeasiblePlan
from edgepart.partitioning.formulation import Nodes, rules
from edgepart.partitioning.integer_program import IntegerProgram
from edgepart.partitioning.limits import all_limits, broken, describe, exceeded, too_small
from edgepart.partitioning.linear_program import LinearProgram, combine
from edgepart.partitioning.minimum_cut import IsAbove, Sides
from edgepart.partitioning.pins import Windows
from edgepart.partitioning.problem import Problem
from edgepart.partitioning.quantities import quantity, spoken
from edgepart.partitioning.routes import Route, routes
from edgepart.partitioning.values import value
from edgepart.units import amount

#: seconds that are spent on a smallest set; after them any set that conflicts is named
MOST_S = 10.0
#: placements that overstep a limit by the solver's tolerance before one is believed not to exist
MOST_EXCLUDED = 10
#: constraints or layers in a sentence
MOST_NAMED = 8

Kind = Literal["pin", "forbidden", "together", "kept", "exit", "limit", "sizes"]


@dataclass(frozen=True)
class Constraint:
    """One constraint of a problem, by the key under which the problem has it."""

    kind: Kind
    key: str | int
    text: str


def explain(problem: Problem, time_limit_s: float) -> str:
    """One sentence that names a smallest set of constraints that conflict, given that no placement keeps to all."""
    found, proven = conflict(problem, time_limit_s)
    if found is None:  # not seen again in time
        found, proven = limit_constraints(problem), False
    said = _sentence(problem, found, min(time_limit_s, MOST_S)) + ("" if proven else " (fewer may do)")
    of_memory = any(each.kind == "limit" and str(each.key).endswith(".memory") for each in found)
    why = too_small(problem) if of_memory else ""
    return f"{said}; {why}" if why else said


def conflict(problem: Problem, time_limit_s: float) -> tuple[list[Constraint] | None, bool]:
    """A smallest set of constraints that no placement satisfies (None: they do not conflict), and if that is proven."""
    end = time.monotonic() + min(time_limit_s, MOST_S)
    of_rules = rule_constraints(problem)
    found, proven = _smallest(_Oracle(problem, of_rules, end))
    if found is not None:
        return found, proven
    of_rules = [each for each in of_rules if each.kind != "exit"]
    return _smallest(_Oracle(problem, [*limit_constraints(problem), *of_rules], end, has_exits=True))


def rule_constraints(problem: Problem) -> list[Constraint]:
    """The constraints that say where layers may lie."""
    found = [Constraint("pin", layer, f"pin {layer}={tier}") for layer, tier in problem.pins.items()]
    for layer, tiers in problem.forbidden.items():
        if tiers:
            names = [name for name in problem.tier_names if name in tiers]
            found.append(Constraint("forbidden", layer, f"{layer} not on {listed(names, 'or')}"))
    for number, group in enumerate(problem.together):
        found.append(Constraint("together", number, f"{listed(problem.graph.in_order(group))} together"))
    found += [Constraint("kept", name, f"{name} kept where it is made") for name in problem.kept]
    return found + [Constraint("exit", point.name, f"exit {point.name} local to its part") for point in problem.exits]


def limit_constraints(problem: Problem) -> list[Constraint]:
    """The limits, and that something on offer holds a part if money is minimised."""
    found = []
    for name, most in all_limits(problem).items():
        unit = quantity(name, problem.tier_names, problem.hops).unit
        found.append(Constraint("limit", name, f"{spoken(name)} <= {amount(most, unit)}"))
    if quantity(problem.objective, problem.tier_names, problem.hops).kind == "money":
        found.append(Constraint("sizes", problem.objective, "the sizes that the prices offer"))
    return found


def listed(names: Sequence[str], last: str = "and") -> str:
    """``a, b and c``; no more than :data:`MOST_NAMED`."""
    if len(names) > MOST_NAMED:
        names = [*names[:MOST_NAMED], f"{len(names) - MOST_NAMED} more"]
    return f" {last} ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


class _Oracle:
    """Which sets of constraints some placement satisfies; with ``has_exits``, all exits are there in any case."""

    def __init__(self, problem: Problem, constraints: list[Constraint], end: float, has_exits: bool = False) -> None:
        self.problem, self.constraints, self.end, self._has_exits = problem, constraints, end, has_exits
        #: whether some set was neither placed nor shown to conflict in time
        self.unsure = False

    @cached_property
    def _limits(self) -> dict[str, float]:
        return all_limits(self.problem)

    @property
    def late(self) -> bool:
        return time.monotonic() > self.end

    def satisfied(self, wanted: Sequence[Constraint]) -> set[Constraint] | None:
        """The constraints that a placement which satisfies the wanted ones keeps to; None: there is none."""
        reduced = only(self.problem, wanted, self._has_exits)
        found = self._placed(reduced, any(each.kind == "sizes" for each in wanted))
        if found is None:
            return None
        tiers, tier_of = found
        if not tier_of:
            self.unsure = True
            return set(wanted)
        return {each for each in self.constraints if each in wanted or self._keeps(tiers, tier_of, each)}

    def _placed(self, problem: Problem, on_offer: bool) -> tuple[tuple[int, ...], dict[str, int]] | None:
        """As :func:`place` on any route, with the tiers of the route."""
        unsure = None
        for route in routes(problem):
            tier_of = None if route.barred else place(route.problem, self.end - time.monotonic(), on_offer)
            if tier_of:
                return route.tiers, tier_of
            if tier_of is not None:
                unsure = route.tiers, tier_of
        return unsure

    def _keeps(self, tiers: tuple[int, ...], tier_of: dict[str, int], constraint: Constraint) -> bool:
        if constraint.kind not in ("limit", "sizes"):
            route = Route(only(self.problem, [constraint], exits=False), tiers)
            return not route.barred and not broken(route.problem, tier_of)
        try:
            found = Route(self.problem, tiers).value(tier_of, str(constraint.key))
        except InfeasiblePlan:  # no size on offer holds a part
            return False
        return constraint.kind == "sizes" or found <= self._limits[str(constraint.key)]


def only(problem: Problem, wanted: Sequence[Constraint], exits: bool) -> Problem:
    """The problem with none but the wanted constraints; with all exits or the wanted ones."""
    keys = {kind: {each.key for each in wanted if each.kind == kind} for kind in Kind.__args__}  # type: ignore[attr-defined]
    limits = all_limits(problem)
    return replace(
        problem,
        tiers=tuple(replace(tier, memory_limit_bytes=None) for tier in problem.tiers),
        limits={name: limits[name] for name in limits if name in keys["limit"]},
        pins={layer: tier for layer, tier in problem.pins.items() if layer in keys["pin"]},
        forbidden={layer: tiers for layer, tiers in problem.forbidden.items() if layer in keys["forbidden"]},
        together=tuple(group for number, group in enumerate(problem.together) if number in keys["together"]),
        kept=tuple(name for name in problem.kept if name in keys["kept"]),
        exits=tuple(point for point in problem.exits if exits or point.name in keys["exit"]),
    )


def place(problem: Problem, time_limit_s: float, on_offer: bool) -> dict[str, int] | None:
    """Any placement that satisfies the constraints; None: there is none; empty: not known in time."""
    sides = _sides(problem)
    if not sides.feasible:
        return None
    limits = all_limits(problem)
    for start in sides.uniform():
        tier_of = _tier_of(problem, sides, start)
        if not exceeded(problem, tier_of) and (not on_offer or _cost(problem, tier_of) < math.inf):
            return tier_of
    program = IntegerProgram(problem, sides)
    for name, most in limits.items():
        program.limit(name, most)
    if on_offer:
        program.expression(quantity(problem.objective, problem.tier_names), 1.0)
    for _ in range(MOST_EXCLUDED):
        is_above, solution = program.solve({}, time_limit_s)
        if is_above is None:
            return None if solution.infeasible else {}
        tier_of = _tier_of(problem, sides, is_above)
        if not exceeded(problem, tier_of):
            return tier_of
        program.exclude(is_above)
    return {}


def _smallest(oracle: _Oracle) -> tuple[list[Constraint] | None, bool]:
    """As :func:`conflict`, among the constraints of the oracle."""
    everything = oracle.constraints
    if oracle.satisfied(everything) is not None:
        return None, not oracle.unsure
    minimal = _minimal(oracle, [], everything, False)
    violated: list[set[Constraint]] = []
    while not oracle.late:
        fewest = _fewest_hitting(everything, violated)
        if len(fewest) >= len(minimal):
            return minimal, not oracle.unsure
        kept = oracle.satisfied(fewest)
        if kept is None:
            return fewest, not oracle.unsure
        violated.append(set(everything) - _grown(oracle, kept))
    return minimal, False


def _minimal(oracle: _Oracle, given: list[Constraint], rest: list[Constraint], has_grown: bool) -> list[Constraint]:
    """Of the rest, a minimal set that conflicts with the given ones; all of it once time is up."""
    if has_grown and (oracle.late or oracle.satisfied(given) is None):
        return []
    if len(rest) <= 1 or oracle.late:
        return rest
    first, second = rest[: len(rest) // 2], rest[len(rest) // 2 :]
    of_second = _minimal(oracle, [*given, *first], second, True)
    of_first = _minimal(oracle, [*given, *of_second], first, bool(of_second))
    return [*of_first, *of_second]


def _grown(oracle: _Oracle, kept: set[Constraint]) -> set[Constraint]:
    """More constraints that a placement keeps to together with these."""
    for each in oracle.constraints:
        if each not in kept and not oracle.late:
            more = oracle.satisfied([*(one for one in oracle.constraints if one in kept), each])
            kept = more or kept
    return kept


def _fewest_hitting(constraints: list[Constraint], sets: list[set[Constraint]]) -> list[Constraint]:
    """The fewest constraints of which every set has one."""
    if not sets:
        return []
    program = LinearProgram()
    variables = {each: program.variable(upper=1.0, integral=True) for each in constraints}
    for members in sets:
        program.row(combine((variables[each], 1.0) for each in members), lower=1.0)
    solution = program.solve(combine((each, 1.0) for each in variables.values()), math.inf)
    assert solution.x is not None, "every set has a member"
    return [each for each, variable in variables.items() if solution.x[next(iter(variable))] > 0.5]


# --- the sentence -----------------------------------------------------------------------------------------------------


def _sentence(problem: Problem, conflict: list[Constraint], time_limit_s: float) -> str:
    limits = all_limits(problem)
    named = {str(each.key): limits[str(each.key)] for each in conflict if each.kind == "limit"}
    if named and all(quantity(name, problem.tier_names, problem.hops).kind == "memory" for name in named):
        return _memory_sentence(problem, conflict, time_limit_s)
    texts = [each.text + _by_how_much(problem, conflict, each, time_limit_s) for each in conflict]
    where = _where(problem)
    if len(conflict) < 2:
        return f"no placement{where} satisfies {listed(texts) or 'the constraints'}; loosen it"
    return f"no placement{where} satisfies these together: {listed(texts)}; loosen one of them"


def _where(problem: Problem) -> str:
    return "" if problem.joined is None else " on any route"


def _memory_sentence(problem: Problem, conflict: list[Constraint], time_limit_s: float) -> str:
    """By how much memory falls short: in the whole problem where only memory is limited, else within the conflict."""
    limits = all_limits(problem)
    memory = {name: most for name, most in limits.items() if name.endswith(".memory")}
    others = [each for each in conflict if each.kind != "limit"]
    if len(memory) == len(limits):
        kept = only(problem, [each for each in rule_constraints(problem) if each.kind != "exit"], exits=True)
    else:
        memory = {name: memory[name] for name in memory if any(each.key == name for each in conflict)}
        kept = only(problem, others, exits=True)
    found = _least_over_routes(kept, memory, time_limit_s)
    short = ""
    if found:
        route, over, tier_of = found
        short = f": even in the one that falls short least, {describe(route.problem, over, tier_of)}"
    where = _where(problem)
    if not others:
        return f"no placement{where} fits the memory limits{short}; raise the limit, unpin layers or add a tier"
    texts = listed([each.text for each in conflict])
    return (
        f"no placement{where} fits the memory limits{short}; these conflict by themselves, loosen one of them: {texts}"
    )


def _by_how_much(problem: Problem, conflict: list[Constraint], limit: Constraint, time_limit_s: float) -> str:
    """By how much a limit must be raised, the others kept to."""
    if limit.kind != "limit":
        return ""
    name, most = str(limit.key), all_limits(problem)[str(limit.key)]
    kept = only(problem, [each for each in conflict if each != limit], exits=True)
    found = _least_over_routes(kept, {name: most}, time_limit_s)
    unit = quantity(name, problem.tier_names, problem.hops).unit
    return f" (the least excess is {amount(found[1][name], unit)})" if found else ""


def _least_over_routes(
    problem: Problem, limits: dict[str, float], time_limit_s: float
) -> tuple[Route, dict[str, float], dict[str, int]] | None:
    """A placement that keeps to the problem's own limits and exceeds others as little as possible on any route.

    With the route, that has the other limits instead, and by how much it exceeds each; None if not known.
    """
    found = []
    for route in routes(problem):
        if route.barred:
            continue
        over_limits = Route(replace(problem, limits=limits), route.tiers)
        tier_of = _least(route.problem, over_limits.problem.limits, time_limit_s)
        if tier_of is None:
            continue
        over = exceeded(over_limits.problem, tier_of) if tier_of else {}
        if not over or math.inf in over.values() or exceeded(route.problem, tier_of):
            return None
        found.append((over_limits, over, tier_of))
    return min(found, key=lambda each: sum(each[1].values()), default=None)


def _least(problem: Problem, limits: Mapping[str, float], time_limit_s: float) -> dict[str, int] | None:
    """A placement that keeps to the problem's own limits and exceeds others as little as possible.

    None: nothing keeps to its own; empty: not known in time.
    """
    sides = _sides(problem)
    if not sides.feasible:
        return None
    program = IntegerProgram(problem, sides)
    for name, most in all_limits(problem).items():
        program.limit(name, most)
    some = _tier_of(problem, sides, sides.uniform()[0])
    over = exceeded(replace(problem, limits=limits), some).values()
    unit = max([*limits.values(), *(each for each in over if each < math.inf)], default=1.0) or 1.0
    is_above, solution = program.solve(program.excess(limits, unit / 1000), time_limit_s)
    if is_above is None:
        return None if solution.infeasible else {}
    return _tier_of(problem, sides, is_above) if solution.finished else {}


def _sides(problem: Problem) -> Sides:
    position, top = problem.graph.position, len(problem.tiers) - 1
    lowest, highest = [0] * len(position), [top] * len(position)
    for layer, name in problem.pins.items():
        lowest[position[layer]] = highest[position[layer]] = problem.tier_names.index(name)
    nodes = Nodes(problem)
    return Sides(nodes, *rules(problem, nodes, Windows(tuple(lowest), tuple(highest))))


def _tier_of(problem: Problem, sides: Sides, is_above: IsAbove) -> dict[str, int]:
    tiers = sides.nodes.tiers(is_above)
    return {layer.name: int(tier) for layer, tier in zip(problem.graph.layers, tiers, strict=True)}


def _cost(problem: Problem, tier_of: dict[str, int]) -> float:
    try:
        return value(problem, tier_of, problem.objective)
    except InfeasiblePlan:
        return math.inf
