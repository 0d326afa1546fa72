"""Of what a library says of an error, that which fits in a sentence."""

from __future__ import annotations


def first_line(error: object) -> str:
    """The first line of a message that says something, without its full stop."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".: ") if lines else "no message"
