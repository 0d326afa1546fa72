"""``edgepart choose``: the policy that a bundle answers by."""

from __future__ import annotations

from pathlib import Path

import click

from edgepart.cli.batches import print_temperatures
from edgepart.cli.costs import cost_options
from edgepart.cli.evaluate import numbers, share
from edgepart.cli.output import json_option, print_json
from edgepart.units import amount, percent


@click.command("choose")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--strategy", default="confidence", show_default=True, metavar="NAME", help="Options as NAME:a=b.")
@click.option(
    "--drop",
    type=click.FloatRange(0, 100),
    default=0.5,
    show_default=True,
    metavar="PERCENT",
    help="Accuracy that may be lost on validation.",
)
@click.option("--thresholds", metavar="T,T,…", help="Thresholds to choose from, as of evaluate; one is taken as it is.")
@click.option("--temperature", is_flag=True, help="Scale every exit's logits by a temperature learnt on validation.")
@cost_options
@json_option
def command(
    bundle: Path,
    strategy: str,
    drop: float,
    thresholds: str | None,
    temperature: bool,
    cost: str,
    gamma: float | None,
    as_json: bool,
) -> None:
    """Choose the policy that a bundle answers by.

    Fits a strategy on the BUNDLE's validation data, chooses its cheapest setting there that keeps the accuracy, and
    writes both to BUNDLE/policy.json, with the temperatures if they are asked for. From then on edgepart.infer goes by
    it unless it is given another policy.
    """
    import numpy as np

    from edgepart.bundle import open_bundle
    from edgepart.bundle.bundle import POLICY
    from edgepart.evaluation.choosing import choose_policy
    from edgepart.evaluation.costs import cost_model
    from edgepart.evaluation.evaluate import costs_of
    from edgepart.evaluation.evaluate_traces import THRESHOLDS
    from edgepart.evaluation.replay import full_model, replay
    from edgepart.evaluation.report_assembly import temperature_reports

    model = cost_model(cost, gamma=gamma)
    opened = open_bundle(bundle)
    chosen = choose_policy(
        opened,
        strategy,
        cost=model,
        grid=THRESHOLDS if thresholds is None else numbers(thresholds),
        drop=share(drop),
        temperature=temperature,
    )
    opened.keep(chosen)
    if as_json:
        print_json(chosen.model_dump(mode="json", exclude_none=True))
        return
    costs = costs_of(opened, model)
    seen, full = replay(opened.validation, chosen.policy(opened), costs), full_model(opened.validation, costs)
    saved = f", {percent(1 - seen.cost / full.cost)} saved" if full.cost else ""
    click.echo(f"{chosen.strategy} at {chosen.setting}")
    click.echo(
        f"on validation: accuracy {percent(seen.accuracy)} (full model {percent(full.accuracy)}), "
        f"{amount(seen.cost, costs.unit)} a sample (full model {amount(full.cost, costs.unit)}{saved})"
    )
    if chosen.temperatures:
        learnt = np.array(list(chosen.temperatures.values()))
        print_temperatures(temperature_reports(opened.validation, opened.validation, learnt), "validation, too")
    click.echo(f"\nwritten to {bundle / POLICY}")
