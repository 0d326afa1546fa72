"""Write ``docs/devices.md`` from ``benchmarks/results/{device_catalogue,calibration,published_rates}.json``.

    python docs/generate_devices.py

A test fails when the page is stale.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgepart.units import percent, significant

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS.parent / "benchmarks" / "results"

HEAD = """\
<!-- Written by docs/generate_devices.py from benchmarks/results/{device_catalogue,calibration,published_rates}.json;
do not edit. -->
# How far off a device of the catalogue is

A profile is measured on one machine. For a tier that is another device, its seconds are multiplied by the ratio of the
two devices' effective rates, and everything that follows is called an estimate. Here that rule is held against
published latencies: ncnn's benchmark ran the same networks on every device of the catalogue. Each of the twelve
networks that a device's rate was *not* taken from is carried over to it from every other device. Errors are factors: at
1.5 the network takes half as much again as estimated, or a third less. `python benchmarks/device_catalogue.py`
"""

TAIL = """\
## What was not checked

- Nobody published the time of *parts* of a network on these devices, so whole networks are judged. How the time divides
  over layers shifts less: between two of the six machines that Scission measured, the share that a prefix of a
  network takes differs by {share_median} at most in the middle, by {share_most} in one case in ten.
- No source has the memory that an inference takes there, or its energy: `power_w` is from data sheets or left out.
- All networks are convolutional networks for images; transformers were published for one board of the catalogue only
  (HAT's, Raspberry Pi 4), without the networks that a rate is taken from, so the rule cannot be held against them.
- Microcontrollers (MLPerf Tiny) are not in the catalogue.
- ncnn's figures are one run each by whoever sent them in; the least of a run's times is taken.

Better than any rule: run `edgepart profile` on the device itself.
"""


def page() -> str:
    """The page as Markdown."""
    found = json.loads((RESULTS / "device_catalogue.json").read_text(encoding="utf-8"))
    calibration = json.loads((RESULTS / "calibration.json").read_text(encoding="utf-8"))
    share = found["share_error"]
    tail = TAIL.format(share_median=f"{share['median']:.2f}", share_most=f"{share['ninth_decile']:.2f}")
    machine, versions = found["machine"], ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    about = f"Computed on {found['date']} on {machine['processor']}, {machine['system']}, {versions}.\n"
    return "\n".join(
        [
            HEAD,
            *errors(found),
            *other_runtimes(found["keras"]),
            *other_devices(found),
            *rooflines(calibration),
            *published_rates(json.loads((RESULTS / "published_rates.json").read_text(encoding="utf-8"))),
            tail,
            about,
        ]
    )


def errors(found: Mapping[str, Any]) -> Iterator[str]:
    yield "| device | rate, GMAC/s | published setting | networks | cases | median | 90 % within | worst |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, device in found["devices"].items():
        carried = device["carried"]
        rate = significant(device["macs_per_s"] / 1e9)
        cells = " | ".join(str(carried["from_all"][key]) for key in ("cases", *FACTORS))
        yield f"| {name} | {rate} | {setting(device['setting'])} | {carried['networks']} | {cells} |"
    for name in found["without_measurements"]:
        yield f"| {name} | | nothing published | 0 | 0 | | | |"
    if not found["without_measurements"]:
        yield "\nEvery device of the catalogue has published measurements; `this`, where you profile, is measured."
    yield "\nMost of the error lies between processors and GPUs; median (90 % within):\n"
    yield "| device | from processors | from GPUs | nearest other device |"
    yield "|---|---|---|---|"
    for name, device in found["devices"].items():
        carried = device["carried"]
        both = " | ".join(both_of(carried[key]) for key in ("from_processors", "from_gpus"))
        nearest = min(carried["median_factor_from"].items(), key=lambda one: one[1])
        yield f"| {name} | {both} | {nearest[0]} ({nearest[1]}) |"
    yield ""


FACTORS = ("median_factor", "ninth_decile_factor", "worst_factor")


def other_runtimes(keras: Mapping[str, Any]) -> Iterator[str]:
    yield "## Under another runtime\n"
    for name, found in keras.items():
        own, ours = found["at_its_rate_under_keras"], found["at_the_rate_of_the_catalogue"]
        yield (
            f"One device was also measured by others under another runtime: the {name}, by Scission under Keras, with "
            f"{found['networks']} networks that no rate was taken from. From {found['sources']} other machines under "
            f"Keras, at the board's own rate under Keras, the error is {both_of(own)}. At the rate of the catalogue, "
            f"which is ncnn's, it is {both_of(ours)}: the same board is much slower under Keras. A rate holds for a "
            "runtime; the others were measured under ncnn alone, so what they do under another runtime is not known.\n"
        )


def other_devices(found: Mapping[str, Any]) -> Iterator[str]:
    other = found["other_devices"]
    yield "## A device of your own\n"
    yield (
        f"The benchmark has {other['processors']['devices']} more devices with processors and "
        f"{other['gpus']['devices']} with GPUs and all of the networks. With a rate taken from the three reference "
        "networks on the device itself, as for a device file of your own, estimates from those of the catalogue's "
        f"devices that are of the same kind are off by {both_of(other['processors'])} for processors, "
        f"{other['processors']['worst_factor']} at worst, and by {both_of(other['gpus'])} for GPUs, "
        f"{other['gpus']['worst_factor']} at worst.\n"
    )


def rooflines(found: Mapping[str, Any]) -> Iterator[str]:
    yield "## A device of which only rates are known\n"
    yield (
        "A device file may state rates instead, from a data sheet or fitted by `edgepart profile --calibrate`: [Add a "
        "device](add-a-device.md). Each network below is predicted by the rates fitted to the others, on one "
        f"thread of {found['machine']['processor']} (`python benchmarks/calibration.py`, {found['date']}, "
        f"{', '.join(f'{name} {number}' for name, number in found['versions'].items())}). Errors are (predicted - "
        "measured) / measured.\n"
    )
    runtimes = found["runtimes"]
    yield "| network | " + " | ".join(runtimes) + " |"
    yield "|---|" + "---|" * len(runtimes)
    for network in next(iter(runtimes.values()))["networks"]:
        yield (
            f"| {network} | " + " | ".join(error(x["networks"][network]["left_out"]) for x in runtimes.values()) + " |"
        )
    yield "| **median, absolute** | " + " | ".join(percent(x["median_left_out"]) for x in runtimes.values()) + " |"
    yield "| **worst, absolute** | " + " | ".join(percent(x["worst_left_out"]) for x in runtimes.values()) + " |"
    for count, what in (("1", "one network"), ("2", "two networks")):
        cells = (x["fitted_to"][count] for x in runtimes.values())
        both = " | ".join(f"{percent(x['median'])} ({percent(x['ninth_decile'])})" for x in cells)
        yield f"| fitted to {what} only: median (90 % within) | {both} |"
    loads = " and ".join(f"{x['mean_load_cores']:.1f}" for x in runtimes.values())
    yield (
        f"\nProfiles were quick ones, and other processes kept {loads} cores busy meanwhile. What is fitted did not "
        "see the network, but what kinds of layers are told apart was decided on these networks. Kinds within a kind "
        "are not told apart: convolutions by 3 × 3 run faster on PyTorch than matrix products do, and a max pooling of "
        "ResNet takes as long there as a stage, so ResNet-18 is the worst. `left_out_error` and `left_out_worst` of a "
        "device file say how far off its own calibration was.\n"
    )


def published_rates(found: Mapping[str, Any]) -> Iterator[str]:
    yield "## Rates or scaling?\n"
    judged = len(found["networks"]) - 3
    yield (
        "Rates of a device can also be fitted where only whole networks were timed. Here they are fitted, on every "
        "device of the catalogue, to the published latencies of the three reference networks, and predict "
        f"{judged} others (`python benchmarks/published_rates.py`, {found['date']}). Beside that, what needs no graph: "
        "multiply-accumulates over the effective rate; and the network's latency on another device of the same kind, "
        "scaled. Errors are factors, median (90 % within).\n"
    )
    yield "| device | multiply-accumulates / rate | rates fitted to three | scaled from another device |"
    yield "|---|---|---|---|"
    rows = [*found["devices"].items(), ("**processors**", found["processors"]), ("**GPUs**", found["gpus"])]
    for name, ways in rows:
        yield f"| {name} | " + " | ".join(both_of(ways[way]) for way in ("rate", "calibrated", "transfer")) + " |"
    yield (
        "\nWithout a measurement of the network anywhere, fitted rates explain the published latencies far better than "
        "the effective rate does. They do not explain them better than the network's latency on another device of the "
        "same kind, which knows what no model of this size does: plan from a profile where there is one, and prefer "
        "rates where processor and GPU, or the runtimes, differ.\n"
    )


def error(share: float) -> str:
    return f"{'+' * (share >= 0)}{percent(share)}"


def both_of(summary: Mapping[str, float]) -> str:
    return f"{summary['median_factor']} ({summary['ninth_decile_factor']})"


def setting(used: Mapping[str, Any]) -> str:
    return "GPU" if used["gpu"] else f"{used['threads']} thread{'s' * (used['threads'] > 1)}"


if __name__ == "__main__":
    (DOCS / "devices.md").write_text(page(), encoding="utf-8")
