"""The report's folder: report.html (one file that needs nothing else), report.json and the figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from edgepart import resources
from edgepart.dispatch.data_map import DataMap
from edgepart.dispatch.trace import Trace
from edgepart.evaluation import plots
from edgepart.evaluation.drawing import draw_plan
from edgepart.evaluation.plots_canvas import require_matplotlib
from edgepart.evaluation.plots_curves import accuracy_cost, styles
from edgepart.evaluation.plots_stream import along_the_stream, drawn_drop, undrawn
from edgepart.evaluation.report import Report, StrategyReport
from edgepart.evaluation.report_style import FAINT, inline, on_page, tier_colour
from edgepart.files import atomic_folder
from edgepart.graph import Graph
from edgepart.partitioning.plan import Plan
from edgepart.units import percent, seconds, size

#: strategies that decide without looking at the sample
BLIND = ("fixed-tier", "random")

#: a saving up to this share is none
LEAST = 0.005

#: a number and its % stay on one line
_PERCENT = "\u00a0%"

#: cost model → what is saved, in words
SAVED = {"latency": "latency", "price": "money", "dimec": "cost"}


#: what a report's folder holds, first the file that every one does
FILES = ("report.json", "report.html", "figures", "trace.safetensors", "then.trace.safetensors")


def write_report(
    folder: str | Path,
    report: Report,
    *,
    graph: Graph,
    plan: Plan,
    validation: Trace,
    test: Trace | None = None,
    then: Trace | None = None,
) -> Path:
    """Write the folder, atomically, and give the path of its page.

    Args:
        folder: replaced if it exists
        validation: its training dynamics are drawn as the data map
        test: saved as trace.safetensors, so that other settings can be replayed without recording again
        then: of a stream, what follows it; saved as then.trace.safetensors

    Raises:
        FileError: the folder cannot be written.
        MissingExtra: matplotlib is not installed.
    """
    drawn = figures(report, graph, plan, validation)
    page = render_page(report, drawn)
    with atomic_folder(folder) as temporary:
        report.save(temporary / "report.json")
        (temporary / "report.html").write_text(page, encoding="utf-8")
        (temporary / "figures").mkdir()
        for name, svg in drawn.items():
            (temporary / "figures" / f"{name}.svg").write_text(svg, encoding="utf-8")
        if test is not None:
            test.save(temporary / "trace.safetensors")
        if then is not None:
            then.save(temporary / "then.trace.safetensors")
    return Path(folder) / "report.html"


def figures(report: Report, graph: Graph, plan: Plan, validation: Trace) -> dict[str, str]:
    """Name → SVG file of every figure that the report has something to show in."""
    require_matplotlib()
    drawn = {
        "plan": draw_plan(graph, plan, {point.name: point.accuracy for point in report.exits}),
        "accuracy_cost": accuracy_cost(report),
        "latency": plots.latency(report.plan),
    }
    if report.strategies:
        drawn["tier_share"] = plots.tier_share(report)
    if report.stream is not None:
        drawn["stream"] = along_the_stream(report, report.stream)
    if report.data_map is not None:
        exit_index = [point.name for point in report.exits].index(report.data_map.exit)
        drawn["data_map"] = plots.data_map(DataMap.of(validation, exit_index), report.data_map)
    return drawn


def render_page(report: Report, drawn: Mapping[str, str]) -> str:
    """The page as HTML; everything that came from outside is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": _percent, "drop": drop_text, "points": points, "saved": saved_text}
    environment.filters |= {"seconds": seconds, "size": size}
    source = resources.find("templates/report", ".html.j2", "report", "report template").read_text(encoding="utf-8")
    tiers, looks = [tier.name for tier in report.plan.tiers], styles(report)
    context: dict[str, Any] = {
        "report": report,
        "headline": headline(report).replace(" %", _PERCENT),
        "beside": beside(report).replace(" %", _PERCENT),
        "figures": {name: Markup(inline(svg, name)) for name, svg in drawn.items()},
        "least": LEAST,
        "colour": lambda name: on_page(looks.get(name, FAINT).colour),
        "tier_colour": lambda name: tier_colour(tiers.index(name)),
        "cost": report.cost_text,
        "data_map_points": plots.DATA_MAP_POINTS,
        "drawn_drop": drawn_drop(report),
        "undrawn": undrawn(report, report.stream) if report.stream else [],
    }
    return environment.from_string(source).render(context)


def points(difference: float) -> str:
    """A difference of accuracies in percentage points, with its sign."""
    text = f"{100 * difference:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def drop_text(drop: float) -> str:
    """An allowed accuracy drop, such as ``0.5 %``."""
    return f"{100 * drop:g}{_PERCENT}"


def _percent(share: float, digits: int = 1) -> str:
    return percent(share, digits).replace(" %", _PERCENT)


def headline(report: Report) -> str:
    """What came out, in one sentence: the deployable strategy that the validation data would have chosen."""
    full = percent(report.full_model.accuracy)
    best = best_choice(report)
    what = SAVED.get(report.cost_model, "cost")
    if best is None:
        told = "no strategy was evaluated"
        if report.unreached:
            told = f"no strategy keeps that within {drop_text(max(report.allowed_drops))} on the validation data"
        return f"The full model answers {full} of the samples correctly; {told}."
    if best.saving <= LEAST:
        how = f"the cheapest, '{best.name}', {saved_text(best.saving)}" if best.saving < -LEAST else "none is cheaper"
        return (
            f"No strategy saves {what} within an accuracy drop of {drop_text(best.allowed_drop)}: "
            f"{how} than the full model, which is right on {full} of the samples."
        )
    less = f"{percent(best.saving, 1 if best.saving > 0.99 else 0)} less {what}"
    lost = report.full_model.accuracy - best.accuracy
    if lost > best.allowed_drop + 1e-9:
        return (
            f"The strategy '{best.name}' has {percent(best.accuracy)} accuracy (full model {full}) at {less}: it loses "
            f"{100 * lost:.2f} points here, more than the {drop_text(best.allowed_drop)} allowed on validation."
        )
    return f"The strategy '{best.name}' keeps {percent(best.accuracy)} accuracy (full model {full}) at {less}."


def saved_text(saving: float) -> str:
    """A saving such as ``12.3 %``; where there is none, what it costs more."""
    return f"costs {_percent(-saving)} more" if round(saving, 3) < 0 else _percent(saving)


def beside(report: Report) -> str:
    """What the best choice is to be measured by: one that looks at nothing, and one that knows the labels."""
    best = best_choice(report)
    if best is None:
        return ""
    rivals = {entry.name: entry for entry in report.chosen(best.allowed_drop) if entry.name != best.name}
    blind = min((rivals[name] for name in BLIND if name in rivals), key=lambda x: x.validation_cost, default=None)
    said = []
    if blind is not None:
        saved = percent(blind.saving, 0) if blind.saving > LEAST else "nothing"
        said.append(f"sending samples to tiers without looking at them saves {saved}")
    if "oracle" in rivals:
        oracle = rivals["oracle"]
        said.append(
            f"an oracle that knows the labels saves {percent(oracle.saving, 0)} and is right on "
            f"{percent(oracle.accuracy)}"
        )
    text = "; ".join(said)
    return f"Within the same allowed drop, {text}." if said else ""


def best_choice(report: Report) -> StrategyReport | None:
    """The deployable strategy that was cheapest on the validation data within the smallest accuracy drop."""
    for drop in report.allowed_drops:
        real = [entry for entry in report.chosen(drop) if entry.deployable]
        if real:
            return min(real, key=lambda entry: entry.validation_cost)
    return None
