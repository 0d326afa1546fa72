"""The options of ``--what-if`` and ``--under-trace``, apart from what answers them, which takes time to import."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

WHAT_IF = "How the best plan changes over a range, as link.mobile:edge.bandwidth=1..100Mbps."
UNDER_TRACE = "The best few plans to switch between while a link's bandwidth follows a recorded one."

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--what-if", "what_if", multiple=True, metavar="NAME=LOW..HIGH", help=WHAT_IF),
    click.option("--under-trace", "traces", multiple=True, metavar="LOWER:UPPER=FILE[#TRACE]", help=UNDER_TRACE),
    click.option("--most-plans", default=3, show_default=True, type=click.IntRange(1), help="Plans to switch between."),
    click.option(
        "--outage-below", default=None, metavar="RATE", help="Lower rates of a trace count as none, as 10kbps."
    ),
    click.option("--plot", default=None, type=click.Path(path_type=Path), help="Draw the --what-if (.png or .svg)."),
)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of :func:`edgepart.cli.what_if.answer` to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
