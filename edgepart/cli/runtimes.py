"""``edgepart runtimes``."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import click

from edgepart import plugins
from edgepart.cli.output import json_option, print_json, print_table
from edgepart.errors import MissingExtra

if TYPE_CHECKING:
    from edgepart.frameworks.runtimes import Runtime


@click.group("runtimes")
def command() -> None:
    """Show the runtimes: what a tier's part can be written for."""


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the runtimes, those of installed plug-ins included, and what is installed of them."""
    from edgepart.frameworks import framework
    from edgepart.frameworks.runtimes import runtime

    frameworks = [framework(name) for name in plugins.names("framework")]
    known = [runtime(name) for name in plugins.names("runtime")]
    takes = {each.name: [one.name for one in frameworks if each.form in one.forms] for each in known}
    if as_json:
        print_json(
            [
                {
                    "name": each.name,
                    "summary": (inspect.getdoc(each) or "").partition("\n")[0].replace("``", ""),
                    "frameworks": takes[each.name],
                    "precisions": each.precisions,
                    "artefact": each.suffix or None,
                    "version": _version(each),
                }
                for each in known
            ]
        )
        return
    rows = [
        (
            each.name,
            ", ".join(takes[each.name]),
            ", ".join(each.precisions),
            each.suffix or "a folder",
            _version(each) or "not installed",
        )
        for each in known
    ]
    print_table(("runtime", "networks of", "precisions", "artefact", "version"), rows)


def _version(each: Runtime) -> str | None:
    """What is installed of a runtime; None where nothing is."""
    try:
        return each.version()
    except MissingExtra:
        return None
