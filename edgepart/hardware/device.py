"""A Device: memory, speed and energy, measured or from a data sheet."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgepart.files import Record

#: where the figures of a profile file come from
Basis = Literal["measured", "data-sheet"]


class Device(Record):
    """One kind of machine.

    ``macs_per_s`` is the *effective* rate of batch-1 float32 inference (multiply-accumulates of a whole network
    divided by its latency), not the peak of the data sheet, unless ``basis`` says ``data-sheet``.
    """

    name: str
    title: str
    #: where it usually stands
    tier: Literal["mobile", "edge", "cloud"]
    memory_bytes: int = Field(gt=0)
    macs_per_s: float = Field(gt=0)
    cores: int = Field(gt=0)
    #: power drawn while it computes, above idle, in watts
    power_w: float | None = Field(default=None, gt=0)
    basis: Basis
    #: who measured or published the figures
    source: str
    note: str = ""
    #: facts about the machine that was measured (processor, operating system …)
    facts: dict[str, str | int | float] = Field(default_factory=dict)
