"""How the best plan changes over a range of one figure: a bandwidth, a round trip, a tier's speed or a limit.

Three methods; the result says which was used.

- ``parametric``: with its placement fixed, the objective is linear in the coordinate of the parameter (1 / bandwidth,
  the round trip, 1 / speed), and no limit depends on it. The best plans are the lower envelope of those lines, whose
  breakpoints are found exactly (:mod:`edgepart.partitioning.parametric`).
- ``steps``: of a limit. The plan that is best under the highest one stays best down to what it uses itself; the limit
  a millionth below that is the next to solve for. All steps that far apart are found, from the top.
- ``samples``: neither holds (period, money, a limit on latency while a bandwidth varies). The best plan at evenly
  spaced values; what lies between two values is not known.

"Exactly" is within the solver's own gap, which is stated. Where the tiers are joined in more than one way, the best
over all routes is asked for at every value: the envelope is that of the lines of all of them.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgepart.errors import InfeasiblePlan
from edgepart.files import Record
from edgepart.partitioning.limits import all_limits
from edgepart.partitioning.minimum_cut import MinimumCut
from edgepart.partitioning.parameter import Parameter, parameter
from edgepart.partitioning.parametric import SAME, Line, lower_envelope
from edgepart.partitioning.placement_cost import crossing
from edgepart.partitioning.problem import Partitioner, Problem
from edgepart.partitioning.quantities import quantity, spoken
from edgepart.partitioning.routes import Chosen, Route, best

Method = Literal["parametric", "steps", "samples"]
#: values at which the best plan is looked for where it cannot be found for all of them
SAMPLES = 25
#: limits that are solved for at most; a network may have thousands of steps
MOST_STEPS = 200
#: steps nearer to each other than this share of the limit count as one: integer programs are solved to such tolerances
STEP = 1e-6


class Sent(Record):
    """What a sample sends over one link."""

    lower: str
    upper: str
    tensors: tuple[str, ...]
    bytes: int


class Candidate(Record):
    """A plan that is best somewhere: ``tier_of`` maps every layer to the index of its tier.

    ``route`` are the tiers that samples come to, where there is more than one way up; empty: all.
    """

    tier_of: dict[str, int]
    sends: tuple[Sent, ...]
    route: tuple[str, ...] = ()


class Piece(Record):
    """A part of the range, in the unit of the parameter, and what is best there.

    ``plan`` is the number of the candidate, None where nothing fits; then ``why`` says so in words. Values are those
    of the objective at both ends.
    """

    start: float
    stop: float
    plan: int | None
    at_start: float | None = None
    at_stop: float | None = None
    why: str = ""


class WhatIf(Record):
    """The pieces, from the lowest value of the parameter to the highest; under ``samples`` with gaps between them.

    Attributes:
        unit: of the parameter, and ``objective_unit`` of the objective
        inverse: whether the objective is linear in one over the parameter, rather than in the parameter, along a piece
        estimated: whether the latencies of a tier were scaled from another device
        gap: the largest relative gap that a solution of the solver has; None: one has no proof
        solved: how often the solver was asked
        note: what the method does not say, in a sentence
    """

    parameter: str
    unit: str
    inverse: bool
    low: float
    high: float
    objective: str
    objective_unit: str
    tiers: tuple[str, ...]
    estimated: bool
    method: Method
    pieces: tuple[Piece, ...]
    plans: tuple[Candidate, ...]
    gap: float | None
    solved: int
    note: str = ""

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """Where one piece ends and the next starts."""
        return tuple(right.start for left, right in itertools.pairwise(self.pieces) if left.stop == right.start)

    def value_at(self, at: float) -> float | None:
        """The objective at a value of the parameter; None where nothing fits, or where it was not looked at."""
        for piece in self.pieces:
            if piece.start <= at <= piece.stop and piece.at_start is not None and piece.at_stop is not None:
                if piece.start == piece.stop:
                    return piece.at_start
                start, stop, here = (1 / x if self.inverse else x for x in (piece.start, piece.stop, at))
                return piece.at_start + (piece.at_stop - piece.at_start) * ((here - start) / (stop - start))
        return None


def what_if(
    problem: Problem, over: Parameter | str, solver: Partitioner | None = None, samples: int = SAMPLES
) -> WhatIf:
    """The best plan over a range.

    Args:
        over: what varies, such as ``link.mobile:edge.bandwidth=1..100Mbps`` (:mod:`edgepart.partitioning.parameter`)
        solver: an exact one; None is the minimum cut
        samples: how many values are tried where exactness is not to be had

    Raises:
        UnknownName: ``over`` names no tier, link or quantity of the problem.
        PlanError: ``over`` is not of that form; or the solver cannot minimise the objective.
        InfeasiblePlan: nothing satisfies the constraints anywhere in the range.
    """
    varied = parameter(over, problem) if isinstance(over, str) else over
    search = Search(problem, varied, solver or MinimumCut())
    if varied.what == "limit":
        return _steps(search)
    if is_parametric(problem, varied):
        return _parametric(search)
    return _samples(search, samples)


def is_parametric(problem: Problem, varied: Parameter) -> bool:
    """Whether the objective is linear in the coordinate, and the same placements are allowed everywhere."""
    names, hops = problem.tier_names, problem.hops
    objective = quantity(problem.objective, names, hops)
    limited = [quantity(name, names, hops) for name in all_limits(problem)]
    fixed = all(varied.dependence(each.kind) == "none" for each in limited)
    return fixed and varied.dependence(objective.kind) != "other"


def is_estimated(problem: Problem) -> bool:
    """Whether the latencies of a tier were scaled from another device."""
    return any(tier.estimated for tier in problem.tiers)


class Search:
    """A problem at any value of the parameter, its best placements there, and a count of how often it was solved."""

    def __init__(self, problem: Problem, varied: Parameter, solver: Partitioner) -> None:
        self.problem, self.varied, self.solver = problem, varied, solver
        self.solved = 0
        self.gap: float | None = 0.0

    def solve(self, at: float) -> Chosen:
        """The best placement at a value of the parameter.

        Raises:
            InfeasiblePlan: there is none.
        """
        return self.place(self.varied.applied(self.problem, at))

    def place(self, problem: Problem) -> Chosen:
        """The best placement of a problem with these tiers, over all routes.

        Raises:
            InfeasiblePlan: there is none.
        """
        self.solved += 1
        found = best(problem, self.solver)
        gap = found.placement.proof.gap
        self.gap = None if gap is None or self.gap is None else max(gap, self.gap)
        return found.chosen

    def value(self, chosen: Chosen, at: float) -> float:
        """The objective of a placement at a value of the parameter."""
        return chosen.value(self.varied.applied(self.problem, at), self.problem.objective)

    def line(self, chosen: Chosen) -> Line[Chosen]:
        """The objective of a placement over the coordinate of the parameter, where it is linear in it."""
        low, high = sorted((self.varied.coordinate(self.varied.low), self.varied.coordinate(self.varied.high)))
        first, last = (self.value(chosen, self.varied.value_of(x)) for x in (low, high))
        return Line(low, high, first, last, chosen)

    def envelope(self) -> list[tuple[float, Line[Chosen]]]:
        """The best placements over the coordinate: where each starts to be best, and its line."""
        low, high = sorted((self.varied.coordinate(self.varied.low), self.varied.coordinate(self.varied.high)))
        return lower_envelope(lambda x: self.line(self.solve(self.varied.value_of(x))), low, high)


@dataclass
class _Draft:
    """A piece while it is found; without a placement nothing fits."""

    start: float
    stop: float
    chosen: Chosen | None = None
    at_start: float | None = None
    at_stop: float | None = None
    why: str = ""


def _parametric(search: Search) -> WhatIf:
    found, varied = search.envelope(), search.varied
    inner = [varied.value_of(start) for start, _ in found[1:]]
    # the coordinate of a bandwidth or a speed runs the other way
    ends = [varied.low, *inner, varied.high] if not varied.inverse else [varied.high, *inner, varied.low]
    drafts = []
    for (_, line), first, last in zip(found, ends[:-1], ends[1:], strict=True):
        start, stop = sorted((first, last))
        at_start, at_stop = (line.at(varied.coordinate(at)) for at in (start, stop))
        drafts.append(_Draft(start, stop, line.what, at_start, at_stop))
    return _result(search, "parametric", sorted(drafts, key=lambda draft: draft.start))


def _steps(search: Search) -> WhatIf:
    varied, drafts, note, limit = search.varied, list[_Draft](), "", search.varied.high
    while search.solved < MOST_STEPS:
        stop = drafts[-1].start if drafts else varied.high
        try:
            chosen = search.solve(limit)
        except InfeasiblePlan as error:
            if not drafts:
                raise
            drafts.append(_Draft(varied.low, stop, why=str(error)))
            break
        used, reached = chosen.value(search.problem, varied.limited), search.value(chosen, limit)
        if drafts and reached <= (drafts[-1].at_start or 0.0) * (1 + SAME):
            # as good with less: the plan above was no step of its own
            stop = drafts.pop().stop
        drafts.append(_Draft(max(used, varied.low), stop, chosen, reached, reached))
        limit = _below(used, varied.unit)
        if limit < varied.low:
            drafts[-1].start = varied.low
            break
    else:
        note = f"the steps below {varied.text(drafts[-1].start)} were not looked for, after {MOST_STEPS} above it"
        drafts.append(_Draft(varied.low, drafts[-1].start, why=note))
    return _result(search, "steps", drafts[::-1], note)


def _below(used: float, unit: str) -> float:
    """The next limit to solve for: one that a use exceeds by more than solvers round."""
    lower = used * (1 - STEP) if used > 0 else -math.inf
    return lower if unit not in ("bytes", "") else min(lower, used - 1)


def _samples(search: Search, count: int) -> WhatIf:
    varied, drafts = search.varied, list[_Draft]()
    spaced = np.geomspace if varied.inverse else np.linspace
    for at in [varied.low, *spaced(varied.low, varied.high, count)[1:-1].tolist(), varied.high]:
        now = _at(search, at)
        if drafts and drafts[-1].chosen == now.chosen:
            drafts[-1].stop, drafts[-1].at_stop = now.stop, now.at_stop
        else:
            drafts.append(now)
    note = (
        f"'{spoken(search.problem.objective)}' or what it is limited by is not linear in {varied.name}: the best plan "
        f"was looked for at {count} values, and where it changes lies between two of them"
    )
    if all(draft.chosen is None for draft in drafts):
        raise InfeasiblePlan(drafts[-1].why)
    return _result(search, "samples", drafts, note)


def _at(search: Search, at: float) -> _Draft:
    try:
        chosen = search.solve(at)
    except InfeasiblePlan as error:
        return _Draft(at, at, why=str(error))
    reached = search.value(chosen, at)
    return _Draft(at, at, chosen, reached, reached)


def _result(search: Search, method: Method, drafts: list[_Draft], note: str = "") -> WhatIf:
    problem, varied = search.problem, search.varied
    plans: list[Chosen] = []
    pieces = []
    for draft in drafts:
        plan = None
        if draft.chosen is not None:
            if draft.chosen not in plans:
                plans.append(draft.chosen)
            plan = plans.index(draft.chosen)
        pieces.append(
            Piece(
                start=draft.start,
                stop=draft.stop,
                plan=plan,
                at_start=draft.at_start,
                at_stop=draft.at_stop,
                why=draft.why,
            )
        )
    return WhatIf(
        parameter=varied.name,
        unit=varied.unit,
        inverse=varied.inverse,
        low=varied.low,
        high=varied.high,
        objective=problem.objective,
        objective_unit=quantity(problem.objective, problem.tier_names, problem.hops).unit,
        tiers=problem.tier_names,
        estimated=is_estimated(problem),
        method=method,
        pieces=tuple(pieces),
        plans=tuple(candidate(problem, chosen) for chosen in plans),
        gap=search.gap,
        solved=search.solved,
        note=note,
    )


def candidate(problem: Problem, chosen: Chosen) -> Candidate:
    """A placement with what it sends over every link of its route."""
    route, sends = Route(problem, chosen.tiers), []
    crossed = crossing(route.problem, chosen.on_route)
    for (lower, upper), names in zip(itertools.pairwise(route.names), crossed, strict=True):
        sent = sum(problem.graph.tensor(name).bytes for name in names)
        sends.append(Sent(lower=lower, upper=upper, tensors=names, bytes=sent))
    names = () if problem.joined is None else route.names
    return Candidate(tier_of=dict(chosen.tier_of), sends=tuple(sends), route=names)
