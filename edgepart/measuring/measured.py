"""What running a bundle's parts took, beside what was predicted: ``measured.json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import Field

from edgepart.files import Document, Record
from edgepart.hardware import Load
from edgepart.measuring.link_fit import Estimate
from edgepart.partitioning.plan import Deployment


class Comparison(Record):
    """A prediction and what was measured; ``error`` is (predicted - measured) / measured, of the median."""

    predicted: float | None = None
    measured: Estimate
    error: float | None = None

    @classmethod
    def of(cls, predicted: float | None, values: Sequence[float]) -> Self | None:
        """Of the values of repeated runs; None of none."""
        if not values:
            return None
        found = Estimate.of(values)
        known = predicted is not None and found.median > 0
        return cls(
            predicted=predicted,
            measured=found,
            error=(predicted - found.median) / found.median if predicted is not None and known else None,
        )


class PartMeasured(Record):
    """The process of one tier."""

    tier: str
    runtime: str
    runtime_version: str
    precision: str
    #: it was pinned to; None: wherever the system put it
    cores: tuple[int, ...] | None = None
    #: what its prediction rests on
    basis: str
    #: seconds of a sample through all stages of the part, its heads included; None: no sample went so far
    compute_s: Comparison | None = None
    #: the same when the part is run over and over on one sample, as a profile is measured: other parts, waiting and
    #: cold caches are not in it
    alone_s: Comparison | None = None
    #: most bytes in use while it opens and runs, above what its process needs with the runtime alone; predicted are
    #: parameters, heads and activations
    memory_bytes: Comparison | None = None
    #: what the process needs with the runtime alone
    runtime_bytes: int | None = None


class HopMeasured(Record):
    """What went from a tier to the next one, and back."""

    source: str
    target: str
    #: name of the link that the relay was set to; None: loopback as it is
    link: str | None = None
    #: predicted is what the tensors hold, measured the whole frame
    sent_bytes: Comparison | None = None
    #: until the answer was back, less what the parts and hops from the target on took
    transfer_s: Comparison | None = None


class ExitMeasured(Record):
    """The samples that left at one exit, and how long after they entered their answer was back at the first tier."""

    name: str
    tier: str
    samples: int = Field(ge=0)
    latency_s: Comparison | None = None


class Measured(Document):
    """Predicted against measured, per part, per link and end to end."""

    kind: ClassVar[str] = "measured"

    network: str
    fingerprint: str
    deployment: Deployment
    date: str
    processor: str
    samples: str
    runs: int
    threads: int
    #: of confidence, at which samples left, or exit → its own; None: all went through the whole network
    threshold: float | dict[str, float] | None = None
    parts: tuple[PartMeasured, ...]
    hops: tuple[HopMeasured, ...]
    exits: tuple[ExitMeasured, ...]
    #: from a sample's entering at the first tier to its answer there
    latency_s: Comparison
    machine_load: Load
    #: what has to be known to read the figures
    remarks: tuple[str, ...] = ()
