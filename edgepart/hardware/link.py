"""A Link: how fast and at what cost bytes travel between two tiers."""

from __future__ import annotations

from pydantic import Field

from edgepart.files import Record
from edgepart.hardware.device import Basis


class Link(Record):
    """One kind of connection, seen from the lower tier (up is towards the cloud)."""

    name: str
    title: str
    up_bits_per_s: float = Field(gt=0, allow_inf_nan=False)
    down_bits_per_s: float = Field(gt=0, allow_inf_nan=False)
    round_trip_s: float = Field(ge=0, allow_inf_nan=False)
    #: energy the sender spends per byte
    energy_j_per_byte: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    basis: Basis
    source: str
    note: str = ""

    def transfer_s(self, size_bytes: float) -> float:
        """Seconds to send a request of ``size_bytes`` up and have the (small) answer back: one round trip more.

        Nothing sent takes no time.
        """
        return self.round_trip_s + 8 * size_bytes / self.up_bits_per_s if size_bytes > 0 else 0.0
