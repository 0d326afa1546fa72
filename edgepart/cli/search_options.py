"""The options of ``--pareto``, apart from what answers them, which takes time to import."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from edgepart.errors import EdgepartError

DEFAULT_OBJECTIVES = "accuracy,latency"
DEFAULT_TRIALS = 1000
SHARED, SEPARATE = "one", "each"


@dataclass(frozen=True)
class Asked:
    """What was asked for with the options of ``--pareto``; None: not given."""

    pareto: bool = False
    banks: tuple[Path, ...] = ()
    objectives: str | None = None
    thresholds: str | None = None
    trials: int | None = None
    pick: int | None = None
    storage: str | None = None
    seed: int | None = None


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--pareto", is_flag=True, help="Search exits, heads, thresholds and placement at once, from --bank."),
    click.option(
        "--bank",
        "banks",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="BUNDLE",
        help="Whose exits --pareto chooses from; several of one network for several heads at a place.",
    ),
    click.option(
        "--objectives", metavar="NAME,NAME", help=f"Of --pareto, as accuracy,energy.  [default: {DEFAULT_OBJECTIVES}]"
    ),
    click.option(
        "--thresholds",
        type=click.Choice([SHARED, SEPARATE]),
        help=f"One for all exits, or one for each.  [default: {SHARED}]",
    ),
    click.option(
        "--trials",
        type=click.IntRange(1),
        help=f"Where there are too many choices to try all, earlier ones included.  [default: {DEFAULT_TRIALS}]",
    ),
    click.option("--pick", type=click.IntRange(1), metavar="NUMBER", help="Write the plan of this point of the front."),
    click.option(
        "--storage", metavar="URL", help="Of the trials, an Optuna storage that many machines may share; else a file."
    ),
    click.option("--seed", type=click.IntRange(0), help="Of the trials.  [default: 0]"),
)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of :func:`edgepart.cli.search.answer` to a command, which is given them as ``asked``."""
    names = [field.name for field in fields(Asked)]

    @functools.wraps(command)
    def gathered(*args: Any, **given: Any) -> Any:
        asked = Asked(**{name: given.pop(name) for name in names})
        return command(*args, asked=_consistent(asked), **given)

    for option in reversed(_OPTIONS):
        option(gathered)
    return gathered


def _consistent(asked: Asked) -> Asked:
    given = [field.name for field in fields(Asked) if getattr(asked, field.name) not in (None, (), False)]
    if not asked.pareto and given:
        name = given[0].removesuffix("s") if given[0] == "banks" else given[0]
        raise EdgepartError(f"--{name} belongs to a search: add --pareto, or drop it")
    if asked.pareto and not asked.banks:
        raise EdgepartError("--pareto chooses from the exits of built bundles: name one with --bank BUNDLE")
    return asked
