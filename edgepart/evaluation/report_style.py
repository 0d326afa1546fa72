"""Colours of tiers and strategies, the same in every figure, and how a figure follows the page's light or dark look.

The palettes are told apart under the common kinds of colour blindness: Okabe and Ito (2008) for tiers, Paul Tol's
"bright" (2021) for strategies. Strategies also differ by marker.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

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


#: strategies that keep their look in every figure
_OWN = {
    "confidence": Style("#4477aa", "o"),
    "entropy": Style("#44aabb", "s"),
    "cartography": Style("#ee6677", "^"),
    "cartography-adaptive": Style("#aa3377", "v"),
    "router": Style("#228833", "P"),
    "combined": Style("#bb5522", "h"),
    "tuned": Style("#8866cc", "d"),
    "random": Style("#8c8c8c", "x"),
    "fixed-tier": Style("#997700", "D"),
    "oracle": Style("#ccaa33", "*", dashed=True),
}
_OTHERS = (Style("#cc6699", "X"), Style("#6699cc", "p"), Style("#88aa44", "<"), Style("#b08968", ">"))
#: of strategies beside those that a figure is about
FAINT = Style(MUTED, ".")


def tier_colour(index: int) -> str:
    return _TIERS[index % len(_TIERS)]


def strategy_styles(names: Sequence[str]) -> dict[str, Style]:
    """The look of each strategy of a figure: its own, or one that is free; only beyond fourteen a colour comes again.

    A colour that comes again is dashed where it was not.
    """
    own = {name: _OWN[name] for name in names if name in _OWN}
    taken = {style.colour for style in own.values()}
    free = [style for style in (*_OTHERS, *_OWN.values()) if style.colour not in taken] or list(_OTHERS)
    others = [name for name in names if name not in own]
    chosen = [replace(free[n % len(free)], dashed=n // len(free) % 2 == 1) for n in range(len(others))]
    return {**own, **dict(zip(others, chosen, strict=True))}


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
    return re.sub("|".join(NEUTRAL), lambda found: on_page(found[0]), body)


def on_page(colour: str) -> str:
    """A colour as the page's CSS has it, where neutral ones follow the light or dark look."""
    return f"var({NEUTRAL[colour]})" if colour in NEUTRAL else colour


def _prefixed(names: str, prefix: str) -> str:
    return 'aria-labelledby="' + " ".join(f"{prefix}-{name}" for name in names.split()) + '"'
