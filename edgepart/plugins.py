"""Plug-ins: every family (strategies, cost models, partitioners, frameworks, runtimes) is one entry-point group."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from edgepart.errors import EdgepartError, UnknownName

GROUPS = {
    "framework": "edgepart.frameworks",
    "runtime": "edgepart.runtimes",
    "partitioner": "edgepart.partitioners",
    "strategy": "edgepart.strategies",
    "cost model": "edgepart.cost_models",
}


@cache
def _entries(family: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUPS[family])}


def names(family: str) -> tuple[str, ...]:
    """The names registered in a family, sorted."""
    return tuple(sorted(_entries(family)))


def load(family: str, name: str) -> Any:
    """The object registered under ``name``.

    Raises:
        UnknownName: no such plug-in; lists the nearest names.
        EdgepartError: the plug-in is registered but cannot be imported.
    """
    entries = _entries(family)
    if name not in entries:
        raise UnknownName(family, name, entries)
    try:
        return entries[name].load()
    except (ImportError, AttributeError) as error:
        entry = entries[name]
        package = f"'{entry.dist.name}'" if entry.dist else "that registers it"
        raise EdgepartError(
            f"the {family} '{name}' ({entry.value}) cannot be imported ({error}): mend or uninstall the package "
            f"{package}"
        ) from error
