"""What a command asks for that counts what samples cost."""

from __future__ import annotations

from collections.abc import Callable

import click

Command = Callable[..., None]


def cost_options(command: Command) -> Command:
    """``--cost`` and ``--gamma``."""
    cost = click.option(
        "--cost",
        default="latency",
        show_default=True,
        metavar="MODEL",
        help="latency, price=NAME or dimec; options as a:b=c.",
    )
    gamma = click.option("--gamma", type=float, help="What the cloud charges a sample, in λ, for --cost dimec.")
    return cost(gamma(command))
