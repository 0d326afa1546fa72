"""``edgepart partition``: place a profiled network on tiers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from edgepart.cli.output import json_option, note, parse_pairs, parse_size, print_json, print_table
from edgepart.errors import EdgepartError
from edgepart.hardware import Profile
from edgepart.partitioning import FINAL, Partitioner, Plan, TierPlan, partition
from edgepart.partitioning.edgelesspart import MemoryShare
from edgepart.units import percent, seconds, size


@click.command("partition")
@click.argument("profile", type=click.Path(path_type=Path))
@click.option("--tier", "tiers", multiple=True, metavar="NAME=DEVICE", help="A tier, from the data's source upwards.")
@click.option("--link", "links", multiple=True, metavar="LOWER:UPPER=LINK", help="How a tier reaches the next one.")
@click.option("--objective", default="latency", show_default=True, help="What to minimise.")
@click.option("--method", default=None, help="minimum-cut (default), memory-share, latency-match or a plug-in's.")
@click.option("--share", "shares", multiple=True, help="Share of memory-share, as 70%; may be given per boundary.")
@click.option("--limit", "limits", multiple=True, metavar="TIER.memory=SIZE", help="A limit, as mobile.memory=200MB.")
@click.option("--pin", "pins", multiple=True, metavar="LAYER=TIER", help="Where a layer or module must run.")
@click.option("--deployment", default="split", show_default=True, help="split or nested.")
@click.option("--split-after", multiple=True, metavar="TIER=MODULE", help="A boundary by hand.")
@click.option("--exits", default="linear", show_default=True, help="linear, pareto or none.")
@click.option("--exits-per-part", default=3, show_default=True, help="The most exits in one part.")
@click.option("--exit-after", multiple=True, metavar="MODULE", help="An exit by hand.")
@click.option("--head", default=None, help="Template of the heads; build may still choose.")
@click.option(
    "-o", "--output", default="plan.json", show_default=True, type=click.Path(path_type=Path), help="The file to write."
)
@json_option
def command(
    profile: Path,
    tiers: Sequence[str],
    links: Sequence[str],
    objective: str,
    method: str | None,
    shares: Sequence[str],
    limits: Sequence[str],
    pins: Sequence[str],
    deployment: Any,
    split_after: Sequence[str],
    exits: Any,
    exits_per_part: int,
    exit_after: Sequence[str],
    head: str | None,
    output: Path,
    as_json: bool,
) -> None:
    """Place the layers and exits of the network in PROFILE on tiers, and write the plan.

    The default method finds the placement of least latency, whatever the shape of the network, and says how that is
    proven; devices' own memory is always a limit.
    """
    plan = partition(
        Profile.load(profile),
        parse_pairs("--tier", tiers),
        parse_pairs("--link", links),
        objective=objective,
        method=_method(method, shares),
        limits={name: parse_size(value) for name, value in parse_pairs("--limit", limits).items()},
        pins=parse_pairs("--pin", pins),
        deployment=deployment,
        exits=exits,
        exits_per_part=exits_per_part,
        exit_after=exit_after,
        split_after=parse_pairs("--split-after", split_after),
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
    return MemoryShare([_share(text) for text in shares])


def _share(text: str) -> float:
    try:
        return float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise EdgepartError(f"--share {text} is not a share: expected per cent, as 70%, or a number, as .7") from None


def show(plan: Plan) -> None:
    """Print a plan for a person."""
    print_table(
        ("tier", "device", "layers", "compute", "parameters", "activations", "memory", "limit"),
        [
            (
                tier.name,
                tier.device.name,
                str(len(tier.layers)),
                _estimate(tier.compute_s, tier.estimated) if tier.layers else "-",
                size(tier.parameter_bytes),
                size(tier.activation_bytes),
                size(tier.memory_bytes),
                size(tier.memory_limit_bytes) if tier.memory_limit_bytes is not None else "none",
            )
            for tier in plan.tiers
        ],
        title=f"Plan for {plan.network} ({plan.deployment})",
    )
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
    _show_exits(plan)
    for line in _summary(plan):
        click.echo(line)


def _show_exits(plan: Plan) -> None:
    rows = []
    for point in plan.exits:
        tier = next(each for each in plan.tiers if each.name == point.tier)
        reached = _reached_s(plan, point.tier) + point.compute_s
        ran = (tier,) if plan.deployment == "nested" else plan.tiers[: plan.tiers.index(tier) + 1]
        rows.append((point.name, tier.layers[point.depth - 1], point.tensor, _estimate(reached, _any_estimate(ran))))
    last = next(tier for tier in plan.tiers if tier.name == plan.final_tier)
    whole = _estimate(plan.latency_s, _latency_is_estimate(plan))
    rows.append((FINAL, last.layers[-1], "the network's own output", whole))
    sent = ", by a sample that is sent straight to the tier" if plan.deployment == "nested" else ""
    print_table(("exit", "after", "head reads", "reached in"), rows, title=f"\nExits{sent}")


def _any_estimate(tiers: Sequence[TierPlan]) -> bool:
    return any(tier.estimated for tier in tiers if tier.layers)


def _latency_is_estimate(plan: Plan) -> bool:
    last = [tier for tier in plan.tiers if tier.name == plan.final_tier]
    return _any_estimate(last if plan.deployment == "nested" else plan.tiers)


def _reached_s(plan: Plan, tier: str) -> float:
    """When work on a sample starts at a tier; under ``nested``, of one that no lower tier was asked about."""
    spent = 0.0
    for part, hop in itertools.zip_longest(plan.tiers, plan.hops):
        if part.name == tier or hop is None:
            break
        spent += hop.transfer_s + (part.compute_s if plan.deployment == "split" else 0.0)
    return spent


def _summary(plan: Plan) -> list[str]:
    lines = [f"\nLatency of a sample that takes no exit: {_estimate(plan.latency_s, _latency_is_estimate(plan))}"]
    for tier in plan.tiers:
        alone = plan.unsplit_s.get(tier.name)
        text = "does not fit" if alone is None else _estimate(alone, tier.estimated)
        lines.append(f"  all on {tier.name}: {text}")
    used = [tier.name for tier in plan.tiers if tier.layers]
    if len(used) == 1 and len(plan.tiers) > 1:
        lines.append(f"Not split: everything runs on {used[0]}.")
    lines.append(_proof(plan))
    if any(tier.estimated for tier in plan.tiers):
        lines.append("~ estimate: measured on another device and scaled by the ratio of the two devices' rates")
    return lines


def _proof(plan: Plan) -> str:
    proof = plan.proof
    if proof.status == "optimal":
        return f"Proven optimal by {proof.method} (numerical gap {proof.gap or 0:.0e})."
    if proof.status == "bound":
        bound = seconds(proof.bound_s or 0.0)
        return f"Within {percent(proof.gap or 0.0)} of the optimum, which is at least {bound} ({proof.method})."
    if proof.status == "rule":
        return f"Placed by the rule {proof.method}; nothing is claimed about its latency."
    return "Placed by hand; nothing is claimed about its latency."


def _estimate(value_s: float, estimated: bool) -> str:
    return f"~{seconds(value_s)}" if estimated else seconds(value_s)


def _names(tensors: Sequence[str]) -> str:
    shown = ", ".join(tensors[:3]) or "nothing"
    return f"{shown} and {len(tensors) - 3} more" if len(tensors) > 3 else shown
