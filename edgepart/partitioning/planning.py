"""From a profile to a plan: the whole of ``edgepart partition`` as one call."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast

from edgepart import plugins
from edgepart.errors import InfeasiblePlan, PlanError, UnknownName
from edgepart.exits import placement
from edgepart.exits.template import load_template
from edgepart.hardware import Profile, ServerlessPrice
from edgepart.partitioning.as_parts import with_parts
from edgepart.partitioning.by_hand import ByHand
from edgepart.partitioning.exit_points import Wanted, assumed_exits, plan_exits, plan_known_exits
from edgepart.partitioning.limits import broken, describe, exceeded, too_small
from edgepart.partitioning.make_problem import Links, make_problem
from edgepart.partitioning.make_tier import Place
from edgepart.partitioning.placement_cost import TierOf, evaluate, memory
from edgepart.partitioning.plan import Deployment, Hop, LeftOut, Plan, PlannedExit, Proof, Shares, TierPlan
from edgepart.partitioning.problem import ExitShare, Partitioner, Placement, Problem
from edgepart.partitioning.quantities import WHOLE
from edgepart.partitioning.routes import Route, best, routes, routes_by_hand, whole_route

DEFAULT_METHOD = "minimum-cut"


def partition(
    profile: Profile,
    tiers: Mapping[str, Place],
    links: Links | None = None,
    *,
    objective: str = "latency",
    method: str | Partitioner | None = None,
    limits: Mapping[str, float] | None = None,
    prices: Mapping[str, str | ServerlessPrice] | None = None,
    runtime_memory: Mapping[str, float] | None = None,
    pins: Mapping[str, str] | None = None,
    forbid: Mapping[str, str | Sequence[str]] | None = None,
    together: Iterable[Iterable[str]] = (),
    keep_local: Iterable[str] = (),
    answer_bytes: int = 0,
    deployment: Deployment = "split",
    exits: placement.Rule = "linear",
    exits_per_part: int = 3,
    exit_after: Mapping[str, str] | Sequence[str] = (),
    split_after: Mapping[str, str] | None = None,
    exit_shares: Sequence[ExitShare] | float | None = None,
    head: str | None = None,
) -> Plan:
    """Place a profiled network and its exits on tiers.

    Without ``exit_shares`` the placement is the best for samples that take no exit, and exits are put into its parts
    afterwards. With them it is the best for all samples, exits included.

    Args:
        tiers: name → where it runs, in order from the source of the data to the cloud: a device (its name in the
            catalogue, ``this`` for the machine of ``profile``, or a :class:`Device`), to which ``profile`` is scaled;
            or a :class:`Profile` (or its ``.json`` file) of this network measured on the tier's machine, on the
            runtime that its part will use
        links: ``"mobile:edge"`` or ``("mobile", "edge")`` → link (name or :class:`Link`), from each tier to the
            next, or to one further up: then samples take the best of the routes (:mod:`edgepart.partitioning.routes`)
        objective: what to minimise: ``latency``, ``energy``, ``money``, ``throughput``, or one tier's, as
            ``mobile.energy`` (:mod:`edgepart.partitioning.quantities`)
        method: a partitioner or its name; None is ``minimum-cut`` (exact), or by hand if ``split_after`` is given
        limits: quantity → the most it may be, as ``"mobile.memory"`` → bytes, ``"latency"`` → seconds,
            ``"mobile:edge.bytes"`` → bytes, ``"mobile.exits"`` → a number; a device's own memory is always a limit
        prices: tier → what its work is billed by (its name in the catalogue, or a price)
        runtime_memory: tier → bytes that its runtime takes, in place of what the profile says; 0 leaves it out
        pins: layer or module → tier that it must run on
        forbid: layer or module → tier or tiers that it must not run on
        together: groups of layers or modules that must share a tier
        keep_local: tensors that must not leave the tier on which they are made; ``input`` for the raw input
        answer_bytes: size of the answer, which travels back; 0: it is part of the round trip
        deployment: ``split`` (a part continues from activations) or ``nested`` (from the raw input)
        exits: how exits are spread over each part (:mod:`edgepart.exits.placement`): linear, pareto or none; under
            ``nested`` every tier below the last has one at its end in any case
        exits_per_part: the most exits in one part
        exit_after: exits by hand instead: modules to exit after, or exit name → module
        split_after: boundaries by hand: tier → last module, for every tier but the last
        exit_shares: exits, and the share of the samples that go on past each (from a bundle:
            :func:`edgepart.exit_shares`); or one number: ``exits_per_part`` exits by the rule over the whole network,
            and that share of those who come to one assumed to leave there
        head: template for all heads; None leaves the choice to ``build``

    Raises:
        UnknownName: a name that does not exist; lists the nearest ones.
        InfeasiblePlan: limits or pins cannot be met; says which and by how much.
        FileError: a file that was named is missing or not what it should be.
        PlanError: the arguments contradict each other, a tier's profile is of another network, or an exit cannot sit
            where it is asked for.
        TemplateError: the template of the heads is not valid.
    """
    _require_rule(exits, exits_per_part)
    if head is not None:
        load_template(head, plugins.load("framework", profile.graph.framework)().templates)
    problem = make_problem(
        profile,
        tiers,
        links or {},
        objective=objective,
        limits=limits,
        prices=prices,
        runtime_memory=runtime_memory,
        pins=pins,
        forbid=forbid,
        together=together,
        keep_local=keep_local,
        answer_bytes=answer_bytes,
        deployment=deployment,
    )
    shares: Shares | None = None
    if exit_shares is not None:
        if deployment == "nested" or exit_after:
            given = "a nested deployment" if deployment == "nested" else "exits by hand (--exit-after)"
            raise PlanError(f"{given} and shares of samples at exits were both given: drop one")
        shares = "assumed" if isinstance(exit_shares, int | float) else "recorded"
        problem = with_exits(problem, exit_shares, exits, exits_per_part, head)
    over = routes_by_hand(problem, split_after) if split_after else None
    found = best(problem, _partitioner(method, split_after), over)
    wanted = Wanted.make(exits, exits_per_part, exit_after)
    return make_plan(found.route, found.placement, profile.runtime, wanted, head=head, shares=shares)


def with_exits(
    problem: Problem,
    exit_shares: Sequence[ExitShare] | float,
    rule: placement.Rule,
    exits_per_part: int,
    head: str | None,
) -> Problem:
    """The problem with known exits; or with exits by a rule, of which a share is assumed to leave at each.

    Raises:
        UnknownName: no such rule.
        PlanError: the share is not one, or there is no place for an exit.
    """
    _require_rule(rule, exits_per_part)
    if not isinstance(exit_shares, int | float):
        return replace(problem, exits=tuple(exit_shares))
    return replace(problem, exits=assumed_exits(problem, rule, exits_per_part, exit_shares, head))


def _require_rule(rule: str, exits_per_part: int) -> None:
    if rule not in placement.RULES:
        raise UnknownName("rule for exits", rule, placement.RULES)
    if exits_per_part < 1:
        raise PlanError(f"{exits_per_part} exits per part: expected 1 or more, or no exits at all (--exits none)")


def make_plan(
    problem: Problem | Route,
    solved: Placement,
    runtime: str,
    wanted: Wanted | None = None,
    *,
    head: str | None = None,
    shares: Shares | None = None,
) -> Plan:
    """The plan of a placement, with the exits that the problem states or, if it states none, the wanted ones.

    Args:
        problem: that the placement is of; or the route that it is on

    Raises:
        InfeasiblePlan: the placement violates a limit or another constraint (rules and hands know nothing of them).
        PlanError: an exit cannot sit where it is asked for, or is called like a tensor that crosses.
    """
    route = problem if isinstance(problem, Route) else whole_route(problem)
    problem = route.problem
    _require_allowed(problem, solved.tier_of)
    if problem.exits or wanted is None:
        planned = plan_known_exits(problem, solved.tier_of)
    else:
        planned = plan_exits(problem, solved.tier_of, wanted, head)
    plan = _plan(route, solved.tier_of, planned, solved.proof, runtime, shares)
    plan.require_exit_names(problem.graph)
    return with_parts(problem, plan)


def _partitioner(method: str | Partitioner | None, split_after: Mapping[str, str] | None) -> Partitioner:
    if split_after:
        if method is not None:
            raise PlanError(
                "boundaries by hand (--split-after) and a method (--method, --share) were both given: drop one"
            )
        return ByHand(split_after)
    if method is None or isinstance(method, str):
        return cast("Partitioner", plugins.load("partitioner", method or DEFAULT_METHOD)())
    return method


def _require_allowed(problem: Problem, tier_of: TierOf) -> None:
    """Rules and hands know nothing of limits and pins."""
    violated = broken(problem, tier_of)
    if violated:
        raise InfeasiblePlan(f"{violated[0]}: only minimum-cut works around constraints, rules and hands do not")
    over = exceeded(problem, tier_of)
    if over:
        why = too_small(problem) if any(name.endswith(".memory") for name in over) else ""
        said = f"the plan does not fit: {describe(problem, over, tier_of)}"
        raise InfeasiblePlan(f"{said}; {why}" if why else said)


def _plan(
    route: Route, tier_of: TierOf, exits: Sequence[PlannedExit], proof: Proof, runtime: str, shares: Shares | None
) -> Plan:
    problem = route.problem
    costs, needed = evaluate(problem, tier_of), memory(problem, tier_of)
    names = [tier.name for tier in problem.tiers]
    tiers = tuple(
        TierPlan(
            name=tier.name,
            device=tier.device,
            layers=tuple(layer.name for layer in problem.graph.layers if tier_of[layer.name] == index),
            compute_s=costs.compute_s[index],
            layer_s=tuple(tier.latency_s[layer.name] for layer in problem.graph.layers if tier_of[layer.name] == index),
            start_s=tier.start_s if index in tier_of.values() else 0.0,
            parameter_bytes=needed[index].parameter_bytes,
            activation_bytes=needed[index].activation_bytes,
            memory_limit_bytes=tier.memory_limit_bytes,
            runtime=tier.runtime,
            runtime_bytes=tier.runtime_bytes,
            estimated=tier.estimated,
        )
        for index, tier in enumerate(problem.tiers)
    )
    hops = tuple(
        Hop(
            source=source,
            target=target,
            link=problem.links[index],
            tensors=costs.crossing[index],
            bytes=costs.crossing_bytes[index],
            transfer_s=costs.transfer_s[index],
        )
        for index, (source, target) in enumerate(itertools.pairwise(names))
    )
    return Plan(
        network=problem.graph.name,
        fingerprint=problem.graph.fingerprint,
        deployment=problem.deployment,
        runtime=runtime,
        tiers=tiers,
        hops=hops,
        exits=tuple(exits),
        latency_s=costs.latency_s,
        objective=route.whole.objective,
        predicted=_predicted(route, tier_of),
        limits=dict(route.whole.limits),
        shares=shares,
        unsplit_s=_unsplit(route.whole),
        left_out=_left_out(route),
        proof=proof,
    )


def _left_out(route: Route) -> tuple[LeftOut, ...]:
    found, before = [], ""
    for index, tier in enumerate(route.whole.tiers):
        if index in route.tiers:
            before = tier.name
        else:
            found.append(LeftOut(name=tier.name, device=tier.device, after=before, estimated=tier.estimated))
    return tuple(found)


def _predicted(route: Route, tier_of: TierOf) -> dict[str, float]:
    """Every quantity of the whole that devices, links and prices say enough about."""
    found: dict[str, float] = {}
    for name in dict.fromkeys((*WHOLE, route.whole.objective)):
        with contextlib.suppress(PlanError):
            if name != "money" or any(tier.price is not None for tier in route.whole.tiers):
                found[name] = route.value(tier_of, name)
    return found


def _unsplit(problem: Problem) -> dict[str, float]:
    """Latency of everything on one tier, without exits, for the tiers that can hold it (pins aside)."""
    found: dict[str, float] = {}
    kept = {name: most for name, most in problem.limits.items() if not name.endswith(".exits")}
    problem = replace(problem, exits=(), limits=kept)
    ways = [(each.names, each.problem) for each in routes(problem)]
    for tier in problem.tier_names:
        for names, way in ways:
            if tier in names:
                tier_of = dict.fromkeys(problem.graph.position, names.index(tier))
                if not exceeded(way, tier_of):
                    found[tier] = min(found.get(tier, math.inf), evaluate(way, tier_of).latency_s)
    return found
