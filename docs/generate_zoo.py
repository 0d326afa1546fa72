"""Write ``docs/zoo.md`` from ``benchmarks/results/{zoo,capture}.json``: ``python docs/generate_zoo.py``.

A test fails when the page is stale.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS.parent / "benchmarks" / "results"
TITLES = {"torch": "PyTorch", "keras": "Keras on TensorFlow", "onnx": "ONNX"}

HEAD = """\
<!-- Written by docs/generate_zoo.py from benchmarks/results/zoo.json and capture.json; do not edit. -->
# Parts equal the whole

Published networks with random weights, cut in two at every boundary of their topological order, in three at twenty
pairs of random nested boundaries, and into a part for every layer. Checked each time: the last part's answers are the
network's own; a part gets nothing but the tensors that the boundary lists; they are sent once, and the bytes sent are
those the Graph says; a part holds exactly the parameters that its layers use. `python benchmarks/zoo.py` checks it all
again, the slow tests in `tests/zoo` the same with eight triples.

- **PyTorch**: bit by bit, parts as they run.
- **Keras**: bit by bit layer by layer, with the part's own layers and copies of the weights (TensorFlow takes seconds
  to compile a part); eight boundaries and eight triples as compiled, within 2e-4 of the largest answer.
- **ONNX**: bit by bit with ONNX Runtime's fusions off (files made for a batch of 1, which are compared with sample by
  sample, within 1e-5). Each part's model is run node by node, and a node that reads the very arrays and weights that it
  read in a part before is not computed again, for a session for every part would take longer than all the rest. At
  eight boundaries and eight triples a part is one session, without fusions as exact, and as ONNX Runtime fuses within
  1e-4 (MobileBERT, whose 24 layers enlarge what is rounded: 2e-3).

The largest difference below, relative to the largest answer, is what compiling and fusing make.
"""


def page() -> str:
    """The page as Markdown."""
    zoo = json.loads((RESULTS / "zoo.json").read_text(encoding="utf-8"))
    capture = json.loads((RESULTS / "capture.json").read_text(encoding="utf-8"))
    lines = [HEAD, *totals(zoo["networks"])]
    for framework, title in TITLES.items():
        lines += [f"\n## {title}\n", *table(framework, zoo["networks"])]
    lines += ["\n## Large graphs\n", *times(capture["rows"])]
    lines += ["\nZoo: " + environment(zoo) + ". Times: " + environment(capture) + ".", ""]
    return "\n".join(lines)


def totals(networks: list[dict[str, Any]]) -> Iterator[str]:
    yield "| | networks | boundaries | slices run | failures |"
    yield "|---|---|---|---|---|"
    for framework, title in [*TITLES.items(), ("", "**all**")]:
        mine = [row for row in networks if row["name"].startswith(framework)]
        yield (
            f"| {title} | {len(mine)} | {total(mine, 'checked_boundaries')} | {total(mine, 'slices')} | "
            f"{total(mine, 'failures')} |"
        )


def total(rows: list[dict[str, Any]], key: str) -> str:
    return f"{sum(row[key] for row in rows):,}"


def table(framework: str, networks: list[dict[str, Any]]) -> Iterator[str]:
    yield "| network | layers | boundaries | slices run | failures | largest difference |"
    yield "|---|---|---|---|---|---|"
    for row in networks:
        kind, _, name = row["name"].partition("/")
        if kind == framework:
            difference = f"{row['largest_difference']:.1g}" if row["largest_difference"] else "0"
            checked, there = row["checked_boundaries"], row["boundaries"]
            boundaries = str(there) if checked == there else f"{checked} of {there}"
            yield (f"| {name} | {row['layers']} | {boundaries} | {row['slices']} | {row['failures']} | {difference} |")
    for row in networks:
        if row["shown"] and row["name"].startswith(framework):
            yield f"\n`{row['name']}`: {row['shown'][0].rstrip('.')}."


def times(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "Medians of five, one thread: capture, all boundaries of a graph just loaded, slices into three parts.\n"
    yield "| graph | nodes | layers | capture, s | boundaries, s | slicing, s |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        measured = [row[key]["median_s"] for key in TIMES]
        cells = " | ".join(f"{value:.2g}" for value in measured)
        yield f"| {row['what']} ({TITLES[row['framework']]}) | {row['nodes']:,} | {row['layers']:,} | {cells} |"


TIMES = ("capture", "boundaries_of_a_fresh_graph", "split_into_three_parts")


def environment(result: Mapping[str, Any]) -> str:
    machine = f"{result['machine']['cpus']} × {result['machine']['processor']}"
    return f"{machine}, " + ", ".join(f"{name} {version}" for name, version in result["versions"].items())


if __name__ == "__main__":
    (DOCS / "zoo.md").write_text(page(), encoding="utf-8")
