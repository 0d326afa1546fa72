"""Write ``docs/matrix.md`` from ``benchmarks/results/matrix.json``: ``python docs/generate_matrix.py``.

A test fails when the page is stale.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
RESULT = DOCS.parent / "benchmarks" / "results" / "matrix.json"
TITLES = {"torch": "PyTorch", "keras": "Keras on TensorFlow", "onnx": "ONNX"}
SHORT = {"float32": "", "float16": " fp16", "int8": " int8"}

HEAD = """\
<!-- Written by docs/generate_matrix.py from benchmarks/results/matrix.json; do not edit. -->
# What runs where

One small network for each operation, written as a part for every runtime in every precision and run at batches of 1 and
3: `yes` where it gives what the network gives within the runtime's tolerance. A number leads to the reason where not,
in the words of edgepart's message. `python benchmarks/matrix.py` tries it all again.
"""


def page() -> str:
    """The page as Markdown."""
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    frameworks = dict.fromkeys(cell["framework"] for cell in result["cells"])
    sections = [line for name in frameworks for line in section(name, result["cells"])]
    return "\n".join([HEAD, f"Tried on {result['date']} with {versions}.", *sections, ""])


def section(name: str, cells: list[dict[str, Any]]) -> Iterator[str]:
    """Table and reasons of one framework."""
    mine = [cell for cell in cells if cell["framework"] == name]
    columns = list(dict.fromkeys((cell["runtime"], cell["precision"]) for cell in mine))
    found = {(cell["operation"], cell["runtime"], cell["precision"]): cell for cell in mine}
    operations = list(dict.fromkeys(cell["operation"] for cell in mine))
    reasons: dict[str, int] = {}
    passed = sum("difference" in cell for cell in mine)
    yield f"\n## {TITLES[name]}\n\n{passed} of {len(mine)} passed.\n"
    yield "| operation | " + " | ".join(f"{runtime}{SHORT[precision]}" for runtime, precision in columns) + " |"
    yield "|---|" + "---|" * len(columns)
    for operation in operations:
        outcomes = [mark(found.get((operation, *column)), reasons) for column in columns]
        yield f"| {operation} | " + " | ".join(outcomes) + " |"
    if reasons:
        yield ""
    for text, number in reasons.items():
        yield f"{number}. {escaped(text)}"


def mark(cell: dict[str, Any] | None, reasons: dict[str, int]) -> str:
    """What stands in a cell; a new reason is given the next number."""
    if cell is None:
        return "–"
    if "difference" in cell:
        return "yes"
    return f"no ({reasons.setdefault(cell['reason'], len(reasons) + 1)})"


def escaped(text: str) -> str:
    """Text as it stands, whatever Markdown would make of it."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|" else letter for letter in text)


if __name__ == "__main__":
    (DOCS / "matrix.md").write_text(page(), encoding="utf-8")
