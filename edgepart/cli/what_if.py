"""What ``edgepart partition --what-if`` and ``--under-trace`` print and draw."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from edgepart.amounts import parse_amount
from edgepart.cli.output import ESTIMATE, parse_pairs, print_table
from edgepart.errors import EdgepartError
from edgepart.evaluation.plots_canvas import Canvas, plain, require_matplotlib
from edgepart.evaluation.report_style import INK, MUTED, PAPER
from edgepart.files import atomic_file, require_parent, write_text
from edgepart.hardware.bandwidth_trace import load_trace
from edgepart.partitioning.parameter import bit_rate
from edgepart.partitioning.problem import Problem
from edgepart.partitioning.quantities import spoken
from edgepart.partitioning.switching import PlanSet, Switching, under_trace
from edgepart.partitioning.what_if import Candidate, WhatIf, what_if
from edgepart.units import amount, percent, seconds, significant, size

#: tensors of a cut that are named
_NAMED = 2
#: places along a piece at which it is drawn
_PLACES = 60
#: a range this many times as wide as its start is drawn on a logarithmic axis
_WIDE = 20.0
#: more breakpoints than this are drawn without their values
_LABELLED = 12
#: Paul Tol's "bright" (2021), told apart under the common kinds of colour blindness
_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccaa33", "#66ccee", "#aa3377", "#8c8c8c")
#: a larger gap than this is more than what solvers round
_PROVEN = 1e-4
_METHODS = {
    "parametric": "breakpoints exact",
    "steps": "steps exact",
    "samples": "sampled: what lies between two values is not known",
}


def answer(
    problem: Problem,
    what_ifs: Sequence[str],
    traces: Sequence[str],
    most_plans: int = 3,
    outage_below: str | None = None,
    plot: Path | None = None,
    show: bool = True,
) -> dict[str, Any]:
    """Answer ``--what-if`` and ``--under-trace`` for a problem; printed if ``show``, and returned as JSON.

    Raises:
        EdgepartError: as :func:`~edgepart.partitioning.what_if.what_if`,
            :func:`~edgepart.partitioning.switching.under_trace`, :func:`~edgepart.hardware.bandwidth_trace.load_trace`
            and :func:`plot_what_if`; or several ranges for one plot.
    """
    if plot is not None and len(what_ifs) != 1:
        raise EdgepartError(f"--plot draws one --what-if, and {len(what_ifs)} are given: give one")
    least = parse_amount(outage_below, "bit/s", "--outage-below").value if outage_below else 0.0
    # what can be wrong with the files is told before anything is solved
    recorded = [(link, load_trace(file)) for link, file in parse_pairs("--under-trace", traces).items()]
    varied = [what_if(problem, text) for text in what_ifs]
    switched = [under_trace(problem, link, each.with_outages_below(least), most_plans) for link, each in recorded]
    if plot is not None:
        plot_what_if(varied[0], plot)
    if show:
        for index, found in enumerate(varied):
            click.echo("\n" * bool(index), nl=False)
            show_what_if(found)
        for index, best in enumerate(switched, len(varied)):
            click.echo("\n" * bool(index), nl=False)
            show_switching(best)
    return {
        "what_if": [found.model_dump(mode="json") for found in varied],
        "under_trace": [found.model_dump(mode="json") for found in switched],
    }


def show_what_if(found: WhatIf) -> None:
    """Print the pieces of a range, and what every plan is."""
    ends = _ends(found)
    print_table(
        ("from", "to", "plan", f"{spoken(found.objective)} from", "to"),
        [
            (
                ends[piece.start],
                ends[piece.stop],
                "-" if piece.plan is None else letter(piece.plan),
                "-" if piece.at_start is None else _value(found, piece.at_start),
                "-" if piece.at_stop is None else _value(found, piece.at_stop),
            )
            for piece in found.pieces
        ],
        title=f"Best plan by {found.parameter} ({_method(found)})",
    )
    _show_plans(found.plans, found.tiers)
    for why in dict.fromkeys(piece.why for piece in found.pieces if piece.why and piece.why != found.note):
        click.echo(f"-: {why}")
    gap = (
        "without a proof" if found.gap is None else f"to a relative gap of {found.gap:.0e}" if found.gap else "exactly"
    )
    click.echo(f"Solved {found.solved} times, {gap}.")
    if found.note:
        click.echo(f"{found.note[0].upper()}{found.note[1:]}.")
    _note_estimates(found)


def show_switching(found: Switching) -> None:
    """Print the best sets of plans under a trace."""
    click.echo(
        f"Bandwidth of {found.link} as in {found.trace} ({found.source}): {bit_rate(found.low_bits_per_s)} to "
        f"{bit_rate(found.high_bits_per_s)} {_lasting(found)}"
    )
    rows = [_set_row(found, each) for each in found.sets]
    rows.append(("best at each moment", str(found.oracle_plans), "", _value(found, found.oracle), *_gain(found)))
    print_table(
        ("plans", "how many", "switch at", f"mean {spoken(found.objective)}", "saved", "above best", "switches"), rows
    )
    _show_plans(found.plans, found.tiers)
    click.echo(_outage(found))
    _note_estimates(found)


def _lasting(found: Switching) -> str:
    if found.timed:
        return f"for {seconds(found.seconds)}"
    return f"in {found.seconds:.0f} rows that name no times and count alike"


def letter(plan: int) -> str:
    """A, B, …, Z, AA, …: the name of a plan in tables and plots."""
    return (letter(plan // 26 - 1) if plan >= 26 else "") + chr(ord("A") + plan % 26)


def plot_what_if(found: WhatIf, path: str | Path) -> None:
    """Draw the objective over the range, a colour for each plan, as ``.png`` or ``.svg``.

    Raises:
        MissingExtra: matplotlib is not installed.
        EdgepartError: another suffix.
        FileError: the folder does not exist, or the file cannot be written.
    """
    require_matplotlib()
    target = Path(path)
    if target.suffix not in (".png", ".svg"):
        raise EdgepartError(f"{target} is neither a .png nor a .svg file: expected one of them")
    require_parent(target)
    canvas = _Picture(f"{spoken(found.objective)} of the best plan by {found.parameter}", 6.4, 4.0)
    _draw(canvas, found)
    canvas.save(target)


class _Picture(Canvas):
    """A canvas that is a file of its own."""

    def save(self, target: Path) -> None:
        if target.suffix == ".svg":
            write_text(target, self.svg())
            return
        with atomic_file(target) as temporary:
            self._figure.savefig(temporary, format="png", dpi=150, facecolor=PAPER, metadata={"Software": None})


def _draw(canvas: Canvas, found: WhatIf) -> None:
    from matplotlib.ticker import FuncFormatter

    axes: Any = canvas.axes
    if found.low > 0 and found.high / found.low >= _WIDE:
        axes.set_xscale("log")
    named: set[int] = set()
    for piece in found.pieces:
        if piece.plan is None:
            axes.axvspan(piece.start, piece.stop, color=MUTED, alpha=0.15, linewidth=0, label="nothing fits")
            continue
        label = f"{letter(piece.plan)}: {_short(found.plans[piece.plan], found.tiers)}"
        axes.plot(
            *_along(found, piece.start, piece.stop),
            color=_COLOURS[piece.plan % len(_COLOURS)],
            linewidth=2.2,
            marker="o" if found.method == "samples" and piece.start == piece.stop else None,
            label=None if piece.plan in named else plain(label),
        )
        named.add(piece.plan)
    for at in found.breakpoints:
        axes.axvline(at, color=MUTED, linewidth=0.8, linestyle=":", zorder=0)
        if len(found.breakpoints) <= _LABELLED:
            place = {"xy": (at, 0.02), "xycoords": ("data", "axes fraction"), "ha": "right", "va": "bottom"}
            axes.annotate(_parameter(found, at), **place, rotation=90, fontsize=8.5, color=INK)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: _parameter(found, at)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda at, _: amount(at, found.objective_unit)))
    axes.set_xlim(found.low, found.high)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(plain(found.parameter))
    axes.set_ylabel(plain(spoken(found.objective)))
    canvas.legend(columns=2)


def _along(found: WhatIf, start: float, stop: float) -> tuple[list[float], list[float]]:
    """Places of a piece, evenly spread on either axis, and its values there."""
    inner = [start + (stop - start) * index / _PLACES for index in range(1, _PLACES)]
    if start > 0:
        inner += [start * (stop / start) ** (index / _PLACES) for index in range(1, _PLACES)]
    piece = next(each for each in found.pieces if (each.start, each.stop) == (start, stop))
    alone = found.model_copy(update={"pieces": (piece,)})
    places = [start, *sorted(inner), stop]
    values = [alone.value_at(at) for at in places]
    return places, [0.0 if value is None else value for value in values]


def _show_plans(plans: Sequence[Candidate], tiers: Sequence[str]) -> None:
    hops = {(sent.lower, sent.upper) for plan in plans for sent in plan.sends}
    ordered = [hop for hop in itertools.combinations(tiers, 2) if hop in hops]
    print_table(
        ("plan", "layers", *(" > ".join(hop) for hop in ordered)),
        [
            (letter(index), _layers(plan, tiers), *(_over(plan, hop) for hop in ordered))
            for index, plan in enumerate(plans)
        ],
        title="\nPlans",
    )


def _over(plan: Candidate, hop: tuple[str, str]) -> str:
    """What a plan sends over a link; nothing over one that is not on its route."""
    sent = next((sent for sent in plan.sends if (sent.lower, sent.upper) == hop), None)
    return _sent(sent.tensors, sent.bytes) if sent else _sent((), 0)


def _layers(plan: Candidate, tiers: Sequence[str]) -> str:
    held = [sum(tier == index for tier in plan.tier_of.values()) for index in range(len(tiers))]
    if max(held) == len(plan.tier_of):
        return f"all on {tiers[held.index(max(held))]}"
    return ", ".join(f"{name} {count}" for name, count in zip(tiers, held, strict=True) if count)


def _sent(tensors: Sequence[str], sent: int) -> str:
    if not tensors:
        return "nothing"
    more = f" and {len(tensors) - _NAMED} more" if len(tensors) > _NAMED else ""
    return f"{', '.join(tensors[:_NAMED])}{more} ({size(sent)})"


def _short(plan: Candidate, tiers: Sequence[str]) -> str:
    """A plan in the words of a legend."""
    layers = _layers(plan, tiers)
    sent = [_sent(sent.tensors, sent.bytes) for sent in plan.sends if sent.tensors]
    return layers if layers.startswith("all on") else f"sends {', then '.join(sent)}"


def _value(found: WhatIf | Switching, value: float) -> str:
    """A value of the objective, marked where it is an estimate."""
    return ("~" if found.estimated else "") + amount(value, found.objective_unit)


def _method(found: WhatIf) -> str:
    proven = found.method == "samples" or (found.gap is not None and found.gap <= _PROVEN)
    return _METHODS[found.method] if proven else "as exact as the solutions, see below"


def _note_estimates(found: WhatIf | Switching) -> None:
    if found.estimated:
        click.echo(ESTIMATE)


def _parameter(found: WhatIf, at: float) -> str:
    if found.unit == "bit/s":
        return bit_rate(at)
    return f"{significant(at)} ×" if found.parameter.startswith("tier.") else amount(at, found.unit)


def _ends(found: WhatIf) -> dict[float, str]:
    """Where pieces begin and end; to the byte where three digits do not tell them apart."""
    shown = {at: _parameter(found, at) for piece in found.pieces for at in (piece.start, piece.stop)}
    if found.unit == "bytes" and len(set(shown.values())) < len(shown):
        return {at: f"{at:,.0f} B" for at in shown}
    return shown


def _set_row(found: Switching, each: PlanSet) -> tuple[str, ...]:
    shares = ", ".join(
        f"{letter(plan)} ({percent(share, 0)})" for plan, share in zip(each.plans, each.shares, strict=True)
    )
    return (
        shares,
        str(len(each.plans)),
        ", ".join(map(bit_rate, each.thresholds)) or "-",
        _value(found, each.mean),
        percent(each.saved),
        percent(each.above_oracle),
        str(each.switches),
    )


def _gain(found: Switching) -> tuple[str, str, str]:
    single = found.sets[0].mean
    return percent(1 - found.oracle / single if single else 0.0), percent(0.0), ""


def _outage(found: Switching) -> str:
    if not found.outage.seconds:
        return "No outages."
    lost = f"Outages, {percent(found.outage.share)} of the time, are left out of the means"
    if found.outage.plan is None or found.outage.value is None:
        return f"{lost}; no plan does without the link."
    value = _value(found, found.outage.value)
    return f"{lost}; plan {letter(found.outage.plan)} sends nothing over the link and takes {value} then."
