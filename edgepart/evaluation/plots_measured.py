"""Predicted against measured, of every part, every link and the whole, in one figure."""

from __future__ import annotations

from edgepart.evaluation.plots_canvas import Canvas, plain
from edgepart.evaluation.report_style import INK, MUTED, tier_colour
from edgepart.measuring.measured import Comparison, Measured
from edgepart.units import percent, seconds

#: beyond the smallest and the largest value, on axes with logarithmic scales
_MARGIN = 1.6


def predicted_measured(measured: Measured) -> str:
    """Measured over predicted seconds, medians with quartiles, on the diagonal where a prediction is right; an SVG.

    What has no prediction is left out.
    """
    canvas = Canvas("Predicted and measured latency", 5.8, 4.4)
    shown = [(name, found) for name, found in _comparisons(measured) if found.predicted]
    for index, (name, found) in enumerate(shown):
        middle, whole = found.measured.median, name == "end to end"
        below, above = middle - found.measured.lower, found.measured.upper - middle
        drawn = canvas.axes.errorbar(
            [1e3 * (found.predicted or 0.0)], [1e3 * middle], yerr=[[1e3 * below], [1e3 * above]],
            fmt="D" if whole else "o", markersize=7, capsize=3, color=INK if whole else tier_colour(index),
            label=plain(name),
        )  # fmt: skip
        text = f"{name}: predicted {seconds(found.predicted or 0.0)}, measured {seconds(middle)}"
        canvas.name(drawn.lines[0], f"{text} ({percent(found.error or 0.0)})")
    if shown:
        ends = [1e3 * value for _, found in shown for value in (found.predicted or 0.0, found.measured.median)]
        limits = (min(ends) / _MARGIN, max(ends) * _MARGIN)
        canvas.axes.plot(limits, limits, color=MUTED, linewidth=1, linestyle="--", zorder=0)
        canvas.axes.set_xscale("log")
        canvas.axes.set_yscale("log")
        canvas.axes.set_xlim(limits)
        canvas.axes.set_ylim(limits)
    canvas.axes.set_xlabel("predicted (ms)")
    canvas.axes.set_ylabel("measured (ms)")
    canvas.legend(columns=3)
    return canvas.svg()


def _comparisons(measured: Measured) -> list[tuple[str, Comparison]]:
    parts = [(part.tier, part.compute_s) for part in measured.parts]
    hops = [(f"{hop.source} to {hop.target}", hop.transfer_s) for hop in measured.hops]
    return [(name, found) for name, found in (*parts, *hops, ("end to end", measured.latency_s)) if found is not None]
