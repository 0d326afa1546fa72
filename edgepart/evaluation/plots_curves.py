"""Accuracy against cost: every setting of every strategy, the full model and the settings chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgepart.evaluation.plots_canvas import Canvas, plain
from edgepart.evaluation.report import Curve, CurvePoint, Report
from edgepart.evaluation.report_style import FAINT, INK, MUTED, Style, strategy_styles
from edgepart.units import percent

#: settings that lose more accuracy than this are left out, lest they flatten the part that matters
DEEPEST = 0.2
#: most strategies that are drawn in colour
MOST = 8
#: what the others are measured by, drawn in colour wherever they are
_FRAME = ("oracle", "fixed-tier", "confidence")


def styles(report: Report) -> dict[str, Style]:
    """The look of every strategy of a report; all but :data:`MOST` of many are faint.

    In colour are the oracle, fixed tiers and confidence, and the deployable strategies whose chosen settings are the
    cheapest on the validation data.
    """
    names = [curve.strategy for curve in report.curves]
    if len(names) <= MOST:
        return strategy_styles(names)
    by_cost = sorted(report.strategies, key=lambda entry: entry.validation_cost)
    ranked = [name for name in _FRAME if name in names]
    # fixed tiers draw the line that random routing lies on
    ranked += [entry.name for entry in by_cost if entry.deployable and entry.name != "random"]
    coloured = list(dict.fromkeys([*ranked, *names]))[:MOST]
    return {**dict.fromkeys(names, FAINT), **strategy_styles([name for name in names if name in coloured])}


def accuracy_cost(report: Report) -> str:
    """An SVG file; a line joins the settings that no cheaper one equals on the *validation* data, at test results."""
    canvas = Canvas("Accuracy against mean cost of a sample", 5.8, 4.6)
    full, axes = report.full_model, canvas.axes
    costs = [full.cost, *(point.cost for curve in report.curves for point in curve.points)]
    factor, unit = (1e3, "ms") if report.cost_unit == "s" and max(costs) < 1 else (1.0, report.cost_unit)
    lowest = min([full.accuracy - DEEPEST, *(chosen.accuracy for chosen in report.strategies)])
    for drop in (0.0, *report.allowed_drops):
        axes.axhline(100 * (full.accuracy - drop), color=MUTED, linewidth=0.8, linestyle=":", zorder=0)
    looks = styles(report)
    hidden = sum(
        _draw_curve(canvas, report, curve, factor, lowest, looks[curve.strategy])
        for curve in sorted(report.curves, key=lambda curve: looks[curve.strategy] == FAINT)
    )
    _draw_chosen(canvas, report, factor, looks)
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
    canvas.note(in_grey(looks))
    return canvas.svg()


def in_grey(looks: Mapping[str, Style]) -> str:
    """Names the strategies that are not drawn in colour; empty where all are."""
    faint = [name for name, look in looks.items() if look == FAINT]
    return f"In grey: {', '.join(faint)}" if faint else ""


def _draw_curve(canvas: Canvas, report: Report, curve: Curve, factor: float, lowest: float, style: Style) -> int:
    """Draw the settings with at least that accuracy; how many have less."""
    faint = style == FAINT
    shown = [point for point in curve.points if point.accuracy >= lowest]
    frontier = [point for point in validation_frontier(curve.points) if point.accuracy >= lowest]
    canvas.axes.plot(
        [point.cost * factor for point in frontier],
        [100 * point.accuracy for point in frontier],
        color=style.colour,
        linewidth=0.7 if faint else 1.6,
        alpha=0.5 if faint else 1.0,
        linestyle="--" if style.dashed else "-",
        zorder=1 if faint else 2,
    )
    dots = canvas.axes.scatter(
        [point.cost * factor for point in shown],
        [100 * point.accuracy for point in shown],
        s=[(26.0 if point in frontier else 9.0) / (3 if faint else 1) for point in shown],
        color=style.colour,
        alpha=0.5 if faint else 1.0,
        marker=style.marker,
        linewidths=1.2 if style.marker == "x" else 0,
        label="" if faint else plain(curve.strategy),
        zorder=1 if faint else 3,
    )
    names = [_text(report, f"{curve.strategy}, {point.setting}", point.accuracy, point.cost) for point in shown]
    if names:
        canvas.name_points(dots, names)
    return len(curve.points) - len(shown)


def _draw_chosen(canvas: Canvas, report: Report, factor: float, looks: Mapping[str, Style]) -> None:
    """A ring around each setting that was chosen."""
    for chosen in report.strategies:
        faint = looks[chosen.name] == FAINT
        ring = canvas.axes.scatter(
            [chosen.cost * factor],
            [100 * chosen.accuracy],
            s=60 if faint else 110,
            facecolors="none",
            edgecolors=looks[chosen.name].colour,
            linewidths=0.6 if faint else 2,
            alpha=0.5 if faint else 1.0,
            zorder=1 if faint else 4,
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
