"""A Price: what a tier charges for the work it does."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgepart.files import Record


class ServerlessPrice(Record):
    """Pay per use: memory and processor time in steps, plus a fee per request (EdgeLessPart, section III).

    A GB of memory is 2^30 bytes, as providers bill it.
    """

    model: Literal["serverless"]
    name: str
    title: str
    usd_per_gb_s: float = Field(ge=0)
    usd_per_ghz_s: float = Field(ge=0)
    usd_per_request: float = Field(ge=0)
    usd_per_gb_egress: float = Field(default=0.0, ge=0)
    #: time is rounded up to a multiple of this
    step_s: float = Field(gt=0)
    #: sizes on offer: memory in bytes → processor speed billed, in GHz
    sizes: tuple[tuple[int, float], ...]
    source: str
    note: str = ""


class DimecPrice(Record):
    """DIMEC-DC's abstract costs, in units of λ (section V-D).

    Running one layer costs ``mobile_layer`` on mobile and ``edge_layer`` on the edge; sending a sample on costs
    ``to_edge`` or ``to_cloud``; the cloud charges γ a sample, which the paper never states and the user must give.
    """

    model: Literal["dimec"]
    name: str
    title: str
    mobile_layer: float = Field(ge=0)
    edge_layer: float = Field(ge=0)
    to_edge: float = Field(ge=0)
    to_cloud: float = Field(ge=0)
    source: str
    note: str = ""


Price = Annotated[ServerlessPrice | DimecPrice, Field(discriminator="model")]
