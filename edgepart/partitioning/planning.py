"""From a profile to a plan: the whole of ``edgepart partition`` as one call."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import cast

from edgepart import plugins
from edgepart.errors import InfeasiblePlan, PlanError, UnknownName
from edgepart.exits import placement
from edgepart.exits.template import load_template
from edgepart.hardware import Device, Profile
from edgepart.partitioning.by_hand import ByHand
from edgepart.partitioning.exit_points import Wanted, plan_exits
from edgepart.partitioning.make_problem import Links, make_problem
from edgepart.partitioning.placement_cost import TierOf, describe_excess, evaluate, excess, memory
from edgepart.partitioning.plan import Deployment, Hop, Plan, PlannedExit, Proof, TierPlan
from edgepart.partitioning.problem import Partitioner, Problem

OBJECTIVES = ("latency",)
DEFAULT_METHOD = "minimum-cut"


def partition(
    profile: Profile,
    tiers: Mapping[str, str | Device],
    links: Links | None = None,
    *,
    objective: str = "latency",
    method: str | Partitioner | None = None,
    limits: Mapping[str, int] | None = None,
    pins: Mapping[str, str] | None = None,
    deployment: Deployment = "split",
    exits: placement.Rule = "linear",
    exits_per_part: int = 3,
    exit_after: Mapping[str, str] | Sequence[str] = (),
    split_after: Mapping[str, str] | None = None,
    head: str | None = None,
) -> Plan:
    """Place a profiled network and its exits on tiers.

    Args:
        tiers: name → device (its name in the catalogue, ``this`` for the machine of the profile, or a
            :class:`Device`), in order from the source of the data to the cloud
        links: ``"mobile:edge"`` or ``("mobile", "edge")`` → link (name or :class:`Link`), one from each tier to the
            next
        objective: ``latency``, of a single sample that takes no exit
        method: a partitioner or its name; None is ``minimum-cut`` (exact), or by hand if ``split_after`` is given
        limits: ``"mobile.memory"`` → bytes; a device's own memory is always a limit
        pins: layer or module → tier that it must run on
        deployment: ``split`` (a part continues from activations) or ``nested`` (from the raw input)
        exits: how exits are spread over each part (:mod:`edgepart.exits.placement`): linear, pareto or none; under
            ``nested`` every tier below the last has one at its end in any case
        exits_per_part: the most exits in one part
        exit_after: exits by hand instead: modules to exit after, or exit name → module
        split_after: boundaries by hand: tier → last module, for every tier but the last
        head: template for all heads; None leaves the choice to ``build``

    Raises:
        UnknownName: a name that does not exist; lists the nearest ones.
        InfeasiblePlan: limits or pins cannot be met; says which and by how much.
        PlanError: the arguments contradict each other, or an exit cannot sit where it is asked for.
        TemplateError: the template of the heads is not valid.
    """
    if objective not in OBJECTIVES:
        raise UnknownName("objective", objective, OBJECTIVES)
    if exits not in placement.RULES:
        raise UnknownName("rule for exits", exits, placement.RULES)
    if exits_per_part < 1:
        raise PlanError(f"{exits_per_part} exits per part: expected 1 or more, or no exits at all (--exits none)")
    if head is not None:
        load_template(head, plugins.load("framework", profile.graph.framework)().templates)
    problem = make_problem(profile, tiers, links or {}, limits or {}, pins or {}, deployment)
    solved = _partitioner(method, split_after).solve(problem)
    _require_allowed(problem, solved.tier_of)
    planned = plan_exits(problem, solved.tier_of, Wanted.make(exits, exits_per_part, exit_after), head)
    return _plan(problem, solved.tier_of, planned, solved.proof, profile.runtime)


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
    names = [tier.name for tier in problem.tiers]
    for layer, tier in problem.pins.items():
        if names[tier_of[layer]] != tier:
            raise InfeasiblePlan(
                f"the boundaries put layer '{layer}', pinned to '{tier}', on '{names[tier_of[layer]]}': only "
                "minimum-cut works around pins"
            )
    over = excess(problem, tier_of)
    if over:
        raise InfeasiblePlan(f"the plan does not fit: {describe_excess(problem, over)}")


def _plan(problem: Problem, tier_of: TierOf, exits: Sequence[PlannedExit], proof: Proof, runtime: str) -> Plan:
    costs, needed = evaluate(problem, tier_of), memory(problem, tier_of)
    names = [tier.name for tier in problem.tiers]
    tiers = tuple(
        TierPlan(
            name=tier.name,
            device=tier.device,
            layers=tuple(layer.name for layer in problem.graph.layers if tier_of[layer.name] == index),
            compute_s=costs.compute_s[index],
            layer_s=tuple(tier.latency_s[layer.name] for layer in problem.graph.layers if tier_of[layer.name] == index),
            parameter_bytes=needed[index].parameter_bytes,
            activation_bytes=needed[index].activation_bytes,
            memory_limit_bytes=tier.memory_limit_bytes,
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
        unsplit_s=_unsplit(problem),
        proof=proof,
    )


def _unsplit(problem: Problem) -> dict[str, float]:
    """Latency of everything on one tier, for the tiers that can hold it (pins aside)."""
    found = {}
    for index, tier in enumerate(problem.tiers):
        tier_of = dict.fromkeys(problem.graph.position, index)
        if not excess(problem, tier_of):
            found[tier.name] = evaluate(problem, tier_of).latency_s
    return found
