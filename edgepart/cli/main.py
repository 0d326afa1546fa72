"""``edgepart``: commands are looked up by name and imported when they are used, so that ``--help`` is fast."""

from __future__ import annotations

import errno
import importlib
import sys
from typing import Any

import click

from edgepart.errors import EdgepartError, SearchInterrupted, TrainingInterrupted, UnknownName

#: command → module below ``edgepart.cli`` that holds a click command of the name ``command``, in order of use
COMMANDS = {
    "profile": "profile",
    "partition": "partition",
    "build": "build",
    "evaluate": "evaluate",
    "choose": "choose",
    "demo": "demo",
    "devices": "devices",
    "links": "links",
    "prices": "prices",
    "runtimes": "runtimes",
    "strategies": "strategies",
    "templates": "templates",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"edgepart.cli.{COMMANDS[cmd_name]}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and args[0] not in COMMANDS:
            raise UnknownName("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="edgepart")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def edgepart(debug: bool) -> None:
    """Split a trained network over mobile, edge and cloud, with early exits, at a measured cost and accuracy."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. A user's mistake is one sentence on stderr and exit code 2.

    ``--debug`` may stand anywhere before the end of the line.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    try:
        result: Any = edgepart.main(given, prog_name="edgepart", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except EdgepartError as error:
        if debug:
            raise
        click.echo(f"edgepart: {error}", err=True)
        return 130 if isinstance(error, TrainingInterrupted | SearchInterrupted) else 2
    except OSError as error:
        if debug or error.errno != errno.ENOSPC:
            raise
        click.echo(f"edgepart: cannot write {error.filename or 'what is printed'}: no space is left there", err=True)
        return 2
    except (KeyboardInterrupt, click.Abort):
        click.echo("edgepart: interrupted", err=True)
        return 130
