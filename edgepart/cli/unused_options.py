"""Options of ``edgepart partition`` that have no effect on what was asked for, and are refused rather than ignored."""

from __future__ import annotations

import click

from edgepart.cli.measure import refuse_others

#: no plan is made by a rule or by hand, and none is written
_NO_PART_IN_WHAT_IF = ("output", "method", "shares_of_memory", "split_after", "exit_after")
#: the exits are chosen, and by all of --objectives
_NO_PART_IN_SEARCH = (
    "objective",
    "method",
    "shares_of_memory",
    "split_after",
    "exits",
    "exit_after",
    "head",
    "threshold",
)
#: option → what it belongs to
_OWNERS = {"plot": "--what-if", "most_plans": "--under-trace", "outage_below": "--under-trace"}


def require_used(what_if: bool, under_trace: bool, pareto: bool) -> None:
    """Check that every option on the command line has to do with what was asked for.

    Raises:
        EdgepartError: one has not; names it.
    """
    context = click.get_current_context()
    asked = {"--what-if": what_if, "--under-trace": under_trace}
    for mode, given in asked.items():
        if given:
            refuse_others(context, _NO_PART_IN_WHAT_IF, f"has no part in {mode}: leave it out")
    if pareto:
        refuse_others(context, _NO_PART_IN_SEARCH, "has no part in --pareto: leave it out")
    for name, owner in _OWNERS.items():
        if not asked[owner]:
            refuse_others(context, (name,), f"belongs to {owner}: give that too, or leave it out")
