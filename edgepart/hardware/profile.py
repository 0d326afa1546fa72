"""The Profile: what a network costs on one device, layer by layer and segment by segment."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from pydantic import Field, model_validator

from edgepart.files import Document, Record
from edgepart.graph import Graph
from edgepart.hardware.device import Device

if TYPE_CHECKING:
    from edgepart.hardware.part_times import PartTimes


class Measurement(Record):
    """Repeated timings of one thing, in seconds."""

    median_s: float = Field(ge=0, allow_inf_nan=False)
    #: distance between the quartiles: the spread
    spread_s: float = Field(ge=0, allow_inf_nan=False)
    runs: int = Field(ge=1)

    def times(self, factor: float) -> Self:
        """The same with all seconds multiplied."""
        return type(self)(median_s=self.median_s * factor, spread_s=self.spread_s * factor, runs=self.runs)


class LayerProfile(Record):
    """One layer on the device, one sample. ``latency`` is the layer run alone."""

    name: str
    latency: Measurement
    macs: int = Field(ge=0)
    parameter_bytes: int = Field(ge=0)
    activation_bytes: int = Field(ge=0)


class Segment(Record):
    """The layers ``start`` … ``stop - 1`` of the topological order, run as one piece as they will be deployed."""

    start: int
    stop: int
    latency: Measurement
    macs: int = Field(ge=0)
    parameter_bytes: int = Field(ge=0)
    activation_bytes: int = Field(ge=0)


class Cut(Record):
    """Both parts of the network cut after ``position`` layers of the topological order, each run as one piece.

    They were timed in turn with the whole network, and the figures are relative to it: times the end-to-end time.
    """

    position: int = Field(ge=1)
    before: Measurement
    after: Measurement


class Middle(Record):
    """The layers ``start`` … ``stop - 1`` between two cuts, run as one piece; relative to the whole as in a cut."""

    start: int = Field(ge=1)
    stop: int
    latency: Measurement


class PartMemory(Record):
    """Resident memory of a process that does nothing but run one part, the layers ``start`` … ``stop - 1``.

    Attributes:
        resident_bytes: with the part opened, before an inference
        peak_bytes: the most during an inference
        parameter_bytes: of the part
        predicted_activation_bytes: most at once, from the lifetimes of the tensors
    """

    start: int = Field(ge=0)
    stop: int = Field(ge=1)
    resident_bytes: int = Field(ge=0)
    peak_bytes: int = Field(ge=0)
    parameter_bytes: int = Field(ge=0)
    predicted_activation_bytes: int = Field(ge=0)

    @property
    def activation_bytes(self) -> int:
        """What an inference takes on top of the opened part."""
        return max(0, self.peak_bytes - self.resident_bytes)

    @property
    def difference_bytes(self) -> int:
        """Activations measured less predicted."""
        return self.activation_bytes - self.predicted_activation_bytes

    @property
    def runtime_bytes(self) -> int:
        """What the process takes beyond parameters and predicted activations: the runtime, and copies that it makes."""
        return max(0, self.peak_bytes - self.parameter_bytes - self.predicted_activation_bytes)


class Load(Record):
    """What else the machine was doing: CPU use of other processes, in cores, sampled while measuring."""

    mean_cores: float = Field(ge=0)
    maximum_cores: float = Field(ge=0)


class PartLatency(NamedTuple):
    """What a part takes for one sample, and whether this very part was measured; else it is interpolated."""

    seconds: float
    measured: bool


class Profile(Document):
    """A graph measured on a device. Segments follow one another and cover every layer.

    ``cuts``, ``middles``, ``wake_up`` and ``memory`` are empty in a profile that was measured without them;
    ``memory_note`` says why.
    """

    kind: ClassVar[str] = "profile"

    graph: Graph
    device: Device
    runtime: str
    runtime_version: str
    threads: int = Field(ge=1)
    layers: tuple[LayerProfile, ...]
    segments: tuple[Segment, ...]
    end_to_end: Measurement
    machine_load: Load
    cuts: tuple[Cut, ...] = ()
    middles: tuple[Middle, ...] = ()
    #: what a part takes longer on a sample after waiting for the others, or for the next one, than straight after one
    wake_up: Measurement | None = None
    memory: tuple[PartMemory, ...] = ()
    memory_note: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        expected = [layer.name for layer in self.graph.layers]
        if [layer.name for layer in self.layers] != expected:
            raise ValueError("the measured layers are not those of the graph")
        reached = 0
        for segment in (*self.segments, None):
            start = segment.start if segment else len(expected)
            if start != reached or (segment and not start < segment.stop <= len(expected)):
                raise ValueError(
                    "the segments do not cover the layers one after another (after the first "
                    f"{reached} of {len(expected)}): profile the network again"
                )
            reached = segment.stop if segment else reached
        positions = [0, *(cut.position for cut in self.cuts), len(expected)]
        if positions != sorted(set(positions)):
            raise ValueError("the cuts do not lie one after another inside the network")
        if any(not one.start < one.stop < len(expected) for one in self.middles):
            raise ValueError("a middle part that was measured does not lie inside the network")
        if any(not one.start < one.stop <= len(expected) for one in self.memory):
            raise ValueError("a part whose memory was measured does not lie inside the network")
        return self

    @property
    def segment_sum_s(self) -> float:
        """Sum of the segments' medians; what it differs from :attr:`end_to_end` is the error of adding up."""
        return sum(segment.latency.median_s for segment in self.segments)

    @property
    def runtime_bytes(self) -> int | None:
        """Memory that the runtime takes beyond parameters and activations: the most of the parts that were measured.

        None where memory was not measured.
        """
        return max((one.runtime_bytes for one in self.memory), default=None)

    @property
    def part_overhead_s(self) -> float:
        """Seconds that every part costs on top of its layers (:meth:`layer_latency_s`); 0 without cuts."""
        return self._part_times.additive()[1] if self._part_times else 0.0

    @property
    def wake_up_s(self) -> float:
        """Seconds that every part costs on top when it has waited; 0 where that was not measured."""
        return self.wake_up.median_s if self.wake_up else 0.0

    def layer_latency_s(self) -> dict[str, float]:
        """Layer → seconds, of which the sum over any part and :attr:`part_overhead_s` comes as near as a sum can.

        With :attr:`cuts` they and the overhead sum to the time of the whole. Without, the layers of each segment sum to
        what the segment took: layers timed alone do not add up (they miss or repeat the framework's overhead), so
        the segment is the measurement and the layers say how it divides.
        """
        if self._part_times:
            seconds = self._part_times.additive()[0]
            return {layer.name: float(one) for layer, one in zip(self.layers, seconds, strict=True)}
        return self._within_segments

    def part_latency_s(self, layers: Iterable[str]) -> PartLatency:
        """What some layers take as one part.

        Measured are the whole, both sides of each of :attr:`cuts`, and :attr:`middles`; other parts are interpolated
        from these and from segments (:mod:`edgepart.hardware.part_times`), which were timed while the network ran.
        Without cuts segments are taken as they were timed, and other parts are the sum of their layers.

        Raises:
            UnknownName: a name is not a layer of the graph.
        """
        inside = frozenset(layers)
        positions = sorted(self.graph.position[self.graph.layer(name).name] for name in inside)
        if not positions:
            return PartLatency(0.0, measured=True)
        start, stop = positions[0], positions[-1] + 1
        if stop - start == len(positions) and (start, stop) in self._parts_s:
            return PartLatency(self._parts_s[start, stop], measured=True)
        if self._part_times:
            return PartLatency(self._part_times.seconds(inside), measured=False)
        latency = self._within_segments
        return PartLatency(sum(latency[name] for name in inside), measured=False)

    @cached_property
    def _within_segments(self) -> dict[str, float]:
        scaled: dict[str, float] = {}
        for segment in self.segments:
            inside = self.layers[segment.start : segment.stop]
            alone = sum(layer.latency.median_s for layer in inside)
            for layer in inside:
                share = layer.latency.median_s / alone if alone else 1 / len(inside)
                scaled[layer.name] = segment.latency.median_s * share
        return scaled

    @cached_property
    def _parts_s(self) -> dict[tuple[int, int], float]:
        """(start, stop) of every part that was measured → seconds."""
        count, middles = len(self.layers), self.middles if self.cuts else self.segments
        found = {(one.start, one.stop): one.latency.median_s for one in middles}
        for cut in self.cuts:
            found[0, cut.position] = cut.before.median_s
            found[cut.position, count] = cut.after.median_s
        return found | {(0, count): self.end_to_end.median_s}

    @cached_property
    def _part_times(self) -> PartTimes | None:
        whole_s = self.end_to_end.median_s
        if not self.cuts or not whole_s:
            return None
        from edgepart.hardware.part_times import PartTimes

        *parts, _ = ((*place, seconds) for place, seconds in self._parts_s.items())
        segments = [(one.start, one.stop, one.latency.median_s) for one in self.segments]
        return PartTimes(self.graph, list(self._within_segments.values()), segments, parts, whole_s)
