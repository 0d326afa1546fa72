"""A Device: memory, speed and energy, measured or from a data sheet."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from edgepart.files import Record

#: where the figures of a profile file come from
Basis = Literal["measured", "data-sheet"]
#: ``source`` of a machine that a kit measured: its ``macs_per_s`` is that of the measured network itself
FROM_KIT = "edgepart profile --from-kit"


class Device(Record):
    """One kind of machine.

    ``macs_per_s`` is the *effective* rate of batch-1 inference, not a peak: the geometric mean, over the reference
    networks (MobileNetV2, SqueezeNet, ResNet-50), of multiply-accumulates of the whole network / its latency. The same
    networks everywhere make the rates of two devices comparable, which is all they are for (``hardware/scaling.py``);
    runtime and arithmetic stand in ``facts``. Where ``basis`` is ``data-sheet``, ``note`` says what it is instead.

    A device may state its roofline: ``peak_macs_per_s``, ``memory_bytes_per_s`` and ``call_overhead_s``, from a data
    sheet or from ``edgepart profile --calibrate``. Then the latency of a network there is computed from its graph
    (``hardware/roofline.py``), and ``macs_per_s``, which may be left out (the peak), is for exit heads only.
    Calibration adds ``activation_bytes_per_s``, ``grouped_macs_per_s`` and ``fused_share``, with which kinds of layers
    are told apart, and how far off it was on networks that it did not know.
    """

    name: str
    title: str
    #: where it usually stands
    tier: Literal["mobile", "edge", "cloud"]
    memory_bytes: int = Field(gt=0)
    macs_per_s: float = Field(gt=0, allow_inf_nan=False)
    #: multiply-accumulates per second at most, and bytes per second between the memory and the processor
    peak_macs_per_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    memory_bytes_per_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    #: seconds that every layer takes on top; with ``activation_bytes_per_s``, every kernel
    call_overhead_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    #: bytes per second that activations pass at, which stay in caches where parameters do not
    activation_bytes_per_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    #: multiply-accumulates per second of depthwise and grouped convolutions; the peak if left out
    grouped_macs_per_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    #: of the time of element-wise layers that follow a product, what the runtime saves by fusing them into it
    fused_share: float | None = Field(default=None, ge=0, le=1)
    #: errors, as shares, of the measured networks when the calibration did not know them: median and worst, absolute
    left_out_error: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    left_out_worst: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    cores: int = Field(gt=0)
    #: power drawn while it computes, above idle, in watts
    power_w: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    basis: Basis
    #: who measured or published the figures
    source: str
    note: str = ""
    #: facts about the machine that was measured (processor, operating system …)
    facts: dict[str, str | int | float] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _rate_from_peak(cls, value: Any) -> Any:
        if not isinstance(value, dict) or value.get("macs_per_s") is not None or value.get("peak_macs_per_s") is None:
            return value
        peak = value["peak_macs_per_s"]
        # a peak that is no rate is refused itself, and need not be refused twice
        is_rate = isinstance(peak, int | float) and 0 < peak < math.inf
        return value | {"macs_per_s": peak if is_rate else 1.0}

    @model_validator(mode="after")
    def _whole_roofline(self) -> Self:
        given = (self.peak_macs_per_s, self.memory_bytes_per_s, self.call_overhead_s, self.activation_bytes_per_s)
        if any(one is not None for one in given) and None in given[:2]:
            missing = "peak_macs_per_s" if self.peak_macs_per_s is None else "memory_bytes_per_s"
            raise ValueError(
                f"a roofline needs peak_macs_per_s and memory_bytes_per_s: add {missing} or leave the others out"
            )
        if self.activation_bytes_per_s is None and (self.grouped_macs_per_s, self.fused_share) != (None, None):
            raise ValueError(
                "grouped_macs_per_s and fused_share go with activation_bytes_per_s: add it, or leave the others out"
            )
        return self

    @property
    def is_analytic(self) -> bool:
        """Whether latencies there are computed from its roofline."""
        return self.peak_macs_per_s is not None
