"""What is wrong with a field of a file or a setting, in one clause: which field, what was given, what was expected."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

_LONGEST = 40
#: kind of error of pydantic → what it expected, from the context that it gives
_EXPECTED: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than": lambda context: f"more than {context['gt']:g}",
    "greater_than_equal": lambda context: f"{context['ge']:g} or more",
    "less_than": lambda context: f"less than {context['lt']:g}",
    "less_than_equal": lambda context: f"{context['le']:g} or less",
    "finite_number": lambda context: "a finite number",
    "float_type": lambda context: "a number",
    "float_parsing": lambda context: "a number",
    "int_type": lambda context: "a whole number",
    "int_parsing": lambda context: "a whole number",
    "int_parsing_size": lambda context: "a smaller number",
    "int_from_float": lambda context: "a whole number",
    "string_type": lambda context: "text",
    "string_too_short": lambda context: f"at least {context['min_length']} characters",
    "string_too_long": lambda context: f"at most {context['max_length']} characters",
    "string_pattern_mismatch": lambda context: f"text of the form {context['pattern']}",
    "bool_type": lambda context: "true or false",
    "bool_parsing": lambda context: "true or false",
    "tuple_type": lambda context: "a list",
    "list_type": lambda context: "a list",
    "frozen_set_type": lambda context: "a list",
    "too_long": lambda context: f"at most {context['max_length']} of them",
    "too_short": lambda context: f"at least {context['min_length']} of them",
    "dict_type": lambda context: "named fields",
    "model_type": lambda context: "named fields",
    "model_attributes_type": lambda context: "named fields",
    "literal_error": lambda context: str(context["expected"]),
    "invalid_key": lambda context: "text as a name",
}


def explain(error: ValidationError, known: Iterable[str] = ()) -> str:
    """A pydantic error as one clause: the first field that is wrong, what was given there, and what was expected.

    Args:
        known: the fields that there are at the top; a misspelt one is told the nearest
    """
    errors = error.errors(include_url=False)
    first = _members(errors)
    more = len(errors) - len(first)
    return _clause(first, tuple(known)) + (f" (and {more} more)" if more else "")


def _members(errors: Sequence[Any]) -> list[Any]:
    """The first error; where it is of a field that may be of several types, that of every type."""
    where = errors[0]["loc"]
    if not where or not _is_type(where[-1]):
        return [errors[0]]
    return [one for one in errors if one["loc"][:-1] == where[:-1] and _is_type(one["loc"][-1])]


def _is_type(part: object) -> bool:
    """Whether a part of a place is a type of several that a field may have, and no name in the file."""
    return str(part) in ("str", "int", "float", "bool") or "[" in str(part)


def _clause(errors: Sequence[Any], known: Sequence[str]) -> str:
    first = errors[0]
    kind, place = first["type"], first["loc"][: -1 if len(errors) > 1 else None]
    field = f"field '{'.'.join(str(part) for part in place)}'"
    if kind == "value_error":
        return f"{field}: {_said(first)}" if place else _said(first)
    if kind == "missing":
        return f"{field} is missing"
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(place[-1]), known, n=1) if len(place) == 1 else []
        return f"{field} is not known" + (f": did you mean {near[0]}?" if near else "")
    return f"{field if place else 'the whole'} is {_given(first['input'])}, expected {_wanted(errors)}"


def _wanted(errors: Sequence[Any]) -> str:
    *wanted, last = dict.fromkeys(
        _EXPECTED[one["type"]](one.get("ctx", {})) if one["type"] in _EXPECTED else _said(one) for one in errors
    )
    text = f"{', '.join(wanted)} or {last}" if wanted else last
    if str(errors[0]["type"]) in ("float_parsing", "int_parsing") and _has_unit(str(errors[0]["input"])):
        return f"{text} without a unit, which the field's name ends in"
    return text


def _has_unit(text: str) -> bool:
    """Whether a number begins with digits and is none, as ``600Mbps``."""
    with contextlib.suppress(ValueError):
        float(text)
        return False
    return text[:1].isdigit()


def _said(one: Any) -> str:
    return str(one["msg"]).removeprefix("Value error, ")


def _given(value: object) -> str:
    """What stands in a file, short."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"'{value}'" if len(value) <= _LONGEST else f"'{value[:_LONGEST]}…'"
    if isinstance(value, Mapping):
        return "a group of named fields"
    if isinstance(value, Sequence):
        return f"a list of {len(value)}"
    return str(value)
