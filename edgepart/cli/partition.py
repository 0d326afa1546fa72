"""``edgepart partition``: place a profiled network on tiers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from edgepart.amounts import parse_amount, parse_size
from edgepart.cli.output import (
    estimate_lines,
    json_option,
    named,
    note,
    parse_pairs,
    parse_share,
    print_json,
    print_table,
)
from edgepart.cli.plan_tables import any_estimate, estimate, is_estimate, latency_lines, memory_lines, show_tiers
from edgepart.cli.search_options import Asked
from edgepart.cli.search_options import options as search_options
from edgepart.cli.unused_options import require_used
from edgepart.cli.what_if_options import options as what_if_options
from edgepart.errors import BundleError, EdgepartError
from edgepart.graph import Graph
from edgepart.hardware import Profile
from edgepart.partitioning import FINAL, ExitShare, Partitioner, Plan, PlannedExit, TierPlan, partition
from edgepart.partitioning.edgelesspart import MemoryShare
from edgepart.partitioning.make_problem import ALIASES, make_problem
from edgepart.partitioning.planning import with_exits
from edgepart.partitioning.quantities import quantity, unit
from edgepart.units import amount, percent, seconds, significant, size

#: what --link takes
LINKS = (
    "How a tier reaches the next one, or one further up, as mobile:cloud=4g beside mobile:edge and edge:cloud: "
    "the plan takes the best of the ways up."
)


@click.command("partition")
@click.argument("profile", type=click.Path(path_type=Path))
@click.option(
    "--tier",
    "tiers",
    multiple=True,
    metavar="NAME=DEVICE|PROFILE.json",
    help="A tier, from the data's source upwards: a device, to which PROFILE is scaled (this: the machine of PROFILE), "
    "or a profile of this network measured there.",
)
@click.option("--link", "links", multiple=True, metavar="LOWER:UPPER=LINK", help=LINKS)
@click.option(
    "--objective",
    default="latency",
    show_default=True,
    help="What to minimise: latency, energy, money, throughput, or a tier's, as mobile.energy.",
)
@click.option("--method", default=None, help="minimum-cut (default), memory-share, latency-match or a plug-in's.")
@click.option(
    "--share", "shares_of_memory", multiple=True, help="Share of memory-share, as 70%; may be given per boundary."
)
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="QUANTITY=MOST",
    help="As mobile.memory=600MB, latency=50ms, mobile.energy=2mJ, mobile:edge.bytes=10kB or edge.exits=1.",
)
@click.option("--price", "prices", multiple=True, metavar="TIER=PRICE", help="What a tier's work is billed by.")
@click.option(
    "--runtime-memory",
    multiple=True,
    metavar="TIER=SIZE",
    help="What a tier's runtime takes, in place of what the profile says; 0B leaves it out.",
)
@click.option("--pin", "pins", multiple=True, metavar="LAYER=TIER", help="Where a layer or module must run.")
@click.option("--forbid", multiple=True, metavar="LAYER=TIER", help="Where a layer or module must not run.")
@click.option("--together", multiple=True, metavar="LAYER,LAYER", help="Layers or modules that must share a tier.")
@click.option(
    "--keep-local",
    multiple=True,
    metavar="TENSOR",
    help="What must not leave the tier that makes it; input: the raw data.",
)
@click.option(
    "--answer",
    metavar="SIZE",
    default="0",
    help="Of the answer, which travels back; by default part of the round trip.",
)
@click.option("--deployment", default="split", show_default=True, help="split or nested.")
@click.option("--split-after", multiple=True, metavar="TIER=MODULE", help="A boundary by hand.")
@click.option("--exits", default="linear", show_default=True, help="linear, pareto or none.")
@click.option("--exits-per-part", default=3, show_default=True, help="The most in one part; with --leave, in all.")
@click.option("--exit-after", multiple=True, metavar="MODULE", help="An exit by hand.")
@click.option("--leave", metavar="SHARE", help="Assume that this share leaves at every exit it comes to, as 30%.")
@click.option(
    "--exits-of",
    type=click.Path(path_type=Path),
    metavar="BUNDLE",
    help="Plan for the exits of a bundle, and the share of its validation data that leaves at each.",
)
@click.option(
    "--strategy",
    metavar="NAME",
    help="Who leaves, for --exits-of and --pareto: confidence (default) or another with a threshold.",
)
@click.option(
    "--threshold", type=float, help="Of the strategy; by default the fastest that costs at most 0.5 % of accuracy."
)
@click.option("--head", default=None, help="Template of the heads; build may still choose.")
@click.option(
    "-o", "--output", default="plan.json", show_default=True, type=click.Path(path_type=Path), help="The file to write."
)
@what_if_options
@search_options
@json_option
def command(
    profile: Path,
    tiers: Sequence[str],
    links: Sequence[str],
    objective: str,
    method: str | None,
    shares_of_memory: Sequence[str],
    limits: Sequence[str],
    prices: Sequence[str],
    runtime_memory: Sequence[str],
    pins: Sequence[str],
    forbid: Sequence[str],
    together: Sequence[str],
    keep_local: Sequence[str],
    answer: str,
    deployment: Any,
    split_after: Sequence[str],
    exits: Any,
    exits_per_part: int,
    exit_after: Sequence[str],
    leave: str | None,
    exits_of: Path | None,
    strategy: str | None,
    threshold: float | None,
    head: str | None,
    output: Path,
    what_if: Sequence[str],
    traces: Sequence[str],
    most_plans: int,
    outage_below: str | None,
    plot: Path | None,
    asked: Asked,
    as_json: bool,
) -> None:
    """Place the layers and exits of the network in PROFILE on tiers, and write the plan.

    The default method finds the best placement, whatever the shape of the network, and says how that is proven;
    devices' own memory is always a limit. It is the best for samples that take no exit, and exits are put into its
    parts afterwards, unless it is known (--exits-of) or assumed (--leave) who leaves where.

    With --pareto it chooses exits, heads and thresholds as well, among those of built bundles, and prints the plans
    that no other one beats in every objective; --pick writes one of them.

    With --what-if or --under-trace no plan is written: they tell how the best plan changes over a range, and between
    which plans to switch while a link's bandwidth changes.
    """
    require_used(bool(what_if), bool(traces), asked.pareto)
    places, measured = parse_pairs("--tier", tiers), Profile.load(profile)
    stated: dict[str, Any] = {
        "objective": objective,
        "limits": _limits(limits, tuple(places)),
        "prices": parse_pairs("--price", prices),
        "runtime_memory": {
            tier: parse_size(text, f"--runtime-memory {tier}")
            for tier, text in parse_pairs("--runtime-memory", runtime_memory).items()
        },
        "pins": parse_pairs("--pin", pins),
        "forbid": _forbidden(forbid),
        "together": [named("--together", group.split(",")) for group in together],
        "keep_local": keep_local,
        "answer_bytes": parse_size(answer, "--answer"),
        "deployment": deployment,
    }
    shares = _exit_shares(leave, exits_of, None if asked.pareto else strategy, threshold, measured.graph)
    if asked.pareto:
        if shares is not None or what_if or traces:
            raise EdgepartError(
                "--pareto chooses who leaves where: drop --exits-of, --leave, --what-if and --under-trace"
            )
        from edgepart.cli.search import answer as answer_search

        answer_search(
            make_problem(measured, places, parse_pairs("--link", links), **stated),
            measured.runtime,
            asked,
            output,
            exits_per_part=exits_per_part,
            strategy=strategy,
            as_json=as_json,
        )
        return
    if what_if or traces:
        from edgepart.cli.what_if import answer as answer_what_if

        problem = make_problem(measured, places, parse_pairs("--link", links), **stated)
        if shares is not None:
            problem = with_exits(problem, shares, exits, exits_per_part, head)
        found = answer_what_if(problem, what_if, traces, most_plans, outage_below, plot, show=not as_json)
        if as_json:
            print_json(found)
        return
    plan = partition(
        measured,
        places,
        parse_pairs("--link", links),
        **stated,
        method=_method(method, shares_of_memory),
        exits=exits,
        exits_per_part=exits_per_part,
        exit_after=named("--exit-after", exit_after),
        split_after=parse_pairs("--split-after", split_after),
        exit_shares=shares,
        head=head,
    )
    plan.save(output)
    if as_json:
        print_json(plan.model_dump(mode="json", exclude_none=True))
    else:
        show(plan)
    note(f"wrote {output}")


def _method(method: str | None, shares: Sequence[str]) -> str | Partitioner | None:
    if not shares:
        return method
    if method not in (None, "memory-share"):
        raise EdgepartError(f"--share belongs to --method memory-share, not to {method}: drop one of them")
    return MemoryShare([parse_share(text, "--share") for text in shares])


def _limits(limits: Sequence[str], tiers: Sequence[str]) -> dict[str, float]:
    given = parse_pairs("--limit", limits)
    hops = list(itertools.combinations(tiers, 2))
    kinds = {name: quantity(ALIASES.get(name, name), tiers, hops) for name in given}
    return {name: parse_amount(value, kinds[name].unit, f"--limit {name}").value for name, value in given.items()}


def _forbidden(forbid: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in forbid:
        ((name, tier),) = parse_pairs("--forbid", [text]).items()
        found.setdefault(name, []).append(tier)
    return found


def _exit_shares(
    leave: str | None, bundle: Path | None, strategy: str | None, threshold: float | None, graph: Graph
) -> Sequence[ExitShare] | float | None:
    if leave is not None and bundle is not None:
        raise EdgepartError("--leave assumes what --exits-of knows: drop one of them")
    if threshold is not None and not math.isfinite(threshold):
        raise EdgepartError(f"--threshold {threshold:g} is not a number: expected one as 0.9")
    if bundle is None and (strategy is not None or threshold is not None):
        raise EdgepartError("--strategy and --threshold say who leaves at the exits of a bundle: add --exits-of BUNDLE")
    if leave is not None:
        return parse_share(leave, "--leave")
    if bundle is None:
        return None
    from edgepart.bundle.bundle import open_bundle
    from edgepart.evaluation.exit_shares import exit_shares

    opened = open_bundle(bundle)
    if opened.manifest.fingerprint != graph.fingerprint:
        raise BundleError(
            f"{bundle} is a bundle of the network '{opened.manifest.network}' ({opened.manifest.fingerprint}), not of "
            f"'{graph.name}' ({graph.fingerprint}) in the profile: name a bundle of the same network"
        )
    shares = exit_shares(opened, strategy, threshold)
    if all(share.going_on == 1 for share in shares):
        which = "the thresholds that keep its accuracy" if threshold is None else f"--threshold {threshold:g}"
        raise EdgepartError(
            f"with {which} no sample of {bundle}'s validation data leaves at an exit: name a --threshold that some "
            "reach, or leave out --exits-of"
        )
    return shares


def show(plan: Plan) -> None:
    """Print a plan for a person."""
    show_tiers(plan)
    if plan.hops:
        print_table(
            ("hop", "link", "sent", "transfer", "tensors"),
            [
                (
                    f"{hop.source} > {hop.target}",
                    hop.link.name,
                    size(hop.bytes),
                    seconds(hop.transfer_s),
                    _names(hop.tensors),
                )
                for hop in plan.hops
            ],
            title="\nLinks",
        )
    for line in _left_out(plan):
        click.echo(line)
    _show_exits(plan)
    for line in _summary(plan):
        click.echo(line)


def _left_out(plan: Plan) -> list[str]:
    """Which tiers samples go past, and over what."""
    if not plan.left_out:
        return []
    names = [f"{tier.name} ({tier.device.name})" for tier in plan.left_out]
    way = plan.tiers[0].name + "".join(f" > {hop.target} over {hop.link.name}" for hop in plan.hops)
    return [f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} left out: the way is {way}."]


def _show_exits(plan: Plan) -> None:
    rows = []
    for point in plan.exits:
        tier = next(each for each in plan.tiers if each.name == point.tier)
        reached = _reached_s(plan, point.tier) + _expected_s(point)
        ran = (tier,) if plan.deployment == "nested" else plan.tiers[: plan.tiers.index(tier) + 1]
        share = percent(point.going_on) if point.going_on is not None else ""
        after = tier.layers[point.depth - 1]
        rows.append((point.name, after, point.tensor, estimate(reached, any_estimate(ran)), share))
    last = next(tier for tier in plan.tiers if tier.name == plan.final_tier)
    whole = estimate(plan.latency_s if plan.parts_latency_s is None else plan.parts_latency_s, is_estimate(plan))
    rows.append((FINAL, last.layers[-1], "the network's own output", whole, ""))
    sent = ", by a sample that is sent straight to the tier" if plan.deployment == "nested" else ""
    headers = ("exit", "after", "head reads", "reached in", "go on past it")
    columns = len(headers) if plan.shares else len(headers) - 1
    how = {"recorded": ", with the shares recorded on validation data", "assumed": ", with assumed shares", None: ""}
    print_table(headers[:columns], [row[:columns] for row in rows], title=f"\nExits{sent}{how[plan.shares]}")


def _expected_s(place: TierPlan | PlannedExit) -> float:
    """Seconds of a tier's work up to its end or an exit: as parts, where that is known."""
    return place.compute_s if place.part_s is None else place.part_s


def _reached_s(plan: Plan, tier: str) -> float:
    """When work on a sample starts at a tier; under ``nested``, of one that no lower tier was asked about."""
    spent = 0.0
    for part, hop in itertools.zip_longest(plan.tiers, plan.hops):
        if part.name == tier or hop is None:
            break
        spent += hop.transfer_s + (_expected_s(part) if plan.deployment == "split" and part.layers else 0.0)
    return spent


def _summary(plan: Plan) -> list[str]:
    lines = ["", *latency_lines(plan)]
    if plan.shares:
        expected = estimate(plan.predicted["latency"], is_estimate(plan))
        assumed = ", if as many leave as assumed" if plan.shares == "assumed" else ""
        lines[-1] += f"; of all samples on average: {expected}{assumed}"
    if plan.objective not in ("latency", "full-latency") and plan.objective in plan.predicted:
        lines.insert(2, _minimised(plan))
    for tier in plan.given:
        alone = plan.unsplit_s.get(tier.name)
        refused = "does not keep to the limits" if plan.limits else "does not fit"
        text = refused if alone is None else estimate(alone, tier.estimated)
        lines.append(f"  all on {tier.name}: {text}")
    used = [tier.name for tier in plan.tiers if tier.layers]
    if len(used) == 1 and len(plan.tiers) > 1:
        lines.append(f"Not split: everything runs on {used[0]}.")
    lines += memory_lines(plan)
    lines.append(_proof(plan))
    if any(tier.estimated for tier in plan.given):
        lines += estimate_lines(tier.device for tier in plan.tiers if tier.estimated)
    return lines


def _minimised(plan: Plan) -> str:
    found = plan.predicted[plan.objective]
    about = "~" if is_estimate(plan) else ""
    if plan.objective == "period":
        rate = f" ({about}{significant(1 / found)} a second)" if found else ""
        return f"Minimised: the time between two answers, {about}{seconds(found)}{rate}"
    return f"Minimised: {plan.objective}, {about}{amount(found, unit(plan.objective))} a sample"


def _proof(plan: Plan) -> str:
    proof = plan.proof
    if proof.status == "optimal":
        return f"Proven optimal by {proof.method} (numerical gap {proof.gap or 0:.0e})."
    if proof.status == "bound":
        bound = amount(proof.bound or 0.0, unit(plan.objective))
        return f"Within {percent(proof.gap or 0.0)} of the optimum, which is at least {bound} ({proof.method})."
    if proof.status == "rule":
        return f"Placed by the rule {proof.method}; nothing is claimed about its latency."
    return "Placed by hand; nothing is claimed about its latency."


def _names(tensors: Sequence[str]) -> str:
    shown = ", ".join(tensors[:3]) or "nothing"
    return f"{shown} and {len(tensors) - 3} more" if len(tensors) > 3 else shown
