"""Published latencies of whole networks on the catalogue's devices, predicted by rates and by scaling.

    EDGEPART_DATA=... python benchmarks/published_rates.py [-o benchmarks/results/published_rates.json]

ncnn's benchmark publishes latencies of the same networks on every device of the catalogue
(``benchmarks/device_catalogue.py``). Of those whose graph can be made here, each that is no reference network is
predicted on every device in three ways, judged as a factor (1.5: half as much again, or a third less):

- ``rate``: its multiply-accumulates over the device's effective rate,
- ``transfer``: its latency on another device of the same kind (processor or GPU) times the ratio of the two rates,
- ``calibrated``: from its graph, by the rates that ``edgepart profile --calibrate`` fits to the same three reference
  networks on the device, of each of which only the latency as a whole is known.

``left_out`` is the last with the fit to all other networks instead of three.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import calibration
import device_catalogue as published
import numpy as np
import predicted

from edgepart.files import write_json
from edgepart.frameworks import framework_of
from edgepart.graph import Graph
from edgepart.hardware import LayerProfile, Load, Measurement, Profile, Segment, catalogue
from edgepart.hardware.calibration import calibrate
from edgepart.hardware.roofline import roofline_s


def keras_network(name: str) -> tuple[object, object]:
    import keras

    return getattr(keras.applications, name)(weights=None), np.zeros((2, 224, 224, 3), np.float32)


def onnx_network(name: str) -> tuple[object, object]:
    return predicted.load(f"onnx/{name}")


#: ncnn's name → a network with nearly its multiply-accumulates
NETWORKS: dict[str, Callable[[], tuple[object, object]]] = {
    "mobilenet": lambda: keras_network("MobileNet"),
    "mobilenet_v2": lambda: keras_network("MobileNetV2"),
    "mobilenet_v3": lambda: keras_network("MobileNetV3Large"),
    "efficientnet_b0": lambda: keras_network("EfficientNetB0"),
    "vgg16": lambda: keras_network("VGG16"),
    "resnet50": lambda: keras_network("ResNet50"),
    "resnet18": predicted.TORCH["resnet18"],
    "regnety_400m": calibration.NETWORKS["regnet_y"],
    "squeezenet": lambda: onnx_network("light_squeezenet"),
    "googlenet": lambda: onnx_network("light_inception_v1"),
    "alexnet": lambda: onnx_network("light_bvlc_alexnet"),
    "shufflenet": lambda: onnx_network("light_shufflenet"),
    "shufflenet_v2": lambda: onnx_network("exported_shufflenet_v2_x1_0"),
}
#: multiply-accumulates may differ from ncnn's by this factor; another width or version is left out
ALIKE = 1.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results/published_rates.json")
    given = parser.parse_args()
    data = Path(os.environ["EDGEPART_DATA"])
    graphs, unlike = {}, {}
    for name, make in NETWORKS.items():
        network, example = make()
        graph = framework_of(network).program(network, example).graph
        ratio = sum(layer.macs for layer in graph.layers) / (published.NCNN_MMACS[name] * 1e6)
        print(f"{name:18}{ratio:6.2f} of the published multiply-accumulates")
        if 1 / ALIKE < ratio < ALIKE:
            graphs[name] = graph
        else:
            unlike[name] = round(ratio, 2)
    latencies = {
        name: published.best_setting(data, title)["latency_s"] for name, title in published.NCNN_DEVICES.items()
    }
    devices = {name: errors(name, latencies, graphs) for name in latencies}
    for name, found in devices.items():
        print(f"{name:18}" + "".join(f"  {way} {both['median_factor']}" for way, both in found.items()))
    kinds = {"processors": [x for x in latencies if x not in published.GPUS], "gpus": list(published.GPUS)}
    write_json(
        given.output,
        published.about_this_run()
        | {
            "networks": sorted(graphs),
            "unlike": unlike,
            "devices": devices,
            **{kind: together(names, latencies, graphs) for kind, names in kinds.items()},
        },
    )


Latencies = Mapping[str, Mapping[str, float]]


def errors(name: str, latencies: Latencies, graphs: Mapping[str, Graph]) -> dict[str, dict[str, float]]:
    """Way → its errors on one device."""
    return {way: published.summary(factors) for way, factors in ways(name, latencies, graphs).items()}


def together(names: Iterable[str], latencies: Latencies, graphs: Mapping[str, Graph]) -> dict[str, dict[str, float]]:
    found = [ways(name, latencies, graphs) for name in names]
    return {way: published.summary(factor for one in found for factor in one[way]) for way in found[0]}


def ways(name: str, latencies: Latencies, graphs: Mapping[str, Graph]) -> dict[str, list[float]]:
    here = latencies[name]
    judged = [one for one in graphs if one not in published.REFERENCES]
    alike = [x for x in latencies if x != name and (x in published.GPUS) == (name in published.GPUS)]
    rates = {x: published.rate(latencies[x]) for x in (name, *alike)}
    fitted = predictor(name, here, [graphs[one] for one in published.REFERENCES], published.REFERENCES)
    left_out = {
        one: predictor(name, here, [graphs[x] for x in graphs if x != one], [x for x in graphs if x != one])
        for one in judged
    }
    return {
        "rate": [published.NCNN_MMACS[one] * 1e6 / rates[name] / here[one] for one in judged],
        "transfer": [latencies[x][one] * rates[x] / rates[name] / here[one] for x in alike for one in judged],
        "calibrated": [fitted(graphs[one]) / here[one] for one in judged],
        "left_out": [left_out[one](graphs[one]) / here[one] for one in judged],
    }


def predictor(
    device: str, latency_s: Mapping[str, float], graphs: Iterable[Graph], names: Iterable[str]
) -> Callable[[Graph], float]:
    rates = calibrate([as_profile(device, graph, latency_s[one]) for graph, one in zip(graphs, names, strict=True)])
    there = catalogue.device(device).model_copy(update=rates.rates)
    return lambda graph: sum(roofline_s(graph, there).values())


def as_profile(device: str, graph: Graph, latency_s: float) -> Profile:
    """What a profile would be of which nothing but the time of the whole is known."""
    time = Measurement(median_s=latency_s, spread_s=0, runs=1)
    sizes = {"macs": 0, "parameter_bytes": 0, "activation_bytes": 0}
    count = len(graph.layers)
    return Profile(
        graph=graph,
        device=catalogue.device(device),
        runtime="ncnn",
        runtime_version="",
        threads=1,
        layers=tuple(LayerProfile(name=x.name, latency=time.times(1 / count), **sizes) for x in graph.layers),
        segments=(Segment(start=0, stop=count, latency=time, **sizes),),
        end_to_end=time,
        machine_load=Load(mean_cores=0, maximum_cores=0),
    )


if __name__ == "__main__":
    main()
