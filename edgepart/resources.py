"""The only code that knows where ``templates/`` and ``profiles/`` are.

A user's own folder comes first: ``$EDGEPART_HOME`` (default ``~/.config/edgepart``) may hold ``templates/`` and
``profiles/`` with the same layout, and a file there shadows the shipped one of the same name. Shipped files lie in
``edgepart/_data`` in a wheel and at the top of the checkout in an editable install.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from edgepart.errors import UnknownName


def roots() -> tuple[Path, ...]:
    """The folders searched, first match wins."""
    user = Path(os.environ.get("EDGEPART_HOME") or Path.home() / ".config" / "edgepart")
    package = Path(__file__).resolve().parent
    shipped = package / "_data"
    return (user, shipped if shipped.is_dir() else package.parent)


def listing(folder: str, suffix: str) -> dict[str, Path]:
    """Name → path of every resource in ``folder`` (such as ``profiles/devices``) that ends in ``suffix``."""
    found: dict[str, Path] = {}
    for path in _files(folder, suffix):
        found.setdefault(path.name.removesuffix(suffix), path)
    return dict(sorted(found.items()))


def find(folder: str, suffix: str, name: str, what: str) -> Path:
    """The resource called ``name``, or a path that the user gave instead of a name.

    Raises:
        UnknownName: neither a known name nor an existing file; lists the nearest names.
    """
    known = listing(folder, suffix)
    if name in known:
        return known[name]
    given = Path(name)
    if given.name.endswith(suffix) and given.is_file():
        return given
    raise UnknownName(what, name, known)


def _files(folder: str, suffix: str) -> Iterator[Path]:
    for root in roots():
        yield from sorted((root / folder).glob(f"*{suffix}"))
