"""What can be minimised and limited: one name for each quantity that a placement has.

| name | unit | what |
|---|---|---|
| ``latency`` | s | expected over all samples, exits taken into account |
| ``full-latency`` | s | of a sample that takes no exit |
| ``energy``, ``TIER.energy`` | J | expected: computing, and sending what leaves the tier |
| ``money``, ``TIER.money`` | USD | expected: what the tier's price bills for a sample |
| ``period`` | s | between two answers when all tiers and links work at once: the busiest one's time for a sample |
| ``TIER.memory`` | bytes | parameters, heads, peak activations, and what the runtime takes |
| ``TIER.exits`` | | exits that the tier holds |
| ``LOWER:UPPER.bytes`` | bytes | that a sample which crosses the link sends up |
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from edgepart.errors import PlanError, UnknownName

Kind = Literal["latency", "full-latency", "energy", "money", "period", "memory", "exits", "bytes"]
UNITS: dict[Kind, str] = {
    "latency": "s",
    "full-latency": "s",
    "energy": "J",
    "money": "USD",
    "period": "s",
    "memory": "bytes",
    "exits": "",
    "bytes": "bytes",
}
#: that make sense for the whole placement, for one tier, and for one link
WHOLE: tuple[Kind, ...] = ("latency", "full-latency", "energy", "money", "period")
OF_A_TIER: tuple[Kind, ...] = ("memory", "exits", "energy", "money")
OF_A_LINK: tuple[Kind, ...] = ("bytes",)


@dataclass(frozen=True)
class Quantity:
    """A kind of quantity, of the whole placement, of tier ``index``, or of the link of that number."""

    kind: Kind
    index: int | None = None

    @property
    def unit(self) -> str:
        return UNITS[self.kind]


def quantity(text: str, tiers: Sequence[str], hops: Iterable[tuple[str, str]] | None = None) -> Quantity:
    """``latency``, ``mobile.energy`` or ``mobile:edge.bytes``, among tiers of these names.

    Args:
        hops: the tiers that every link joins; None: each tier and the next

    Raises:
        UnknownName: no such quantity, tier or link; lists the nearest names.
        PlanError: a tier's or a link's without the tier or link.
    """
    where, dot, kind = text.rpartition(".")
    if not dot:
        _require_whole(text, tiers)
        return Quantity(_known("quantity", text, WHOLE))
    if ":" in where:
        joined = itertools.pairwise(tiers) if hops is None else hops
        links = {f"{lower}:{upper}": index for index, (lower, upper) in enumerate(joined)}
        if where not in links:
            raise UnknownName("link", where, links)
        return Quantity(_known("quantity of a link", kind, OF_A_LINK), links[where])
    if where not in tiers:
        if where in UNITS and (kind in tiers or ":" in kind):
            raise PlanError(f"'{text}' names the quantity before what it is of: write {kind}.{where}")
        raise UnknownName("tier", where, tiers)
    return Quantity(_known("quantity of a tier", kind, OF_A_TIER), list(tiers).index(where))


def unit(name: str) -> str:
    """The unit of a quantity whose name was checked, whatever its tier or link."""
    return UNITS[_known("quantity", name.rpartition(".")[2], tuple(UNITS))]


def spoken(name: str) -> str:
    """A quantity by the name that people give it."""
    return "throughput" if name == "period" else name


def _require_whole(text: str, tiers: Sequence[str]) -> None:
    """Check that what only tiers or links have is not asked for of the whole."""
    if text in (*OF_A_TIER, *OF_A_LINK) and text not in WHOLE:
        whose, example = ("tier", tiers[0]) if text in OF_A_TIER else ("link", "LOWER:UPPER")
        raise PlanError(f"'{text}' is counted for every {whose}: say for which, as {example}.{text}")


def _known(what: str, kind: str, kinds: tuple[Kind, ...]) -> Kind:
    if kind not in kinds:
        raise UnknownName(what, kind, map(spoken, kinds))
    return kind
