"""Write ``docs/predicted.md`` from ``benchmarks/results/predicted.json``: ``python docs/generate_predicted.py``.

A test fails when the page is stale.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from edgepart.units import percent, seconds

DOCS = Path(__file__).resolve().parent
RESULT = DOCS.parent / "benchmarks" / "results" / "predicted.json"

HEAD = """\
<!-- Written by docs/generate_predicted.py from benchmarks/results/predicted.json; do not edit. -->
# Predicted against measured

Whole networks are profiled on one thread and cut by four plans: in two where a quarter, half and three quarters of
the time have passed, and in three. Each part is written for the runtime and timed *alone*, over and over in a process
of its own, and *in a chain*, one pinned process a part, tensors over loopback, one sample after another. Errors are
(predicted - measured) / measured. *Interpolated* parts are those that the profile did not measure as they are. *Beside
the whole* is the error of what a part takes of the whole network, both predicted and both measured together: what is
left when a machine that became faster or slower after the profile is taken out.

In a chain a part starts cold: while the others work its process waits. What that costs is in the profile (`wake_up`)
and predicted on top of each part. End to end so are the *hops* over loopback, measured between processes that hold no
layers and are busy for as long as the parts are predicted to be. `python benchmarks/predicted.py`
"""


def page() -> str:
    """The page as Markdown."""
    found = json.loads(RESULT.read_text(encoding="utf-8"))
    machine, versions = found["machine"], ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    cases = found["cases"]
    lines = [HEAD, f"- {machine['processor']}, {machine['cpus']} cores, {machine['system']}; {versions}"]
    lines.append(f"- measured {' and '.join(sorted({case['date'] for case in cases}))}")
    if any(case["quick"] for case in cases):
        lines.append("- \\* measured with quick profiles and few runs")
    lines += ["", *summary(found["summary"]), *networks(cases)]
    return "\n".join(lines)


def summary(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "## All together\n"
    head = ("runtime", "what", "number", "absolute error, median", "95th percentile", "error, median")
    sizes = (tuple(percent(row[key]) for key in ("median", "percentile_95")) for row in rows)
    cells = zip(rows, sizes, strict=True)
    yield from table(head, [(x["runtime"], x["what"], str(x["count"]), *both, error(x["bias"])) for x, both in cells])


def networks(cases: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "## Network by network\n"
    yield (
        "Whole: the network uncut. Parts: median and largest absolute error of the nine parts; chains: of the four end "
        "to end. Load: cores that other processes kept busy while it was profiled.\n"
    )
    errors = ("parts alone", "largest", "in a chain", "largest", "chains", "largest")
    head = ("network", "runtime", "whole", "error", *errors, "load")
    rows = []
    for case in cases:
        kinds = (
            [part["error"] for part in case["parts"]],
            [part["chain_error"] for part in case["parts"]],
            [chain["error"] for chain in case["chains"]],
        )
        rows.append(
            (
                case["network"] + (" \\*" if case["quick"] else ""),
                case["runtime"],
                seconds(case["whole"]["measured_s"]),
                error(case["whole"]["error"]),
                *(percent(pick(map(abs, kind))) for kind in kinds for pick in (median, max)),
                f"{case['load_profile']:.1f}",
            )
        )
    yield from table(head, rows)


def error(value: float) -> str:
    return f"{'+' * (value >= 0)}{percent(value)}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


if __name__ == "__main__":
    (DOCS / "predicted.md").write_text(page(), encoding="utf-8")
