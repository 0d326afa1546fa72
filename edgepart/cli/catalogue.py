"""What ``edgepart devices``, ``links`` and ``prices`` share: ``list`` and ``show``."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from edgepart.cli.output import json_option, print_json, print_table
from edgepart.files import Record


def catalogue_group(
    what: str,
    names: Callable[[], Iterable[str]],
    load: Callable[[str], Record],
    headers: Sequence[str],
    row: Callable[[Any], Sequence[str]],
) -> click.Group:
    """The command group of one kind of profile file.

    Args:
        what: one of them in words, such as ``device``
        names: of all that are known
        row: the cells that ``list`` shows of one, under ``headers``
    """

    @click.group(help=f"The {what}s that plans and costs can use: shipped, and your own.")
    def group() -> None:
        pass

    @group.command("list", help=f"List the known {what}s.")
    @json_option
    def list_all(as_json: bool) -> None:
        known = [load(name) for name in names()]
        if as_json:
            print_json([one.model_dump(mode="json", exclude_none=True) for one in known])
        else:
            print_table(headers, [row(one) for one in known])

    @group.command("show", help=f"Show everything about one {what}, given its name or the path of a YAML file.")
    @click.argument("name")
    @json_option
    def show(name: str, as_json: bool) -> None:
        fields = load(name).model_dump(mode="json", exclude_none=True)
        if as_json:
            print_json(fields)
        else:
            click.echo("\n".join(_lines(fields)))

    return group


def _lines(fields: dict[str, Any], indent: str = "") -> list[str]:
    lines: list[str] = []
    width = max(len(key) for key in fields)
    for key, value in fields.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}", *_lines(value, indent + "  ")] if value else []
        elif value != "":
            start = f"{indent}{key:{width}}  "
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            lines += textwrap.wrap(
                text, 110, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False
            )
    return lines
