"""``edgepart evaluate``: accuracy and cost of every dispatch strategy on labelled data."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from edgepart.cli.batches import NEEDLESS, batches_option, print_temperatures, time_bundle
from edgepart.cli.costs import cost_options
from edgepart.cli.measure import (
    MEASURING,
    REPLAYING,
    chosen_output,
    measure_bundle,
    measure_options,
    refuse_others,
)
from edgepart.cli.output import json_option, note, print_json, print_table
from edgepart.errors import EdgepartError
from edgepart.units import percent

if TYPE_CHECKING:
    from edgepart.evaluation.report import Report
    from edgepart.evaluation.stream_report import StreamReport, StreamStrategy, Stretch


@click.command("evaluate")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--data", metavar="DATA", help="Labelled data: .tsv, .csv, .npz, a folder of images or file.py:function.")
@click.option("--trace", type=click.Path(path_type=Path), help="A trace recorded earlier, instead of --data.")
@click.option("--then", metavar="DATA", help="Labelled data of another domain, which come after those of --data.")
@click.option("--then-trace", type=click.Path(path_type=Path), help="The same for --trace: then.trace.safetensors.")
@click.option("--window", type=int, metavar="N", help="With --then: samples of a window along the stream.")
@click.option("--shuffle", type=int, metavar="SEED", help="With --then: shuffle the samples of each domain.")
@click.option("--strategy", "strategies", multiple=True, metavar="NAME", help="May be repeated; all by default.")
@cost_options
@click.option(
    "--thresholds", metavar="T,T,…", help="Thresholds to try; by default .3 to .9 and finer ones to .001 and .999."
)
@click.option(
    "--drop",
    "drops",
    type=click.FloatRange(0, 100),
    multiple=True,
    metavar="PERCENT",
    help="Accuracy that may be lost on validation; may be repeated, .5 and 1 by default.",
)
@click.option("--temperature", is_flag=True, help="Scale every exit's logits by a temperature learnt on validation.")
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=32, show_default=True, help="Samples recorded at once."
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads that one operation may use while recording.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report"),
    show_default=True,
    help="The folder to write: a new one, or that of an earlier report.",
)
@measure_options
@batches_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    bundle: Path,
    data: str | None,
    trace: Path | None,
    then: str | None,
    then_trace: Path | None,
    window: int | None,
    shuffle: int | None,
    strategies: tuple[str, ...],
    cost: str,
    gamma: float | None,
    thresholds: str | None,
    drops: tuple[float, ...],
    temperature: bool,
    batch_size: int,
    threads: int | None,
    output: Path,
    measure: bool,
    batches: str | None,
    as_json: bool,
    **measuring: Any,
) -> None:
    """Measure accuracy and cost of dispatch strategies.

    Runs the BUNDLE's parts over labelled data, chooses every strategy's settings on the bundle's validation data and
    reports what they give on yours, with curves, in OUTPUT/report.html and OUTPUT/report.json. The recording is
    kept in OUTPUT/trace.safetensors: --trace replays other strategies, costs or thresholds from it at once.

    With --then the data are a stream that changes domain: what strategies do before the change, right after it and from
    then on, those that adapt with and without a drift detector. Settings are chosen on validation data as ever.

    With --measure it runs the parts as one process a tier on this machine instead, one sample after another (of --data,
    or made up), and holds latency, memory and bytes against what was predicted. Samples take the full path, or leave at
    the confidence that --thresholds names; --thresholds plan takes those that the plan was chosen with.

    With --batches it times whole batches of DATA on this machine: at every exit those that one strategy (confidence
    unless another is named) lets leave are taken out and the others go on. The setting is chosen on validation for
    the --drop given, .5 % by default, unless --thresholds names a single one.
    """
    shares = tuple(map(share, drops))
    if batches is not None:
        refuse_others(context, NEEDLESS, "has no part in --batches: leave it out")
        given = context.get_parameter_source("runs") is not ParameterSource.DEFAULT
        time_bundle(
            bundle,
            data,
            chosen_output(context, output, "batched"),
            batches,
            strategies,
            None if thresholds is None else numbers(thresholds),
            shares,
            cost,
            gamma,
            temperature,
            measuring["runs"] if given else None,
            threads,
            as_json,
        )
        return
    if measure:
        refuse_others(context, REPLAYING, "has no part in --measure: leave it out")
        folder = chosen_output(context, output, "measured")
        measure_bundle(bundle, data, folder, measuring, thresholds, threads, as_json)
        return
    refuse_others(context, MEASURING, "belongs to --measure: give that too, or leave it out")
    from edgepart.evaluation.evaluate import evaluate
    from edgepart.evaluation.evaluate_traces import THRESHOLDS
    from edgepart.evaluation.report_page import headline
    from edgepart.evaluation.selection import DROPS

    if (data is None) == (trace is None):
        raise EdgepartError("give either --data or --trace (the trace.safetensors of an earlier report)")
    _require_stream_fits(trace, then, then_trace, window, shuffle)
    report = evaluate(
        bundle,
        data,
        trace=trace,
        then=then,
        then_trace=then_trace,
        window=window,
        shuffle=shuffle,
        strategies=strategies or None,
        cost=cost,
        grid=numbers(thresholds) if thresholds is not None else THRESHOLDS,
        drops=shares or DROPS,
        batch_size=batch_size,
        threads=threads,
        temperature=temperature,
        output=output,
        command=shlex.join(["edgepart", *sys.argv[1:]]),
        gamma=gamma,
    )
    if as_json:
        print_json(report.model_dump(mode="json", exclude_none=True))
        return
    _print(report)
    for warning in report.warnings:
        note(f"note: {warning}")
    click.echo(f"\n{headline(report)}\nreport: {output / 'report.html'}")


def _print(report: Report) -> None:
    """The report in short tables."""
    rows = [(e.name, e.tier, percent(e.accuracy), _cost(report, e.cost)) for e in report.exits]
    full = report.full_model
    title = f"full model: accuracy {percent(full.accuracy)}, {_cost(report, full.cost)} a sample\n\nif all left at"
    print_table(("exit", "tier", "accuracy", "cost"), rows, title)
    if report.temperatures:
        print_temperatures(report.temperatures, "test")
    headers = ("strategy", "setting", "accuracy", "cost", "saved", *(f"on {tier.name}" for tier in report.plan.tiers))
    if report.planned is not None:
        planned = report.planned
        at = ", ".join(f"{name} {value:g}" for name, value in planned.thresholds.items())
        click.echo(
            f"\nat the plan's thresholds ({planned.strategy}: {at}): accuracy {percent(planned.accuracy)}, "
            f"{_cost(report, planned.cost)} a sample, {percent(planned.saving)} saved; on validation "
            f"{percent(planned.validation_accuracy)}, {_cost(report, planned.validation_cost)}"
        )
    for drop in report.allowed_drops:
        lines = [
            (
                entry.name,
                entry.setting,
                percent(entry.accuracy),
                _cost(report, entry.cost),
                percent(entry.saving),
                *(percent(share, 0) for share in entry.tier_share.values()),
            )
            for entry in report.chosen(drop)
        ]
        print_table(headers, lines, f"\naccuracy drop of at most {100 * drop:g} % on validation; results on test")
        for chosen in report.chosen(drop):
            if chosen.promise is not None:
                click.echo(f"  {chosen.name}: {chosen.promise.text}")
        for entry in report.unreached:
            if entry.allowed_drop == drop:
                click.echo(f"  {entry.name}: no setting keeps that accuracy")
    if report.stream is not None:
        _print_stream(report, report.stream)


def _require_stream_fits(
    trace: Path | None, then: str | None, then_trace: Path | None, window: int | None, shuffle: int | None
) -> None:
    """Check that the options of a stream go together."""
    if (then if trace else then_trace) is not None:
        own, other = ("--trace", "--then-trace") if trace else ("--data", "--then")
        raise EdgepartError(f"what follows {own} is given by {other}: give that")
    if then is None and then_trace is None and (window, shuffle) != (None, None):
        raise EdgepartError("--window and --shuffle are for a stream: give --then or --then-trace, too")


def _print_stream(report: Report, stream: StreamReport) -> None:
    """Before the change, right after it, and from then on."""
    full = stream.full_model
    click.echo(
        f"\nthe stream: {stream.change:,} samples of {stream.sources[0]}, then {stream.samples - stream.change:,} of "
        f"{stream.sources[1]}; the full model goes from {percent(full.first.accuracy)} to "
        f"{percent(full.second.accuracy)}"
    )
    soon = f"next {stream.window}"
    headers = ("strategy", "before", "saved", soon, "saved", "after", "saved", "false alarms", "found in")
    for drop in report.allowed_drops:
        lines = [
            (
                entry.name,
                *(text for at in (entry.first, entry.after, entry.second) for text in _accuracy_saving(at)),
                *_alarms(entry, stream.change),
            )
            for entry in stream.chosen(drop)
        ]
        print_table(headers, lines, f"\naccuracy before and after the change, drop of at most {100 * drop:g} % allowed")


def _alarms(entry: StreamStrategy, change: int) -> tuple[str, str]:
    """Alarms before the change, and in how many samples it was noticed."""
    if entry.alarms is None:
        return "-", "-"
    return str(entry.false_alarms(change)), "never" if entry.delay is None else str(entry.delay)


def _accuracy_saving(stretch: Stretch) -> tuple[str, str]:
    return percent(stretch.accuracy), percent(stretch.saving)


def _cost(report: Report, value: float | None) -> str:
    return "-" if value is None else report.cost_text(value)


def share(drop: float) -> float:
    """An accuracy drop in per cent as a share of 1."""
    # 0.7 / 100 is a little less than .007
    return round(drop / 100, 12)


def numbers(text: str) -> tuple[float, ...]:
    """The thresholds that ``--thresholds`` lists."""
    try:
        return tuple(float(piece) for piece in text.split(",") if piece.strip())
    except ValueError:
        raise EdgepartError(f"--thresholds {text} is not a list of numbers such as .3,.5,.9") from None
