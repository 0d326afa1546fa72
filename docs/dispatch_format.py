"""Figures of ``docs/results/dispatch.md`` as text."""

import re
from collections.abc import Callable, Iterator, Sequence

from edgepart.evaluation.runs_report import Difference, Estimate, Spread
from edgepart.units import percent


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def points_of(drop: float) -> str:
    return f"{100 * drop:g}"


def signed(value: float) -> str:
    """In points, with a sign unless it is nothing."""
    rounded = round(100 * value, 1)
    return f"{rounded:+.1f}" if rounded else "0.0"


def share(value: float) -> str:
    return f"{100 * value:.1f}"


def spread(value: Spread) -> str:
    return f"{100 * value.mean:.1f} ± {100 * value.std:.1f} %" if len(value.seeds) > 1 else percent(value.mean)


def hundredths(value: Spread) -> str:
    """A measure that is no share, as GLUE reports it."""
    return f"{100 * value.mean:.1f} ± {100 * value.std:.1f}" if len(value.seeds) > 1 else f"{100 * value.mean:.1f}"


def spanned(estimate: Estimate, text: Callable[[float], str]) -> str:
    return " to ".join(text(bound) for bound in estimate.interval)


def marked(difference: Difference) -> str:
    """A difference with its interval, bold where it is shown."""
    text = f"{signed(difference.mean)} ({spanned(difference, signed)})"
    return text if difference.verdict.startswith("no") else f"**{text}**"


def between(texts: Sequence[str]) -> str:
    """The least and the greatest of figures in words."""
    ordered = sorted(texts, key=lambda text: float(text.removesuffix(" %").replace("\u2212", "-")))
    return ordered[0] if ordered[0] == ordered[-1] else f"{ordered[0].removesuffix(' %')} to {ordered[-1]}"


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |\n|{'---|' * len(head)}"
    # a number and its unit stay on one line
    yield from (f"| {' | '.join(row)} |".replace(" %", "\u00a0%").replace(" ± ", "\u00a0±\u00a0") for row in rows)
    yield ""


def folded(title: str, lines: Iterator[str], is_open: bool) -> Iterator[str]:
    yield f"<details{' open' if is_open else ''}>\n<summary>{title}</summary>\n"
    yield from lines
    yield "</details>\n"
