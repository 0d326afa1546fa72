"""The examples of the guides in docs/: run as the reader would, with the contract suites that they show."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def run(page: str) -> dict[str, Any]:
    """The names that the Python blocks of a page define, executed one after another."""
    text = (DOCS / page).read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "guide"}
    exec("\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL)), names)
    return names


def contract_tests(page: str, suite: str) -> list[Any]:
    """(class, method) of every test in a suite that a page shows."""
    shown = run(page)[suite]
    assert inspect.isclass(shown)
    methods = [method for method in dir(shown) if method.startswith("test_")]
    return [pytest.param(shown, method, id=f"{suite}-{method}") for method in methods]
