"""What ``edgepart partition --pareto`` prints, draws and writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from edgepart.cli.output import estimate_lines, note, print_json, print_table
from edgepart.cli.search_options import DEFAULT_OBJECTIVES, DEFAULT_TRIALS, SEPARATE, Asked
from edgepart.dispatch.threshold import DEFAULT_STRATEGY
from edgepart.errors import FileError, MissingExtra
from edgepart.evaluation.plots_canvas import require_matplotlib
from edgepart.files import require_parent, write_text
from edgepart.partitioning.problem import Problem
from edgepart.search import Front, Pareto, Point, search
from edgepart.search.front import ACCURACY, KNEE
from edgepart.search.plot import plot, shown
from edgepart.units import percent, significant

#: beside the plan
FRONT, PICTURE, JOURNAL = "pareto.json", "pareto.svg", "pareto.journal"
#: points of a front that are printed
_MOST_SHOWN = 40


def answer(
    problem: Problem,
    runtime: str,
    asked: Asked,
    output: Path,
    *,
    exits_per_part: int = 3,
    strategy: str | None = None,
    as_json: bool = False,
) -> None:
    """Search, print the front, write it, its picture and the plan that was picked.

    It is printed first, so that a full disk does not lose it. If the search was stopped, what it found until then is
    printed and written, but no plan: its points may have other numbers than those of the search that goes on.

    Args:
        runtime: that the profile was measured on
        output: file of the plan; the front, its picture and the trials lie beside it

    Raises:
        EdgepartError: as :func:`edgepart.search.search` and :meth:`edgepart.search.Front.plan`, and what stopped it.
    """
    require_parent(output)
    if output.is_dir():
        raise FileError(f"{output} is a folder: give a file for the plan")
    folder = output.parent
    front = search(
        problem,
        asked.banks,
        [name.strip() for name in (asked.objectives or DEFAULT_OBJECTIVES).split(",")],
        runtime=runtime,
        strategy=strategy or DEFAULT_STRATEGY,
        separate=asked.thresholds == SEPARATE,
        exits_per_part=exits_per_part,
        trials=asked.trials or DEFAULT_TRIALS,
        seed=asked.seed or 0,
        storage=asked.storage or folder / JOURNAL,
        tell=note,
    )
    document = front.record()
    if as_json:
        print_json(document.model_dump(mode="json"))
    else:
        show_front(front, document)
    if asked.storage is not None and not front.trials and front.stopped is None:
        note("all choices could be tried, so that no trials were needed: --storage was not used")
    try:
        _write(front, document, output, asked.pick)
    except FileError as error:
        if front.stopped is None:
            raise
        raise FileError(f"{front.stopped}; and {error}") from error
    if front.stopped is not None:
        raise front.stopped


def _write(front: Front, document: Pareto, output: Path, pick: int | None) -> None:
    document.save(output.parent / FRONT)
    note(f"wrote {output.parent / FRONT}")
    known = pick is not None and pick <= len(front.points)
    _draw(front, output.parent / PICTURE, pick if known and front.stopped is None else None)
    if pick is None:
        return
    if front.stopped is not None:
        note(f"did not write {output}: point {pick} may be another one when the search has ended")
        return
    front.plan(pick).save(output)
    note(f"wrote {output}, the plan of point {pick}")


def show_front(front: Front, document: Pareto) -> None:
    """Print the points of a front, or so many of them, and how they were found."""
    numbers = _numbers(len(front.points), front.knee)
    proof = "proven" if front.proven else "not proven"
    print_table(
        ("point", *front.objectives, "exits: share that goes on", "threshold", "layers", ""),
        [_row(front, document, number) for number in numbers],
        title=f"Pareto front of {document.network} ({proof})",
    )
    hidden = len(front.points) - len(numbers)
    if hidden:
        click.echo(f"{hidden} points between these are in {FRONT} only.")
    click.echo(f"Knee: point {front.knee}, {KNEE}.")
    click.echo(f"{front.how[0].upper()}{front.how[1:]}.")
    click.echo(f"Accuracy and shares are those of {len(set(_bundles(front))) or 'no'} bundle(s) on validation data.")
    if _estimated(front):
        click.echo("\n".join(estimate_lines(tier.device for tier in front.problem.tiers if tier.estimated)))
    for caution in front.cautions:
        click.echo(f"Note: {caution}.")


def _row(front: Front, document: Pareto, number: int) -> tuple[str, ...]:
    point, recorded, units = front.points[number - 1], document.points[number - 1], front.units()
    about = "~" if _estimated(front) else ""
    values = [
        ("" if name == ACCURACY or units[name] not in ("s", "J", "USD") else about) + shown(name, value, units[name])
        for name, value in zip(front.objectives, point.values, strict=True)
    ]
    exits = [f"{each.after}{f' {each.head}' if each.head else ''}: {percent(each.going_on)}" for each in recorded.exits]
    layers = [f"{name} {count}" for name, count in recorded.layers.items() if count]
    over = f" over {' > '.join(recorded.route)}" if recorded.route and len(layers) > 1 else ""
    return (
        str(number),
        *values,
        ", ".join(exits) or "none",
        _thresholds(point),
        ", ".join(layers) + over if len(layers) > 1 else f"all on {layers[0].rpartition(' ')[0]}",
        "knee" if number == front.knee else "",
    )


def _thresholds(point: Point) -> str:
    found = [significant(value) if value else "0" for value in point.thresholds]
    return ", ".join(dict.fromkeys(found) if len(set(found)) == 1 else found) or "-"


def _numbers(count: int, knee: int) -> list[int]:
    """The points that are shown: evenly spread, both ends and the knee."""
    if count <= _MOST_SHOWN:
        return list(range(1, count + 1))
    spread = {1 + round(index * (count - 1) / (_MOST_SHOWN - 2)) for index in range(_MOST_SHOWN - 1)}
    return sorted(spread | {knee})


def _bundles(front: Front) -> Sequence[str]:
    return [bundle for point in front.points for bundle in point.bundles]


def _estimated(front: Front) -> bool:
    return any(tier.estimated for tier in front.problem.tiers)


def _draw(front: Front, target: Path, picked: int | None) -> None:
    # an earlier search's would be taken for this one's
    target.unlink(missing_ok=True)
    if len(front.objectives) < 2:
        return
    try:
        require_matplotlib()
    except MissingExtra as error:
        note(f"no picture: {error}")
        return
    write_text(target, plot(front, picked))
    note(f"wrote {target}")
