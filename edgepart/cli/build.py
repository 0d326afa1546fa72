"""``edgepart build``: heads rendered and trained, parts written."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from edgepart.cli.output import json_option, note, parse_pairs, print_json, print_table
from edgepart.training.losses import Mode
from edgepart.units import percent, seconds, size

if TYPE_CHECKING:
    from edgepart.bundle import Bundle


@click.command("build")
@click.argument("model")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option(
    "--data", required=True, metavar="DATA", help="Labelled data: .tsv, .csv, .npz, images or file.py:function."
)
@click.option("--validation", metavar="DATA", help="Validation data; by default a tenth of --data, class by class.")
@click.option("--head", metavar="NAME|FILE", help="Template of the heads, by name or path (.py.j2); default linear.")
@click.option("--head-parameter", "head_parameters", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    metavar="TIER=NAME",
    help="What a tier's part is written for: torch, tensorflow, onnxruntime, executorch, litert or triton; by default "
    "what the plan was made for. May be repeated.",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    metavar="TIER=PRECISION",
    help="float32 (default), float16 or int8; what it costs in accuracy is measured. May be repeated.",
)
@click.option(
    "--preprocessing",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="YAML: how raw samples become the network's inputs, where MODEL does not say so itself.",
)
@click.option(
    "--train",
    "mode",
    type=click.Choice(get_args(Mode)),
    default="heads",
    show_default=True,
    help="heads: on the frozen network; joint: all, unweighted sum; branchynet, pabee: all, weighted.",
)
@click.option("--epochs", type=click.IntRange(1), help="Default 30 for heads, else 3.")
@click.option("--batch-size", type=click.IntRange(1), help="Default 32.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="Default 1e-2 for heads, else 5e-5.")
@click.option(
    "--head-learning-rate-ratio", type=click.FloatRange(0, min_open=True), help="Default 1 for heads, else 20."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Fixes every random choice.")
@click.option(
    "--threads", type=click.IntRange(1), help="Threads for one operation; 1 makes results repeatable bit by bit."
)
@click.option("--profile", type=click.Path(path_type=Path), help="The profile planned from, kept in the bundle.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("bundle"),
    show_default=True,
    help="The folder to write.",
)
@json_option
def command(
    model: str,
    plan: Path,
    data: str,
    validation: str | None,
    head: str | None,
    head_parameters: tuple[str, ...],
    runtimes: tuple[str, ...],
    precisions: tuple[str, ...],
    preprocessing: Path | None,
    mode: Mode,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    head_learning_rate_ratio: float | None,
    seed: int,
    threads: int | None,
    profile: Path | None,
    output: Path,
    as_json: bool,
) -> None:
    """Train heads for the exits in PLAN and write the parts of MODEL with them.

    Interrupted with Ctrl-C, it saves its state, and the same command goes on from there.
    """
    from edgepart.bundle import build
    from edgepart.data.preprocessing import read_preprocessing
    from edgepart.hardware import Profile
    from edgepart.partitioning.plan import Plan
    from edgepart.training import TrainingSettings

    started_s = time.monotonic()
    settings = TrainingSettings.for_mode(
        mode,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        head_learning_rate_ratio=head_learning_rate_ratio,
        seed=seed,
    )
    planned = Plan.load(plan)
    kept = Profile.load(profile) if profile else None
    bundle = build(
        model,
        planned,
        data,
        output=output,
        preprocessing=read_preprocessing(preprocessing) if preprocessing else None,
        validation=validation,
        head=head,
        head_parameters=parse_pairs("--head-parameter", head_parameters),
        runtimes=parse_pairs("--runtime", runtimes),
        precisions=parse_pairs("--precision", precisions),
        settings=settings,
        profile=kept,
        threads=threads,
        say=note,
    )
    took_s = time.monotonic() - started_s
    if as_json:
        found = bundle.training.model_dump(mode="json", exclude_none=True)
        parts = {tier: part.manifest.model_dump(mode="json") for tier, part in bundle.parts.items()}
        print_json({"bundle": str(output), "seconds": took_s, **found, "parts": parts})
    else:
        _show(bundle, took_s)


def _show(bundle: Bundle, took_s: float) -> None:
    record = bundle.training
    print_table(
        ("exit", "tier", "after layer", "head", "parameters", "validation accuracy", "as deployed"),
        [
            (
                x.name,
                x.tier,
                x.after,
                x.head or "the network's own",
                f"{x.parameters:,}",
                percent(x.accuracy),
                percent(x.deployed_accuracy),
            )
            for x in record.exits
        ],
        title=f"{bundle.manifest.network}: {record.settings.mode}, epoch {record.best_epoch} of {len(record.epochs)}, "
        f"{record.training_samples:,} samples, {record.validation_samples:,} for validation",
    )
    click.echo()
    print_table(
        ("part", "runtime", "precision", "size", "difference to the network", "tolerated"),
        [
            (
                tier,
                f"{part.manifest.runtime} {part.manifest.runtime_version}",
                part.manifest.precision,
                size(sum(stage.bytes for stage in part.manifest.stages)),
                f"{max(stage.difference for stage in part.manifest.stages):.1e}",
                f"{max(stage.tolerance for stage in part.manifest.stages):g}",
            )
            for tier, part in bundle.parts.items()
        ],
    )
    click.echo(f"\nbuilt in {seconds(took_s)}: {bundle.path}")
