"""A Price: what a tier charges for the work it does."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from edgepart.files import Record

#: a GB-second is billed for 2^30 bytes, as the sizes on offer are (128 MB = 1/8 GB)
GB = 2**30


class ServerlessPrice(Record):
    """Pay per use: memory and processor time in steps, plus a fee per request (EdgeLessPart, section III).

    A GB of memory is 2^30 bytes, as providers bill it.
    """

    model: Literal["serverless"]
    name: str
    title: str
    usd_per_gb_s: float = Field(ge=0, allow_inf_nan=False)
    usd_per_ghz_s: float = Field(ge=0, allow_inf_nan=False)
    usd_per_request: float = Field(ge=0, allow_inf_nan=False)
    usd_per_gb_egress: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    #: time is rounded up to a multiple of this
    step_s: float = Field(gt=0, allow_inf_nan=False)
    #: sizes on offer: memory in bytes → processor speed billed, in GHz
    sizes: tuple[tuple[int, float], ...]
    source: str
    note: str = ""

    def smallest(self, needed_bytes: float) -> tuple[int, float] | None:
        """Memory and GHz of the smallest size on offer that holds so much; None: none does."""
        return min((each for each in self.sizes if each[0] >= needed_bytes), default=None)

    def usd_per_s(self, memory_bytes: int, ghz: float) -> float:
        """What a second costs in one of the sizes on offer."""
        return memory_bytes / GB * self.usd_per_gb_s + ghz * self.usd_per_ghz_s

    def billed_s(self, seconds: float) -> float:
        """Seconds rounded up to whole steps."""
        # a quotient that only rounding lifts above a whole number must not cost a step more
        return math.ceil(round(seconds / self.step_s, 9)) * self.step_s

    def egress_usd(self, sent_bytes: float) -> float:
        """What leaving the tier costs."""
        return sent_bytes / GB * self.usd_per_gb_egress


class DimecPrice(Record):
    """DIMEC-DC's abstract costs, in units of λ (section V-D).

    Running one layer costs ``mobile_layer`` on mobile and ``edge_layer`` on the edge; sending a sample on costs
    ``to_edge`` or ``to_cloud``; the cloud charges γ a sample, which the paper never states and the user must give.
    """

    model: Literal["dimec"]
    name: str
    title: str
    mobile_layer: float = Field(ge=0, allow_inf_nan=False)
    edge_layer: float = Field(ge=0, allow_inf_nan=False)
    to_edge: float = Field(ge=0, allow_inf_nan=False)
    to_cloud: float = Field(ge=0, allow_inf_nan=False)
    source: str
    note: str = ""
