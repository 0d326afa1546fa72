import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from report_samples import branches, chain, graph_of, plan_for, report_for, trace_for, transformer

from edgepart.dispatch.trace import Trace
from edgepart.errors import FileError
from edgepart.evaluation.costs import Facts, tabulate
from edgepart.evaluation.evaluate_traces import question, report_on
from edgepart.evaluation.report import FullModel, Report, Unreached, wilson
from edgepart.evaluation.report_page import beside, figures, headline, points, render_page, saved_text, write_report
from edgepart.evaluation.report_style import NEUTRAL
from edgepart.graph import Graph
from edgepart.partitioning.plan import Plan, Proof

GRAPH = transformer(4)
PLAN = plan_for(GRAPH, (6, 8), [("mobile-1", "mobile", 4), ("edge-1", "edge", 2)])
VOID = {"meta", "br", "img", "hr", "input", "link", "col"}


class Page(HTMLParser):
    """Checks that tags are closed in order and collects what the tests ask about."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def ids(self) -> list[str]:
        return [str(attributes["id"]) for _, attributes in self.tags if "id" in attributes]


def page_of(plan: Plan, graph: Graph, validation: Trace, test: Trace, cost: str = "latency") -> tuple[Report, str]:
    asked = question(cost=cost, gamma=18.0 if cost.startswith("dimec") else None)
    costs = tabulate(asked.cost, plan, Facts(graph=graph))
    report = report_on(plan, validation, test, asked, costs, source="dev.tsv", command="edgepart evaluate bundle")
    return report, render_page(report, figures(report, graph, plan, validation))


def assert_page(report: Report, html: str) -> Page:
    """Parses, needs nothing from elsewhere, names everything, describes every picture, repeats no id."""
    page = Page(html)
    assert "http" not in html
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "img", "iframe", "object")
        assert not any(name in attributes for name in ("src", "onload", "onclick"))
        assert str(attributes.get("href", "#")).startswith("#")
    assert not re.search(r"@import|url\((?!#)", html)
    text = " ".join(page.text)
    for entry in (*report.strategies, *report.unreached, *report.exits, *report.plan.tiers):
        assert entry.name in text
    assert len(page.ids()) == len(set(page.ids()))
    pictures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert pictures
    for attributes in pictures:
        assert attributes["role"] == "img"
        assert set(str(attributes["aria-labelledby"]).split()) <= set(page.ids())
    assert not any(colour in html.split("</style>", 1)[1] for colour in NEUTRAL)
    return page


def test_the_page_needs_nothing_else_and_names_everything() -> None:
    report, html = page_of(PLAN, GRAPH, trace_for(PLAN, seed=1), trace_for(PLAN, seed=2))
    page = assert_page(report, html)
    assert sum(tag == "svg" for tag, _ in page.tags) == 5
    assert {entry.name for entry in report.strategies} | {entry.name for entry in report.unreached} == {
        curve.strategy for curve in report.curves
    }
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html


@pytest.mark.parametrize("cost", ["latency", "price=google-cloud-functions", "dimec:layers=1/2/4"])
def test_every_cost_model_gives_a_page(cost: str) -> None:
    plan = plan_for(GRAPH, (6, 8), [("mobile-1", "mobile", 6), ("edge-1", "edge", 2)], "nested")
    report, html = page_of(plan, GRAPH, trace_for(plan, seed=1), trace_for(plan, seed=2), cost)
    assert_page(report, html)
    assert report.cost_description in " ".join(Page(html).text)


def test_a_placement_by_hand_is_said_to_be() -> None:
    plan = PLAN.model_copy(update={"proof": Proof(status="by hand", method="by hand")})
    _, html = page_of(plan, GRAPH, trace_for(plan, seed=1), trace_for(plan, seed=2))
    assert "Placed by hand." in " ".join(Page(html).text)


def test_the_page_does_not_deny_that_test_samples_had_a_part_in_the_choice() -> None:
    seen = trace_for(PLAN, seed=1)
    report, html = page_of(PLAN, GRAPH, seen, seen)
    text = " ".join(" ".join(Page(html).text).split())
    assert any("among those that the settings were chosen on" in warning for warning in report.warnings)
    assert "no part in the choice" not in text
    assert "any that are known to have had a part in the choice are counted at the top" in text


def test_one_exit_on_one_tier_and_no_dynamics() -> None:
    graph = chain(1)
    plan = plan_for(graph)
    report, html = page_of(plan, graph, trace_for(plan, 40, 2, epochs=0), trace_for(plan, 30, 2, epochs=0, seed=1))
    page = assert_page(report, html)
    assert report.data_map is None
    assert "There is no data map" in " ".join(page.text)
    assert any(warning.startswith("cartography, cartography-adaptive: left out") for warning in report.warnings)


def test_150_classes_and_branches() -> None:
    graph = branches(5)
    plan = plan_for(graph, (9,), [("m", "mobile", 8)])
    report, html = page_of(plan, graph, trace_for(plan, 600, 150), trace_for(plan, 600, 150, seed=1))
    assert_page(report, html)
    assert len(report.data.classes) == 150
    assert len(html) < 600_000


def test_names_from_outside_are_escaped() -> None:
    nasty = '"><script>alert(1)</script>{{ 7*7 }}'
    graph = graph_of([(nasty, ["x"]), ("b", [nasty])], name=nasty)
    plan = plan_for(graph, (1,), [(nasty, "mobile", 1)])
    report = report_for(plan, (nasty,))
    report = report.model_copy(
        update={"data": report.data.model_copy(update={"source": nasty, "classes": (nasty,)}), "warnings": (nasty,)}
    )
    html = render_page(report, figures(report, graph, plan, trace_for(plan)))
    page = Page(html)
    assert not any(tag == "script" for tag, _ in page.tags)
    assert sum(nasty in text for text in page.text) >= 4
    assert "49" not in "".join(text for text in page.text if "script" in text)


def test_the_headline_names_what_validation_would_have_chosen_and_no_ceiling() -> None:
    report = report_for(PLAN, ("oracle", "confidence"))
    assert headline(report) == (
        "The strategy 'confidence' keeps 89.0 % accuracy (full model 89.4 %) at 7 % less latency."
    )


def test_beside_the_headline_stand_a_blind_choice_and_the_ceiling() -> None:
    report = report_for(PLAN, ("confidence", "random", "oracle"))
    assert beside(report) == (
        "Within the same allowed drop, sending samples to tiers without looking at them saves 7 %; "
        "an oracle that knows the labels saves 7 % and is right on 89.0 %."
    )
    assert beside(report_for(PLAN, ("confidence",))) == ""


def test_the_headline_is_honest_where_nothing_is_saved() -> None:
    report = report_for(PLAN, ("oracle",))
    assert headline(report) == "The full model answers 89.4 % of the samples correctly; no strategy was evaluated."
    few = report_for(PLAN).model_copy(
        update={"strategies": (), "unreached": (Unreached(name="margin", allowed_drop=0.01, validation_accuracy=0.8),)}
    )
    assert headline(few).endswith("no strategy keeps that within 1\u00a0% on the validation data.")
    costly = report_for(PLAN)
    dear = [entry.model_copy(update={"saving": -0.2}) for entry in costly.strategies]
    assert headline(costly.model_copy(update={"strategies": tuple(dear)})).replace("\u00a0", " ") == (
        "No strategy saves latency within an accuracy drop of 0.5 %: the cheapest, 'confidence', costs 20.0 % more "
        "than the full model, which is right on 89.4 % of the samples."
    )
    level = [entry.model_copy(update={"saving": 0.0}) for entry in costly.strategies]
    assert "none is cheaper than the full model" in headline(costly.model_copy(update={"strategies": tuple(level)}))


def test_a_drop_beyond_what_was_allowed_is_in_the_headline() -> None:
    report = report_for(PLAN)
    worse = [entry.model_copy(update={"accuracy": 0.87}) for entry in report.strategies]
    said = headline(report.model_copy(update={"strategies": tuple(worse)})).replace("\u00a0", " ")
    assert said.endswith("it loses 2.40 points here, more than the 0.5 % allowed on validation.")


def test_what_costs_more_is_said_so_in_words() -> None:
    assert [saved_text(value).replace("\u00a0", " ") for value in (0.123, 0.0, -0.0001, -0.6149)] == [
        "12.3 %", "0.0 %", "0.0 %", "costs 61.5 % more",
    ]  # fmt: skip


def test_points_have_a_sign_unless_they_are_nothing() -> None:
    assert [points(value) for value in (0.012, -0.012, 0.0, -0.0001)] == ["+1.2", "−1.2", "0.0", "0.0"]


def test_a_report_reads_back_what_was_written(tmp_path: Path) -> None:
    report, _ = page_of(PLAN, GRAPH, trace_for(PLAN, seed=1), trace_for(PLAN, seed=2))
    report.save(tmp_path / "report.json")
    assert Report.load(tmp_path / "report.json") == report
    value = json.loads((tmp_path / "report.json").read_text())
    assert {"accuracy", "cost"} <= value["full_model"].keys()
    assert all({"name", "tier", "accuracy"} <= entry.keys() for entry in value["exits"])
    wanted = {"name", "setting", "accuracy", "cost", "saving", "tier_share", "exit_share", "chosen_for"}
    assert all(wanted <= entry.keys() for entry in value["strategies"])


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_report_holds_no_nan_and_no_infinity(wrong: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        FullModel(accuracy=wrong, interval=(0.0, 1.0), cost=1.0)


def test_the_folder_holds_page_data_figures_and_trace(tmp_path: Path) -> None:
    validation, test = trace_for(PLAN, seed=1), trace_for(PLAN, seed=2)
    report, _ = page_of(PLAN, GRAPH, validation, test)
    page = write_report(tmp_path / "out", report, graph=GRAPH, plan=PLAN, validation=validation, test=test)
    assert page == tmp_path / "out" / "report.html"
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    names = ("plan", "accuracy_cost", "latency", "tier_share", "data_map")
    assert files == {"report.html", "report.json", "trace.safetensors", *(f"figures/{name}.svg" for name in names)}
    assert np.array_equal(Trace.load(tmp_path / "out" / "trace.safetensors").logits, test.logits)


def test_a_folder_that_cannot_be_finished_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    validation = trace_for(PLAN)
    report = report_for(PLAN)
    write_report(tmp_path / "out", report, graph=GRAPH, plan=PLAN, validation=validation)
    before = (tmp_path / "out" / "report.html").read_bytes()

    def full(self: Trace, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Trace, "save", full)
    with pytest.raises(FileError, match="No space left"):
        write_report(tmp_path / "out", report, graph=GRAPH, plan=PLAN, validation=validation, test=validation)
    assert (tmp_path / "out" / "report.html").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_wilson_s_interval() -> None:
    low, high = wilson(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)  # Newcombe 1998, table I
    assert wilson(0, 20)[0] == pytest.approx(0.0)
    assert wilson(20, 20)[1] == pytest.approx(1.0)
    assert wilson(0, 0) == (0.0, 1.0)
