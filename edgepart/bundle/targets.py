"""What each tier's part is written for: a runtime and a precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgepart import plugins
from edgepart.errors import ExportError, PlanError, UnknownName
from edgepart.frameworks import Framework
from edgepart.frameworks.base import Part
from edgepart.frameworks.runtimes import PRECISIONS, Precision, Runtime, require_runtime, runtime
from edgepart.graph import Graph
from edgepart.partitioning.plan import Plan

#: distance of 1 to the next number of the types that a network may compute in, coarser than single precision
_ROUNDING = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
#: by so many of these an artefact in such a type may differ: 1.6 % in float16, 12.5 % in bfloat16
_ROUNDINGS = 16


@dataclass(frozen=True)
class Target:
    """A runtime, and the precision of the arithmetic inside."""

    runtime: Runtime
    precision: Precision = "float32"

    def is_native(self, framework: Framework) -> bool:
        """Whether parts are written as they were trained."""
        return self.runtime.name == framework.runtime and self.precision == "float32"

    def tolerance(self, part: Part, graph: Graph) -> float:
        """Largest difference between artefact and part that is taken for rounding, relative to the largest value.

        The runtime's for the precision; more where the part itself computes in a coarser type than single precision,
        in which the same sum in another order is another number.
        """
        layers = [graph.layer(name) for name in part.layers]
        types = {graph.tensor(name).dtype for layer in layers for name in (*layer.inputs, *layer.outputs)}
        own = _ROUNDINGS * max((_ROUNDING.get(name, 0.0) for name in types), default=0.0)
        return max(self.runtime.tolerance(self.precision), own)


def choose_targets(
    framework: Framework, tiers: Sequence[str], runtimes: Mapping[str, str], precisions: Mapping[str, str]
) -> dict[str, Target]:
    """The target of every tier: the framework's own runtime and float32 where nothing else is asked for.

    Raises:
        UnknownName: no such tier, runtime or precision; lists the nearest names.
        ExportError: the runtime does not take parts of this framework, or has no such precision; names the tier.
        MissingExtra: a package that writes parts for a runtime is not installed.
    """
    for tier in (*runtimes, *precisions):
        if tier not in tiers:
            raise UnknownName("tier", tier, tiers)
    found = {}
    for tier in tiers:
        precision = _precision(precisions.get(tier, "float32"))
        try:
            chosen = require_runtime(framework, runtimes.get(tier, framework.runtime), precision)
        except ExportError as error:
            raise ExportError(f"for the tier '{tier}', {error}") from error
        found[tier] = Target(chosen, precision)
    return found


def planned_runtimes(framework: Framework, plan: Plan) -> dict[str, str]:
    """Tier → the runtime that it was planned for, where the framework's parts can be written for it."""
    planned = {tier.name: tier.runtime for tier in plan.tiers if tier.runtime in plugins.names("runtime")}
    return {tier: name for tier, name in planned.items() if name and runtime(name).form in framework.forms}


def router_target(targets: Mapping[str, Target], first: str) -> Target:
    """The router runs where samples enter, in single precision: it decides by small distances."""
    if first not in targets:
        raise PlanError(f"the plan has no tier '{first}'")
    return Target(targets[first].runtime)


def _precision(name: str) -> Precision:
    for precision in PRECISIONS:
        if precision == name:
            return precision
    raise UnknownName("precision", name, PRECISIONS)
