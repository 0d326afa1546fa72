"""One figure for each network and cost: what every strategy saves, and what that does to the accuracy."""

import re
from pathlib import Path
from typing import Any

from tables import kind

from edgepart.evaluation.runs_report import CostReport, Estimate, RunsReport
from edgepart.units import percent

COLOURS = {"plain": "#000000", "strategy": "#0072b2", "yardstick": "#8c959f", "group": "#d55e00"}
NAMES = {
    "plain": "simple threshold",
    "strategy": "strategy",
    "yardstick": "yardstick",
    "group": "cheapest of a kind on validation",
}


def draw(report: RunsReport, folder: Path) -> None:
    """Write the figures at the smallest allowed drop."""
    folder.mkdir(exist_ok=True)
    for task in report.tasks:
        for cost in task.costs:
            title = f"{task.task}: {cost.label}"
            draw_cost(report, title, cost, folder / f"{slug(task.task)}_{slug(cost.label)}.svg")


def slug(text: str) -> str:
    """A file name of a title."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def draw_cost(report: RunsReport, title: str, cost: CostReport, path: Path) -> None:
    from matplotlib.figure import Figure

    drop = report.drops[0]
    outcomes = sorted((one for one in cost.outcomes if one.drop == drop), key=lambda one: one.saving.mean)
    kinds = [kind(report, one.strategy) for one in outcomes]
    figure = Figure(figsize=(9, 1.6 + 0.24 * len(outcomes)), layout="constrained")
    saved, change = figure.subplots(1, 2, sharey=True)
    for row, (outcome, own) in enumerate(zip(outcomes, kinds, strict=True)):
        whisker(saved, row, COLOURS[own], outcome.saving)
        whisker(change, row, COLOURS[own], outcome.change)
    saved.set_yticks(range(len(outcomes)), [outcome.strategy for outcome in outcomes])
    saved.set_xlabel("saved, %")
    change.set_xlabel("change of the accuracy, points")
    change.axvline(-100 * drop, color="#cf222e", linestyle=":", zorder=0)
    for axes in (saved, change):
        axes.axvline(0, color="#8c959f", linewidth=1, zorder=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", color="#eaeef2")
        axes.set_axisbelow(True)
    shown = [own for own in NAMES if own in kinds]
    marks = [saved.plot([], [], "o", color=COLOURS[own])[0] for own in shown]
    names = [NAMES[own] for own in shown]
    figure.legend(marks, names, loc="outside lower center", ncols=len(shown), frameon=False, fontsize=9)
    figure.suptitle(f"{title}; {percent(drop)} allowed on validation, 95 % intervals", fontsize=10)
    figure.savefig(path)


def whisker(axes: Any, row: int, colour: str, estimate: Estimate) -> None:
    low, high = estimate.interval
    axes.plot([100 * low, 100 * high], [row, row], color=colour, linewidth=1.5)
    axes.plot(100 * estimate.mean, row, "o", color=colour, markersize=5)
