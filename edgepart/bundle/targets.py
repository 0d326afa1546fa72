"""What each tier's part is written for: a runtime and a precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgepart.errors import PlanError, UnknownName
from edgepart.frameworks import Framework
from edgepart.frameworks.runtimes import PRECISIONS, Precision, Runtime, require_runtime


@dataclass(frozen=True)
class Target:
    """A runtime, and the precision of the arithmetic inside."""

    runtime: Runtime
    precision: Precision = "float32"

    def is_native(self, framework: Framework) -> bool:
        """Whether parts are written as they were trained."""
        return self.runtime.name == framework.runtime and self.precision == "float32"


def choose_targets(
    framework: Framework, tiers: Sequence[str], runtimes: Mapping[str, str], precisions: Mapping[str, str]
) -> dict[str, Target]:
    """The target of every tier: the framework's own runtime and float32 where nothing else is asked for.

    Raises:
        UnknownName: no such tier, runtime or precision; lists the nearest names.
        ExportError: the runtime does not take parts of this framework, or has no such precision.
    """
    for tier in (*runtimes, *precisions):
        if tier not in tiers:
            raise UnknownName("tier", tier, tiers)
    found = {}
    for tier in tiers:
        precision = _precision(precisions.get(tier, "float32"))
        found[tier] = Target(require_runtime(framework, runtimes.get(tier, framework.runtime), precision), precision)
    return found


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
