"""A hand-made profile of a chain of layers."""

from edgepart.graph import Graph, Layer, Tensor
from edgepart.hardware import Device, LayerProfile, Load, Measurement, Profile, Segment


def measured(seconds):
    return Measurement(median_s=seconds, spread_s=seconds / 10, runs=10)


def chain(names):
    made = ["input", *names]
    tensors = [
        Tensor(
            name=name,
            shape=("batch", 4),
            dtype="float32",
            bytes=16,
            producer=name if place else None,
            consumers=tuple(made[place + 1 : place + 2]),
            feature=place > 0,
        )
        for place, name in enumerate(made)
    ]
    layers = [
        Layer(name=name, module=name, kind="Linear", ops=("linear",), inputs=(made[place],), outputs=(name,))
        for place, name in enumerate(names)
    ]
    return Graph(
        name="chain",
        framework="fake",
        symbols={"batch": 1},
        layers=tuple(layers),
        tensors=tuple(tensors),
        inputs=("input",),
        outputs=(names[-1],),
        parameters={},
    )


def device(name="this", macs_per_s=1e9, **fields):
    default = {"title": name, "tier": "edge", "memory_bytes": 10**9, "cores": 4, "basis": "measured", "source": "test"}
    return Device(name=name, macs_per_s=macs_per_s, **(default | fields))


def profile(alone_s, segments, on=None):
    """``alone_s`` maps layer → seconds alone; ``segments`` lists (start, stop, seconds)."""
    return Profile(
        graph=chain(list(alone_s)),
        device=on or device(),
        runtime="fake",
        runtime_version="1",
        threads=1,
        layers=tuple(
            LayerProfile(name=name, latency=measured(s), macs=100, parameter_bytes=0, activation_bytes=16)
            for name, s in alone_s.items()
        ),
        segments=tuple(
            Segment(start=a, stop=b, latency=measured(s), macs=100, parameter_bytes=0, activation_bytes=16)
            for a, b, s in segments
        ),
        end_to_end=measured(sum(s for _, _, s in segments) * 1.1),
        machine_load=Load(mean_cores=0.1, maximum_cores=0.5),
    )
