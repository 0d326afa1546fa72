"""Accuracy and cost along a stream that changes domain: a panel for each strategy that was evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgepart.evaluation.plots_canvas import Canvas, plain
from edgepart.evaluation.report import Report
from edgepart.evaluation.report_style import INK, MUTED
from edgepart.evaluation.stream_report import StreamCourse, StreamReport, StreamStrategy, Stretch
from edgepart.units import percent

#: most panels; a page has no room for more that can be read
PANELS = 6
#: drawn in every panel, where it was evaluated
REFERENCE = "confidence"
#: strategies that have no panel where others have
_YARDSTICKS = ("fixed-tier", "random", "oracle", REFERENCE)
_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccaa33")


def drawn_drop(report: Report) -> float:
    """The accuracy drop whose settings are drawn: the largest, at which the most strategies have one."""
    return max(report.allowed_drops, default=0.0)


def panels(entries: Sequence[StreamStrategy]) -> dict[str, list[StreamStrategy]]:
    """Strategy, without its options → the variants of it that share a panel."""
    found: dict[str, list[StreamStrategy]] = {}
    for entry in entries:
        found.setdefault(_split(entry.name)[0], []).append(entry)
    real = {name: variants for name, variants in found.items() if name not in _YARDSTICKS}
    return dict(list((real or found).items())[:PANELS])


def undrawn(report: Report, stream: StreamReport) -> list[str]:
    """The strategies that were evaluated and have no line."""
    entries = stream.chosen(drawn_drop(report))
    lines = {REFERENCE} | {entry.name for variants in panels(entries).values() for entry in variants}
    return [entry.name for entry in entries if entry.name not in lines]


def along_the_stream(report: Report, stream: StreamReport) -> str:
    """An SVG file: windows of the chosen settings, those of the full model beside them, alarms as triangles."""
    entries = stream.chosen(drawn_drop(report))
    shown = panels(entries) or {"full model": []}
    reference = next((entry for entry in entries if entry.name == REFERENCE), None)
    options = list(dict.fromkeys(_split(entry.name)[1] for variants in shown.values() for entry in variants))
    costs = [window.cost for course in (stream.full_model, *entries) for window in course.windows]
    factor, unit = (1e3, "ms") if report.cost_unit == "s" and max(costs) < 1 else (1.0, report.cost_unit)

    width = 0.8 + 2.2 * max(len(shown), 2)
    canvas = Canvas("Accuracy and cost along the stream", width, 4.6, 2, len(shown))
    for column, (name, variants) in enumerate(shown.items()):
        axes = canvas.grid[:, column]
        axes[0].set_title(plain(name), fontsize=10.5, color=INK)
        axes[1].set_xlabel("sample of the stream")
        _mark_change(axes, stream.change)
        _draw(canvas, axes, stream.full_model, "full model", factor, color=INK, linewidth=1, linestyle="--")
        if reference is not None and reference not in variants:
            _draw(canvas, axes, reference, REFERENCE, factor, color=MUTED, linewidth=1)
        for entry in variants:
            text = _split(entry.name)[1]
            place = options.index(text)
            colour = _COLOURS[place % len(_COLOURS)]
            # later ones wider and below, so that lines which agree are both seen
            style = {"color": colour, "linewidth": 1.1 + 1.6 * place, "zorder": 3 - 0.1 * place}
            _draw(canvas, axes, entry, text or "without options", factor, **style)
            _draw_alarms(canvas, axes[0], entry, colour)
    canvas.grid[0, 0].set_ylabel("accuracy (%)")
    canvas.grid[1, 0].set_ylabel(plain(f"mean cost ({unit})"))
    canvas.grid[1, 0].set_ylim(bottom=0)
    canvas.legend(columns=5)
    return canvas.svg()


def _mark_change(axes: Any, change: int) -> None:
    for one in axes:
        one.axvline(change, color=MUTED, linewidth=0.8, linestyle=":", zorder=0)
    axes[0].annotate(
        "change", (change, 1), (3, 0), xycoords=("data", "axes fraction"), textcoords="offset points", va="top",
        color=MUTED, fontsize=9,
    )  # fmt: skip


def _draw(canvas: Canvas, axes: Any, course: StreamCourse, label: str, factor: float, **style: object) -> None:
    """Accuracy on the upper axes, cost on the lower; the line breaks at the change.

    A last window that is shorter than half of the others is left out: a few samples say more of chance than of time.
    """
    size = course.windows[0].stop
    drawn = [window for window in course.windows if 2 * (window.stop - window.start) >= size]
    before = [window for window in drawn if window.stop <= course.first.stop]
    for part, shown in ((before, plain(label)), (drawn[len(before) :], None)):
        middle = [(window.start + window.stop) / 2 for window in part]
        (line,) = axes[0].plot(middle, [100 * window.accuracy for window in part], label=shown, **style)
        canvas.name(line, f"{label}: accuracy {_shown(part, course)}")
        axes[1].plot(middle, [window.cost * factor for window in part], **style)


def _shown(part: Sequence[Stretch], course: StreamCourse) -> str:
    whole = course.first if part[0].start < course.first.stop else course.second
    return f"{percent(whole.accuracy)} {'before' if whole is course.first else 'after'} the change"


def _draw_alarms(canvas: Canvas, axes: Any, entry: StreamStrategy, colour: str) -> None:
    if not entry.alarms:
        return
    marks = axes.scatter(
        entry.alarms, [0.02] * len(entry.alarms), transform=axes.get_xaxis_transform(), marker="^", s=36, color=colour,
        linewidths=0, label="alarm", zorder=4,
    )  # fmt: skip
    canvas.name_points(marks, [f"{entry.name}: alarm at sample {alarm:,}" for alarm in entry.alarms])


def _split(name: str) -> tuple[str, str]:
    """A strategy and its options, as the user typed them."""
    strategy, _, options = name.partition(":")
    return strategy, options
