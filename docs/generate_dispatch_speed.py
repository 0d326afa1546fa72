"""Write ``docs/dispatch_speed.md`` from ``benchmarks/results/dispatch.json``.

``python docs/generate_dispatch_speed.py``; a test fails when the page is stale.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgepart.units import percent, seconds

DOCS = Path(__file__).resolve().parent
RESULT = DOCS.parent / "benchmarks" / "results" / "dispatch.json"
#: module that a part ends with → in words
PARTS = {
    ("minilm", "bert.encoder.layer.1"): "MiniLM, two of six layers",
    ("resnet56", "layer3.4"): "ResNet-56, the first tier of its example",
    ("resnet56", "layer1"): "ResNet-56, the first of three stages",
}
#: models of a router that scikit-learn is asked for each time
ASKED = ("router:model=neighbours", "router:model=boosting")
PACKAGES = ("python", "numpy", "scikit-learn", "onnxruntime", "torch")
DRIFT = ":drift=page-hinkley"

HEAD = """\
<!-- Written by docs/generate_dispatch_speed.py from benchmarks/results/dispatch.json; do not edit. -->
# How fast it decides

What [strategies](strategies.md) take of the processor, on one thread. `python benchmarks/dispatch.py`
measures it again.
"""


def page() -> str:
    """The page as Markdown."""
    found = json.loads(RESULT.read_text(encoding="utf-8"))
    parts = (deciding(found["deciding"]), replay(found["replay"]), adapting(found["adapting"]), table(found["table"]))
    return "\n".join([HEAD, *(line for part in parts for line in part)]) + "\n"


def where(section: dict[str, Any]) -> str:
    machine = section["machine"]
    versions = ", ".join(f"{name} {machine[name]}" for name in PACKAGES)
    return (
        f"{machine['processor']}, {section['date']}; other work on {section['others_cores']:.1f} of {machine['cores']} "
        f"cores; {versions}."
    )


def rows_of(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(headers)} |\n|{'---|' * len(headers)}"
    yield from (f"| {' | '.join(row)} |".replace(" %", "\u00a0%").replace(" µs", "\u00a0µs") for row in rows)
    yield ""


def deciding(section: dict[str, Any]) -> Iterator[str]:
    yield "## One decision beside one inference\n"
    yield (
        "A sample at one exit, as at run time: where it enters, from its logits whether it leaves, and what an "
        "adaptive strategy learns from it. Beside it one inference of the first part at batch 1. *Most* and *median* "
        f"are over all strategies with their default options. {where(section)}\n"
    )
    body = []
    for part in section["parts"]:
        shares = sorted(share for name, share in part["shares"].items() if name not in ASKED)
        body.append(
            [
                PARTS[part["network"], part["up_to"]],
                part["input"],
                part["runtime"],
                seconds(part["part"]["median_s"]),
                percent(shares[len(shares) // 2], 2),
                f"{percent(shares[-1], 2)} ({max(set(part['shares']) - set(ASKED), key=part['shares'].__getitem__)})",
                percent(part["embed"]["median_s"] / part["part"]["median_s"], 1),
            ]
        )
    yield from rows_of(("part", "input", "runtime", "inference", "median", "most", "embedding, for routers"), body)
    decisions = section["decisions"]
    names = list(decisions["minilm"]["strategies"])
    yield from rows_of(
        ("strategy", "384 dimensions, 2 classes", "16 dimensions, 10 classes"),
        [
            [name, *(seconds(decisions[net]["strategies"][name]["all"]["median_s"]) for net in ("minilm", "resnet56"))]
            for name in names
        ],
    )
    softmax = " and ".join(seconds(decisions[net]["softmax"]["median_s"]) for net in ("minilm", "resnet56"))
    yield (
        f"A softmax takes {softmax}; most strategies decide without one. The last two ask scikit-learn, which takes so "
        "long for one sample.\n"
    )


def replay(section: dict[str, Any]) -> Iterator[str]:
    large = section["large"]
    yield "## Replay\n"
    yield (
        f"{section['thresholds']} thresholds on a trace of {section['samples']:,} samples at {section['exits']} exits: "
        "one sweep, and a loop over samples and exits in plain Python for each. Then one threshold: the whole trace at "
        f"once, and asked sample by sample as at run time. {where(section)}\n"
    )
    body = []
    for name in ("confidence", "margin"):
        row = section[name]
        body.append(
            [
                name,
                seconds(row["sweep"]["median_s"]),
                seconds(row["plain_loop"]["median_s"]),
                f"{row['sweep_over_plain_loop']:.0f}",
                seconds(row["one_threshold"]["median_s"]),
                seconds(row["one_threshold_one_by_one"]["median_s"]),
                f"{row['replay_over_one_by_one']:.0f}",
            ]
        )
    yield from rows_of(("", "sweep", "loop", "times", "one threshold", "one by one", "times"), body)
    big = large["confidence"]
    yield (
        f"A thousand thresholds on a million samples at {large['exits']} exits take "
        f"{seconds(big['from_logits']['median_s'])} from logits, {seconds(big['from_probabilities']['median_s'])} "
        "where the probabilities are known.\n"
    )


def adapting(section: dict[str, Any]) -> Iterator[str]:
    yield "## Strategies that adapt\n"
    yield (
        f"Decisions a second over a stream of {section['samples']:,} samples at {section['exits']} exits, each learnt "
        f"from before the next is decided; in brackets with a drift detector. {where(section)}\n"
    )
    found = {(row["strategy"], row["dimensions"], row["classes"]): row["decisions_per_s"] for row in section["rows"]}
    names = list(dict.fromkeys(name.removesuffix(DRIFT) for name, _, _ in found))
    kinds = list(dict.fromkeys((dimensions, classes) for _, dimensions, classes in found))
    yield from rows_of(
        ("", *(f"{dimensions} dimensions, {classes} classes" for dimensions, classes in kinds)),
        [
            [name, *(f"{found[name, *kind]:,.0f} ({found[name + DRIFT, *kind]:,.0f})" for kind in kinds)]
            for name in names
        ],
    )


def table(section: dict[str, Any]) -> Iterator[str]:
    report = section["report"]
    yield "## The whole table\n"
    yield (
        f"A report on all {len(section['strategies'])} strategies, from a validation trace of "
        f"{section['validation']:,} samples and a test trace of {section['test']:,} at {section['exits']} exits with "
        f"embeddings of {section['dimensions']} dimensions, takes {seconds(report['median_s'])} "
        f"({seconds(report['clock_s'])} by the clock): learning, choosing settings, replaying them, and comparing "
        f"strategies at equal cost. {where(section)}\n"
    )
    slowest = sorted(section["strategies"].items(), key=lambda item: -item[1]["median_s"])[:6]
    yield from rows_of(
        ("the slowest", "settings", "learning and replaying"),
        [[name, str(row["settings"]), seconds(row["median_s"])] for name, row in slowest],
    )


if __name__ == "__main__":
    (DOCS / "dispatch_speed.md").write_text(page(), encoding="utf-8")
