"""Write ``docs/precision.md`` from ``benchmarks/results/precision.json``: ``python docs/generate_precision.py``.

A test fails when the page is stale.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgepart.units import percent, size

DOCS = Path(__file__).resolve().parent
RESULT = DOCS.parent / "benchmarks" / "results" / "precision.json"

HEAD = """\
<!-- Written by docs/generate_precision.py from benchmarks/results/precision.json; do not edit. -->
# What a precision costs

Real networks on real data, cut in two parts with an exit between them whose head learned on the frozen network. Both
parts run on the same runtime in the same precision; accuracies are on test data, as deployed. *Same answer* is how many
samples the network's own classifier answers as in its framework. `python benchmarks/precision.py` measures it
again.

In 8 bits, convolutional parts have ranges fixed beforehand, by training samples; elsewhere matrix products take theirs
as they run, since single features of transformers are many times larger than the others.
"""


def page() -> str:
    """The page as Markdown."""
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    settings = result["settings"]
    about = (
        f"Measured on {result['date']} with {versions}. Heads learned on {settings['training']:,} samples, ranges are "
        f"those of {settings['calibration']}. One run with one seed."
    )
    return "\n".join([HEAD, about, *(line for network in result["networks"] for line in section(network)), ""])


def section(network: dict[str, Any]) -> Iterator[str]:
    """Table of one network."""
    measured = [cell for cell in network["cells"] if "reason" not in cell]
    refused = [cell for cell in network["cells"] if "reason" in cell]
    yield f"\n## {network['title']}\n\n{measured[0]['samples']:,} test samples.\n"
    yield "| runtime | precision | size | exit | own classifier | same answer |\n|---|---|---|---|---|---|"
    for cell in measured:
        shares = " | ".join(percent(share) for share in (*cell["accuracy"], cell["same_answer"][-1]))
        row = f"| {cell['runtime']} | {cell['precision']} | {size(cell['bytes'])} | {shares} |"
        yield row.replace(" %", "\u00a0%").replace(" MB", "\u00a0MB")
    if refused:
        yield ""
    for cell in refused:
        yield f"- {cell['runtime']} in {cell['precision']}: {cell['reason']}"


if __name__ == "__main__":
    (DOCS / "precision.md").write_text(page(), encoding="utf-8")
