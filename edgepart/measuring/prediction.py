"""What a plan or a profile says that the parts of a bundle take on this machine."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgepart.bundle import Bundle
from edgepart.errors import MeasurementError
from edgepart.hardware import THIS, Device, Profile
from edgepart.partitioning.plan import Plan, PlannedExit, TierPlan
from edgepart.partitioning.stages import Stage, part_stages, stage_latencies
from edgepart.profiling.machine import processor


@dataclass(frozen=True)
class PartPrediction:
    """Seconds of the stages of a part in order, heads included, and what they rest on; None: nothing is known.

    The first stage holds what the part takes longer after a wait: ``wake_up_s``, where that is known by itself.
    """

    stage_s: tuple[float, ...] | None
    basis: str
    wake_up_s: float = 0.0

    @property
    def compute_s(self) -> float | None:
        """Of the whole part."""
        return None if self.stage_s is None else sum(self.stage_s)

    @property
    def alone_s(self) -> float | None:
        """Of the whole part over and over, without a wait."""
        return None if self.compute_s is None else self.compute_s - self.wake_up_s


def predict(bundle: Bundle, profiles: Sequence[Profile], threads: int) -> tuple[dict[str, PartPrediction], list[str]]:
    """The prediction of every part by its tier, and remarks on what they are worth.

    What was measured on the part's own runtime counts first: a profile, else the plan, which for a tier on this machine
    was made from one. A tier that the plan puts on another device has no prediction for this machine but a profile's:
    one that is given, or the bundle's own where it was measured here.

    Raises:
        MeasurementError: a profile that is given was measured on another machine, or two are of the same runtime.
        PlanError: a profile is of another network.
    """
    known, remarks = _profiles(bundle, profiles), []
    found, unknown = {}, {}
    for tier, part in bundle.parts.items():
        own = next(each for each in bundle.plan.tiers if each.name == tier)
        made = part.manifest.runtime
        planned_for = own.runtime or bundle.plan.runtime or made
        planned_here = own.device.name == THIS and _is_here(own.device)
        profile = known.get(made)
        if profile is None and not (planned_here and planned_for == made):
            profile = next(iter(known.values()), None)
        stages = part_stages(bundle.plan, bundle.graph, tier)
        if profile is not None:
            found[tier] = _from_profile(bundle, profile, stages)
            predicted_for, counted = profile.runtime, profile.threads
        elif planned_here:
            found[tier] = PartPrediction(_from_plan(bundle.plan, own, stages), "plan", own.wake_up_s)
            predicted_for = planned_for
            counted = int(own.device.facts.get("threads", threads))
        else:
            found[tier] = PartPrediction(None, "none")
            unknown[tier] = own.device.name
            continue
        remarks += _differences(tier, made, predicted_for, part.manifest.precision, threads, counted)
    if unknown:
        remarks.append(_unpredicted(unknown))
    return found, remarks


def _profiles(bundle: Bundle, profiles: Sequence[Profile]) -> dict[str, Profile]:
    known: dict[str, Profile] = {}
    for profile in profiles:
        bundle.plan.require(profile.graph)
        if not _is_here(profile.device):
            raise MeasurementError(
                f"the profile was measured on '{profile.device.facts.get('processor', profile.device.title)}', this "
                f"machine is '{processor()}': run 'edgepart profile' here and give its profile"
            )
        if profile.runtime in known:
            raise MeasurementError(f"two profiles of the runtime {profile.runtime} were given: keep one of them")
        known[profile.runtime] = profile
    own = bundle.profile
    if own is not None and _is_here(own.device):
        known.setdefault(own.runtime, own)
    return known


def _is_here(device: Device) -> bool:
    """Whether figures of the device are this machine's: as far as the name of its processor tells."""
    return device.facts.get("processor", processor()) == processor()


def _from_profile(bundle: Bundle, profile: Profile, stages: Sequence[Stage]) -> PartPrediction:
    found = stage_latencies(bundle.graph, stages, profile.part_latency_s)
    heads = [_heads_s(bundle.plan, stage, profile.device.macs_per_s) for stage in stages]
    how = "measured" if all(each.measured for each in found) else "interpolated"
    seconds = [each.seconds + head for each, head in zip(found, heads, strict=True)]
    seconds[0] += profile.wake_up_s
    return PartPrediction(tuple(seconds), f"profile of {profile.runtime}, {how}", profile.wake_up_s)


def _from_plan(plan: Plan, tier: TierPlan, stages: Sequence[Stage]) -> tuple[float, ...]:
    """As parts where the plan knows that, else added up from layers."""
    reached: dict[str | None, TierPlan | PlannedExit] = {point.name: point for point in plan.exits}
    at = [reached.get(stage.exit, tier) for stage in stages]
    as_parts = [each.part_s for each in at if each.part_s is not None]
    ends = as_parts if len(as_parts) == len(at) else [each.compute_s for each in at]
    rate = tier.device.macs_per_s
    return tuple(
        late - early + _heads_s(plan, stage, rate)
        for (early, late), stage in zip(itertools.pairwise([0.0, *ends]), stages, strict=True)
    )


def _heads_s(plan: Plan, stage: Stage, macs_per_s: float) -> float:
    return sum(point.head_macs for point in plan.exits if point.name == stage.exit) / macs_per_s


def _unpredicted(devices: Mapping[str, str]) -> str:
    """A remark on tiers, with the devices that the plan puts them on."""
    put = ", ".join(f"{tier} on {device}" for tier, device in devices.items())
    return (
        f"the plan puts {put}, which is not this machine or was not known by its processor: what they take here is "
        "measured but not predicted; give --profile with a profile that was measured here"
    )


def _differences(tier: str, runtime: str, predicted_for: str, precision: str, threads: int, counted: int) -> list[str]:
    """What keeps a prediction from being one of what is run."""
    found = []
    if runtime != predicted_for:
        found.append(f"{tier} runs on {runtime} and is predicted for {predicted_for}: give a --profile of {runtime}")
    if precision != "float32":
        found.append(f"{tier} computes in {precision} and is predicted for float32")
    if threads != counted:
        found.append(f"{tier} runs with {threads} threads and is predicted for {counted}")
    return found
