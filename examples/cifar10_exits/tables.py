"""``results.md``: what someone who serves images wants to know before choosing where samples leave."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgepart.evaluation.runs_report import (
    CostReport,
    Difference,
    Outcome,
    RunsReport,
    TaskReport,
)
from edgepart.units import percent, seconds, significant

HEAD = """\
# Early exits in two image networks

The published networks are frozen, only the heads of the exits learn. Settings are chosen on images that no head has
seen, figures are of the test images: means over seeds, 95 % intervals by bootstrap over images and seeds. Savings are
against the same split without exits; what one tier alone would take stands beside them. Latencies are predicted for
devices and links of the catalogue, the picture counted as the float32 tensor that the network takes.

DIMEC-DC's own costs are left out: they count encoder layers, which these networks do not have.
"""


@dataclass(frozen=True)
class Seconds:
    """Latencies of one network over one choice of links.

    Attributes:
        exits: until a sample can leave at each exit, the final one last
        alone: of the whole network on one tier, the picture sent there
    """

    exits: tuple[float, ...]
    alone: Mapping[str, float]


#: what no deployed system would be: tiers that are fixed or drawn by lot, and who knows the labels
YARDSTICKS = ("fixed-tier", "random", "oracle")

#: label of the cost → latencies
Timing = Mapping[str, Seconds]


def page(report: RunsReport, timing: Mapping[str, Timing], notes: Mapping[str, str]) -> str:
    """The page as Markdown.

    Args:
        timing, notes: by task
    """
    lines = [HEAD]
    for task in report.tasks:
        lines += section(report, task, timing[task.task], notes[task.task])
    return "\n".join(lines)


def section(report: RunsReport, task: TaskReport, timing: Timing, note: str) -> Iterator[str]:
    yield f"## {task.task}\n"
    chosen = " and ".join(f"{count:,}" for count in sorted(set(task.validation_samples)))
    yield f"- {task.samples:,} test images; settings chosen on {chosen} others; seeds {', '.join(map(str, task.seeds))}"
    yield f"- {note}\n"
    yield from exits(task, timing)
    for label, times in timing.items():
        where = ", ".join(f"{tier} {seconds(took)}" for tier, took in times.alone.items())
        yield f"- {label}: the whole network on one tier takes {where}"
    yield ""
    for cost in task.costs:
        yield from strategies(cost, report.drops)
        yield from (f"- {sentence}" for sentence in verdict(report, cost, timing.get(cost.label)))
        yield ""
    yield from (f"- {warning}" for warning in task.warnings)
    yield ""


def exits(task: TaskReport, timing: Timing) -> Iterator[str]:
    rows = [
        (
            one.name,
            one.tier,
            f"{percent(one.accuracy.mean)} ± {100 * one.accuracy.std:.1f}",
            *(seconds(times.exits[index]) for times in timing.values()),
        )
        for index, one in enumerate(task.exits)
    ]
    yield from table(("exit", "tier", "accuracy if all leave here", *timing), rows)


def strategies(cost: CostReport, drops: Sequence[float]) -> Iterator[str]:
    first, *others = drops
    full = cost.full_model
    yield f"### {cost.label}\n"
    whole = f"{percent(full.accuracy.mean)}, {amount(cost, full.cost.mean)} a sample"
    yield f"{capital(cost.description)}. Full model: {whole}.\n"
    head = (
        f"strategy, {percent(first)} allowed",
        "saved",
        "95 % interval",
        "cost",
        "accuracy, points",
        "95 % interval",
        "left at " + " / ".join(cost.outcomes[0].tier_share),
        *(f"saved at {percent(drop)}" for drop in others),
    )
    found = sorted((one for one in cost.outcomes if one.drop == first), key=lambda one: -one.saving.mean)
    rows = [
        (
            one.strategy + fallback(one),
            f"{percent(one.saving.mean)} ± {100 * one.saving.std:.1f}",
            " to ".join(map(percent, one.saving.interval)),
            amount(cost, one.cost.mean),
            points(one.change.mean),
            " to ".join(map(points, one.change.interval)),
            " / ".join(percent(share.mean, 0) for share in one.tier_share.values()),
            *(percent(later.saving.mean) if (later := cost.outcome(one.strategy, drop)) else "" for drop in others),
        )
        for one in found
    ]
    yield from table(head, rows)


def fallback(outcome: Outcome) -> str:
    """Said of a strategy that found no setting for some of the seeds."""
    return f" (no setting in {outcome.fallbacks} of {len(outcome.settings)})" if outcome.fallbacks else ""


def verdict(report: RunsReport, cost: CostReport, times: Seconds | None) -> Iterator[str]:
    """What the table comes to at the smallest allowed drop, in sentences."""
    drop = report.drops[0]
    usable = [one for one in cost.outcomes if one.drop == drop and kind(report, one.strategy) in ("strategy", "plain")]
    plain = cost.outcome(report.reference, drop)
    if not any(one.saving.interval[0] > 0 for one in usable):
        yield f"Nothing helps: at {percent(drop)} no strategy is shown to save anything here."
    if plain is not None:
        yield f"{told(plain)}: the simple threshold that all others have to beat."
    for group in report.groups:
        best = cost.outcome(group, drop)
        if best is not None:
            yield f"{told(best)}{picks(best)}; {compared(best.against[report.reference].saving, report.reference)}."
    oracle = cost.outcome("oracle", drop)
    if oracle is not None:
        yield f"{told(oracle)}: it knows the labels, a ceiling and no strategy."
    too_much = [one.strategy for one in usable if one.change.interval[1] < -drop]
    if too_much:
        yield f"Lost more than the {percent(drop)} allowed, by the whole interval: {', '.join(too_much)}."
    if times is not None and times.alone and usable:
        yield placed(min(one.cost.mean for one in usable), times)


def kind(report: RunsReport, strategy: str) -> str:
    """``plain`` (the reference), ``strategy``, ``yardstick`` or ``group``."""
    if strategy == report.reference:
        return "plain"
    if strategy in report.groups:
        return "group"
    return "yardstick" if strategy.partition(":")[0] in YARDSTICKS else "strategy"


def told(outcome: Outcome) -> str:
    saved = f"{percent(outcome.saving.mean)} ({' to '.join(map(percent, outcome.saving.interval))})"
    change = points(outcome.change.mean)
    return f"{capital(outcome.strategy)}{fallback(outcome)} saves {saved} and changes the accuracy by {change} points"


def picks(outcome: Outcome) -> str:
    names = dict.fromkeys(name or "the full model" for name in outcome.picked)
    return f" ({', '.join(names)})" if names else ""


def compared(difference: Difference, other: str) -> str:
    low, high = (points(end) for end in difference.interval)
    return f"{points(difference.mean)} points of saving against {other} ({low} to {high}: {difference.verdict})"


def placed(cheapest: float, times: Seconds) -> str:
    """Whether one tier alone would be faster than anything that leaves early from this split."""
    tier = min(times.alone, key=times.alone.__getitem__)
    alone = times.alone[tier]
    if alone < cheapest:
        return (
            f"The whole network on the {tier} alone would take {seconds(alone)}, less than the {seconds(cheapest)} of "
            "the fastest strategy: this split is for where no tier may do it all, for lack of memory or because "
            "pictures must stay where they are taken; else place it there, without a split."
        )
    return (
        f"The whole network on one tier takes {seconds(alone)} at best ({tier}), the fastest strategy "
        f"{seconds(cheapest)}: splitting with exits is faster than any single place."
    )


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def amount(cost: CostReport, value: float) -> str:
    return seconds(value) if cost.unit == "s" else f"{significant(value)} {cost.unit}"


def points(share: float) -> str:
    return f"{100 * share:+.1f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |\n|{'---|' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""
