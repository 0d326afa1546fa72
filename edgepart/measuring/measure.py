"""A bundle run as one process a tier, and what that took beside what was predicted."""

from __future__ import annotations

import datetime
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepart.bundle import Bundle, open_bundle
from edgepart.data.dataset import Dataset
from edgepart.data.load import load_dataset
from edgepart.errors import MeasurementError, UnknownName
from edgepart.hardware import Link, Profile, catalogue
from edgepart.measuring.framing import Arrays
from edgepart.measuring.hops import measure_hops
from edgepart.measuring.measured import Comparison, ExitMeasured, HopMeasured, Measured, PartMeasured
from edgepart.measuring.memory import PeakMemory, peak_memory
from edgepart.measuring.prediction import PartPrediction, predict
from edgepart.measuring.processes import Processes, TierProcess
from edgepart.measuring.relay import Shape
from edgepart.measuring.samples import from_dataset, made_up, unlike_example
from edgepart.measuring.stand_in import StandIn
from edgepart.measuring.thresholds import by_exit
from edgepart.partitioning.plan import Plan
from edgepart.profiling.machine import LoadSampler, processor
from edgepart.profiling.memory import can_measure
from edgepart.progress import progress

#: sent first and not counted
_WARM_UP = 5
#: beyond what the links are predicted to take
_TIMEOUT_S = 120.0

Done = Mapping[str, Any]


def measure_bundle(
    bundle: Bundle | str | Path,
    data: Dataset | str | Path | None = None,
    *,
    runs: int = 50,
    shaped: bool = False,
    links: Mapping[str, str | Link] | None = None,
    pin_cores: Mapping[str, Sequence[int]] | None = None,
    threads: int = 1,
    threshold: float | Mapping[str, float] | None = None,
    profiles: Sequence[Profile] = (),
) -> Measured:
    """Run the parts of a bundle as separate processes on this machine, one sample after another.

    Args:
        bundle: opened, or its folder
        data: samples to send, as ``edgepart evaluate --data`` takes them; None: one of the example's sizes
        runs: samples that are counted
        shaped: every hop goes through a relay set to the plan's link; otherwise over loopback as it is
        links: ``"mobile:edge"`` → link (or its name) that this hop is set to instead
        pin_cores: tier → cores that its process may use
        threads: that one operation may use
        threshold: samples leave at exits that are so confident; one for all exits, or exit → its own (those of the
            plan: :attr:`Plan.thresholds`); None: all go through the whole network
        profiles: measured on this machine, one for each runtime: what predictions rest on instead of the plan

    Raises:
        UnknownName: no such tier or link.
        MeasurementError: cores that do not exist, a profile of another machine, or a process that ended.
        EdgepartError: bundle or data are not usable.
    """
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    _check_counts(runs, threads)
    at = by_exit(opened.plan, threshold)
    route = _Route.of(opened.plan, shaped, links or {}, pin_cores or {})
    predicted, remarks = predict(opened, profiles, threads)
    samples, source = _samples(opened, data)
    remarks += [remark for remark in (unlike_example(opened, samples), route.remark()) if remark]
    folders = {tier: opened.parts[tier].folder for tier in route.tiers if tier in opened.parts}
    split = opened.plan.deployment == "split"
    memory = peak_memory(folders, samples[0], split=split, threads=threads) if can_measure() else {}
    if not memory:
        remarks.append("peak memory is not measured: only Linux lets it be reset")
    with Processes(
        [TierProcess(tier, folders.get(tier), route.cores.get(tier), route.shape(tier)) for tier in route.tiers],
        samples,
        split=split,
        threads=threads,
        timeout_s=_TIMEOUT_S + 10 * sum(hop.transfer_s for hop in opened.plan.hops),
    ) as processes:
        load = LoadSampler(*processes.ids, os.getpid())
        try:
            ways = _Ways.of(opened.plan, route.tiers, at)
            done, single = _run(processes, ways, runs, len(samples), opened.manifest.network)
            again = _over_and_over(processes, ways, runs)
        finally:
            other = load.stop()
    bare = _bare_hops(opened, route, ways, predicted, done, samples[0])
    report = _Report(opened, route, predicted, done, single, again, bare)
    return Measured(
        network=opened.manifest.network,
        fingerprint=opened.plan.fingerprint,
        deployment=opened.plan.deployment,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        processor=processor(),
        samples=source,
        runs=runs,
        threads=threads,
        threshold=dict(threshold) if isinstance(threshold, Mapping) else threshold,
        parts=report.parts(memory),
        hops=report.hops(),
        exits=report.exits(),
        latency_s=report.latency(),
        machine_load=other,
        remarks=tuple(remarks),
    )


def _samples(bundle: Bundle, data: Dataset | str | Path | None) -> tuple[list[Arrays], str]:
    """What is sent, and where it is from."""
    if data is None:
        return made_up(bundle), "made-up samples of the example's sizes"
    if not isinstance(data, Dataset):
        data = load_dataset(data, bundle.preprocessing, classes=bundle.classes)
    return from_dataset(data), data.source


@dataclass(frozen=True)
class _Route:
    """The tiers that take part, the links between them, and the cores that they are pinned to."""

    plan: Plan
    tiers: tuple[str, ...]
    links: Mapping[str, Link]
    cores: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(
        cls, plan: Plan, shaped: bool, links: Mapping[str, str | Link], pin_cores: Mapping[str, Sequence[int]]
    ) -> _Route:
        """``links`` of the route are by the lower tier."""
        tiers = plan.tier_names[: plan.tier_names.index(plan.final_tier) + 1]
        hops = {f"{hop.source}:{hop.target}": hop for hop in plan.hops}
        found = {hop.source: hop.link for hop in plan.hops if shaped}
        for name, link in links.items():
            if name not in hops:
                raise UnknownName("hop", name, hops)
            found[hops[name].source] = catalogue.link(link) if isinstance(link, str) else link
        for tier in pin_cores:
            if tier not in plan.tier_names:
                raise UnknownName("tier", tier, plan.tier_names)
        return cls(plan, tiers, found, {tier: _cores(tier, cores) for tier, cores in pin_cores.items()})

    def shape(self, tier: str) -> Shape | None:
        """Of the link from a tier to the next one."""
        return Shape.of(self.links[tier]) if tier in self.links else None

    def transfer_s(self, number: int) -> float | None:
        """Predicted seconds of a hop on the link it is set to; None on loopback."""
        hop = self.plan.hops[number]
        link = self.links.get(hop.source)
        if link is None:
            return None
        return hop.transfer_s if link == hop.link else link.transfer_s(hop.bytes)

    def remark(self) -> str | None:
        """What predictions of hops over loopback rest on."""
        bare = [f"{a} to {b}" for a, b in zip(self.tiers, self.tiers[1:], strict=False) if a not in self.links]
        if not bare:
            return None
        return (
            f"from {', '.join(bare)} tensors go over loopback as it is: what is predicted for that was measured here, "
            "between processes without layers"
        )


@dataclass(frozen=True)
class _Ways:
    """The orders that samples are sent with: the one that is measured, and those of parts it does not run in full."""

    order: Mapping[str, Any]
    single: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, plan: Plan, tiers: Sequence[str], thresholds: Mapping[str, float] | None) -> _Ways:
        last, holding = tiers[-1], [tier.name for tier in plan.tiers if tier.layers]
        if plan.deployment == "split":
            return cls({"run": holding, "answer": last, "thresholds": thresholds}, {})
        # nested, a sample that no lower tier answers is sent to the last one as it is; each part is also run by itself
        single = {tier: {"run": [tier], "answer": tier, "thresholds": None} for tier in holding if tier != last}
        tried = [tier for tier in holding if tier == last or plan.exits_of(tier)]
        order = {"run": [last] if thresholds is None else tried, "answer": last, "thresholds": thresholds}
        return cls(order, single)


def _run(
    processes: Processes, ways: _Ways, runs: int, samples: int, network: str
) -> tuple[list[Done], dict[str, list[Done]]]:
    """What came of the counted runs, and of those of single parts."""
    with progress(f"running the parts of {network}", runs) as advance:
        done: list[Done] = []
        single: dict[str, list[Done]] = {tier: [] for tier in ways.single}
        for number in range(-_WARM_UP, runs):
            found = processes.run(number % samples, ways.order)
            others = {tier: processes.run(number % samples, order) for tier, order in ways.single.items()}
            if number >= 0:
                done.append(found)
                for tier, other in others.items():
                    single[tier].append(other)
                advance(1)
    return done, single


def _over_and_over(processes: Processes, ways: _Ways, runs: int) -> dict[str, list[float]]:
    """Seconds of every part, run on the first sample again and again while the others wait."""
    found: dict[str, list[float]] = {}
    running = [ways.order["answer"]] if ways.single else ways.order["run"]
    for order in (*ways.single.values(), {**ways.order, "run": running, "thresholds": None}):
        for tier, seconds, _ in processes.run(0, {**order, "again": runs})["work"]:
            found.setdefault(tier, []).append(seconds)
    # the first time of each came after the others had worked
    return {tier: taken[1:] for tier, taken in found.items()}


def _bare_hops(
    bundle: Bundle,
    route: _Route,
    ways: _Ways,
    predicted: Mapping[str, PartPrediction],
    done: Sequence[Done],
    sample: Arrays,
) -> dict[int, float]:
    """Seconds of the hops over loopback as it is that samples crossed, by their number, measured without the parts."""
    crossed = max(len(run["hops"]) for run in done)
    numbers = [number for number in range(crossed) if route.tiers[number] not in route.links]
    if not numbers:
        return {}
    tiers = []
    for tier in route.tiers:
        stand_in = None
        if tier in ways.order["run"]:
            # what nothing is known of is busy for as long as it just was
            known_s = predicted[tier].compute_s
            busy_s = statistics.median(_taken(done, tier) or [0.0]) if known_s is None else known_s
            classes = (len(bundle.classes) or 1) if tier == route.tiers[-1] else None
            stand_in = StandIn.of(bundle.graph, bundle.parts[tier].outputs, busy_s, classes)
        tiers.append(TierProcess(tier, None, route.cores.get(tier), stand_in=stand_in))
    split = bundle.plan.deployment == "split"
    with progress("running its hops without parts", 1) as advance:
        found = measure_hops(tiers, sample, split=split, timeout_s=_TIMEOUT_S, runs=len(done))
        advance(1)
    return {number: found[number] for number in numbers}


def _taken(done: Sequence[Done], tier: str) -> list[float]:
    """Seconds of the runs of a tier's whole part."""
    return [seconds for run in done for name, seconds, whole in run["work"] if name == tier and whole]


class _Report:
    """What the runs say, beside the predictions."""

    def __init__(
        self,
        bundle: Bundle,
        route: _Route,
        predicted: Mapping[str, PartPrediction],
        done: Sequence[Done],
        single: Mapping[str, Sequence[Done]],
        again: Mapping[str, Sequence[float]],
        bare: Mapping[int, float],
    ) -> None:
        self._bundle, self._plan, self._route = bundle, bundle.plan, route
        self._predicted, self._done, self._single, self._again = predicted, done, single, again
        self._bare = bare

    def parts(self, memory: Mapping[str, PeakMemory]) -> tuple[PartMeasured, ...]:
        return tuple(self._part(tier, memory.get(tier)) for tier in self._route.tiers if tier in self._bundle.parts)

    def _part(self, tier: str, memory: PeakMemory | None) -> PartMeasured:
        manifest, predicted = self._bundle.parts[tier].manifest, self._predicted[tier]
        own = next(each for each in self._plan.tiers if each.name == tier)
        taken = _taken(self._single.get(tier) or self._done, tier)
        return PartMeasured(
            tier=tier,
            runtime=manifest.runtime,
            runtime_version=manifest.runtime_version,
            precision=manifest.precision,
            cores=self._route.cores.get(tier),
            basis=predicted.basis,
            compute_s=Comparison.of(predicted.compute_s, taken),
            alone_s=Comparison.of(predicted.alone_s, self._again.get(tier, ())),
            memory_bytes=Comparison.of(self._plan.part_bytes(own), [memory.part_bytes]) if memory else None,
            runtime_bytes=memory.runtime_bytes if memory else None,
        )

    def hops(self) -> tuple[HopMeasured, ...]:
        found = []
        for number, hop in enumerate(self._plan.hops[: len(self._route.tiers) - 1]):
            crossed = [run["hops"][number] for run in self._done if len(run["hops"]) > number]
            link = self._route.links.get(hop.source)
            found.append(
                HopMeasured(
                    source=hop.source,
                    target=hop.target,
                    link=link.name if link else None,
                    sent_bytes=Comparison.of(hop.bytes, [float(sent) for _, sent in crossed]),
                    transfer_s=Comparison.of(self._transfer_s(number), [seconds for seconds, _ in crossed]),
                )
            )
        return tuple(found)

    def exits(self) -> tuple[ExitMeasured, ...]:
        found = []
        for name, tier in zip(self._plan.exit_names, self._plan.exit_tiers, strict=True):
            taken = [run["latency_s"] for run in self._done if run["exit"] == name]
            comparison = Comparison.of(self._latency_s(name), taken)
            found.append(ExitMeasured(name=name, tier=tier, samples=len(taken), latency_s=comparison))
        return tuple(found)

    def latency(self) -> Comparison:
        """End to end; where samples leave at several exits, the prediction is the median of what each is predicted."""
        each = [self._latency_s(run["exit"]) for run in self._done]
        known = sorted(value for value in each if value is not None)
        predicted = known[len(known) // 2] if len(known) == len(each) else None
        found = Comparison.of(predicted, [run["latency_s"] for run in self._done])
        assert found is not None
        return found

    def _latency_s(self, exit_name: str) -> float | None:
        """Predicted seconds of a sample that leaves at an exit, through the tiers that such a sample really visited."""
        run = next((run for run in self._done if run["exit"] == exit_name), None)
        if run is None:
            return None
        total = sum(self._transfer_s(number) or 0.0 for number in range(len(run["hops"])))
        for tier, _, _ in run["work"]:
            stages = self._predicted[tier].stage_s
            if stages is None:
                return None
            total += sum(stages[: self._stages_run(tier, exit_name)])
        return total

    def _transfer_s(self, number: int) -> float | None:
        """Predicted seconds of a hop; None where it is over loopback as it is and nothing crossed it."""
        found = self._route.transfer_s(number)
        return self._bare.get(number) if found is None else found

    def _stages_run(self, tier: str, exit_name: str) -> int:
        """Of a tier's stages, for a sample that leaves at an exit."""
        records = self._bundle.parts[tier].manifest.stages
        ends = [stage.exit for stage in records]
        return ends.index(exit_name) + 1 if exit_name in ends else len(records)


def _check_counts(runs: int, threads: int) -> None:
    if runs < 1 or threads < 1:
        raise MeasurementError(f"{runs} runs with {threads} threads measure nothing: give at least 1 of each")


def _cores(tier: str, cores: Sequence[int]) -> tuple[int, ...]:
    if not hasattr(os, "sched_getaffinity"):
        raise MeasurementError("this system does not let a process be pinned to cores: leave out --pin-cores")
    allowed = os.sched_getaffinity(0)
    if not cores or not set(cores) <= allowed:
        raise MeasurementError(
            f"'{tier}' cannot be pinned to core {', '.join(map(str, cores)) or '(none)'}: this process may use "
            f"{', '.join(map(str, sorted(allowed)))}"
        )
    return tuple(sorted(set(cores)))
