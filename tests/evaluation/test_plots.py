import itertools
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from report_samples import chain, plan_for, report_for, transformer

from edgepart.dispatch.data_map import DataMap
from edgepart.errors import MissingExtra
from edgepart.evaluation import plots
from edgepart.evaluation.plots_canvas import Canvas, require_matplotlib
from edgepart.evaluation.plots_curves import MOST, accuracy_cost, styles, validation_frontier
from edgepart.evaluation.report import CurvePoint, DataMapReport, PlanReport
from edgepart.evaluation.report_style import FAINT, NEUTRAL, inline, strategy_styles, text_on, tier_colour

SVG = "{http://www.w3.org/2000/svg}"
PLAN = plan_for(transformer(4), (6, 8), [("mobile-1", "mobile", 4), ("edge-1", "edge", 2)])


def titles(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}title")]


def texts(svg: str) -> str:
    return " ".join("".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text"))


def samples(count: int) -> DataMap:
    generator = np.random.default_rng(0)
    confidence, variance = generator.random(count), generator.random(count) / 20
    return DataMap(confidence, variance, np.sqrt(variance))


@pytest.mark.parametrize("length", [8, 20, 40])
def test_a_legend_of_long_names_stays_inside_the_figure(length: int) -> None:
    canvas = Canvas("Nine lines", 5.8, 4.6)
    for number in range(9):
        canvas.axes.plot([0, 1], [0, number], label=f"{number} cartography-adaptive:drift=page-hinkley"[:length])
    canvas.legend(columns=3)
    figure = canvas.axes.figure
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert 0 <= legend.get_window_extent().x0 < legend.get_window_extent().x1 <= figure.bbox.width


def test_every_setting_of_every_strategy_can_be_read_off_the_curves() -> None:
    report = report_for(PLAN, ("confidence", "random", "oracle", "my-own"))
    named = titles(accuracy_cost(report))
    for curve in report.curves:
        for point in curve.points:
            assert sum(title.startswith(f"{curve.strategy}, {point.setting}\n") for title in named) == 1
    assert sum(title.startswith("full model\n") for title in named) == 1
    assert sum(", chosen for accuracy drop" in title for title in named) == len(report.strategies)


def test_a_point_is_where_its_numbers_say() -> None:
    report = report_for(PLAN, ("confidence",))
    root = ElementTree.fromstring(accuracy_cost(report))
    places = {}
    for shape in root.iter():
        title = shape.find(f"{SVG}title")
        if title is not None and (title.text or "").startswith("confidence, confidence "):
            x, y = shape.get("x"), shape.get("y")
            if x is None or y is None:
                x, y = (shape.get("d") or "M 0 0")[1:].split()[:2]
            places[int((title.text or "").split("\n")[0].split()[-1])] = (float(x), float(y))
    assert len(places) == 10
    ordered = [places[number] for number in range(10)]
    assert all(left[0] < right[0] and left[1] > right[1] for left, right in itertools.pairwise(ordered))


def test_settings_that_lose_most_are_counted_instead_of_drawn() -> None:
    report = report_for(PLAN, ("confidence",))
    (curve,) = report.curves
    poor = [point.model_copy(update={"accuracy": 0.1, "setting": "poor"}) for point in curve.points[:3]]
    changed = curve.model_copy(update={"points": (*poor, *curve.points[3:])})
    svg = accuracy_cost(report.model_copy(update={"curves": (changed,)}))
    assert "3 settings below 69 % are not shown" in texts(svg)
    assert sum(title.startswith("confidence, confidence ") for title in titles(svg)) == 7
    none = curve.model_copy(update={"points": tuple(poor)})
    assert "3 settings" in texts(accuracy_cost(report.model_copy(update={"curves": (none,)})))


def test_the_line_joins_what_validation_would_keep() -> None:
    numbers = [(3, 0.9), (1, 0.5), (2, 0.4), (2, 0.7), (4, 0.9)]
    points = [
        CurvePoint(setting="s", accuracy=0.5, cost=1.0, validation_accuracy=accuracy, validation_cost=cost)
        for cost, accuracy in numbers
    ]
    kept = [(point.validation_cost, point.validation_accuracy) for point in validation_frontier(points)]
    assert kept == [(1, 0.5), (2, 0.7), (3, 0.9)]


def test_costs_in_seconds_are_shown_in_milliseconds() -> None:
    assert "mean cost of a sample (ms)" in texts(accuracy_cost(report_for(PLAN)))


def test_the_bars_tell_shares_of_every_exit() -> None:
    report = report_for(PLAN)
    named = titles(plots.tier_share(report))
    for entry in report.strategies:
        for exit_name, share in entry.exit_share.items():
            wanted = f"{entry.name}: {100 * share:.1f} % of the samples leave at {exit_name} on"
            assert any(title.startswith(wanted) for title in named)


def test_latency_shows_compute_transfer_and_whole_tiers() -> None:
    named = titles(plots.latency(PlanReport.of(PLAN)))
    assert "computing on mobile: 6 ms (estimate)" in named
    assert "computing on edge: 2 ms" in named
    assert "transfer to cloud: 4.05 ms (estimate)" in named
    assert any(title.startswith("everything on mobile: 50 ms") for title in named)


def test_nested_latency_starts_from_the_input_and_adds_the_hops() -> None:
    graph = chain(9)
    plan = plan_for(graph, (3, 6), [("m", "mobile", 3), ("e", "edge", 3)], "nested")
    assert "transfer to cloud: 8.1 ms (estimate)" in titles(plots.latency(PlanReport.of(plan)))


def test_latency_of_a_plan_that_takes_no_time() -> None:
    plan = PlanReport.of(plan_for(chain(1)))
    still = plan.model_copy(update={"tiers": (plan.tiers[0].model_copy(update={"compute_s": 0.0}),), "unsplit_s": {}})
    assert "computing on mobile: 0 s (estimate)" in titles(plots.latency(still))


def test_the_data_map_is_thinned_out() -> None:
    few, many = samples(200), samples(20_000)
    summary = DataMapReport(exit="m", epochs=3, alpha=0.5, beta=0.02, pools={"easy": 1, "medium": 2, "hard": 3})
    thin, thick = plots.data_map(few, summary), plots.data_map(many, summary)
    assert thin.count("<use") + thin.count("<path") < thick.count("<use") + thick.count("<path")
    assert thick.count("<use") < plots.DATA_MAP_POINTS + 100
    assert "medium (2)" in texts(thick)


def test_figures_are_the_same_every_time() -> None:
    report = report_for(PLAN)
    assert accuracy_cost(report) == accuracy_cost(report)


def test_names_with_formulas_and_markup_are_text() -> None:
    report = report_for(PLAN, ("$x^2$<b>&",))
    svg = accuracy_cost(report)
    assert "$x^2$<b>&" in texts(svg)
    assert "<b>" not in svg


def test_a_figure_on_a_page_has_its_own_ids_and_the_page_s_colours() -> None:
    svg = inline(plots.tier_share(report_for(PLAN)), "share")
    assert svg.startswith("<svg")
    assert "http" not in svg
    assert "<style" not in svg
    assert not any(colour in svg for colour in NEUTRAL)
    root = ElementTree.fromstring(svg)
    ids = {element.get("id") for element in root.iter()} - {None}
    assert all(str(name).startswith("share-") for name in ids)
    assert root.get("aria-labelledby") == "share-title"
    assert "share-title" in ids
    used = {str(element.get("href"))[1:] for element in root.iter() if element.get("href")}
    assert used <= ids


def test_no_colour_comes_twice_in_a_figure() -> None:
    names = ["my-own", "confidence", "budgeted", "learned", "margin", "patience", "oracle", "router"]
    found = strategy_styles(names)
    assert len({style.colour for style in found.values()}) == len(names)
    assert found == strategy_styles(names)
    assert found["confidence"] == strategy_styles(["confidence"])["confidence"]
    many = strategy_styles([f"number {index}" for index in range(25)])
    assert len({(style.colour, style.dashed) for style in many.values()}) == 25


def test_of_many_strategies_the_cheapest_chosen_are_coloured_and_the_others_named() -> None:
    names = ("confidence", "oracle", "fixed-tier", "random", *(f"number {index}" for index in range(12)))
    report = report_for(PLAN, names)
    costs = {name: 100.0 - index for index, name in enumerate(names)}
    chosen = [entry.model_copy(update={"validation_cost": costs[entry.name]}) for entry in report.strategies]
    report = report.model_copy(update={"strategies": tuple(chosen)})
    looks = styles(report)
    coloured = [name for name, look in looks.items() if look != FAINT]
    assert coloured == ["confidence", "oracle", "fixed-tier", *(f"number {index}" for index in range(7, 12))]
    assert len(coloured) == MOST
    svg = accuracy_cost(report)
    assert "In grey: random, number 0, number 1" in texts(svg)
    for name in names:
        assert sum(title.startswith(f"{name}, ") for title in titles(svg)) >= 10
    few = report_for(PLAN, names[:MOST])
    assert FAINT not in styles(few).values()
    assert "In grey" not in texts(accuracy_cost(few))


def test_text_can_be_read_on_every_tier() -> None:
    assert {text_on(tier_colour(index)) for index in range(6)} == {"#000000", "#ffffff"}


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"edgepart\[plots\]"):
        require_matplotlib()


def test_matplotlib_is_imported_only_when_something_is_drawn() -> None:
    import subprocess

    code = "import sys, edgepart.evaluation.report_page; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
