"""What the reader of a report should know before relying on it, a sentence each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edgepart.dispatch.trace import Trace
from edgepart.evaluation.report import PartReport
from edgepart.evaluation.stream import Change
from edgepart.partitioning.plan import Plan
from edgepart.units import percent, seconds

#: an allowed drop that is fewer validation samples than this is left to chance
_FEW = 5
#: standard errors between two accuracies that chance alone hardly makes, at any of a few exits
_UNLIKE = 3.5
#: samples on one side of a change below which its figures are left to chance
_SHORT = 100
#: changes of label that a random order has on average, at least, for a lack of them to mean something
_TURNS = 10


def about_data(validation: Trace, test: Trace, drops: Sequence[float]) -> Iterator[str]:
    """Test samples that had a part in the choice of settings; validation samples too few or too unlike to choose by."""
    shared = seen_before(validation, test)
    if shared:
        count = "all" if shared == len(test) else f"at least {shared:,}"
        yield (
            f"{count} of the {len(test):,} test samples are among those that the settings were chosen on: expect less "
            "on new data"
        )
    allowed = [drop for drop in drops if drop > 0]
    if allowed and min(allowed) * len(validation) < _FEW:
        yield (
            f"the settings were chosen on only {len(validation):,} samples, where an accuracy drop of "
            f"{100 * min(allowed):g} % means {min(allowed) * len(validation):.2g} of them: chance decides much of it"
        )

    exit_index, score = furthest(validation, test)
    if abs(score) > _UNLIKE:
        there, here = (percent(float(trace.correct[:, exit_index].mean())) for trace in (validation, test))
        yield (
            f"the samples that the settings were chosen on are {'easier' if score > 0 else 'harder'} than these: exit "
            f"{test.exits[exit_index]} is right on {there} of them and on {here} here, so the settings may not suit"
        )


def furthest(validation: Trace, test: Trace) -> tuple[int, float]:
    """The exit whose accuracy differs most from one trace to the other, and by how many standard errors."""
    seen, new = (trace.correct.mean(axis=0) for trace in (validation, test))
    pooled = (seen * len(validation) + new * len(test)) / (len(validation) + len(test))
    error = np.sqrt(pooled * (1 - pooled) * (1 / len(validation) + 1 / len(test)))
    scores = np.divide(seen - new, error, out=np.zeros_like(error), where=error > 0)
    index = int(np.abs(scores).argmax())
    return index, float(scores[index])


def seen_before(validation: Trace, test: Trace) -> int:
    """How many test samples have embedding, label and logits (to three decimals) of a validation sample.

    A lower bound: a sample's numbers differ a little from batch to batch, now and then across a rounding border.
    Training samples leave no trace, so it cannot tell of those.
    """
    # Each counted once: a network that says the same of many samples does not make them one.
    return (Counter(_rows(validation)) & Counter(_rows(test))).total()


def _rows(trace: Trace) -> Iterator[bytes]:
    flat = trace.logits.reshape(len(trace), -1)
    # adding 0 turns -0.0, whose bytes differ, into 0.0
    numbers = np.round(np.hstack([trace.embeddings, flat, trace.labels[:, None]]).astype(np.float64), 3) + 0.0
    return (row.tobytes() for row in numbers)


def about_stream(stream: Trace, change: Change) -> Iterator[str]:
    """A side of the change with few samples, or with samples in the order of their labels."""
    for source, labels, where in zip(
        change.sources, np.split(stream.labels, [change.at]), ("before", "after"), strict=True
    ):
        if len(labels) < _SHORT:
            many = "samples come" if len(labels) > 1 else "sample comes"
            yield f"only {len(labels):,} {many} {where} the change: chance decides much of what is told of it"
        turns, expected = label_turns(labels)
        if expected >= _TURNS and turns < expected / 2:
            yield (
                f"the samples of {source} come in long runs of one class, as if sorted: what strategies that learn "
                "from the samples before do there means little, so give a seed to shuffle them"
            )


def label_turns(labels: NDArray[np.int64]) -> tuple[int, float]:
    """How often a label differs from the one before, and how often on average in a random order of them."""
    shares = np.unique(labels, return_counts=True)[1] / max(len(labels), 1)
    count = len(labels)
    # (n - 1) pairs of neighbours, drawn without replacement: n (1 - Σ p²) exactly
    return int((labels[1:] != labels[:-1]).sum()), count * (1 - float((shares**2).sum()))


def about_latency(plan: Plan) -> Iterator[str]:
    """A tier that would be faster alone than the plan that savings are measured against."""
    if not plan.unsplit_s:
        return
    name = min(plan.unsplit_s, key=lambda tier: plan.unsplit_s[tier])
    alone = plan.unsplit_s[name]
    if alone < 0.99 * plan.latency_s:
        estimate = " (an estimate)" if next(tier for tier in plan.given if tier.name == name).estimated else ""
        yield (
            f"the whole network on {name} alone is predicted to take {seconds(alone)}{estimate}, in this plan "
            f"{seconds(plan.latency_s)}: what is saved is measured against the plan, not against the fastest placement"
        )


def about_runtimes(plan: Plan, parts: Sequence[PartReport]) -> Iterator[str]:
    """Parts that run otherwise than what their latency was predicted from."""
    other = [part for part in parts if plan.runtime and (part.runtime, part.precision) != (plan.runtime, "float32")]
    if other:
        described = ", ".join(f"{part.tier} runs {part.precision} in {part.runtime}" for part in other)
        yield (
            f"latencies are predicted from a profile of {plan.runtime} in float32, but {described}: profile with "
            "--runtime for figures of that runtime"
        )


def merged(told: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """(strategy, its warnings) → one sentence each, those that several strategies share said once."""
    by_warning: dict[str, list[str]] = {}
    for name, warnings in told:
        for warning in warnings:
            by_warning.setdefault(warning, []).append(name)
    return [f"{', '.join(names)}: {warning}" for warning, names in by_warning.items()]
