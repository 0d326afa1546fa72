"""The figures of ``docs/results/dispatch.md``."""

from typing import Any

from dispatch_cases import GOAL, OURS, PAPERS, Case, kept, of_group
from dispatch_format import share, signed, spanned

from edgepart.evaluation.plots_canvas import Canvas, plain
from edgepart.evaluation.report_style import INK, LINE, MUTED, PAPER
from edgepart.evaluation.runs_report import Outcome, RunsReport, TaskReport
from edgepart.units import percent

COLOURS = {OURS: "#228833", PAPERS: "#ee6677", "reference": "#4477aa", "yardstick": "#8c8c8c"}


def draw(record: RunsReport, task: TaskReport) -> str:
    """What every strategy saves with its interval, a panel a cost; hollow where more accuracy was lost than allowed."""
    own = [Case(record, task, cost) for cost in task.costs]
    order = sorted(own[0].outcomes(), key=lambda one: one.saving.mean)
    names = [one.strategy for one in order]
    columns = len(own)
    canvas = Canvas(f"Cost saved by strategy on {task.task}", 2.6 + 2.1 * columns, 1.2 + 0.24 * len(names), 1, columns)
    for axes, case in zip(canvas.grid[0], own, strict=True):
        for place, name in enumerate(names):
            one = case.outcome(name)
            if one is not None:
                dot(canvas, axes, place, one, colour(record, name), case)
        baseline = case.outcome(record.reference)
        if baseline is not None:
            axes.axvline(100 * baseline.saving.mean, color=COLOURS["reference"], linewidth=0.8, zorder=0)
        axes.axvline(100 * GOAL, color=MUTED, linewidth=0.8, linestyle="--", zorder=0)
        axes.grid(axis="y", color=LINE, linewidth=0.5)
        axes.set_axisbelow(True)
        axes.set_yticks(range(len(names)), [plain(name) for name in names])
        axes.set_title(plain(case.cost.label), fontsize=10.5, color=INK)
        axes.set_xlabel("saved, %")
    named = {"ours": OURS, "the papers'": PAPERS, record.reference: "reference", "yardsticks": "yardstick"}
    for label, kind in named.items():
        canvas.axes.plot([], [], "o", color=COLOURS[kind], label=label)
    canvas.legend(4)
    return canvas.svg()


def dot(canvas: Canvas, axes: Any, place: int, one: Outcome, shade: str, case: Case) -> None:
    low, high = (100 * bound for bound in one.saving.interval)
    axes.plot([low, high], [place, place], color=shade, linewidth=1.4)
    full = kept(case, one)
    (mark,) = axes.plot(
        [100 * one.saving.mean], [place], "o", markersize=5.5, color=shade, markerfacecolor=shade if full else PAPER
    )
    canvas.name(
        mark,
        f"{one.strategy}: {percent(one.saving.mean)} saved ({spanned(one.saving, share)}), accuracy "
        f"{signed(one.change.mean)} points",
    )


def colour(record: RunsReport, name: str) -> str:
    if name == record.reference:
        return COLOURS["reference"]
    return next((COLOURS[group] for group in (OURS, PAPERS) if of_group(record, name, group)), COLOURS["yardstick"])
