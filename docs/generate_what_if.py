"""Write ``docs/what-if.md`` from ``benchmarks/results/switching.json``: ``python docs/generate_what_if.py``.

A test fails when the page is stale.
"""

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edgepart.cli.what_if import plot_what_if, show_switching, show_what_if
from edgepart.partitioning.parameter import bit_rate
from edgepart.partitioning.switching import Switching
from edgepart.partitioning.what_if import WhatIf
from edgepart.units import percent, seconds, size

DOCS = Path(__file__).resolve().parent
RESULT = DOCS.parent / "benchmarks" / "results" / "switching.json"
EACH = "each trace: two save (median, 90th percentile)"
COLUMNS = ("network", "traces", "one plan", "two", "saved", "switch at", "three", "saved", "best at each moment", EACH)
PICTURE = Path("results/what-if/bandwidth.svg")

HEAD = """\
<!-- Written by docs/generate_what_if.py from benchmarks/results/switching.json; do not edit. -->
# What if

A plan is the best one for the bandwidth, the speed and the limits that it was made for. How it changes with one of
them, and what to do where the bandwidth never stays the same, are two more questions to `edgepart partition`:

```bash
edgepart partition profile.json --tier mobile=raspberry-pi-4 --tier cloud=cloud-cpu --link mobile:cloud=4g \\
  --what-if link.mobile:cloud.bandwidth=0.1..1000Mbps --plot bandwidth.png
edgepart partition profile.json --tier mobile=raspberry-pi-4 --tier cloud=cloud-cpu --link mobile:cloud=4g \\
  --under-trace mobile:cloud=drive.csv --most-plans 3
```

## Over a range

| `--what-if` | unit | what varies |
|---|---|---|
| `link.LOWER:UPPER.bandwidth=1..100Mbps` | bps, kbps, Mbps, Gbps, bit/s, … | the way up; the way down stays as it is |
| `link.LOWER:UPPER.round_trip=1..200ms` | s, ms, us | the round trip |
| `tier.NAME.speed=0.5..4` | a factor | the tier's rate, heads included; its power stays as it is |
| `limit.TIER.memory=10..200MB` | B, kB, MB, GB, KiB, MiB, GiB | a limit, of any quantity that `--limit` knows |

Three methods answer, and the result says which one did, and how large a gap its solutions have:

- **breakpoints exact**: as long as a placement stays the same, its latency is linear in 1 / bandwidth, in the round
  trip and in 1 / speed, and its energy in 1 / speed. The best of all placements is the lower envelope of those lines.
  The exact solver is asked at both ends, and then where two lines that were found cross: either it finds a better plan
  there, or the breakpoint is proven (Eisner and Severance, 1976). So b breakpoints take at most 2 b + 3 solutions.
- **steps exact**, for limits: the best plan under the highest limit stays the best down to what it uses itself. The
  limit a millionth below that is the next one to solve for.
- **sampled**: neither is so for the period and for money, or where a limit itself depends on what varies (on latency,
  while a bandwidth varies). The best plan is looked for at 25 values; what lies between them is not known.

Where [links lead past a tier](placement.md#links-past-a-tier), the best plan is that over all routes, at every value:
the lines are those of all of them.

"""

TRACE = """\
## Under a recorded bandwidth

`--under-trace` reads CSV with a line of column names (`.csv.gz` as well): `time` or `t_s` in seconds, and `bandwidth`
in bit/s or a column that ends in its unit, such as `down_mbps`; of several the way up before the way down. A column
`trace` tells many traces in one file apart: name one as `FILE#TRACE`. A rate lasts until the next one; without times
every row counts alike.

- A sample finds the bandwidth of the moment at which it comes for as long as it is under way.
- The best **single plan** is the one at the mean of 1 / bandwidth, for the mean of a line is the line at the mean.
- The best **two, three, … plans to switch between**, the best of them at every moment, are exact as well: sorted by
  1 / bandwidth each serves one interval, no plan serves an interval better than the one of the envelope at its mean,
  and two neighbours meet where their lines cross whatever else is in the set: a shortest path over the plans.
- Nothing can be sent in an **outage** (bandwidth 0; with `--outage-below 10kbps` lower rates are outages too). Means
  leave outages out. Their share of the time is told, with the best plan that sends nothing over the link, if any; where
  another route leads up, that plan may send over it.
- Switching itself costs nothing here; how often the trace crosses a threshold is told. All parts of a set must be at
  hand on their tiers.

"""


def page() -> str:
    """The page as Markdown."""
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    return "\n".join([HEAD + "".join(example(result)), TRACE + "".join(trace(result)), *worth(result)])


def example(result: dict[str, Any]) -> Iterator[str]:
    network = result["networks"]["AlexNet"]["what_if"]
    found = what_if(result)
    tiers = " and ".join(f"{device} as {tier}" for tier, device in result["tiers"].items())
    yield f"AlexNet on {tiers}, over the round trip of 4G, in {seconds(network['seconds'])}:\n\n"
    yield f"```text\n{printed(show_what_if, found)}```\n\n![latency of the best plan by bandwidth]({PICTURE})\n\n"


def what_if(result: dict[str, Any]) -> WhatIf:
    return WhatIf.model_validate(result["networks"]["AlexNet"]["what_if"]["found"])


def trace(result: dict[str, Any]) -> Iterator[str]:
    found = Switching.model_validate(result["example"])
    yield f"The same network on a drive with 4G:\n\n```text\n{printed(show_switching, found)}```\n"


def worth(result: dict[str, Any]) -> Iterator[str]:
    """What it is worth, for all networks and groups of traces."""
    yield "## What switching is worth\n"
    yield (
        "Traces of a group taken as one, which is what a product would be shipped with, and each trace alone (what two "
        "plans save in the middle of the traces, and in the tenth that gains most). Most were recorded on the way "
        "down, and stand for the way up here. In a row without thresholds one plan is the best at every moment: "
        "nothing is to be had where a network runs faster on the Raspberry Pi than its tensors travel.\n"
    )
    yield "| traces | how many | hours | outages | harmonic mean | rates |"
    yield "|---|---|---|---|---|---|"
    first = next(iter(result["networks"].values()))
    for name, group in result["groups"].items():
        every = first[name]["all"]
        yield (
            f"| {name} | {group['traces']} | {hours(group)} | {percent(every['outage_share'], 2)} | "
            f"{bit_rate(every['harmonic_mean_bits_per_s'])} | {group['source']} |"
        )
    yield f"\n| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"
    for network, row in result["networks"].items():
        for name, group in result["groups"].items():
            yield f"| {network} | {name} | {' | '.join(cells(row[name], group['traces']))} |"
    yield from small_print(result)


def hours(group: dict[str, Any]) -> str:
    """Speed tests follow no clock."""
    return f"{group['hours']:.1f}" if group["traces"] > 1 else "-"


def cells(found: dict[str, Any], traces: int) -> Iterator[str]:
    sets = found["all"]["sets"]
    yield f"{seconds(sets[0]['mean_s'])} ({where(sets[0])})"
    two = sets[1] if len(sets) > 1 else None
    yield f"{seconds(two['mean_s'])} ({where(two)})" if two else "-"
    yield percent(two["saved"]) if two else "-"
    yield bit_rate(two["thresholds_bits_per_s"][0]) if two else "-"
    three = sets[2] if len(sets) > 2 else None
    yield seconds(three["mean_s"]) if three else "-"
    yield percent(three["saved"]) if three else "-"
    yield seconds(found["all"]["oracle_s"])
    saved = found["each"]["saved"]["two"]
    yield f"{percent(saved['median'])}, {percent(saved['ninetieth'])}" if traces > 1 and two else "-"


def where(plans: dict[str, Any]) -> str:
    """What the plans of a set send, by bandwidth."""
    return ", ".join("nothing sent" if not sent else size(sent) for sent in plans["sent_bytes"])


def small_print(result: dict[str, Any]) -> Iterator[str]:
    loads = ", ".join(
        f"{name} {row['profiled_with_other_processes_keeping_cores']:g}" for name, row in result["networks"].items()
    )
    machine = f"{result['machine']['cpus']} × {result['machine']['processor']}"
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    slowest = max(
        row[name]["each"]["seconds_a_trace"] for row in result["networks"].values() for name in result["groups"]
    )
    yield (
        "\nWhat the plans send is in brackets, by bandwidth. Latencies are estimates: quick profiles on a machine with "
        f"other work (cores kept busy by it: {loads}), scaled to the two devices. Planning for one "
        f"trace takes at most {seconds(slowest)} on average, all solutions included. "
        f"`{result['command']}`; {machine}, {versions}; [switching.json](../{RESULT.relative_to(DOCS.parent)}).\n"
    )


def printed(show: Callable[[Any], None], found: WhatIf | Switching) -> str:
    """What the command prints."""
    with contextlib.redirect_stdout(io.StringIO()) as stream:
        show(found)
    return stream.getvalue()


if __name__ == "__main__":
    (DOCS / PICTURE).parent.mkdir(parents=True, exist_ok=True)
    plot_what_if(what_if(json.loads(RESULT.read_text(encoding="utf-8"))), DOCS / PICTURE)
    (DOCS / "what-if.md").write_text(page(), encoding="utf-8")
