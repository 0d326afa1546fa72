"""The part of ``docs/results/dispatch.md`` about streams that change domain."""

from collections.abc import Iterator, Sequence
from typing import Any

from dispatch_format import folded, points_of, signed, table

from edgepart.units import percent


def shift(found: dict[str, Any]) -> Iterator[str]:
    """What strategies that adapt do where a stream changes domain, with and without a drift detector."""
    settings = found["settings"]
    yield "## When the data change\n"
    yield (
        f"Streams that change domain half way (`benchmarks/shift.py`, {found['date']}), each met in "
        f"{settings['orders']} random orders: means ± standard deviation over these. Settings are chosen once, on "
        f"validation data of the first domain, at ≤ {points_of(settings['allowed_drop'])} points lost. *+ detector* is "
        "`drift=page-hinkley`; *gained* is accuracy after the change against the same strategy without.\n"
    )
    titles = {stream["stream"]: f"{stream['before']}, then {stream['after']}" for stream in found["streams"]}
    gains = [(row, row["gain"]["accuracy"]["after"]) for row in found["rows"] if row["drift"]]
    helped = [(row, gain) for row, gain in gains if gain["mean"] > 2 * gain["std"] > 0]
    told = "; ".join(
        f"`{row['strategy']}` on {titles[row['stream']]} ({signed(gain['mean'])} points)" for row, gain in helped
    )
    yield (
        f"**The detector raises the accuracy after the change by more than two standard deviations in {len(helped)} of "
        f"{len(gains)} cases**{f': {told}' if told else ''}.\n"
    )
    for stream in found["streams"]:
        rows = [row for row in found["rows"] if row["stream"] == stream["stream"]]
        full = stream["full_model_accuracy"]
        yield f"### {titles[stream['stream']]}\n"
        yield (
            f"{stream['samples_before']:,} samples, then {stream['samples_after']:,}; the full model is right on "
            f"{percent(full['before']['mean'])} before and {percent(full['after']['mean'])} after the change. "
            f"{against_full(rows)}\n"
        )
        head = (
            "strategy",
            "accuracy before",
            "after",
            "saved before",
            "after",
            "gained",
            "change found",
            "samples later",
        )
        yield from folded("every strategy", table(head, [shift_row(row) for row in rows]), is_open=False)


def against_full(rows: Sequence[dict[str, Any]]) -> str:
    """What the threshold and those that adapt lose against the full model, before and after the change."""
    named = {shift_name(row): row for row in rows}
    learning = {row["strategy"] for row in rows if row["drift"]}
    adaptive = [row for row in rows if row["strategy"] in learning]
    if "`confidence`" not in named or not adaptive:
        return ""
    plain = named["`confidence`"]
    worst, best = (pick(adaptive, key=lambda row: row["against_full"]["after"]["mean"]) for pick in (min, max))
    before = signed(plain["against_full"]["before"]["mean"])
    return (
        f"Against it `confidence` is at {before} points before the change and at {after(plain)} after it; of the "
        f"strategies that adapt {shift_name(best)} keeps most ({after(best)}), {shift_name(worst)} least "
        f"({after(worst)})."
    )


def after(row: dict[str, Any]) -> str:
    """Accuracy against the full model and saving after the change."""
    lost, saved = (row[figure]["after"]["mean"] for figure in ("against_full", "saving"))
    return f"{signed(lost)} points, {percent(saved, 0)} saved"


def shift_name(row: dict[str, Any]) -> str:
    return f"`{row['strategy']}`{' + detector' if row['drift'] else ''}"


def shift_row(row: dict[str, Any]) -> list[str]:
    figures = [row[figure][part] for figure in ("accuracy", "saving") for part in ("before", "after")]
    cells = [f"{percent(one['mean'])} ± {100 * one['std']:.1f}" for one in figures]
    name = shift_name(row)
    if not row["drift"]:
        return [name, *cells, "", "", ""]
    gain, delay = row["gain"]["accuracy"]["after"], row["delay"]
    late = f"{delay['mean']:.0f}" if delay else ""
    return [name, *cells, f"{signed(gain['mean'])} ± {100 * gain['std']:.1f}", percent(row["found"], 0), late]
