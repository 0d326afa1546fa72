"""One strategy at one setting for a bundle to answer by, chosen on its validation data by the rule of the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgepart.bundle import Bundle, ChosenPolicy, open_bundle
from edgepart.dispatch import options
from edgepart.dispatch.base import Setting, Strategy
from edgepart.dispatch.temperature import temperatures
from edgepart.dispatch.threshold import DEFAULT_STRATEGY, ThresholdStrategy
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError
from edgepart.evaluation import selection
from edgepart.evaluation.costs import CostModel, Costs, cost_model
from edgepart.evaluation.evaluate import costs_of
from edgepart.evaluation.evaluate_traces import THRESHOLDS, require_promise_holds, sorted_grid
from edgepart.evaluation.replay import full_model, rehearse


def choose_policy(
    bundle: Bundle | str | Path,
    strategy: str = DEFAULT_STRATEGY,
    *,
    cost: str | CostModel = "latency",
    grid: Sequence[float] = THRESHOLDS,
    drop: float = selection.DROPS[0],
    temperature: bool = False,
    **cost_options: object,
) -> ChosenPolicy:
    """Choose the policy that a bundle is to answer by; :meth:`Bundle.keep` keeps it for :func:`edgepart.infer`.

    Everything is learnt and chosen on the bundle's validation data, the temperatures first.

    Args:
        bundle: opened, or its folder
        strategy: a name, with options as ``edgepart evaluate --strategy`` takes them
        cost: name of a cost model, with options, or the model itself
        grid: thresholds; a single one is taken as it is by a strategy with thresholds, else the cheapest setting is
            chosen that loses at most ``drop`` of accuracy
        temperature: divide each exit's logits by a temperature, when choosing and when answering
        cost_options: options of the cost model, such as ``gamma``

    Raises:
        DispatchError: the strategy knows labels, cannot learn from the bundle or promises what temperatures would undo,
            a threshold is no finite number, the drop no share, or no setting keeps the accuracy.
        EdgepartError: bundle, strategy or costs are not usable.
    """
    made = options.strategy(strategy)
    model = cost_model(cost, **cost_options) if isinstance(cost, str) else cost
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    costs = costs_of(opened, model)
    setting, scaling = scaled_setting(made, opened.validation, costs, grid, drop, temperature)
    return ChosenPolicy.of(opened, made, setting, costs.table, scaling)


def scaled_setting(
    strategy: Strategy, validation: Trace, costs: Costs, grid: Sequence[float], drop: float, temperature: bool
) -> tuple[Setting, NDArray[np.float64] | None]:
    """:func:`chosen_setting` and, if they are asked for, the (K,) temperatures that it is chosen with.

    Raises:
        DispatchError: as :func:`chosen_setting`, or temperatures would undo the strategy's promise.
    """
    if not temperature:
        return chosen_setting(strategy, validation, costs, grid, drop), None
    require_promise_holds(strategy, temperature)
    found = temperatures(validation)
    return chosen_setting(strategy, validation.scaled(found), costs, grid, drop), found


def chosen_setting(
    strategy: Strategy, validation: Trace, costs: Costs, grid: Sequence[float], drop: float = selection.DROPS[0]
) -> Setting:
    """Fit a strategy and choose its setting on validation; a single threshold is taken as it is.

    Raises:
        DispatchError: the strategy is not deployable or cannot learn from the trace, a threshold is no finite number,
            the drop no share, or no setting keeps the accuracy.
    """
    tried = sorted_grid(grid, (drop,))
    if not strategy.deployable:
        raise DispatchError(f"'{strategy.name}' knows the labels of its samples, so that it can only be replayed")
    strategy.fit(validation, costs.table)
    if len(tried) == 1 and isinstance(strategy, ThresholdStrategy):
        return strategy.one(tried[0])
    settings = strategy.settings(tried)
    seen, full = rehearse(validation, strategy, costs, tried), full_model(validation, costs)
    index = selection.choices(strategy, settings, seen, full, (drop,))[0].index
    if index is None:
        raise DispatchError(
            f"no setting of '{strategy.name}' loses at most {100 * drop:g} % of accuracy on validation: "
            "allow a larger drop, or name one threshold or another strategy"
        )
    return settings[index]
