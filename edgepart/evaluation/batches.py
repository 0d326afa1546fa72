"""What leaving early saves where samples come in batches: measured on this machine, beside what replaying predicts."""

from __future__ import annotations

import datetime
import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgepart.bundle import Bundle, open_bundle
from edgepart.bundle.answers import require_fits
from edgepart.bundle.inference import Answers, Indices, batches_for, infer, joined
from edgepart.data.dataset import Arrays, Dataset
from edgepart.data.load import load_dataset
from edgepart.dispatch.base import Policy, Setting, Strategy
from edgepart.dispatch.options import strategy as strategy_named
from edgepart.dispatch.temperature import ScaledPolicy
from edgepart.dispatch.threshold import DEFAULT_STRATEGY
from edgepart.errors import DispatchError
from edgepart.evaluation import selection
from edgepart.evaluation.choosing import scaled_setting
from edgepart.evaluation.costs import Costs
from edgepart.evaluation.evaluate_traces import THRESHOLDS
from edgepart.evaluation.record import record
from edgepart.evaluation.replay import replay
from edgepart.evaluation.report import TemperatureReport
from edgepart.evaluation.report_assembly import temperature_reports
from edgepart.files import Document, Record
from edgepart.hardware import Load
from edgepart.measuring.link_fit import Estimate
from edgepart.partitioning.plan import Deployment
from edgepart.profiling.machine import LoadSampler, processor
from edgepart.progress import progress

SIZES = (1, 8, 32)
#: over the samples, for each batch size, after one that is not counted
PASSES = 5
SAMPLES = 256

#: tier → seconds of each stage of its part
Stages = dict[str, list[float]]


class StageTiming(Record):
    """One stage at one batch size."""

    tier: str
    #: at its end; None: the part ends there
    exit: str | None
    #: of a sample, where all samples run
    seconds: float
    #: of the samples, those that it was run on
    share: float


class BatchTiming(Record):
    """One batch size; times are seconds a sample."""

    batch_size: int = Field(ge=1)
    #: the whole network, nobody leaving early
    full_s: Estimate
    #: with the policy, everything that it takes included
    policy_s: Estimate
    #: 1 - policy / whole network, pass by pass
    saving: Estimate
    #: the saving by replaying, if a stage took in proportion to its samples
    predicted_saving: float
    #: share of right answers
    accuracy: float
    stages: tuple[StageTiming, ...]


class Batches(Document):
    """``batches.json``: batches of several sizes through a bundle, on one machine."""

    kind: ClassVar[str] = "batches"

    network: str
    fingerprint: str
    deployment: Deployment
    date: str
    processor: str
    threads: int
    #: name of the data, and how many of its samples were run
    data: str
    samples: int
    strategy: str
    setting: str
    #: share of right answers of the whole network
    full_accuracy: float
    sizes: tuple[BatchTiming, ...]
    machine_load: Load
    #: of the exits, where the strategy went by them; errors are those on these samples and on validation
    temperatures: tuple[TemperatureReport, ...] = ()
    #: what has to be known to read the figures
    remarks: tuple[str, ...] = ()


def time_batches(
    bundle: Bundle | str | Path,
    data: Dataset | str | Path,
    strategy: str | Strategy = DEFAULT_STRATEGY,
    *,
    costs: Costs,
    grid: Sequence[float] = THRESHOLDS,
    drop: float = selection.DROPS[0],
    sizes: Sequence[int] = SIZES,
    samples: int = SAMPLES,
    passes: int = PASSES,
    threads: int = 1,
    temperature: bool = False,
) -> Batches:
    """Time batches through a bundle, with every sample going all the way and with a strategy that lets some leave.

    Both are timed in turn, pass by pass; inputs are encoded beforehand. The strategy sees validation data as ever.

    Args:
        bundle: opened and not yet run, or its folder
        data: labelled samples, as ``edgepart evaluate --data`` takes them
        costs: of the bundle's plan, by which the strategy learns and its setting is chosen
        grid: thresholds; a single one is taken as it is by a strategy with thresholds, else the cheapest setting is
            chosen on validation that loses at most ``drop`` of accuracy there
        sizes: of the batches
        samples: of the data that are run, drawn at random if there are more
        passes: over these samples, for each size
        threads: that one operation may use
        temperature: divide each exit's logits by a temperature learnt on validation before the strategy sees them

    Raises:
        DispatchError: the strategy knows labels, cannot learn from the bundle or promises what temperatures would undo,
            no setting keeps the accuracy, or a count is below 1.
        EdgepartError: bundle or data are not usable.
    """
    counts = {"batch size": min(sizes, default=0), "number of passes": passes, "number of samples": samples}
    for what, count in counts.items():
        if count < 1:
            raise DispatchError(f"the {what} is {count}, expected at least 1")
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    asked = strategy_named(strategy) if isinstance(strategy, str) else strategy
    setting, scaling = scaled_setting(asked, opened.validation, costs, grid, drop, temperature)
    opened.set_threads(threads)
    found = data if isinstance(data, Dataset) else load_dataset(str(data), opened.preprocessing, classes=opened.classes)
    require_fits(opened, found)
    run = _Run(opened, _some(found, samples), partial(_fresh, asked, setting, scaling))
    load = LoadSampler(os.getpid())
    try:
        timed = run.timed(sizes, passes)
    finally:
        other = load.stop()
    return Batches(
        network=opened.manifest.network,
        fingerprint=opened.plan.fingerprint,
        deployment=opened.plan.deployment,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        processor=processor(),
        threads=threads,
        data=found.source,
        samples=len(run.dataset),
        strategy=asked.name,
        setting=setting.label,
        full_accuracy=float(run.trace.correct[:, -1].mean()),
        sizes=timed,
        machine_load=other,
        temperatures=() if scaling is None else temperature_reports(opened.validation, run.trace, scaling),
        remarks=tuple(_remarks(opened, asked.name, run.policy())),
    )


def _fresh(strategy: Strategy, setting: Setting, temperatures: NDArray[np.float64] | None) -> Policy:
    policy = strategy.policy(setting)
    return policy if temperatures is None else ScaledPolicy(policy, temperatures)


@dataclass(frozen=True)
class _Pass:
    """Seconds of one pass over all samples: of each stage where nobody leaves, of the router, and with the policy."""

    stages: Stages
    router_s: float
    policy_s: float
    answers: Answers


class _Run:
    """A bundle, the samples that it is timed on and who decides about them: ``policy`` makes a fresh one."""

    def __init__(self, bundle: Bundle, dataset: Dataset, policy: Callable[[], Policy]) -> None:
        self.bundle, self.dataset, self.policy = bundle, dataset, policy
        self.trace = record(bundle, dataset)

    def timed(self, sizes: Sequence[int], passes: int) -> tuple[BatchTiming, ...]:
        """All batch sizes in turn."""
        # what is open by now stays; looking through it for what is not would take longer than a batch
        gc.collect()
        gc.freeze()
        try:
            with progress("timing batches", len(sizes) * (passes + 1)) as advance:
                return tuple(self._timing(size, self._passes(size, passes, advance)) for size in sizes)
        finally:
            gc.unfreeze()

    def _passes(self, size: int, passes: int, advance: Callable[[int], None]) -> list[_Pass]:
        batches = batches_for(self.policy(), self.dataset, size)
        prepared = [self.dataset.batch(indices) for indices in batches]
        found = []
        for _ in range(passes + 1):
            found.append(self._pass(batches, prepared))
            advance(1)
        # the first one met batches of that size for the first time
        return found[1:]

    def _pass(self, batches: Sequence[Indices], prepared: Sequence[Arrays]) -> _Pass:
        policy, router_s = self.policy(), 0.0
        stages: Stages = {tier: [0.0] * len(part.manifest.stages) for tier, part in self.bundle.parts.items()}
        for arrays in prepared:
            self._run_stages(arrays, stages)
        if policy.uses_embedding:
            start = time.perf_counter()
            for arrays in prepared:
                self.bundle.embed(arrays)
            router_s = time.perf_counter() - start
        start = time.perf_counter()
        answers = [infer(self.bundle, arrays, policy) for arrays in prepared]
        return _Pass(stages, router_s, time.perf_counter() - start, joined(answers, batches))

    def _run_stages(self, arrays: Arrays, taken: Stages) -> None:
        """Run all parts on a whole batch, and add the seconds of each stage."""
        known = dict(arrays)
        for tier, part in self.bundle.parts.items():
            if self.bundle.plan.deployment == "nested":
                known = dict(arrays)
            for number in range(len(part.manifest.stages)):
                start = time.perf_counter()
                made = part.step(number, known)
                taken[tier][number] += time.perf_counter() - start
                known |= made

    def _timing(self, size: int, done: Sequence[_Pass]) -> BatchTiming:
        count, last = len(self.dataset), done[-1].answers
        full = [_full_s(self.bundle, each.stages) / count for each in done]
        policy = [each.policy_s / count for each in done]
        stages = {
            tier: [float(np.median([each.stages[tier][number] for each in done])) / count for number in range(len(own))]
            for tier, own in done[0].stages.items()
        }
        costs = _costs(self.bundle, stages, float(np.median([each.router_s for each in done])) / count)
        return BatchTiming(
            batch_size=size,
            full_s=Estimate.of(full),
            policy_s=Estimate.of(policy),
            saving=Estimate.of([1 - own / whole for own, whole in zip(policy, full, strict=True)]),
            predicted_saving=replay(self.trace, self.policy(), costs).saving,
            accuracy=float((last.labels == self.dataset.labels).mean()),
            stages=tuple(
                StageTiming(tier=tier, exit=stage.exit, seconds=seconds, share=computed / count)
                for tier, part in self.bundle.parts.items()
                for stage, seconds, computed in zip(
                    part.manifest.stages, stages[tier], last.computed[tier], strict=True
                )
            ),
        )


def _costs(bundle: Bundle, stages: Stages, router_s: float) -> Costs:
    """Seconds of every way through the bundle on this machine, links left out."""
    names, plan = bundle.plan.tier_names, bundle.plan
    table = np.full((len(names), len(plan.exit_names)), np.inf)
    for index, tier in enumerate(plan.exit_tiers):
        for entry in range(names.index(tier) + 1):
            table[entry, index] = _way_s(bundle, stages, entry, index)
    return Costs(table, _full_s(bundle, stages), router_s, "s", "seconds of the stages on this machine")


def _full_s(bundle: Bundle, stages: Stages) -> float:
    """Seconds of a sample that no exit is asked about."""
    plan = bundle.plan
    return _way_s(bundle, stages, plan.tier_names.index(plan.final_tier), len(plan.exits))


def _way_s(bundle: Bundle, stages: Stages, entry: int, exit_index: int) -> float:
    """Seconds of the stages that a sample goes through from its tier of entry to the exit where it leaves."""
    plan, seconds = bundle.plan, 0.0
    leave = plan.tier_names.index(plan.exit_tiers[exit_index])
    for tier, part in bundle.parts.items():
        place = plan.tier_names.index(tier)
        if place < leave and (plan.deployment == "split" or place >= entry):
            seconds += sum(stages[tier])
        elif place == leave:
            exits = [stage.exit for stage in part.manifest.stages]
            seconds += sum(stages[tier][: exits.index(plan.exit_names[exit_index]) + 1])
    return seconds


def _some(dataset: Dataset, samples: int) -> Dataset:
    """At most so many samples, drawn at random and in their order."""
    if len(dataset) <= samples:
        return dataset
    return dataset.subset(np.sort(np.random.default_rng(0).choice(len(dataset), samples, replace=False)))


def _remarks(bundle: Bundle, strategy: str, policy: Policy) -> Iterator[str]:
    if bundle.plan.deployment == "split" and bundle.plan.exits:
        yield "the heads are inside the stages, so that the whole network's time holds them, too"
    deciding = policy.policy if isinstance(policy, ScaledPolicy) else policy
    if type(deciding).observe is not Policy.observe:
        yield (
            f"'{strategy}' learns of a batch when it is done, so that it may decide otherwise at every batch size; "
            "the prediction is that of one sample at a time"
        )
