"""Write ``docs/placement.md`` from results of ``benchmarks/{planner,limits,scission}.py``.

``python docs/generate_placement.py``; a test fails when the page is stale.
"""

import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgepart.evaluation.plots_canvas import Canvas
from edgepart.units import seconds

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS.parent / "benchmarks" / "results"
PICTURE = Path("results/placement/growth.svg")
#: as the benchmark calls them, and as the page does
METHODS = {
    "minimum_cut": "minimum cut",
    "expected": "minimum cut with three exits",
    "starts": "minimum cut with starts",
    "limited": "with a memory limit",
    "exhaustive": "exhaustive search",
    "scan_of_chain": "scan of a chain",
    "networkx": "networkx",
}
COLOURS = ("#4477aa", "#228833", "#777777", "#aa3377", "#ee6677", "#66ccee", "#ccaa33")
PROBLEMS = {
    "half": "half the memory",
    "far": "two memory limits",
    "period": "throughput",
    "money": "money",
    "exits": "exits",
}

HEAD = """\
<!-- Written by docs/generate_placement.py from benchmarks/results; do not edit. -->
# Placement

`edgepart partition` decides which tier runs which layers. Whatever the shape of the network, it finds the best of all
placements in which tensors only travel upwards, and says in the plan how that is proven.

```bash
edgepart partition profile.json --tier mobile=raspberry-pi-4 --tier edge=jetson-orin-nano --tier cloud=cloud-cpu \\
  --link mobile:edge=wifi --link edge:cloud=4g --objective latency --limit mobile.memory=600MB --keep-local input
```

## What can be minimised and limited

| name | unit | what |
|---|---|---|
| `latency` | s | expected over all samples, exits taken into account |
| `full-latency` | s | of a sample that takes no exit |
| `energy`, `TIER.energy` | J | computing (`power_w`), and sending what leaves the tier (`energy_j_per_byte`) |
| `money`, `TIER.money` | USD | what `--price TIER=NAME` bills: whole steps, a fee a request, egress |
| `throughput` | s | the time between two answers when all tiers and links work at once |
| `TIER.memory` | bytes | parameters, heads, the most activations alive at once, and [the runtime](profiles.md) |
| `TIER.exits` | | how many exits the tier holds |
| `LOWER:UPPER.bytes` | bytes | what a sample that crosses the link sends up |

`--objective NAME` minimises one, `--limit NAME=MOST` limits any. A limit is a number with its unit, as `50ms`, `5mJ`,
`10kB` or `600MB` (bytes have a capital B); a number of exits has none, and USD may be left out. `--pin LAYER=TIER`,
`--forbid LAYER=TIER` and `--together LAYER,LAYER` say where layers or modules may be; `--keep-local input` (or a
tensor, or a layer) what must not leave the tier that makes it. If nothing keeps to all of them, the error names a
smallest set that conflicts.

A tensor is paid for once on every link that it crosses, however many layers read it there; a link costs one round trip
as soon as anything crosses; the raw input starts on the first tier. A tier that holds layers pays the
[start](profiles.md) of its part for every sample that comes to it, in latency, energy and money.

## Links past a tier

A link may lead past tiers, as from a phone to the cloud without the box between them; and tiers next to each other need
no link if another one leads up:

```bash
edgepart partition profile.json --tier mobile=raspberry-pi-4 --tier edge=jetson-orin-nano --tier cloud=cloud-cpu \\
  --link mobile:edge=wifi --link edge:cloud=4g --link mobile:cloud=5g
```

Samples then take one *route*: tiers from the first one upwards, each joined to the next by a link, here
`mobile > edge > cloud` or `mobile > cloud`. What goes on travels along it from part to part, the answer comes back the
same way, and a tier that is not on it holds nothing. The best plan of every route is found as for any other problem, so
that the best of them is the optimum, with the same proof: the plan is *optimal* if every route's is, or cannot be
better. If nothing keeps to the constraints, the set that is named conflicts on every route.

The plan says which tiers it leaves out; `all on edge` is the latency over the best route there. `mobile:cloud.bytes`
can be limited and minimised as soon as there is that link, and what is counted of a tier or link that is not on the
route is 0. `--what-if`, `--under-trace` and `--pareto` look at all routes as well. The two rules
(`--method memory-share`, `latency-match`) know nothing of links and take the route with most tiers; with
`--split-after` the tiers that are named say which route it is.

All samples take the same route: a tensor that goes to the cloud directly while another part works on the edge, or
samples that choose their way, are not modelled.

## Exits inside the placement

Samples that leave early do not pay for what comes after, which moves the best cut. Without more information the
placement is the best for a sample that takes no exit, and exits are put into its parts afterwards. With

- `--exits-of BUNDLE`, the exits of a bundle, and the share of its validation data that leaves at each (`--strategy`,
  `--threshold`), or
- `--leave 30%`, exits by the rule of `--exits` over the whole network, with that share of those who come to one
  *assumed* to leave there,

every layer, head and transfer is weighted with the share of the samples that comes to it, and the placement is the best
for all samples together. Exits stay local to their part. The plan says which shares were recorded and which assumed.

## How it is solved

- **Minimum cut** for everything that adds up: latency, energy, bytes, with exits and all constraints that say where
  layers and tensors may be. Exact for any number of ordered tiers and any network. Whether a tier in the middle is
  worth its start takes another cut or two (branch and bound). The rounding of the solver's integers is the gap that the
  plan states.
- **Dynamic programming** on chains, and an **integer program** (HiGHS) elsewhere, for memory, ceilings, money and
  throughput. What is not proven optimal in time is reported with its remaining gap. Memory is needed at as many moments
  as there are layers, and few of them decide anything: the others are left out until a solution oversteps them.
- All of them are tested against trying every placement, on random networks of up to nine layers.

"""


def load(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def page() -> str:
    return (
        HEAD + "\n".join([*speed(load("planner")), "", *limits(load("limits")), "", *scission(load("scission"))]) + "\n"
    )


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(headers)} |"
    yield f"|{'---|' * len(headers)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def where(result: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return f"{result['machine']['processor']}, one thread, load {result['load']:.1f}; {versions}"


def speed(result: dict[str, Any]) -> Iterator[str]:
    yield "## How long it takes"
    yield ""
    yield f"Random networks on three tiers (`benchmarks/planner.py`; {where(result)}). Medians:"
    yield ""
    rows = [
        [f"{row['layers']:,}", *(seconds(row[name]["median_s"]) if name in row else "" for name in METHODS)]
        for row in result["rows"]
    ]
    yield from table(["layers", *METHODS.values()], rows)
    yield ""
    yield f"![seconds by layers]({PICTURE})"
    yield ""
    by_tiers = ", ".join(f"{row['tiers']}: {seconds(row['minimum_cut']['median_s'])}" for row in result["tiers"])
    yield f"A thousand layers, by the number of tiers: {by_tiers}."


def limits(result: dict[str, Any]) -> Iterator[str]:
    rows = [row for row in result["rows"] if row["layers"] > 50]
    yield f"Published ONNX networks on three tiers, within limits (`benchmarks/limits.py`; {where(result)}):"
    yield ""

    def cell(row: dict[str, Any], name: str) -> str:
        if name not in row:
            return ""
        proven = "" if row[name]["status"] == "optimal" else f" (gap {row[name]['gap']:.1%})"
        return seconds(row[name]["took_s"]) + proven

    body = [[row["name"], str(row["layers"]), *(cell(row, name) for name in PROBLEMS)] for row in rows]
    yield from table(["network", "layers", *PROBLEMS.values()], body)


def scission(result: dict[str, Any]) -> Iterator[str]:
    found = result["networks"]
    yield "## Scission's networks"
    yield ""
    cut, pairs = ([each[name]["median_s"] for each in found] for name in ("minimum_cut", "all_pairs"))
    yield (
        "The seconds of every block of 18 Keras networks on a Raspberry Pi 4, two edge machines and a cloud machine "
        "with and without its GPU, as Scission published them (`benchmarks/scission.py`). The best five placements of "
        "each, as blocks on device, edge and cloud, with the first edge machine and the GPU. Trying all pairs of cuts "
        f"takes {seconds(statistics.median(pairs))} a network (at most {seconds(max(pairs))}), the minimum cut, which "
        f"finds the first of them, {seconds(statistics.median(cut))} ({seconds(max(cut))})."
    )
    yield ""
    first = [each for each in found if each["tiers"][1:] == found[0]["tiers"][1:]]
    yield from table(
        ["network", "blocks", *("best", "second", "third", "fourth", "fifth")],
        [[each["network"], str(each["blocks"]), *(placed(x, each["blocks"]) for x in each["best"])] for each in first],
    )


def placed(found: dict[str, Any], blocks: int) -> str:
    (_, device), (_, edge) = found["device"], found["edge"]
    return f"{seconds(found['latency_s'])} ({device}, {edge - device}, {blocks - edge})"


def draw(result: dict[str, Any]) -> str:
    canvas = Canvas("Seconds of one placement by the number of layers", 6.4, 4.0)
    for (name, label), colour in zip(METHODS.items(), COLOURS, strict=True):
        points = [(row["layers"], row[name]["median_s"]) for row in result["rows"] if name in row]
        canvas.axes.plot(*zip(*points, strict=True), marker="o", markersize=4, color=colour, label=label)
    canvas.axes.set_xscale("log")
    canvas.axes.set_yscale("log")
    canvas.axes.set_xlabel("layers")
    canvas.axes.set_ylabel("seconds")
    canvas.legend(3)
    return canvas.svg()


if __name__ == "__main__":
    (DOCS / PICTURE).parent.mkdir(parents=True, exist_ok=True)
    (DOCS / PICTURE).write_text(draw(load("planner")), encoding="utf-8")
    (DOCS / "placement.md").write_text(page(), encoding="utf-8")
