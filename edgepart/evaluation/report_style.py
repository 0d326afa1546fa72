"""Colours of tiers and strategies, the same in every figure, and how a figure follows the page's light or dark look.

The palettes are told apart under the common kinds of colour blindness: Okabe and Ito (2008) for tiers, Paul Tol's
"bright" (2021) for strategies. Strategies also differ by marker.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: neutral colours of the light page: colour → name of the CSS variable that takes its place on the page
NEUTRAL = {
    "#1f2328": "--ink",
    "#59636e": "--muted",
    "#d0d7de": "--line",
    "#fefefe": "--paper",
    "#f6f8fa": "--panel",
}
INK, MUTED, LINE, PAPER, PANEL = NEUTRAL

_TIERS = ("#009e73", "#e69f00", "#0072b2", "#cc79a7", "#d55e00", "#56b4e9")


@dataclass(frozen=True)
class Style:
    """How a strategy is drawn."""

    colour: str
    marker: str
    dashed: bool = False


_STRATEGIES = {
    "confidence": Style("#4477aa", "o"),
    "entropy": Style("#44aabb", "s"),
    "cartography": Style("#ee6677", "^"),
    "cartography-adaptive": Style("#aa3377", "v"),
    "random": Style("#8c8c8c", "x"),
    "fixed-tier": Style("#997700", "D"),
    "oracle": Style("#ccaa33", "*", dashed=True),
}
_OTHERS = (Style("#228833", "P"), Style("#882255", "X"), Style("#6699cc", "p"), Style("#bb5522", "h"))


def tier_colour(index: int) -> str:
    return _TIERS[index % len(_TIERS)]


def strategy_style(name: str) -> Style:
    """Own style of a shipped strategy; one of a few others, always the same, for a plug-in."""
    return _STRATEGIES.get(name) or _OTHERS[sum(name.encode()) % len(_OTHERS)]


def text_on(colour: str) -> str:
    """Black or white, whichever is easier to read on a colour (relative luminance of WCAG 2, simplified)."""
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return "#000000" if 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.25 else "#ffffff"


def inline(svg: str, prefix: str) -> str:
    """An SVG file as an element of a page: no prolog, ids of its own, neutral colours from the page's CSS."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r'<style type="text/css">.*?</style>| xmlns(:xlink)?="[^"]*"', "", body, flags=re.DOTALL)
    body = body.replace("xlink:href=", "href=")
    body = re.sub(r'(<[^>]* id="|href="#|url\(#)', rf"\g<1>{prefix}-", body)
    body = re.sub(r'aria-labelledby="([^"]*)"', lambda found: _prefixed(found[1], prefix), body)
    return re.sub("|".join(NEUTRAL), lambda found: f"var({NEUTRAL[found[0]]})", body)


def _prefixed(names: str, prefix: str) -> str:
    return 'aria-labelledby="' + " ".join(f"{prefix}-{name}" for name in names.split()) + '"'
