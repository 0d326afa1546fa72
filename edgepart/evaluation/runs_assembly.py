"""A CostReport from what strategies did to the samples of several runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgepart.evaluation.resampling import intervals
from edgepart.evaluation.runs_measured import Chosen, Measured
from edgepart.evaluation.runs_report import (
    Against,
    AtEqualCost,
    CostReport,
    Difference,
    Estimate,
    FullModel,
    Outcome,
    Spread,
)

Values = NDArray[np.float64]
#: (strategy or group, allowed drop)
Key = tuple[str, float]


def spread(seeds: Sequence[float] | Values) -> Spread:
    """A figure of every seed."""
    return Spread(seeds=tuple(float(value) for value in seeds))


def members(names: Sequence[str], group: Sequence[str]) -> list[str]:
    """Those of the strategies that are in a group, by the full name or by that before the options."""
    return [name for name in names if name in group or re.split("[:=]", name)[0] in group]


def cost_report(
    label: str, runs: Sequence[Measured], reference: str, groups: Mapping[str, Sequence[str]], resamples: int
) -> CostReport:
    """All strategies that were measured in every run, and the groups of them."""
    first = runs[0]
    chosen = {key: [run.chosen[key] for run in runs] for key in first.chosen if all(key in run.chosen for run in runs)}
    names, drops = (list(dict.fromkeys(values)) for values in zip(*chosen, strict=True))
    grouped = {group: of for group, own in groups.items() if (of := members(names, own))}
    for group, of in grouped.items():
        chosen |= {(group, drop): [run.pick(of, drop) for run in runs] for drop in drops}
    rivals = (reference, *grouped)
    pairs = [pair for pair in first.gaps if pair[0] in names]

    values = dict(_values(chosen, runs, rivals)) | dict(_gaps(pairs, runs))
    bounds = intervals(np.stack([*values.values()]), resamples)
    # found together, so that all of them rest on the same resamples
    found = {
        key: Difference(seeds=_means(each), interval=(float(low), float(high)))
        for (key, each), (low, high) in zip(values.items(), bounds, strict=True)
    }
    return CostReport(
        label=label,
        unit=first.costs.unit,
        description=first.costs.description,
        full_model=FullModel(
            accuracy=spread([run.full.right.mean() for run in runs]),
            measures=_spreads([run.full.measures for run in runs]),
            cost=spread([run.costs.full_model for run in runs]),
        ),
        outcomes=tuple(_outcome(key, own, runs, rivals, found) for key, own in chosen.items()),
        at_equal_cost=tuple(
            AtEqualCost(strategy=name, baseline=baseline, difference=found.get(("gap", name, baseline)))
            for name, baseline in pairs
        ),
    )


def _values(
    chosen: Mapping[Key, Sequence[Chosen]], runs: Sequence[Measured], rivals: Sequence[str]
) -> Iterator[tuple[tuple[object, ...], Values]]:
    """What intervals are wanted of, as (S, N) values of all samples."""
    full = np.stack([run.full.right for run in runs])
    right = {key: np.stack([one.right for one in own]) for key, own in chosen.items()}
    saved = {
        key: np.stack([_saved(one, run) for one, run in zip(own, runs, strict=True)]) for key, own in chosen.items()
    }
    for name, drop in chosen:
        yield ("saving", name, drop), saved[name, drop]
        yield ("change", name, drop), right[name, drop] - full
        for rival in rivals:
            if rival != name:
                yield ("accuracy", name, drop, rival), right[name, drop] - right[rival, drop]
                yield ("saved", name, drop, rival), saved[name, drop] - saved[rival, drop]


def _gaps(pairs: Sequence[tuple[str, str]], runs: Sequence[Measured]) -> Iterator[tuple[tuple[object, ...], Values]]:
    """Gaps at equal cost where every run has one, as (S, N)."""
    for pair in pairs:
        gaps = [gap for run in runs if (gap := run.gaps[pair]) is not None]
        if len(gaps) == len(runs):
            yield ("gap", *pair), np.stack(gaps)


def _saved(one: Chosen, run: Measured) -> Values:
    """(N,) cost of every sample saved, as a share of the full model's; 0 where that is free."""
    full = run.costs.full_model
    return 1 - one.cost / full if full > 0 else np.zeros_like(one.cost)


def _outcome(
    key: Key,
    own: Sequence[Chosen],
    runs: Sequence[Measured],
    rivals: Sequence[str],
    found: Mapping[tuple[object, ...], Difference],
) -> Outcome:
    name, drop = key
    saving = found["saving", name, drop]
    full = [run.full.validation_cost for run in runs]
    return Outcome(
        strategy=name,
        drop=drop,
        settings=tuple(one.setting for one in own),
        picked=tuple(one.picked for one in own) if any(one.picked for one in own) else (),
        accuracy=spread([one.right.mean() for one in own]),
        measures=_spreads([one.measures for one in own]),
        cost=spread([one.cost.mean() for one in own]),
        saving=Estimate(seeds=saving.seeds, interval=saving.interval),
        change=found["change", name, drop],
        tier_share=_spreads([one.tier_share for one in own]),
        validation_accuracy=spread([one.validation_accuracy for one in own]),
        validation_saving=spread(
            [1 - one.validation_cost / cost if cost > 0 else 0.0 for one, cost in zip(own, full, strict=True)]
        ),
        against={
            rival: Against(accuracy=found["accuracy", name, drop, rival], saving=found["saved", name, drop, rival])
            for rival in rivals
            if rival != name
        },
    )


def _spreads(seeds: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    return {name: spread([each[name] for each in seeds]) for name in seeds[0]}


def _means(values: Values) -> tuple[float, ...]:
    """Of every run, the mean over its samples."""
    return tuple(float(mean) for mean in values.mean(axis=1))
