"""What ``edgepart profile --link`` and ``edgepart evaluate --measure`` ask for and print."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml
from click.core import ParameterSource

from edgepart.cli.output import note, parse_pairs, print_json, print_table
from edgepart.errors import EdgepartError, FileError
from edgepart.files import atomic_folder, require_parent, require_replaceable, write_text
from edgepart.units import percent, seconds, significant, size

if TYPE_CHECKING:
    from edgepart.bundle import Bundle
    from edgepart.measuring import Comparison, LinkMeasurement, Measured
    from edgepart.measuring.link_fit import Estimate
    from edgepart.measuring.measured import PartMeasured

#: where --serve-link listens if it is told nothing else: only this machine reaches it
LISTEN = "127.0.0.1:7740"
_BUDGET_S, _QUICK_S = 5.0, 2.0
#: other processes' load, in cores, above which the person is told
MUCH_LOAD = 0.5

Command = Callable[..., None]


def link_options(command: Command) -> Command:
    """``--link`` and ``--serve-link`` of ``edgepart profile``."""
    command = click.option(
        "--serve-link", "listen", is_flag=False, flag_value=LISTEN, metavar="[HOST:PORT]",
        help=f"Wait for --link from another machine, instead of measuring; {LISTEN} if nothing is given.",
    )(command)  # fmt: skip
    return click.option("--link", metavar="HOST:PORT", help="Measure the link to where --serve-link runs, no MODEL.")(
        command
    )


def measure_options(command: Command) -> Command:
    """The options of ``edgepart evaluate`` that belong to ``--measure``."""
    for option in (
        click.option(
            "--profile", "profiles", multiple=True, metavar="FILE",
            help="With --measure: predict from this profile of this machine, not from the plan; one a runtime.",
        ),
        click.option(
            "--pin-cores", multiple=True, metavar="TIER=CORES", help="With --measure: cores of a tier, as edge=1,2."
        ),
        click.option(
            "--link", "links", multiple=True, metavar="LOWER:UPPER=LINK",
            help="With --measure: shape this hop as another link than the plan's.",
        ),
        click.option("--shaped", is_flag=True, help="With --measure: shape every hop as the plan's link."),
        click.option(
            "--runs", type=click.IntRange(min=1), default=50, show_default=True,
            help="With --measure: samples sent; with --batches: samples run, 256 by default.",
        ),
        click.option(
            "--measure", is_flag=True, help="Run the parts as processes here; predicted against measured latency."
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def serve_link(where: str, as_json: bool) -> None:
    """Serve link measurements until Ctrl-C."""
    from edgepart.measuring.framing import address
    from edgepart.measuring.link_server import DEFAULT_PORT, LinkServer

    server = LinkServer(*address(where, DEFAULT_PORT))
    host, port = server.address
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if as_json:
        print_json({"listening": shown})
    else:
        click.echo(f"waiting for 'edgepart profile --link {shown}'; Ctrl-C ends it")
    if host in ("127.0.0.1", "::1"):
        note(f"Only this machine reaches {host}: name the address that others reach it by, or 0.0.0.0 for all.")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        note("stopped")
    finally:
        server.close()


def measure_link(where: str, output: Path, quick: bool, as_json: bool) -> None:
    """Measure a link, print what came of it, and write it as a file of the catalogue."""
    from edgepart.measuring import measure_link as measure
    from edgepart.measuring.framing import address

    host, port = address(where)
    require_parent(output)
    if output.suffix != ".yaml":
        raise FileError(f"a link is kept in a .yaml file, not in {output}: give -o {output.with_suffix('.yaml').name}")
    found = measure(host, port, budget_s=_QUICK_S if quick else _BUDGET_S)
    fields = found.link(output.name.removesuffix(".yaml")).model_dump(exclude_none=True, exclude={"name"})
    write_text(output, yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=110))
    if as_json:
        print_json(found.model_dump(mode="json") | {"file": str(output)})
        return
    print_table(("what", "median", "quartiles", "of"), _link_rows(found))
    click.echo(f"\nwritten to {output}; use it as 'edgepart partition … --link LOWER:UPPER={output}'")


def _link_rows(found: LinkMeasurement) -> list[tuple[str, ...]]:
    trip = found.round_trip_s
    return [
        ("round trip", seconds(trip.median), f"{seconds(trip.lower)} to {seconds(trip.upper)}", f"{trip.runs} frames"),
        ("jitter, one way", seconds(found.jitter_s), "-", f"{trip.runs} frames"),
        ("up", *_rate(found.up_bits_per_s), f"{found.up_bits_per_s.runs} rounds up to {size(found.up_bytes)}"),
        ("down", *_rate(found.down_bits_per_s), f"{found.down_bits_per_s.runs} rounds up to {size(found.down_bytes)}"),
    ]


def _rate(rate: Estimate) -> tuple[str, str]:
    median, lower, upper = (significant(value / 1e6) for value in (rate.median, rate.lower, rate.upper))
    return f"{median} Mbit/s", f"{lower} to {upper} Mbit/s"


def refuse_others(context: click.Context, needless: Sequence[str], why: str) -> None:
    """Raise where an option was given on the command line that does not belong to what is asked for."""
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if given and parameter.name in needless:
            raise EdgepartError(f"{parameter.opts[0]} {why}")


#: what only --measure reads, and what it does not
MEASURING = ("runs", "shaped", "links", "pin_cores", "profiles")
REPLAYING = (
    "trace",
    "then",
    "then_trace",
    "window",
    "shuffle",
    "strategies",
    "cost",
    "gamma",
    "drops",
    "temperature",
    "batch_size",
)
#: in place of a threshold: those that the plan was chosen with
PLANNED = "plan"


def measure_bundle(
    bundle: Path,
    data: str | None,
    output: Path,
    options: Mapping[str, Any],
    thresholds: str | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Run a bundle's parts, print predicted against measured, and write both with a plot."""
    from edgepart.bundle import open_bundle
    from edgepart.evaluation.plots_canvas import require_matplotlib
    from edgepart.evaluation.plots_measured import predicted_measured
    from edgepart.hardware import Profile
    from edgepart.measuring import measure_bundle as measure

    opened = open_bundle(bundle)
    threshold = _threshold(opened, thresholds)
    require_matplotlib()
    require_replaceable(output, "measurement", "measured.json", "measured.svg")
    pinned = parse_pairs("--pin-cores", options["pin_cores"])
    found = measure(
        opened,
        data,
        runs=options["runs"],
        shaped=options["shaped"],
        links=parse_pairs("--link", options["links"]),
        pin_cores={tier: _cores(tier, text) for tier, text in pinned.items()},
        threads=threads or 1,
        threshold=threshold,
        profiles=[Profile.load(path) for path in options["profiles"]],
    )
    with atomic_folder(output) as folder:
        found.save(folder / "measured.json")
        write_text(folder / "measured.svg", predicted_measured(found))
    if as_json:
        print_json(found.model_dump(mode="json", exclude_none=True))
        return
    _print(found)
    click.echo(f"\nwritten to {output / 'measured.json'} and {output / 'measured.svg'}")


def _threshold(bundle: Bundle, text: str | None) -> float | dict[str, float] | None:
    """What ``--thresholds`` says of a measurement: one number, those of the plan, or nothing."""
    from edgepart.measuring.thresholds import plan_thresholds

    if text is None or text == PLANNED:
        return None if text is None else plan_thresholds(bundle.plan)
    try:
        return float(text)
    except ValueError:
        raise EdgepartError(
            f"--measure takes one threshold of confidence, not {text}: give --thresholds T, --thresholds {PLANNED} for "
            "those of the plan, or none for full paths"
        ) from None


def _print(found: Measured) -> None:
    threads = f"{found.threads} thread" + ("s" if found.threads > 1 else "")
    title = f"{found.network} ({found.deployment}), {found.runs} runs, {threads}; {found.samples}\n\nParts"
    headers = (
        "tier", "runs on", "predicted", "alone", "error", "in the chain", "quartiles", "error", "memory predicted",
        "measured",
    )  # fmt: skip
    rows = [
        (
            part.tier,
            part.runtime + (f", core {','.join(map(str, part.cores))}" if part.cores else ""),
            *_part_cells(part),
            *_pair(part.memory_bytes),
        )
        for part in found.parts
    ]
    print_table(headers, rows, title)
    if found.hops:
        hop_headers = ("hop", "link", "tensors", "sent", "predicted", "measured", "quartiles", "error")
        hops = [
            (f"{x.source} > {x.target}", x.link or "loopback", *_pair(x.sent_bytes), *_cells(x.transfer_s, seconds))
            for x in found.hops
        ]
        print_table(hop_headers, hops, "\nLinks")
    exit_headers = ("exit", "tier", "samples", "predicted", "measured", "quartiles", "error")
    exits = [(x.name, x.tier, str(x.samples), *_cells(x.latency_s, seconds)) for x in found.exits if x.samples]
    print_table(exit_headers, exits, "\nEnd to end, by the exit at which samples left")
    load = found.machine_load
    click.echo(f"\nOther processes kept {load.mean_cores:.1f} cores busy on average, {load.maximum_cores:.1f} at most.")
    for remark in found.remarks:
        note(f"note: {remark}")
    if load.mean_cores > MUCH_LOAD:
        note("note: measure again on a quiet machine before you rely on this")


def _part_cells(part: PartMeasured) -> tuple[str, ...]:
    predicted, alone, _, error = _cells(part.alone_s, seconds)
    return predicted, alone, error, *_cells(part.compute_s, seconds)[1:]


def _cells(found: Comparison | None, unit: Callable[[float], str]) -> tuple[str, str, str, str]:
    if found is None:
        return "-", "-", "-", "-"
    return (
        "-" if found.predicted is None else unit(found.predicted),
        unit(found.measured.median),
        f"{unit(found.measured.lower)} to {unit(found.measured.upper)}",
        "-" if found.error is None else f"{'+' * (found.error >= 0)}{percent(found.error)}",
    )


def _pair(found: Comparison | None) -> tuple[str, str]:
    predicted, median, *_ = _cells(found, size)
    return predicted, median


def _cores(tier: str, text: str) -> list[int]:
    try:
        return [int(core) for core in text.split(",")]
    except ValueError:
        raise EdgepartError(f"--pin-cores {tier}={text} does not name cores: expected numbers, as {tier}=0,1") from None


def chosen_output(context: click.Context, output: Path, default: str) -> Path:
    """``-o`` as it was given, or the default of what is asked for."""
    given = context.get_parameter_source("output") is not ParameterSource.DEFAULT
    return output if given else Path(default)
