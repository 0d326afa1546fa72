"""``edgepart profile --kit``, ``--from-kit`` and ``--on``: measuring where edgepart is not installed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edgepart.cli.measure import refuse_others
from edgepart.cli.output import print_json
from edgepart.errors import EdgepartError
from edgepart.hardware import Profile

#: the parameters that :func:`kit_options` adds
KIT_OPTIONS = ("kit", "from_kit", "host", "remote_python")
_OPTIONS = (
    click.option("--kit", metavar="FOLDER", help="Write a folder that measures MODEL elsewhere, without edgepart."),
    click.option("--from-kit", metavar="FILE", help="What such a folder measured: turn it into a profile."),
    click.option("--on", "host", metavar="USER@HOST", help="Measure over SSH: copy a kit there, run it, fetch it."),
    click.option("--remote-python", default="python3", show_default=True, help="With --on: the Python there."),
)


def kit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of kits to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def require_one_kit(context: click.Context, kit: str | None, from_kit: str | None, host: str | None) -> None:
    """Check that at most one of the options is given, and none that it does not read.

    Raises:
        EdgepartError: they do not go together.
    """
    given = [name for name, value in (("--kit", kit), ("--from-kit", from_kit), ("--on", host)) if value is not None]
    if len(given) > 1:
        raise EdgepartError(f"{given[0]} and {given[1]} exclude each other: give one of them")
    if kit is not None:
        refuse_others(context, ("output", "threads", "quick"), "has no part in --kit: give it to run.py there")
    if from_kit is not None:
        refuse_others(context, ("runtime", "threads", "quick"), "has no part in --from-kit: the kit has decided it")
    if host is None:
        refuse_others(context, ("remote_python",), "belongs to --on USER@HOST: leave it out")


def write(model: object, example: object, folder: str, runtime: str | None, as_json: bool) -> None:
    """Write a kit, and say what to do with it."""
    from edgepart.frameworks import framework_of
    from edgepart.profiling.kit import MEASUREMENTS, RUNNER, write_kit

    framework = framework_of(model)
    used = write_kit(framework, framework.program(model, example), Path(folder), runtime)
    if as_json:
        print_json({"folder": folder, "runtime": used})
        return
    click.echo(
        f"written to {folder}\n\n"
        f"Copy it to the machine to be measured, which needs Python, NumPy and {used}, run there\n"
        f"  python3 {Path(folder).name}/{RUNNER}\nand here, with the {MEASUREMENTS} that it writes,\n"
        f"  edgepart profile MODEL --from-kit {MEASUREMENTS}"
    )


def read(model: object, example: object, file: str) -> Profile:
    """The profile of what a kit measured."""
    from edgepart.frameworks import framework_of
    from edgepart.profiling.kit import KitMeasurements, from_kit

    measured = KitMeasurements.load(file)
    return from_kit(framework_of(model).program(model, example).graph, measured, measured.machine.processor)


def measure_over_ssh(
    model: object, example: object, host: str, runtime: str | None, python: str, threads: int, quick: bool
) -> Profile:
    """Write a kit, have it run on a host, and make the profile."""
    from edgepart.frameworks import framework_of
    from edgepart.profiling.kit import KitMeasurements, from_kit, write_kit
    from edgepart.profiling.remote import measure_on, require_host

    require_host(host, python)
    framework = framework_of(model)
    program = framework.program(model, example)
    with tempfile.TemporaryDirectory(prefix="edgepart-kit-") as name:
        folder, output = Path(name) / "kit", Path(name) / "measurements.json"
        write_kit(framework, program, folder, runtime)
        measure_on(host, folder, output, python=python, threads=threads, quick=quick)
        return from_kit(program.graph, KitMeasurements.load(output), host)
