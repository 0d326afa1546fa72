"""Who leaves where: the exits of a bundle, with the share of its validation data that goes on past each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgepart.bundle.bundle import Bundle, open_bundle
from edgepart.dispatch.options import construct
from edgepart.dispatch.threshold import DEFAULT_STRATEGY, ThresholdStrategy
from edgepart.errors import DispatchError
from edgepart.evaluation.as_planned import planned_setting
from edgepart.evaluation.costs import cost_model, tabulate
from edgepart.evaluation.evaluate_traces import THRESHOLDS
from edgepart.evaluation.replay import full_model, rehearse
from edgepart.evaluation.selection import DROPS, choose
from edgepart.partitioning.problem import ExitShare


def exit_shares(
    bundle: str | Path | Bundle, strategy: str | None = None, threshold: float | None = None
) -> tuple[ExitShare, ...]:
    """The exits of a bundle for :func:`edgepart.partition`, to place the network anew around them.

    Args:
        strategy: one with a threshold, as ``confidence`` or ``entropy``; None: that of the bundle's plan, or
            ``confidence``
        threshold: None takes those that the bundle's plan was chosen with; where there are none, or another strategy
            is asked for, the one of least latency that costs at most half a per cent of accuracy, both on the bundle's
            validation data and for its present plan

    Raises:
        BundleError: not a complete bundle.
        UnknownName: no such strategy.
        DispatchError: the strategy has no threshold, the bundle no exits, or no threshold keeps the accuracy.
    """
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    plan, graph, trace = opened.plan, opened.graph, opened.validation
    if not plan.exits:
        raise DispatchError(f"the bundle {opened.path} has no exits to plan for: build one from a plan with exits")
    asked = strategy or plan.strategy or DEFAULT_STRATEGY
    chosen = construct("strategy", asked)
    if not isinstance(chosen, ThresholdStrategy):
        raise DispatchError(f"the strategy '{chosen.name}' does not leave by a threshold: use confidence or entropy")
    costs = tabulate(cost_model("latency"), plan)
    chosen.fit(trace, costs.table)
    if threshold is None and plan.thresholds and asked == (plan.strategy or DEFAULT_STRATEGY):
        chosen, setting = planned_setting(plan, trace, costs.table)
    elif threshold is None:
        tried = sorted(THRESHOLDS)
        results = rehearse(trace, chosen, costs, tried)
        index = choose(results, full_model(trace, costs).accuracy - DROPS[0])
        if index is None:
            raise DispatchError(
                f"no threshold of '{chosen.name}' keeps the accuracy within {DROPS[0]:.1%} of the whole network's: "
                "name one with --threshold"
            )
        setting = chosen.settings(tried)[index]
    else:
        setting = chosen.one(threshold)
    leaves = chosen.policy(setting).decide(trace).exit
    going_on = 1 - np.cumsum(np.bincount(leaves, minlength=len(plan.exit_names))) / len(trace)
    places = {layer.name: position for position, layer in enumerate(graph.layers)}
    found = []
    for point, share in zip(plan.exits, going_on, strict=False):
        producer = graph.tensor(point.tensor).producer
        assert producer is not None, "a head reads what a layer has made"
        found.append(
            ExitShare(
                name=point.name,
                tensor=point.tensor,
                depth=places[producer] + 1,
                going_on=max(0.0, float(share)),
                head_macs=point.head_macs,
                head_bytes=point.head_bytes,
                head=point.head,
                parameters=point.parameters,
            )
        )
    return tuple(found)
