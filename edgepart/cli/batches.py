"""What ``edgepart evaluate --batches`` asks for and prints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepart.cli.measure import MEASURING, MUCH_LOAD, REPLAYING
from edgepart.cli.output import note, print_json, print_table
from edgepart.errors import EdgepartError
from edgepart.files import atomic_folder, require_replaceable
from edgepart.units import percent, seconds

if TYPE_CHECKING:
    from edgepart.evaluation.batches import Batches
    from edgepart.evaluation.report import TemperatureReport
    from edgepart.measuring.link_fit import Estimate

Command = Callable[..., None]

_NEEDED = ("strategies", "cost", "gamma", "drops", "temperature", "runs")
#: what has no part in --batches
NEEDLESS = ("measure", *(name for name in (*REPLAYING, *MEASURING) if name not in _NEEDED))
_RESULT = "batches.json"


def batches_option(command: Command) -> Command:
    """``--batches`` of ``edgepart evaluate``."""
    return click.option(
        "--batches",
        metavar="SIZES",
        help="Time batches of these sizes here, such as 1,8,32, with samples leaving early.",
    )(command)


def time_bundle(
    bundle: Path,
    data: str | None,
    output: Path,
    sizes: str,
    strategies: Sequence[str],
    grid: Sequence[float] | None,
    drops: Sequence[float],
    cost: str,
    gamma: float | None,
    temperature: bool,
    samples: int | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Time batches, print what leaving early saves, and write it."""
    from edgepart.bundle import open_bundle
    from edgepart.evaluation.batches import SAMPLES, time_batches
    from edgepart.evaluation.costs import cost_model
    from edgepart.evaluation.evaluate import costs_of
    from edgepart.evaluation.evaluate_traces import THRESHOLDS
    from edgepart.evaluation.selection import DROPS

    if data is None:
        raise EdgepartError("--batches needs labelled data: give --data")
    if len(strategies) > 1:
        raise EdgepartError(f"--batches times one strategy, not {len(strategies)}: name one")
    if len(drops) > 1:
        raise EdgepartError(f"--batches times one setting, not one for each of {len(drops)} drops: give --drop once")
    counts = _sizes(sizes)
    require_replaceable(output, "measurement", _RESULT)
    opened = open_bundle(bundle)
    model = cost_model(cost, **({} if gamma is None else {"gamma": gamma}))
    found = time_batches(
        opened,
        data,
        *strategies,
        costs=costs_of(opened, model),
        grid=THRESHOLDS if grid is None else grid,
        drop=drops[0] if drops else DROPS[0],
        sizes=counts,
        samples=SAMPLES if samples is None else samples,
        threads=threads or 1,
        temperature=temperature,
    )
    with atomic_folder(output) as folder:
        found.save(folder / _RESULT)
    if as_json:
        print_json(found.model_dump(mode="json", exclude_none=True))
        return
    _print(found)
    click.echo(f"\nwritten to {output / _RESULT}")


def print_temperatures(found: Sequence[TemperatureReport], samples: str) -> None:
    """Each exit's temperature, and what scaling by it does to the calibration error on the samples reported on."""
    rows = [(one.exit, f"{one.temperature:.3g}", percent(one.error_before), percent(one.error_after)) for one in found]
    columns = ("exit", "temperature", "calibration error", "scaled")
    print_table(columns, rows, f"\ntemperatures learnt on validation, calibration error on {samples}")


def _sizes(text: str) -> list[int]:
    try:
        sizes = sorted({int(piece) for piece in text.split(",")})
    except ValueError:
        sizes = []
    if not sizes or sizes[0] < 1:
        raise EdgepartError(f"--batches {text} does not name sizes of batches: expected numbers from 1, as 1,8,32")
    return sizes


def _print(found: Batches) -> None:
    threads = f"{found.threads} thread" + ("s" if found.threads > 1 else "")
    title = (
        f"{found.network} ({found.deployment}), {found.samples:,} samples of {found.data}, {threads}\n"
        f"{found.strategy} at {found.setting}; the whole network is right on {percent(found.full_accuracy)}\n\na sample"
    )
    headers = (
        "batch", "whole network", "quartiles", "leaving early", "quartiles", "saved", "quartiles", "predicted",
        "accuracy",
    )  # fmt: skip
    rows = [
        (
            str(one.batch_size),
            *_cells(one.full_s, seconds),
            *_cells(one.policy_s, seconds),
            *_cells(one.saving, percent),
            percent(one.predicted_saving),
            percent(one.accuracy),
        )
        for one in found.sizes
    ]
    print_table(headers, rows, title)
    if found.temperatures:
        print_temperatures(found.temperatures, "these samples")
    stages = [
        (
            stage.tier,
            stage.exit or "-",
            *(f"{percent(one.stages[number].share)} x {seconds(one.stages[number].seconds)}" for one in found.sizes),
        )
        for number, stage in enumerate(found.sizes[0].stages)
    ]
    print_table(
        ("tier", "up to", *(f"batch {one.batch_size}" for one in found.sizes)),
        stages,
        "\nstages: share of the samples that run, and what each takes in whole batches",
    )
    for remark in found.remarks:
        note(f"note: {remark}")
    if found.machine_load.mean_cores > MUCH_LOAD:
        note(f"note: other processes kept {found.machine_load.mean_cores:.1f} cores busy: measure on a quiet machine")


def _cells(found: Estimate, unit: Callable[[float], str]) -> tuple[str, str]:
    return unit(found.median), f"{unit(found.lower)} to {unit(found.upper)}"
