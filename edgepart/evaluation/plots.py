"""The bars and the data map of a report."""

from __future__ import annotations

import numpy as np

from edgepart.dispatch.data_map import DataMap
from edgepart.dispatch.pools import pools
from edgepart.evaluation.plots_canvas import Canvas, plain
from edgepart.evaluation.report import DataMapReport, PlanReport, Report
from edgepart.evaluation.report_style import INK, MUTED, PAPER, text_on, tier_colour
from edgepart.units import seconds

#: most samples drawn on the data map; more make a page of many megabytes
DATA_MAP_POINTS = 3000


def tier_share(report: Report) -> str:
    """Where samples leave, per strategy and allowed accuracy drop: one stacked bar each, a segment an exit."""
    rows = [entry for drop in reversed(report.allowed_drops) for entry in reversed(report.chosen(drop))]
    canvas = Canvas("Share of samples that leave at each exit", 5.8, 1.1 + 0.3 * len(rows))
    colours = {tier.name: tier_colour(index) for index, tier in enumerate(report.plan.tiers)}
    left = np.zeros(len(rows))
    labelled: set[str] = set()
    for point in report.exits:
        widths = np.array([100 * row.exit_share[point.name] for row in rows])
        bars = canvas.axes.barh(
            range(len(rows)), widths, left=left, height=0.72, color=colours[point.tier], edgecolor=PAPER, linewidth=1.5
        )
        if point.tier not in labelled:
            bars.set_label(plain(point.tier))
            labelled.add(point.tier)
        for row, bar, width, start in zip(rows, bars, widths, left, strict=True):
            canvas.name(bar, f"{row.name}: {width:.1f} % of the samples leave at {point.name} on {point.tier}")
            if width >= 8:
                canvas.axes.text(
                    start + width / 2, bar.get_y() + bar.get_height() / 2, f"{width:.0f}", ha="center", va="center",
                    color=text_on(colours[point.tier]), fontweight="bold", fontsize=9,
                )  # fmt: skip
        left += widths
    canvas.axes.set_yticks(range(len(rows)), [plain(f"{row.name}, ≤ {100 * row.allowed_drop:g} %") for row in rows])
    canvas.axes.set_xlim(0, 100)
    canvas.axes.set_xlabel("share of samples (%)")
    canvas.legend(columns=4)
    return canvas.svg()


def latency(plan: PlanReport) -> str:
    """Predicted seconds of each tier: the transfer to it, then its computing; estimates hatched.

    Under ``split`` each tier begins where the one before ends; under ``nested`` each starts from the raw input.
    """
    names = [tier.name for tier in plan.tiers]
    # tiers that the plan leaves out come last
    order = [*names, *(name for name in plan.unsplit_s if name not in names)]
    whole = sorted(plan.unsplit_s.items(), key=lambda item: order.index(item[0]))
    labels = names + [f"all on {name}" for name, _ in whole]
    canvas = Canvas("Predicted latency of one sample", 5.8, 1.1 + 0.34 * len(labels))
    estimated = {tier.name: tier.estimated for tier in plan.tiers}
    colours = {tier.name: tier_colour(index) for index, tier in enumerate(plan.tiers)}
    bars: list[tuple[int, float, float, str, bool, str]] = []
    now = travelled = 0.0
    for row, tier in enumerate(plan.tiers):
        hop = plan.hops[row - 1] if row else None
        travelled += hop.transfer_s if hop else 0.0
        transfer = (travelled if plan.deployment == "nested" else hop.transfer_s) if hop else 0.0
        start = 0.0 if plan.deployment == "nested" else now
        bars.append((row, start, transfer, MUTED, True, f"transfer to {tier.name}: {seconds(transfer)} (estimate)"))
        text = f"computing on {tier.name}: {seconds(tier.compute_s)}" + (" (estimate)" if tier.estimated else "")
        bars.append((row, start + transfer, tier.compute_s, colours[tier.name], tier.estimated, text))
        now = start + transfer + tier.compute_s
    for row, (name, value) in enumerate(whole, start=len(plan.tiers)):
        text = f"everything on {name}: {seconds(value)}"
        hatched = estimated.get(name, True) or name != plan.tiers[0].name
        bars.append((row, 0.0, value, colours.get(name, MUTED), hatched, text))
    longest = max([start + width for _, start, width, *_ in bars] + [1e-9])
    factor, unit = (1e3, "ms") if longest < 1 else (1.0, "s")
    ends: dict[int, float] = {}
    for row, start, width, colour, hatched, text in bars:
        style = {"hatch": "////", "alpha": 0.55} if hatched else {}
        (bar,) = canvas.axes.barh(
            [row], [width * factor], left=[start * factor], height=0.66, color=colour, edgecolor=PAPER, **style
        )
        canvas.name(bar, text)
        ends[row] = (start + width) * factor
    for row, end in ends.items():
        text = seconds(end / factor)
        canvas.axes.annotate(text, (end, row), (4, 0), textcoords="offset points", va="center", color=INK, fontsize=9)
    canvas.axes.set_yticks(range(len(labels)), [plain(label) for label in labels])
    canvas.axes.invert_yaxis()
    canvas.axes.set_xlim(0, longest * factor * 1.18)
    canvas.axes.set_xlabel(f"predicted latency of one sample ({unit})")
    return canvas.svg()


def data_map(samples: DataMap, summary: DataMapReport) -> str:
    """Confidence against variability, one dot a sample, coloured by pool.

    Of more than :data:`DATA_MAP_POINTS` samples a random part is drawn.
    """
    canvas = Canvas("Data map: confidence against variability", 5.8, 4.0)
    drawn = np.arange(len(samples.confidence))
    if len(drawn) > DATA_MAP_POINTS:
        drawn = np.sort(np.random.default_rng(0).choice(len(drawn), DATA_MAP_POINTS, replace=False))
    pool = pools(samples, summary.alpha, summary.beta)
    for index, (name, size) in enumerate(summary.pools.items()):
        inside = drawn[pool[drawn] == index]
        dots = canvas.axes.scatter(
            samples.variability[inside],
            samples.confidence[inside],
            s=11,
            marker=("o", "s", "^")[index],
            color=tier_colour(index),
            alpha=0.6,
            linewidths=0,
            label=plain(f"{name} ({size})"),
        )
        canvas.name(dots, f"{name}: {size} samples")
    canvas.axes.axhline(summary.alpha, color=MUTED, linewidth=1, linestyle="--")
    edge = summary.beta**0.5
    canvas.axes.plot([edge, edge], [summary.alpha, 1.0], color=MUTED, linewidth=1, linestyle="--")
    canvas.axes.set_ylim(-0.02, 1.02)
    canvas.axes.set_xlim(left=-0.005)
    canvas.axes.set_xlabel("variability (standard deviation over the epochs)")
    canvas.axes.set_ylabel("confidence (mean probability of the label)")
    canvas.legend(columns=3)
    return canvas.svg()
