"""What a network takes on a device of which only rates are known, computed from its graph: the roofline.

A layer takes as long as its multiply-accumulates at the peak rate or the bytes it moves at the memory's bandwidth,
whichever is longer, and on top what every layer costs (Williams, Waterman and Patterson, "Roofline: an insightful
visual performance model for multicore architectures", Communications of the ACM 52(4), 2009).
"""

from __future__ import annotations

from edgepart.errors import ProfileError
from edgepart.graph import Graph, Layer
from edgepart.hardware.device import Device


def moved_bytes(graph: Graph, layer: Layer) -> int:
    """Bytes that a layer must read and write for one sample: inputs, parameters and what leaves it.

    What it makes and uses up itself stays in caches. A layer without multiply-accumulates that has parameters looks
    some of them up (an embedding) or applies them to its input one by one: of these it reads no more than it writes.
    """
    written = sum(graph.tensor(name).bytes for name in layer.outputs)
    parameters = graph.parameter_bytes([layer.name])
    if not layer.macs and not layer.uncounted:
        parameters = min(parameters, written)
    return sum(graph.tensor(name).bytes for name in layer.inputs) + parameters + written


def roofline_s(graph: Graph, device: Device) -> dict[str, float]:
    """Seconds of every layer on a device that states its roofline, one sample at a time; an estimate.

    Raises:
        ProfileError: the device does not state it.
    """
    peak, bandwidth = device.peak_macs_per_s, device.memory_bytes_per_s
    if peak is None or bandwidth is None:
        raise ProfileError(
            f"the device '{device.name}' states no roofline: add peak_macs_per_s and memory_bytes_per_s to its file"
        )
    overhead_s = device.call_overhead_s or 0.0
    return {
        layer.name: max(layer.macs / peak, moved_bytes(graph, layer) / bandwidth) + overhead_s for layer in graph.layers
    }
