"""The Profile: what a network costs on one device, layer by layer and segment by segment."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from edgepart.files import Document, Record
from edgepart.graph import Graph
from edgepart.hardware.device import Device


class Measurement(Record):
    """Repeated timings of one thing, in seconds."""

    median_s: float = Field(ge=0)
    #: distance between the quartiles: the spread
    spread_s: float = Field(ge=0)
    runs: int = Field(ge=1)


class LayerProfile(Record):
    """One layer on the device, one sample. ``latency`` is the layer run alone."""

    name: str
    latency: Measurement
    macs: int
    parameter_bytes: int
    activation_bytes: int


class Segment(Record):
    """The layers ``start`` … ``stop - 1`` of the topological order, run as one piece as they will be deployed."""

    start: int
    stop: int
    latency: Measurement
    macs: int
    parameter_bytes: int
    activation_bytes: int


class Load(Record):
    """What else the machine was doing: CPU use of other processes, in cores, sampled while measuring."""

    mean_cores: float
    maximum_cores: float


class Profile(Document):
    """A graph measured on a device. Segments follow one another and cover every layer."""

    kind: ClassVar[str] = "profile"

    graph: Graph
    device: Device
    runtime: str
    runtime_version: str
    threads: int
    layers: tuple[LayerProfile, ...]
    segments: tuple[Segment, ...]
    end_to_end: Measurement
    machine_load: Load

    @model_validator(mode="after")
    def _check(self) -> Self:
        expected = [layer.name for layer in self.graph.layers]
        if [layer.name for layer in self.layers] != expected:
            raise ValueError("the measured layers are not those of the graph")
        ends = [0, *(segment.stop for segment in self.segments)]
        if ends[-1] != len(expected) or [segment.start for segment in self.segments] != ends[:-1]:
            raise ValueError("the segments do not cover the layers one after another")
        return self

    @property
    def segment_sum_s(self) -> float:
        """Sum of the segments' medians; what it differs from :attr:`end_to_end` is the error of adding up."""
        return sum(segment.latency.median_s for segment in self.segments)

    def layer_latency_s(self) -> dict[str, float]:
        """Layer → seconds, scaled within each segment so that its layers sum to what the segment took.

        Layers timed alone do not add up to the time of the whole (they miss or repeat the framework's overhead), so
        the segment is the measurement and the layers say how it divides.
        """
        scaled: dict[str, float] = {}
        for segment in self.segments:
            inside = self.layers[segment.start : segment.stop]
            alone = sum(layer.latency.median_s for layer in inside)
            for layer in inside:
                share = layer.latency.median_s / alone if alone else 1 / len(inside)
                scaled[layer.name] = segment.latency.median_s * share
        return scaled
