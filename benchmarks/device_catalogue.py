"""Recompute every measured figure under ``profiles/`` from published measurements, and say how far off scaling is.

    EDGEPART_DATA=... python benchmarks/device_catalogue.py [-o result.json]

*Devices.* ncnn's benchmark publishes latencies of batch-1 networks on many devices. The effective rate of a device is
the geometric mean of multiply-accumulates / latency over three reference networks (MobileNetV2, SqueezeNet, ResNet-50),
the same that ``edgepart profile`` runs on ``this``. The least of a run's latencies is taken, because some averages hold
an outlier of several times the rest; the result says how far the averages lie above. Of a device's published settings
(threads, GPU) the fastest is taken.

*Errors.* Ways to carry a latency to a device that was not measured, each judged on the twelve networks that are no
reference, as a factor (1.5: half as much again, or a third less):

- ``transfer``: the network's latency on another device times the ratio of the two rates. This is what edgepart does
  (``edgepart/hardware/scaling.py``). Within one runtime (ncnn on both) and across runtimes (from Keras, Scission's
  measurements, to ncnn; there the references are MobileNetV2 and ResNet-50, the networks MobileNet and VGG-16).
- ``rate``: multiply-accumulates / rate of the device, for comparison: it needs no measurement of the network at all.
- ``share``: how a network's latency divides over its layers, carried from one device to another (Scission's blocks,
  Keras): the largest difference of the share that a prefix of the blocks takes.

*Errors per device* of the catalogue (``carried``): each of the twelve networks carried to the device from every other
one of the catalogue, against what is published for it. The device's rate is that of the catalogue, so this judges the
rule with the figures that edgepart ships. For comparison, the same onto the benchmark's other devices, each at its own
rate (``other_devices``); and onto the one device that another publisher measured under another runtime (``keras``).
Nothing published has power or energy of these devices, nor reference networks beside transformers (``devices/hat``),
and microcontrollers (``devices/mlperf_tiny_v1.2.csv``) are not in the catalogue.

*Links.* Medians of speed tests and of throughput traces; see ``links``.
"""

from __future__ import annotations

import argparse
import csv
import functools
import gzip
import itertools
import math
import os
import platform
import socket
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgepart.files import write_json
from edgepart.hardware import catalogue
from edgepart.profiling.machine import processor

#: multiply-accumulates of convolutions and fully connected layers, in millions, counted from the definitions that the
#: benchmark runs (Tencent/ncnn, benchmark/models/*.param); they differ a little from torchvision's networks
NCNN_MMACS = {
    "alexnet": 724,
    "efficientnet_b0": 386,
    "googlenet": 1583,
    "mnasnet": 314,
    "mobilenet": 569,
    "mobilenet_v2": 314,
    "mobilenet_v3": 246,
    "proxylessnasnet": 336,
    "regnety_400m": 402,
    "resnet18": 1827,
    "resnet50": 3858,
    "shufflenet": 127,
    "shufflenet_v2": 145,
    "squeezenet": 418,
    "vgg16": 15470,
}

#: the networks that a device's rate is taken over
REFERENCES = ("mobilenet_v2", "squeezenet", "resnet50")

#: networks of keras.applications that ncnn's benchmark also has (multiply-accumulates differ by 4 % at most)
KERAS_TO_NCNN = {"mobilenet": "mobilenet", "mobilenetv2": "mobilenet_v2", "resnet50": "resnet50", "vgg16": "vgg16"}

#: device of the catalogue → the device's title in ncnn's benchmark
NCNN_DEVICES = {
    "raspberry-pi-4": "Raspberry Pi 4 Model B Broadcom BCM2711B0, Cortex-A72 (ARMv8) (1.8GHz x 4)",
    "raspberry-pi-5": "Raspberry Pi 5 Broadcom BCM2712, Cortex-A76 (ARMv8) (2.4GHz x 4)",
    "jetson-orin-nano": "NVIDIA Jetson Orin Nano",
    "phone": "Qualcomm SM8550-AB Snapdragon 8 Gen 2 "
    "(Kyro 3.20 GHz + 2.8 GHz x 2 + 2.80 GHz x 2 + 2.00 GHz * 3 + Adreno 740)",
    "x86-laptop": "Hyper-V Linux Guest with GPU-PV enabled (Intel Core i7-11800H, NVIDIA GeForce RTX 3070 Laptop GPU)",
    "cloud-cpu": "AWS c5.4xlarge Instance",
    "cloud-gpu": "NVIDIA Tesla V100-PCIE-32GB  (GV100 SM x 80 + Tensor Core x 640)",
}

#: devices of the catalogue whose published setting runs on a GPU
GPUS = ("jetson-orin-nano", "cloud-gpu")

#: device of the catalogue → its name in Scission's measurements, under Keras
SCISSION_DEVICES = {"raspberry-pi-4": "device-raspi4"}

#: power of a phone's radio while it sends, (slope in mW per Mbit/s, base in mW): Huang et al., "A close examination of
#: performance and power characteristics of 4G LTE networks", MobiSys 2012, power model of the uplink
RADIO_POWER = {"3g": (868.98, 817.88), "4g": (438.39, 1288.04), "wifi": (283.17, 132.86)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results/device_catalogue.json")
    data = os.environ.get("EDGEPART_DATA")
    arguments = parser.parse_args()
    if not data:
        parser.error("set EDGEPART_DATA to the folder that holds devices/ and traces/")
    result = about_this_run() | measure(Path(data))
    write_json(arguments.output, result)
    wrong = disagreements(result)
    for line in wrong:
        print(f"DIFFERS: {line}", file=sys.stderr)
    print(f"wrote {arguments.output}; {'all figures agree with profiles/' if not wrong else 'see above'}")
    return 1 if wrong else 0


def about_this_run() -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {"processor": processor(), "cpus": os.cpu_count(), "system": platform.platform(terse=True)},
        "versions": {"python": platform.python_version(), "edgepart": version("edgepart")},
    }


def measure(data: Path) -> dict[str, Any]:
    """Everything derived, as one JSON-able value; prints the table of errors on the way."""
    settings = {name: best_setting(data, title) for name, title in NCNN_DEVICES.items()}
    latencies = {name: setting["latency_s"] for name, setting in settings.items()}
    rates = {name: rate(latency) for name, latency in latencies.items()}
    print_factors(latencies)
    carried = carried_errors(latencies)
    print_carried(carried)
    return {
        "devices": {
            name: {
                "macs_per_s": float(f"{rates[name]:.4g}"),
                "setting": settings[name]["setting"],
                "networks": len(latencies[name]),
                "average_over_least": round(settings[name]["average_over_least"], 3),
                "rate_error": summary(rate_factors(latencies[name]).values()),
                "carried": carried[name],
            }
            for name in NCNN_DEVICES
        },
        "without_measurements": sorted(name for name in shipped() if name not in NCNN_DEVICES),
        "other_devices": other_devices(data, latencies),
        "keras": {name: keras_errors(data, name, there) for name, there in SCISSION_DEVICES.items()},
        "rate_error": summary(f for latency in latencies.values() for f in rate_factors(latency).values()),
        "transfer_error": transfer_error(data, latencies),
        "share_error": share_error(data),
        "keras_macs_per_s": keras_rates(data),
        "links": links(data),
        "loopback_here": loopback(),
    }


# Devices


def best_setting(data: Path, title: str) -> dict[str, Any]:
    """The published setting (GPU, threads, cores) of a device under which its networks run fastest."""
    return fastest(published(data)[title])


Run = dict[str, tuple[float, float]]


@functools.cache
def published(data: Path) -> dict[str, dict[tuple[str, ...], Run]]:
    """Title → setting → network → seconds (least, average) in ncnn's benchmark."""
    runs: dict[str, dict[tuple[str, ...], Run]] = defaultdict(lambda: defaultdict(dict))
    for row in read(data / "devices/ncnn_benchmark.csv"):
        if row["model"] in NCNN_MMACS and float(row["min_ms"] or 0) > 0:
            key = (row["gpu_device"], row["num_threads"], row["powersave"], row["loop_count"])
            both = (float(row["min_ms"]) / 1e3, float(row["avg_ms"]) / 1e3)
            runs[row["device"]][key].setdefault(row["model"], both)
    return runs


def is_complete(run: Run) -> bool:
    """Whether all of the networks were measured."""
    return len(run) == len(NCNN_MMACS)


def fastest(runs: Mapping[tuple[str, ...], Run]) -> dict[str, Any]:
    """The one of a device's complete settings with the highest rate."""
    complete = {key: run for key, run in runs.items() if is_complete(run)}
    key = max(complete, key=lambda key: rate({name: least for name, (least, _) in complete[key].items()}))
    run = complete[key]
    return {
        "setting": {"gpu": int(key[0]) >= 0, "threads": int(key[1])},
        "latency_s": {name: least for name, (least, _) in run.items()},
        "average_over_least": statistics.median(average / least for least, average in run.values()),
    }


def rate(latency_s: Mapping[str, float], references: Iterable[str] = REFERENCES) -> float:
    """Geometric mean of multiply-accumulates per second over the reference networks."""
    return statistics.geometric_mean(NCNN_MMACS[name] * 1e6 / latency_s[name] for name in references)


def rate_factors(latency_s: Mapping[str, float]) -> dict[str, float]:
    """Network that is no reference → estimate from the rate / measured."""
    return {n: NCNN_MMACS[n] * 1e6 / rate(latency_s) / s for n, s in latency_s.items() if n not in REFERENCES}


def transfer_factors(from_s: Mapping[str, float], to_s: Mapping[str, float], references: Iterable[str]) -> list[float]:
    """Latency on one device times the ratio of rates / latency on the other, for what is on both and no reference."""
    references = tuple(references)
    ratio = rate(from_s, references) / rate(to_s, references)
    return [from_s[name] * ratio / to_s[name] for name in from_s if name in to_s and name not in references]


def transfer_error(data: Path, latencies: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Errors of carrying latencies over by the ratio of rates."""
    factors: dict[str, list[float]] = defaultdict(list)
    for a, b in itertools.permutations(latencies, 2):
        kind = "with_a_gpu" if {a, b} & {*GPUS} else "between_cpus"
        factors[kind] += transfer_factors(latencies[a], latencies[b], REFERENCES)
    for device, keras in keras_latencies(data).items():
        if device != "cloud-6700k(GPU)":
            named = {ncnn: keras[name] for name, ncnn in KERAS_TO_NCNN.items()}
            for b in latencies.keys() - {*GPUS}:
                factors["across_runtimes"] += transfer_factors(named, latencies[b], ("mobilenet_v2", "resnet50"))
    return {kind: summary(values) for kind, values in factors.items()}


def carried_errors(latencies: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """Device → errors of what is carried to it from the others: from all, from processors, from GPUs."""
    found: dict[str, dict[str, Any]] = {}
    for name, latency in latencies.items():
        factors = {a: transfer_factors(latencies[a], latency, REFERENCES) for a in latencies if a != name}
        on_gpus, elsewhere = ([a for a in factors if (a in GPUS) == gpu] for gpu in (True, False))
        found[name] = {
            "networks": len(latency) - len(REFERENCES),
            "from_all": summary(itertools.chain(*factors.values())),
            "from_processors": summary(itertools.chain(*(factors[a] for a in elsewhere))),
            "from_gpus": summary(itertools.chain(*(factors[a] for a in on_gpus))),
            "median_factor_from": {a: summary(factors[a])["median_factor"] for a in factors},
        }
    return found


def other_devices(data: Path, latencies: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Errors of carrying from the catalogue's processors, or GPUs, to devices of the same kind outside it."""
    others = {
        title: fastest(runs)
        for title, runs in published(data).items()
        if title not in NCNN_DEVICES.values() and any(map(is_complete, runs.values()))
    }
    found: dict[str, Any] = {}
    for kind, gpu in (("processors", False), ("gpus", True)):
        there = [one["latency_s"] for one in others.values() if one["setting"]["gpu"] == gpu]
        sources = [latency for name, latency in latencies.items() if (name in GPUS) == gpu]
        factors = [f for to in there for a in sources for f in transfer_factors(a, to, REFERENCES)]
        found[kind] = {"devices": len(there), **summary(factors)}
    return found


def keras_errors(data: Path, name: str, there: str) -> dict[str, Any]:
    """Scission's networks carried under Keras from its other devices: at Keras's own rate there, at the catalogue's."""
    latencies, rates = keras_latencies(data), keras_rates(data)
    references = {name for name, ncnn in KERAS_TO_NCNN.items() if ncnn in REFERENCES}
    shipped_rate = catalogue.device(name).macs_per_s
    own, ours = [], []
    for a in latencies.keys() - {there}:
        ratios = [latencies[a][n] / latencies[there][n] for n in latencies[a].keys() - references]
        own += [rates[a] / rates[there] * ratio for ratio in ratios]
        ours += [rates[a] / shipped_rate * ratio for ratio in ratios]
    return {
        "networks": len(latencies[there]) - len(references),
        "sources": len(latencies) - 1,
        "at_its_rate_under_keras": summary(own),
        "at_the_rate_of_the_catalogue": summary(ours),
    }


def shipped() -> list[str]:
    """The names of the devices that come with edgepart."""
    return [path.stem for path in (Path(__file__).parent.parent / "profiles/devices").glob("*.yaml")]


def share_error(data: Path) -> dict[str, float]:
    """Largest difference, over the prefixes of a network, of the share of latency on two devices."""
    blocks: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in read(data / "devices/scission_blocks.csv"):
        blocks[row["model"], row["device"]].append(float(row["latency_s"]))
    worst = []
    for model in sorted({model for model, _ in blocks}):
        measured = [[*itertools.accumulate(times)] for (name, _), times in blocks.items() if name == model]
        shares = [[time / sums[-1] for time in sums] for sums in measured]
        worst += [max(abs(p - q) for p, q in zip(a, b, strict=True)) for a, b in itertools.combinations(shares, 2)]
    worst.sort()
    return {
        "pairs": len(worst),
        "median": round(statistics.median(worst), 3),
        "ninth_decile": round(quantile(worst, 0.9), 3),
        "worst": round(worst[-1], 3),
    }


def keras_latencies(data: Path) -> dict[str, dict[str, float]]:
    """Device → network → seconds, as Scission's sums of blocks."""
    latency: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for row in read(data / "devices/scission_blocks.csv"):
        latency[row["device"]][row["model"]] += float(row["latency_s"])
    return latency


def keras_rates(data: Path) -> dict[str, float]:
    """The effective rate under Keras, over MobileNetV2 and ResNet-50: a cross-check with another runtime."""
    names = {name: ncnn for name, ncnn in KERAS_TO_NCNN.items() if ncnn in REFERENCES}
    return {
        device: float(
            f"{statistics.geometric_mean(NCNN_MMACS[ncnn] * 1e6 / times[name] for name, ncnn in names.items()):.4g}"
        )
        for device, times in sorted(keras_latencies(data).items())
    }


# Links


def links(data: Path) -> dict[str, dict[str, float]]:
    """Medians of what phones measured.

    4g and 5g: speed tests to servers 200 to 1000 km away, the distance of a cloud region (5g: low band, non-standalone,
    the widespread kind). 3g: throughput while streaming on public transport in Norway, and the round trip of Scission's
    slow link; nothing was measured upwards. Energy from the radio's power model at the link's own upward rate.
    """
    tests = [
        row
        for row in read(data / "traces/network/speedtest_5g_us.csv")
        if row["distance_km"] and 200 <= float(row["distance_km"]) <= 1000
    ]
    norway = [
        float(row["down_mbps"])
        for row in read(data / "traces/network/norway3g_fcc_down.csv.gz")
        if row["kind"] == "norway3g"
    ]
    slow = next(row for row in read(data / "devices/scission_network_stats.csv") if row["source"] == "raspi4")
    found: dict[str, dict[str, float]] = {
        "3g": {"down_bits_per_s": statistics.median(norway) * 1e6, "round_trip_s": float(slow["ping(ms)"]) / 1e3},
        "4g": speed_test(tests, "4G-LTE"),
        "5g": speed_test(tests, "5G-NSA-Low-Band"),
    }
    for name, (slope, base) in RADIO_POWER.items():
        up_mbps = catalogue.link(name).up_bits_per_s / 1e6
        found.setdefault(name, {})["energy_j_per_byte"] = (slope + base / up_mbps) * 1e-3 * 8e-6
    return found


def speed_test(tests: Iterable[Mapping[str, str]], radio: str) -> dict[str, float]:
    rows = [row for row in tests if row["radio"] == radio]
    units = {
        "up_bits_per_s": ("up_mbps", 1e6),
        "down_bits_per_s": ("down_mbps", 1e6),
        "round_trip_s": ("rtt_ms", 1e-3),
    }
    medians = {
        field: statistics.median(float(row[column]) for row in rows if row[column]) * unit
        for field, (column, unit) in units.items()
    }
    return {"tests": len(rows), **medians}


def loopback(size_bytes: int = 1 << 26, trips: int = 200) -> dict[str, float]:
    """Median round trip of one byte, and rate one way, over TCP between two threads of this machine."""
    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_answer, args=(server, size_bytes), daemon=True).start()
    with server, socket.create_connection(server.getsockname()) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        round_trips = [_send(client, b"x") for _ in range(trips)]
        seconds = _send(client, bytes(size_bytes))
    return {
        "round_trip_s": float(f"{statistics.median(round_trips):.2g}"),
        "bits_per_s": float(f"{8 * size_bytes / seconds:.2g}"),
    }


def _send(client: socket.socket, data: bytes) -> float:
    start = time.perf_counter()
    client.sendall(data)
    client.recv(1)
    return time.perf_counter() - start


def _answer(server: socket.socket, size_bytes: int) -> None:
    """Answer single bytes at once, and one large message when it is complete."""
    connection, _ = server.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    waiting = 0
    while chunk := connection.recv(1 << 20):
        waiting = waiting + len(chunk) if waiting or len(chunk) > 1 else 0
        if waiting in (0, size_bytes):
            connection.sendall(b"y")
            waiting = 0


# Comparison with the shipped files


def disagreements(result: Mapping[str, Any], tolerance: float = 0.01) -> list[str]:
    """The figures of ``profiles/`` that differ from the recomputed ones by more than ``tolerance``, as a share."""
    pairs = [
        (f"devices/{name}.yaml macs_per_s", catalogue.device(name).macs_per_s, found["macs_per_s"])
        for name, found in result["devices"].items()
    ]
    for name, found in result["links"].items():
        shipped = catalogue.link(name).model_dump()
        pairs += [(f"links/{name}.yaml {f}", shipped[f], v) for f, v in found.items() if f != "tests"]
    return [f"{what} is {a:.4g}, recomputed {b:.4g}" for what, a, b in pairs if abs(a - b) > tolerance * b]


# Small helpers


def read(path: Path) -> list[dict[str, str]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, math.floor(share * len(ordered)))]


def summary(factors: Iterable[float]) -> dict[str, float]:
    """Errors as factors above 1, whichever side they lie on."""
    ordered = sorted(max(factor, 1 / factor) for factor in factors)
    return {
        "cases": len(ordered),
        "median_factor": round(statistics.median(ordered), 2),
        "ninth_decile_factor": round(quantile(ordered, 0.9), 2),
        "worst_factor": round(ordered[-1], 2),
    }


def print_factors(latencies: Mapping[str, Mapping[str, float]]) -> None:
    """Estimate / measured for every network and device (``rate`` estimates)."""
    print("multiply-accumulates / rate, divided by the published latency (1 is right, 2 twice too slow):")
    print(f"{'network':18}" + "".join(f"{name:>18}" for name in latencies))
    factors = {name: rate_factors(latency) for name, latency in latencies.items()}
    for network in (name for name in NCNN_MMACS if name not in REFERENCES):
        print(f"{network:18}" + "".join(f"{factors[name][network]:18.2f}" for name in latencies))


def print_carried(carried: Mapping[str, Mapping[str, Any]]) -> None:
    """Errors of what is carried to every device of the catalogue."""
    print("\ncarried over from the other devices by the ratio of rates, against the published latency, as a factor:")
    print(f"{'device':18}{'networks':>10}{'median':>10}{'90 %':>10}{'worst':>10}{'from processors':>18}")
    for name, found in carried.items():
        all_of_them = found["from_all"]
        cells = (all_of_them[key] for key in ("median_factor", "ninth_decile_factor", "worst_factor"))
        row = "".join(f"{value:10.2f}" for value in cells)
        print(f"{name:18}{found['networks']:10}{row}{found['from_processors']['median_factor']:18.2f}")
    for name in sorted(set(shipped()) - carried.keys()):
        print(f"{name:18}{'nothing published to compare with':>10}")


if __name__ == "__main__":
    sys.exit(main())
