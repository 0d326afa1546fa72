"""A Device: memory, speed and energy, measured or from a data sheet."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgepart.files import Record

#: where the figures of a profile file come from
Basis = Literal["measured", "data-sheet"]


class Device(Record):
    """One kind of machine.

    ``macs_per_s`` is the *effective* rate of batch-1 inference, not a peak: the geometric mean, over the reference
    networks (MobileNetV2, SqueezeNet, ResNet-50), of multiply-accumulates of the whole network / its latency. The same
    networks everywhere make the rates of two devices comparable, which is all they are for (``hardware/scaling.py``);
    runtime and arithmetic stand in ``facts``. Where ``basis`` is ``data-sheet``, ``note`` says what it is instead.
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
