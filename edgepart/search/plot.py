"""The front as a picture: the first cost against accuracy, or against the second cost."""

from __future__ import annotations

from edgepart.evaluation.plots_canvas import Canvas, plain
from edgepart.evaluation.report_style import INK, MUTED, tier_colour
from edgepart.search.front import ACCURACY, Front, Point
from edgepart.units import amount, percent


def plot(front: Front, picked: int | None = None) -> str:
    """An SVG file; the pointer on a point tells its number and all of its objectives, a ring marks the knee.

    Numbers are written at the knee, the ends and the point that was picked: beside all of them they would overlap.
    """
    from matplotlib.ticker import FuncFormatter

    across, up = axes_of(front.objectives)
    units = front.units()
    canvas = Canvas(f"Pareto front: {', '.join(front.objectives)}", 6.4, 4.4)
    x, y = ([point.values[index] for point in front.points] for index in (across, up))
    label = "proven front" if front.proven else "best found, not proven"
    if len(front.objectives) == 2:
        # between two points nothing is better than the worse of both in each objective
        worse_later = front.objectives[up] == ACCURACY
        order = sorted(range(len(x)), key=lambda index: x[index])
        canvas.axes.step(
            [x[i] for i in order],
            [y[i] for i in order],
            where="post" if worse_later else "pre",
            color=MUTED,
            linewidth=1.0,
            zorder=1,
        )
    dots = canvas.axes.scatter(x, y, s=28, color=tier_colour(2), zorder=2, label=label)
    canvas.name_points(dots, [told(front, number) for number in range(1, len(x) + 1)])
    knee = front.knee - 1
    ring = canvas.axes.scatter(
        [x[knee]], [y[knee]], s=130, facecolors="none", edgecolors=tier_colour(4), linewidths=2, zorder=3, label="knee"
    )
    canvas.name(ring, f"knee: {told(front, front.knee)}")
    ends = (x.index(min(x)) + 1, x.index(max(x)) + 1)
    for number in sorted({front.knee, *ends, *([] if picked is None else [picked])}):
        place = x[number - 1], y[number - 1]
        canvas.axes.annotate(str(number), place, (4, 4), textcoords="offset points", color=INK, fontsize=8.5)
    for index, axis in ((across, canvas.axes.xaxis), (up, canvas.axes.yaxis)):
        name = front.objectives[index]
        axis.set_major_formatter(FuncFormatter(lambda at, _, name=name: shown(name, at, units[name])))
        axis.set_label_text(plain(name))
    canvas.legend(columns=2)
    return canvas.svg()


def axes_of(objectives: tuple[str, ...]) -> tuple[int, int]:
    """Which objectives are drawn across and up."""
    costs = [index for index, name in enumerate(objectives) if name != ACCURACY]
    return costs[0], objectives.index(ACCURACY) if ACCURACY in objectives else costs[1]


def told(front: Front, number: int) -> str:
    """A point in words, a line for each objective."""
    point: Point = front.points[number - 1]
    units = front.units()
    values = zip(front.objectives, point.values, strict=True)
    return "\n".join([f"point {number}", *(f"{name} {shown(name, value, units[name])}" for name, value in values)])


def shown(name: str, value: float, unit: str) -> str:
    """A value of an objective as people read it."""
    return percent(value) if name == ACCURACY else amount(value, unit)
