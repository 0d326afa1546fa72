"""Write ``docs/cli.md`` from the commands: ``python docs/generate_cli.py``. A test fails when the page is stale."""

from collections.abc import Iterator
from pathlib import Path

import click

from edgepart.cli.main import COMMANDS, edgepart

PAGE = Path(__file__).with_name("cli.md")
HEAD = """\
<!-- Written by docs/generate_cli.py from the commands; do not edit. -->
# Command line

Every command prints a table for people or, with `--json`, one JSON document for scripts. Notes and progress go to
stderr. Exit codes: 0 done, 2 something given was wrong (one sentence says what), 130 interrupted. `--debug` adds the
traceback of an error.
"""


def commands() -> Iterator[tuple[str, click.Command]]:
    """("edgepart devices list", command) of every command and subcommand."""
    context = click.Context(edgepart)
    for name in COMMANDS:
        command = edgepart.get_command(context, name)
        assert command is not None
        yield f"edgepart {name}", command
        if isinstance(command, click.Group):
            yield from ((f"edgepart {name} {sub}", inner) for sub, inner in command.commands.items())


def page() -> str:
    """The page as Markdown."""
    parts = [HEAD]
    for name, command in commands():
        level = "#" * len(name.split())
        context = click.Context(command, info_name=name, terminal_width=110, **edgepart.context_settings)
        parts.append(f"{level} {name}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
