"""What a "what if" varies: one figure of a problem, and the range that it runs over.

| name | unit | what |
|---|---|---|
| ``link.LOWER:UPPER.bandwidth`` | bit/s | of the way up; the way down stays as it is |
| ``link.LOWER:UPPER.round_trip`` | s | |
| ``tier.NAME.speed`` | | factor on the rate of the tier, heads and start included; its power stays as it is |
| ``limit.QUANTITY`` | of the quantity | in place of the limit that the problem has, if any |
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from edgepart.amounts import parse_amount
from edgepart.errors import PlanError, UnknownName
from edgepart.partitioning.make_problem import ALIASES
from edgepart.partitioning.problem import Problem
from edgepart.partitioning.quantities import OF_A_TIER, Kind, quantity
from edgepart.units import amount, significant

What = Literal["bandwidth", "round_trip", "speed", "limit"]
#: how a quantity depends on a parameter, the placement given
Dependence = Literal["none", "linear", "other"]

_EXAMPLES = {"bit/s": "1..100Mbps", "s": "1..200ms", "bytes": "10..200MB", "J": "10..500mJ", "USD": "0.001..0.01USD"}


@dataclass(frozen=True)
class Parameter:
    """A figure of a problem and its range, ``low`` to ``high``, in ``unit``.

    Attributes:
        index: of the link or tier; for a limit 0
        limited: the quantity that is limited, a name of :mod:`edgepart.partitioning.quantities`
    """

    name: str
    what: What
    index: int
    low: float
    high: float
    unit: str
    limited: str = ""

    def __post_init__(self) -> None:
        least = "above 0" if self.what in ("bandwidth", "speed") else "0 or more"
        if self.low < 0 or (self.low == 0 and least == "above 0"):
            raise PlanError(f"{self.name} from {significant(self.low)}: expected {least}")
        if not self.low < self.high < math.inf:
            raise PlanError(
                f"{self.name} from {self.text(self.low)} to {self.text(self.high)} is no range: expected a lower "
                f"number, then a higher one, as {_EXAMPLES.get(self.unit, '0.5..4')}"
            )

    def text(self, value: float) -> str:
        """A value of the parameter with its unit."""
        if self.unit == "bit/s":
            return bit_rate(value)
        return f"{significant(value)} ×" if self.what == "speed" else amount(value, self.unit)

    def coordinate(self, value: float) -> float:
        """That which times are linear in: seconds for a bit, seconds, or slowness."""
        return 1 / value if self.inverse else value

    def value_of(self, coordinate: float) -> float:
        """The value of the parameter from its coordinate."""
        return 1 / coordinate if self.inverse else coordinate

    @property
    def inverse(self) -> bool:
        """Whether the coordinate is one over the value."""
        return self.what in ("bandwidth", "speed")

    def applied(self, problem: Problem, value: float) -> Problem:
        """The problem with that value."""
        if self.what == "limit":
            return _limited(problem, self.limited, value)
        if self.what == "speed":
            tier = problem.tiers[self.index]
            device = tier.device.model_copy(update={"macs_per_s": tier.device.macs_per_s * value})
            latency_s = {layer: seconds / value for layer, seconds in tier.latency_s.items()}
            tiers = list(problem.tiers)
            tiers[self.index] = replace(tier, device=device, latency_s=latency_s, start_s=tier.start_s / value)
            return replace(problem, tiers=tuple(tiers))
        field = "up_bits_per_s" if self.what == "bandwidth" else "round_trip_s"
        if problem.joined is not None:
            hop = problem.hops[self.index]
            return replace(
                problem, joined={**problem.joined, hop: problem.joined[hop].model_copy(update={field: value})}
            )
        links = list(problem.links)
        links[self.index] = links[self.index].model_copy(update={field: value})
        return replace(problem, links=tuple(links))

    def dependence(self, kind: Kind) -> Dependence:
        """How a quantity depends on the coordinate, the placement given."""
        if self.what == "limit" or kind in ("memory", "exits", "bytes"):
            return "none"
        if kind in ("latency", "full-latency"):
            return "linear"
        if self.what == "speed":
            return "linear" if kind == "energy" else "other"
        return "other" if (self.what, kind) == ("bandwidth", "period") else "none"


def parameter(text: str, problem: Problem) -> Parameter:
    """``link.mobile:edge.bandwidth=1..100Mbps`` and the like, for a problem.

    Raises:
        UnknownName: no such tier, link, parameter or quantity; lists the nearest names.
        PlanError: not of this form, an unknown unit, or not a range.
    """
    name, equals, span = text.partition("=")
    name, span = name.strip(), span.strip()
    group, dot, rest = name.partition(".")
    if not (equals and dot and rest and span):
        raise PlanError(
            f"'{text}' does not say what varies over which range: expected NAME=LOW..HIGH, as "
            "link.mobile:edge.bandwidth=1..100Mbps"
        )
    rest = ALIASES.get(rest, rest)
    what, index, unit = _lookup(name, group, rest, problem)
    low, high = _range(name, span, unit)
    if name.endswith(".exits") and not (low.is_integer() and high.is_integer()):
        raise PlanError(f"{name}={span} is not a range of a number of exits: expected whole ones, as 0..2")
    return Parameter(name, what, index, low, high, unit, rest if what == "limit" else "")


def of_a_link(
    problem: Problem, link: str, what: Literal["bandwidth", "round_trip"], low: float, high: float
) -> Parameter:
    """The bandwidth (bit/s) or round trip (s) of the link ``LOWER:UPPER``.

    Raises:
        UnknownName: no such link.
        PlanError: not a range.
    """
    return Parameter(
        f"link.{link}.{what}", what, _link(problem, link), low, high, "bit/s" if what == "bandwidth" else "s"
    )


def bit_rate(bits_per_s: float) -> str:
    """A rate, such as ``12.3 Mbit/s``."""
    for factor, unit in ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")):
        if bits_per_s >= factor * 0.9995:
            return f"{significant(bits_per_s / factor)} {unit}"
    return f"{significant(bits_per_s)} bit/s"


def _lookup(name: str, group: str, rest: str, problem: Problem) -> tuple[What, int, str]:
    """What is meant, the index of its link or tier, and the unit."""
    if group == "limit":
        return "limit", 0, quantity(rest, problem.tier_names, problem.hops).unit
    where, _, what = rest.rpartition(".")
    if group == "tier":
        if where not in problem.tier_names:
            raise UnknownName("tier", where or rest, problem.tier_names)
        if what in OF_A_TIER:
            raise PlanError(f"tier.{where}.{what} follows from the plan: vary what it may be, as limit.{where}.{what}")
        if what != "speed":
            raise UnknownName("parameter of a tier", what, ["speed"])
        return "speed", problem.tier_names.index(where), ""
    if group == "link":
        index = _link(problem, where or rest)
        if what == "bandwidth":
            return "bandwidth", index, "bit/s"
        if what == "round_trip":
            return "round_trip", index, "s"
        raise UnknownName("parameter of a link", what, ["bandwidth", "round_trip"])
    raise UnknownName("parameter", name, ["link.LOWER:UPPER.bandwidth", "tier.NAME.speed", "limit.QUANTITY"])


def _link(problem: Problem, link: str) -> int:
    links = [":".join(hop) for hop in problem.hops]
    if link not in links:
        raise UnknownName("link", link, links)
    return links.index(link)


def _range(name: str, span: str, unit: str) -> tuple[float, float]:
    """Both ends in the base unit; the first may leave out its unit where it is that of the second."""
    first, dots, second = span.partition("..")
    if not dots:
        raise PlanError(f"{name}={span} is no range: expected LOW..HIGH, as {_EXAMPLES.get(unit, '0.5..4')}")
    high, stated = parse_amount(second, unit, name)
    return parse_amount(first, unit, name, stated).value, high


def _limited(problem: Problem, name: str, value: float) -> Problem:
    """A tier's memory is limited by what its device has in any case."""
    asked = quantity(name, problem.tier_names, problem.hops)
    if asked.kind != "memory" or asked.index is None:
        return replace(problem, limits={**problem.limits, name: value})
    tiers, tier = list(problem.tiers), problem.tiers[asked.index]
    tiers[asked.index] = replace(tier, memory_limit_bytes=min(int(value), tier.device.memory_bytes))
    others = {limit: most for limit, most in problem.limits.items() if limit != name}
    return replace(problem, tiers=tuple(tiers), limits=others)
