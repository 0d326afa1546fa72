"""Accuracy against cost: every setting of every strategy, the full model and the settings chosen."""

from __future__ import annotations

from collections.abc import Sequence

from edgepart.evaluation.plots_canvas import Canvas, plain
from edgepart.evaluation.report import Curve, CurvePoint, Report
from edgepart.evaluation.report_style import INK, MUTED, strategy_style
from edgepart.units import percent

#: settings that lose more accuracy than this are left out, lest they flatten the part that matters
DEEPEST = 0.2


def accuracy_cost(report: Report) -> str:
    """An SVG file; a line joins the settings that no cheaper one equals on the *validation* data, at test results."""
    canvas = Canvas("Accuracy against mean cost of a sample", 5.8, 4.6)
    full, axes = report.full_model, canvas.axes
    costs = [full.cost, *(point.cost for curve in report.curves for point in curve.points)]
    factor, unit = (1e3, "ms") if report.cost_unit == "s" and max(costs) < 1 else (1.0, report.cost_unit)
    lowest = min([full.accuracy - DEEPEST, *(chosen.accuracy for chosen in report.strategies)])
    for drop in (0.0, *report.allowed_drops):
        axes.axhline(100 * (full.accuracy - drop), color=MUTED, linewidth=0.8, linestyle=":", zorder=0)
    hidden = sum(_draw_curve(canvas, report, curve, factor, lowest) for curve in report.curves)
    _draw_chosen(canvas, report, factor)
    mark = axes.scatter(
        [full.cost * factor], [100 * full.accuracy], s=90, marker="D", color=INK, zorder=5, label="full model"
    )
    canvas.name(mark, _text(report, "full model", full.accuracy, full.cost))
    axes.set_xlabel(plain(f"mean cost of a sample ({unit})"))
    axes.set_ylabel("accuracy (%)")
    axes.set_xlim(left=0)
    if hidden:
        text = f"{hidden} settings below {percent(lowest, 0)} are not shown"
        axes.annotate(text, (0.99, 0.02), xycoords="axes fraction", ha="right", color=MUTED, fontsize=9)
    canvas.legend(columns=3)
    return canvas.svg()


def _draw_curve(canvas: Canvas, report: Report, curve: Curve, factor: float, lowest: float) -> int:
    """Draw the settings with at least that accuracy; how many have less."""
    style = strategy_style(curve.strategy)
    shown = [point for point in curve.points if point.accuracy >= lowest]
    frontier = [point for point in validation_frontier(curve.points) if point.accuracy >= lowest]
    canvas.axes.plot(
        [point.cost * factor for point in frontier],
        [100 * point.accuracy for point in frontier],
        color=style.colour,
        linewidth=1.6,
        linestyle="--" if style.dashed else "-",
        zorder=2,
    )
    dots = canvas.axes.scatter(
        [point.cost * factor for point in shown],
        [100 * point.accuracy for point in shown],
        s=[26.0 if point in frontier else 9.0 for point in shown],
        color=style.colour,
        marker=style.marker,
        linewidths=1.2 if style.marker == "x" else 0,
        label=plain(curve.strategy),
        zorder=3,
    )
    names = [_text(report, f"{curve.strategy}, {point.setting}", point.accuracy, point.cost) for point in shown]
    if names:
        canvas.name_points(dots, names)
    return len(curve.points) - len(shown)


def _draw_chosen(canvas: Canvas, report: Report, factor: float) -> None:
    """A ring around each setting that was chosen."""
    for chosen in report.strategies:
        ring = canvas.axes.scatter(
            [chosen.cost * factor],
            [100 * chosen.accuracy],
            s=110,
            facecolors="none",
            edgecolors=strategy_style(chosen.name).colour,
            linewidths=2,
            zorder=4,
        )
        name = f"{chosen.name}, chosen for {chosen.chosen_for}: {chosen.setting}"
        canvas.name(ring, _text(report, name, chosen.accuracy, chosen.cost))


def validation_frontier(points: Sequence[CurvePoint]) -> list[CurvePoint]:
    """The settings that no cheaper one equals in accuracy on the validation data, cheapest first."""
    best, found = -1.0, []
    for point in sorted(points, key=lambda point: (point.validation_cost, -point.validation_accuracy)):
        if point.validation_accuracy > best:
            best = point.validation_accuracy
            found.append(point)
    return found


def _text(report: Report, name: str, accuracy: float, cost: float) -> str:
    return f"{name}\naccuracy {percent(accuracy)}, cost {report.cost_text(cost)}"
