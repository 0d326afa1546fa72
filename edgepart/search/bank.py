"""Banks: what the heads of built bundles answer for the same validation samples, so that nothing is trained again.

A bundle whose heads were trained on the frozen network is a bank: whatever its other exits, a head answers the same.
Several bundles of one network are several heads at one place.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgepart.bundle.bundle import Bundle, open_bundle
from edgepart.dispatch.options import construct
from edgepart.dispatch.threshold import DEFAULT_STRATEGY, ThresholdStrategy
from edgepart.dispatch.trace import Trace
from edgepart.errors import BundleError, DispatchError, PlanError
from edgepart.evaluation.evaluate_traces import THRESHOLDS
from edgepart.graph import Graph
from edgepart.partitioning.problem import ExitShare

#: share of the samples for which the networks of two bundles may answer differently: what rounding may turn
_DIFFERENT = 0.01


@dataclass(frozen=True, eq=False)
class Head:
    """A head at a place of the network, and what it says of N validation samples.

    Attributes:
        tensor: what it reads, made by the last of the first ``depth`` layers of the topological order
        template: with ``parameters``, what ``build`` makes it of
        certainty: (N,) by the strategy, higher where it is surer
        correct: (N,) whether it answers with the label
        bundle: where it was found
    """

    tensor: str
    depth: int
    certainty: NDArray[np.float64]
    correct: NDArray[np.bool_]
    macs: int = 0
    bytes: int = 0
    template: str | None = None
    parameters: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    bundle: str = ""


@dataclass(frozen=True)
class Level:
    """A threshold: as the strategy is given it, and the certainty from which on a sample leaves."""

    value: float
    certainty: float


@dataclass(frozen=True, eq=False)
class Bank:
    """All heads to choose from.

    Attributes:
        places: the heads of every place, by its depth
        final_correct: (N,) whether the network's own classifier answers with the label
        levels: thresholds to choose from
        cautions: what the user should know, a sentence each
    """

    places: tuple[tuple[Head, ...], ...]
    final_correct: NDArray[np.bool_]
    levels: tuple[Level, ...]
    strategy: str = DEFAULT_STRATEGY
    cautions: tuple[str, ...] = ()

    def replay(self, heads: Sequence[Head], levels: Sequence[Level]) -> tuple[float, tuple[ExitShare, ...]]:
        """Accuracy of these exits in their order, each with its threshold, and the share that goes on past each."""
        samples = len(self.final_correct)
        here, right, exits = np.ones(samples, np.bool_), 0, []
        for number, (head, level) in enumerate(zip(heads, levels, strict=True), start=1):
            leaves = here & (head.certainty >= level.certainty)
            right += int((leaves & head.correct).sum())
            here &= ~leaves
            exits.append(_exit_share(head, number, int(here.sum()) / samples))
        return (right + int((here & self.final_correct).sum())) / samples, tuple(exits)


def open_banks(
    bundles: Sequence[str | Path | Bundle],
    graph: Graph,
    strategy: str = DEFAULT_STRATEGY,
    grid: Sequence[float] = THRESHOLDS,
) -> Bank:
    """The heads of built bundles; of two that were built alike at one place, the first.

    Args:
        graph: of the network that is planned for
        strategy: one with a threshold; ``grid`` are its thresholds, of which those that decide alike count once

    Raises:
        BundleError: not a complete bundle, of another network, or not of the same samples as the first one.
        DispatchError: the strategy has no threshold.
        PlanError: there is no bundle, or no exit in any.
    """
    opened = [each if isinstance(each, Bundle) else open_bundle(each) for each in bundles]
    if not opened:
        raise PlanError("no bank of exits is given: name a bundle with exits (--bank BUNDLE)")
    asked = construct("strategy", strategy)
    if not isinstance(asked, ThresholdStrategy):
        raise DispatchError(f"the strategy '{asked.name}' does not leave by a threshold: use confidence or entropy")
    if not asked.alone:
        raise DispatchError(
            f"the strategy '{asked.name}' looks at other exits, too, so that exits cannot be chosen one by one: use "
            "confidence or entropy"
        )
    for bundle in opened:
        _require_same(bundle, opened[0], graph)
    places: dict[int, list[Head]] = {}
    for head in itertools.chain.from_iterable(_heads(bundle, graph, asked) for bundle in opened):
        here = places.setdefault(head.depth, [])
        if all(_built_as(head) != _built_as(other) for other in here):
            here.append(head)
    if not places:
        raise PlanError(f"the bundle {opened[0].path} has no exits to choose from: build one from a plan with exits")
    ordered = tuple(tuple(places[depth]) for depth in sorted(places))
    levels = [Level(value, asked.threshold(asked.one(value))) for value in grid]
    joint = [str(each.path) for each in opened if each.training.settings.mode != "heads"]
    return Bank(
        places=ordered,
        final_correct=opened[0].validation.correct[:, -1],
        levels=_different(ordered, levels),
        strategy=strategy,
        cautions=(
            f"the heads of {', '.join(joint)} were trained together with the network, so that fewer or other exits "
            "would answer otherwise: train with --train heads for an answer that holds",
        )
        if joint
        else (),
    )


def _exit_share(head: Head, number: int, going_on: float) -> ExitShare:
    return ExitShare(
        name=f"exit-{number}",
        tensor=head.tensor,
        depth=head.depth,
        going_on=going_on,
        head_macs=head.macs,
        head_bytes=head.bytes,
        head=head.template,
        parameters=head.parameters,
    )


def _built_as(head: Head) -> tuple[object, ...]:
    return head.tensor, head.template, tuple(sorted(head.parameters.items()))


def _require_same(bundle: Bundle, first: Bundle, graph: Graph) -> None:
    if bundle.manifest.fingerprint != graph.fingerprint:
        raise BundleError(
            f"{bundle.path} is a bundle of the network '{bundle.manifest.network}' ({bundle.manifest.fingerprint}), "
            f"not of '{graph.name}' ({graph.fingerprint}) in the profile: name a bundle of the same network"
        )
    trace, other = bundle.validation, first.validation
    if trace.classes != other.classes or not np.array_equal(trace.labels, other.labels):
        raise BundleError(
            f"{bundle.path} was validated on other samples ({len(trace)}) than {first.path} ({len(other)}): build both "
            "with the same data and seed"
        )
    different = float((_final(trace) != _final(other)).mean())
    if different > _DIFFERENT:
        raise BundleError(
            f"the networks of {bundle.path} and {first.path} answer differently for {different:.1%} of the samples, so "
            "their exits cannot be combined: build both with --train heads, which leaves the network as it is"
        )


def _final(trace: Trace) -> NDArray[np.int64]:
    answers: NDArray[np.int64] = trace.logits[:, -1].argmax(axis=-1)
    return answers


def _heads(bundle: Bundle, graph: Graph, strategy: ThresholdStrategy) -> Iterator[Head]:
    trace = bundle.validation
    strategy.fit(trace, np.zeros((len(trace.tiers), len(trace.exits))))
    certainties = strategy.rehearsed(trace)
    for index, point in enumerate(bundle.plan.exits):
        producer = graph.tensor(point.tensor).producer
        assert producer is not None, "a head reads what a layer has made"
        yield Head(
            tensor=point.tensor,
            depth=graph.position[producer] + 1,
            certainty=certainties[:, index],
            correct=trace.correct[:, index],
            macs=point.head_macs,
            bytes=point.head_bytes,
            template=point.head,
            parameters=point.parameters,
            bundle=str(bundle.path),
        )


def _different(places: Sequence[Sequence[Head]], levels: Sequence[Level]) -> tuple[Level, ...]:
    """The levels from the lowest certainty on, without those at which every head decides as at the one before."""
    certainty = np.stack([head.certainty for heads in places for head in heads])
    found: list[Level] = []
    before = -1
    for level in sorted(levels, key=lambda each: each.certainty):
        leaving = int((certainty >= level.certainty).sum())
        if leaving != before:
            found.append(level)
        before = leaving
    return tuple(found)
