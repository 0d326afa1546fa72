"""Cost models: what the path of a sample costs, one model a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgepart import plugins
from edgepart.dispatch.options import construct, declared
from edgepart.errors import DispatchError
from edgepart.evaluation.costs.base import CostModel, Costs, Facts, tabulate

__all__ = ["CostModel", "Costs", "Facts", "cost_model", "cost_models", "tabulate"]


def cost_model(text: str, **options: Any) -> CostModel:
    """``latency``, ``price=google-cloud-functions``, ``dimec:gamma=14.14,layers=4/6/12``: one cost model.

    Options given as keywords are as those in the text; None counts as not given.

    Raises:
        UnknownName: no such cost model, option or price; lists the nearest names.
        DispatchError: an option of the wrong type, or a required one missing (``gamma``).
    """
    return cost_models([text], options)[0]


def cost_models(texts: Sequence[str], options: Mapping[str, Any]) -> list[CostModel]:
    """Several of them; each gets those of the shared options that it knows (``--gamma`` is for ``dimec`` only).

    Raises:
        DispatchError: an option that none of them knows; else as :func:`cost_model`.
    """
    given = {key: value for key, value in options.items() if value is not None}
    known = {
        text: declared(plugins.load("cost model", text.partition(":")[0].partition("=")[0].strip())) for text in texts
    }
    for key in given:
        if not any(key in names for names in known.values()):
            models = f"{'the cost model' if len(texts) == 1 else 'any of the cost models'} {', '.join(texts)}"
            raise DispatchError(f"the option '{key}' is not known to {models}: leave it out")
    return [
        construct("cost model", text, {key: value for key, value in given.items() if key in known[text]})
        for text in texts
    ]
