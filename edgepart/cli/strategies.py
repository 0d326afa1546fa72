"""``edgepart strategies``."""

from __future__ import annotations

import inspect

import click

from edgepart import plugins
from edgepart.cli.output import json_option, print_json
from edgepart.dispatch.options import declared


@click.group("strategies")
def command() -> None:
    """Show the dispatch strategies: which tier a sample enters at, and which exit it leaves at."""


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the strategies, those of installed plug-ins included."""
    loaded = {name: plugins.load("strategy", name) for name in plugins.names("strategy")}
    if as_json:
        print_json(
            [
                {
                    "name": name,
                    "summary": _first_line(strategy),
                    "settings": _first_line(strategy.settings),
                    "options": list(declared(strategy)),
                    "deployable": bool(strategy.deployable),
                }
                for name, strategy in loaded.items()
            ]
        )
        return
    for name, strategy in loaded.items():
        click.echo(name if strategy.deployable else f"{name} (a yardstick, not deployable)")
        click.echo(f"  {_first_line(strategy)}")
        click.echo(f"  Settings: {_first_line(strategy.settings)}")
        if declared(strategy):
            click.echo(f"  Options: {', '.join(declared(strategy))} (as {name}:OPTION=VALUE)")


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0].replace("``", "")
