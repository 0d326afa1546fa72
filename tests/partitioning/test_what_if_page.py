"""The page of the documentation says what the benchmark's result says."""

import runpy
import xml.etree.ElementTree as ElementTree
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_is_current() -> None:
    page = runpy.run_path(str(DOCS / "generate_what_if.py"))["page"]()
    stale = "docs/what-if.md is stale: run python docs/generate_what_if.py"
    assert (DOCS / "what-if.md").read_text(encoding="utf-8") == page, stale


def test_the_picture_has_the_page_s_breakpoints() -> None:
    root = ElementTree.parse(DOCS / "results" / "what-if" / "bandwidth.svg").getroot()
    texts = {"".join(element.itertext()).strip() for element in root.iter() if element.tag.endswith("text")}
    found = runpy.run_path(str(DOCS / "generate_what_if.py"))
    shown = found["what_if"](found["json"].loads(found["RESULT"].read_text(encoding="utf-8")))
    assert {found["bit_rate"](at) for at in shown.breakpoints} <= texts
    assert len(shown.breakpoints) > 1
