"""A strategy or cost model from what a user types: ``NAME``, ``NAME=VALUE`` or ``NAME:option=value,option=value``."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from edgepart import plugins
from edgepart.dispatch.base import Strategy
from edgepart.errors import DispatchError, UnknownName


def strategy(text: str) -> Strategy:
    """``confidence`` or, with options of its constructor, ``cartography:objective=routed,grid=quantile``.

    A strategy given options carries the whole text as its name, so that two variants can stand in one report.

    Raises:
        UnknownName: no such strategy or option; lists the nearest names.
        DispatchError: a value of the wrong type.
    """
    made: Strategy = construct("strategy", text)
    if text != made.name:
        made.name = text
    return made


def require_nonnegative(**given: float | Iterable[float]) -> None:
    """Check options of a strategy that weigh or scale something.

    Raises:
        DispatchError: one of them, or of a list of them, is below 0; names the option.
    """
    for name, value in given.items():
        wrong = [one for one in (value if isinstance(value, Iterable) else (value,)) if one < 0]
        if wrong:
            raise DispatchError(f"{name} is {wrong[0]:g}, expected a number from 0")


def construct(family: str, text: str, given: Mapping[str, Any] | None = None) -> Any:
    """The plug-in that ``text`` names, called with its options.

    After ``=`` stands the constructor's first parameter, after ``:`` any of them by name; lists are written with
    ``/`` as in ``layers=4/6/12``. ``given`` holds options that came some other way (None: not given).

    Raises:
        UnknownName: no such plug-in, or it has no such option; lists the nearest names.
        DispatchError: an option of the wrong type or given twice, or ``=`` where the plug-in takes no value.
    """
    head, _, tail = text.partition(":")
    name, has_value, value = (piece.strip() for piece in head.partition("="))
    plugin = plugins.load(family, name)
    known = declared(plugin)
    pairs = [pair.partition("=")[::2] for pair in tail.split(",") if pair.strip()]
    if has_value:
        if not known:
            raise DispatchError(f"the {family} '{name}' takes no value: write '{name}' instead of '{text}'")
        pairs.insert(0, (next(iter(known)), value))
    options: dict[str, Any] = {key: setting for key, setting in (given or {}).items() if setting is not None}
    for key, setting in pairs:
        if key.strip() in options:
            raise DispatchError(f"'{text}' gives the option '{key.strip()}' a second value: give one")
        options[key.strip()] = setting.strip()
    for key in options:
        if key not in known:
            raise UnknownName(f"option of the {family} '{name}':", key, known)
    return plugin(**{known[key].parameter: _convert(text, key, x, known[key].kind) for key, x in options.items()})


class Option(NamedTuple):
    """A parameter of a plug-in's constructor and its annotation."""

    parameter: str
    kind: Any


def declared(plugin: Any) -> dict[str, Option]:
    """The options of a plug-in by the name the user types (``lambda`` for the parameter ``lambda_``)."""
    hints = get_type_hints(plugin.__init__)
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = [p.name for p in inspect.signature(plugin).parameters.values() if p.kind not in kinds]
    return {name.rstrip("_"): Option(name, hints.get(name, str)) for name in named}


_TYPES = {int: "a whole number", float: "a number", bool: "true or false"}


def _convert(text: str, key: str, value: Any, wanted: Any) -> Any:
    """A typed-in option as the constructor's annotation wants it; values that are no text pass unchanged."""
    if not isinstance(value, str):
        return value
    if get_origin(wanted) in (Union, UnionType):
        wanted = next(kind for kind in get_args(wanted) if kind is not type(None))
    if get_origin(wanted) is Literal:
        if value not in get_args(wanted):
            raise UnknownName(f"{key} in '{text}':", value, get_args(wanted))
        return value
    if get_origin(wanted) is tuple:
        return tuple(_convert(text, key, piece.strip(), get_args(wanted)[0]) for piece in value.split("/"))
    try:
        found = {"true": True, "false": False}[value.lower()] if wanted is bool else wanted(value)
    except (KeyError, ValueError):
        raise DispatchError(f"'{text}': {key} is '{value}', expected {_TYPES.get(wanted, wanted.__name__)}") from None
    if isinstance(found, float) and not math.isfinite(found):
        raise DispatchError(f"'{text}': {key} is '{value}', expected a finite number")
    if key == "seed" and found < 0:  # as of every random generator
        raise DispatchError(f"'{text}': {key} is '{value}', expected a whole number from 0 on")
    return found
