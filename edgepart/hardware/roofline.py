"""What a network takes on a device of which only rates are known, computed from its graph: the roofline.

A layer takes as long as its multiply-accumulates at the peak rate or the bytes it moves at the memory's bandwidth,
whichever is longer, and on top what every layer costs (Williams, Waterman and Patterson, "Roofline: an insightful
visual performance model for multicore architectures", Communications of the ACM 52(4), 2009).

A device that was calibrated states more (:attr:`Device.activation_bytes_per_s`), and layers are told apart by
:mod:`edgepart.hardware.kernels`. Activations pass at a rate of their own, for they stay in caches; parameters come from
memory, and computing waits for them; depthwise and grouped convolutions have a rate of their own; what the runtime
fuses costs less, and only kernels have an overhead.
"""

from __future__ import annotations

from edgepart.errors import ProfileError
from edgepart.graph import Graph, Layer
from edgepart.hardware.device import Device
from edgepart.hardware.kernels import Kernel, kernels, read_parameter_bytes


def moved_bytes(graph: Graph, layer: Layer) -> int:
    """Bytes that a layer must read and write for one sample: inputs, parameters and what leaves it.

    What it makes and uses up itself stays in caches; of parameters that are looked up, only those count.
    """
    activations = sum(graph.tensor(name).bytes for name in (*layer.inputs, *layer.outputs))
    return activations + read_parameter_bytes(graph, layer)


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
    overhead_s, caches = device.call_overhead_s or 0.0, device.activation_bytes_per_s
    if caches is None:
        return {
            layer.name: max(layer.macs / peak, moved_bytes(graph, layer) / bandwidth) + overhead_s
            for layer in graph.layers
        }

    def kernel_s(kernel: Kernel) -> float:
        rate = (device.grouped_macs_per_s or peak) if kernel.is_grouped else peak
        spent = max(kernel.macs / rate, kernel.activation_bytes / caches) + kernel.parameter_bytes / bandwidth
        paid = 1.0 if kernel.joins is None else 1.0 - (device.fused_share or 0.0)
        return 0.0 if kernel.is_view else (spent + overhead_s) * paid

    return {layer.name: kernel_s(kernel) for layer, kernel in zip(graph.layers, kernels(graph), strict=True)}
