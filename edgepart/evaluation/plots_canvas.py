"""Axes in the report's look, saved as SVG whose text is text and whose points say what they are."""

from __future__ import annotations

import importlib.util
import io
import textwrap
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from typing import Any

from edgepart.errors import MissingExtra
from edgepart.evaluation.report_style import INK, MUTED, PAPER

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"


def require_matplotlib() -> None:
    """Check that figures can be drawn, before anything slow is done for them.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtra("matplotlib", "plots")


def plain(text: str) -> str:
    """Text that matplotlib does not read as a formula."""
    return text.replace("$", r"\$")


class Canvas:
    """One pair of axes in the report's look, or a grid of them, and names for the things drawn on it."""

    def __init__(self, title: str, width: float, height: float, rows: int = 1, columns: int = 1) -> None:
        """Size in inches; axes of a row share their heights, those of a column their widths."""
        from matplotlib.figure import Figure

        self._title = title
        self._names: dict[str, list[str]] = {}
        self._figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
        self.grid: Any = self._figure.subplots(rows, columns, squeeze=False, sharex="col", sharey="row")
        self.axes: Any = self.grid[0, 0]
        for axes in self.grid.flat:
            axes.set_facecolor("none")
            axes.spines[["top", "right"]].set_visible(False)
            axes.spines[["left", "bottom"]].set_color(MUTED)
            axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=10)
            for axis in (axes.xaxis, axes.yaxis):
                axis.label.set_color(INK)
                axis.label.set_fontsize(10.5)

    def name(self, artist: Any, text: str) -> None:
        """What is shown when the pointer rests on something."""
        self._names[self._mark(artist)] = [text]

    def name_points(self, artist: Any, texts: Sequence[str]) -> None:
        """The same for every point of a scatter plot."""
        self._names[self._mark(artist)] = list(texts)

    def _mark(self, artist: Any) -> str:
        artist.set_gid(f"named-{len(self._names)}")
        return str(artist.get_gid())

    def legend(self, columns: int) -> None:
        """A legend above the axes, in fewer columns for long names; what several of them show is named once."""
        entries: dict[str, Any] = {}
        for axes in self.grid.flat:
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
                entries.setdefault(label, handle)
        if entries:
            # some 13 letters to an inch, and a marker and space as wide as 6
            fit = int(13 * self._figure.get_figwidth()) // (max(map(len, entries)) + 6)
            self._figure.legend(
                list(entries.values()),
                list(entries),
                loc="outside upper center",
                ncols=max(1, min(columns, fit)),
                frameon=False,
                fontsize=10,
                labelcolor=INK,
                markerscale=1.4,
            )

    def note(self, text: str) -> None:
        """A remark below the axes, in as many lines as it takes."""
        if text:
            wide = int(16 * self._figure.get_figwidth())
            lines = "\n".join(textwrap.wrap(plain(text), wide))
            self._figure.supxlabel(lines, color=MUTED, fontsize=8.5, x=0.01, ha="left")

    def svg(self) -> str:
        """The file, the same bytes for the same figure."""
        import matplotlib

        buffer = io.StringIO()
        look: Any = {"svg.fonttype": "none", "svg.hashsalt": self._title, "hatch.color": PAPER}
        with matplotlib.rc_context(look):
            self._figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
        ElementTree.register_namespace("", _SVG)
        ElementTree.register_namespace("xlink", _XLINK)
        root = ElementTree.fromstring(buffer.getvalue())
        self._add_names(root)
        text = ElementTree.tostring(root, encoding="unicode")
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + text.replace("DejaVu Sans", "system-ui") + "\n"

    def _add_names(self, root: ElementTree.Element) -> None:
        for metadata in root.findall(f"{{{_SVG}}}metadata"):
            root.remove(metadata)
        root.set("role", "img")
        root.set("aria-labelledby", "title")
        for old in root.findall(f"{{{_SVG}}}title"):
            root.remove(old)
        title = ElementTree.Element(f"{{{_SVG}}}title", {"id": "title"})
        title.text = self._title
        root.insert(0, title)
        marked = {element.get("id"): element for element in root.iter() if element.get("id") in self._names}
        for mark, texts in self._names.items():
            # matplotlib writes many points as uses of one definition, few as paths of their own
            shapes = _shapes(marked[mark]) if len(texts) > 1 else [marked[mark]]
            for shape, text in zip(shapes, texts, strict=True):
                ElementTree.SubElement(shape, f"{{{_SVG}}}title").text = text


def _shapes(group: ElementTree.Element) -> list[ElementTree.Element]:
    """What is drawn inside a group, in order, definitions left out."""
    defined = {id(element) for definitions in group.iter(f"{{{_SVG}}}defs") for element in definitions.iter()}
    drawn = (f"{{{_SVG}}}use", f"{{{_SVG}}}path")
    return [element for element in group.iter() if element.tag in drawn and id(element) not in defined]
