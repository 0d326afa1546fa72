"""What went wrong inside Keras or the user's code, in one clause."""

from __future__ import annotations

import re

_NOISE = ("Exception encountered when calling", "Arguments received by", "Detected at node")


def reason(error: BaseException) -> str:
    """Kind of an error and the first sentence of what it says."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in plain.splitlines()]
    said = next((line for line in lines if line and not line.startswith(_NOISE)), "")
    said = re.split(r"(?<=\w)[.:] (?=[A-Z])", said)[0].rstrip(". ")
    return f"{type(error).__name__}: {said[:200]}" if said else type(error).__name__
