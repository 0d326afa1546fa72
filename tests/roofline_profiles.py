"""Made-up profiles of chains of layers that take what a roofline says."""

import random

from sample_profiles import make_profile

from edgepart.hardware.roofline import roofline_s
from edgepart.testing.graphs import make_graph
from edgepart.testing.hardware import example_device

TRUE = {"peak_macs_per_s": 4e10, "memory_bytes_per_s": 8e9, "call_overhead_s": 2e-5}


def chain(seed, layers=24):
    """A chain of layers, some bound by computing, some by moving bytes."""
    draw = random.Random(seed)
    names = [f"layer{number}" for number in range(layers)]
    sizes = [int(10 ** draw.uniform(3, 6.5)) for _ in names]
    reads = ["x", *names]
    made = [(name, [reads[i]], {name: size}) for i, (name, size) in enumerate(zip(names, sizes, strict=True))]
    weights = {name: {f"{name}.w": int(10 ** draw.uniform(2, 6))} for name in names}
    graph = make_graph(made, {"x": 10**5}, parameters=weights)
    counted = [x.model_copy(update={"macs": int(10 ** draw.uniform(3, 8))}) for x in graph.layers]
    return graph.model_copy(update={"layers": tuple(counted), "name": f"chain{seed}"})


def measured(seed, noise=0.0, true=TRUE, every=3, device=None):
    """A profile whose segments of ``every`` layers take what the roofline says, but for ``noise``."""
    graph, draw = chain(seed), random.Random(seed + 100)
    layer_s = roofline_s(graph, example_device(**true))
    order = [layer.name for layer in graph.layers]
    places = [(start, min(start + every, len(order))) for start in range(0, len(order), every)]
    segments = [
        (start, stop, sum(layer_s[x] for x in order[start:stop]) * draw.lognormvariate(0, noise))
        for start, stop in places
    ]
    profile = make_profile(graph, layer_s, device or example_device("this"), segments)
    whole = profile.end_to_end.model_copy(update={"median_s": sum(one[2] for one in segments)})
    return profile.model_copy(update={"end_to_end": whole})
