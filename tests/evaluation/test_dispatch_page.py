"""The page about strategies says what its records hold, by the rules that it states."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgepart.evaluation.report import Provenance
from edgepart.evaluation.runs_report import (
    Against,
    AtEqualCost,
    CostReport,
    Difference,
    Estimate,
    ExitAccuracy,
    FullModel,
    Outcome,
    RunsReport,
    Spread,
    TaskReport,
)

DOCS = Path(__file__).parents[2] / "docs"
GROUPS = {
    "best of ours": ("combined",),
    "best of the papers'": ("cartography", "entropy"),
    "DIMEC-DC": ("cartography",),
}


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    """The script that writes the page."""
    sys.path.insert(0, str(DOCS))
    import generate_dispatch

    yield generate_dispatch
    sys.path.remove(str(DOCS))


def both(value: float) -> Spread:
    return Spread(seeds=(value - 0.01, value + 0.01))


def difference(value: float, half: float = 0.01) -> Difference:
    return Difference(seeds=(value, value), interval=(value - half, value + half))


def outcome(strategy: str, saved: float, change: float, settings: tuple[str | None, ...] = ("a", "b")) -> Outcome:
    rivals = [name for name in ("confidence", *GROUPS) if name != strategy]
    against = Against(accuracy=difference(change), saving=difference(saved - 0.4))
    return Outcome(
        strategy=strategy,
        drop=0.005,
        settings=settings,
        accuracy=both(0.9 + change),
        measures={"matthews": both(0.8), "f1": both(0.9)},
        cost=both(10 * (1 - saved)),
        saving=Estimate(seeds=(saved, saved), interval=(saved - 0.02, saved + 0.02)),
        change=difference(change, 0.002),
        tier_share={"mobile": both(0.5), "cloud": both(0.5)},
        validation_accuracy=both(0.9),
        validation_saving=both(saved),
        against=dict.fromkeys(rivals, against),
    )


def record(
    ours: float = 0.5,
    oracle: float = 0.6,
    cartography: float = -0.02,
    by_lot: float = 0.0,
    change: float = -0.003,
    fixed: float = 0.1,
    saved: float = 0.1,
) -> RunsReport:
    """One task under one cost: what ours and the oracle save, and cartography's gaps at equal cost."""
    told = {"combined": 0.02, "cartography": cartography, "entropy": 0.0, "fixed-tier": -0.1, "oracle": 0.2}
    gaps = [AtEqualCost(strategy=name, baseline="confidence", difference=difference(x)) for name, x in told.items()]
    gaps.append(AtEqualCost(strategy="cartography", baseline="fixed-tier", difference=difference(by_lot)))
    cost = CostReport(
        label="γ = 14λ",
        unit="λ",
        description="costs that are made up",
        full_model=FullModel(accuracy=both(0.9), measures={"matthews": both(0.8), "f1": both(0.9)}, cost=both(10)),
        outcomes=(
            outcome("confidence", 0.4, 0.0),
            outcome("combined", ours, change),
            outcome("cartography", saved, 0.0, settings=("a", None)),
            outcome("entropy", 0.4, 0.0),
            outcome("fixed-tier", fixed, 0.0),
            outcome("oracle", oracle, 0.03),
            outcome("best of ours", ours, change),
            outcome("best of the papers'", 0.4, 0.0),
            outcome("DIMEC-DC", 0.1, 0.0),
        ),
        at_equal_cost=tuple(gaps),
    )
    task = TaskReport(
        task="CoLA",
        network="made-up",
        seeds=(0, 1),
        samples=1043,
        validation_samples=(855, 855),
        classes=("0", "1"),
        deployment="nested",
        exits=(ExitAccuracy(name="final", tier="cloud", accuracy=both(0.9)),),
        costs=(cost,),
        warnings=("seed 1: something to know",),
    )
    made = Provenance(command="test", date="today", edgepart="0", python="3", packages={"numpy": "2"}, machine={"a": 1})
    return RunsReport(
        tasks=(task,), drops=(0.005, 0.01), reference="confidence", groups=GROUPS, resamples=2000, provenance=made
    )


def test_the_answer_and_the_plain_statements(page: Any) -> None:
    text = page.page([record()])
    assert "**In short: `combined`.**" in text
    assert "accuracy -0.3 points" in text
    assert "shown worse nowhere**: `combined` (1 of 1, +2.0 points)" in text
    assert "**Worse more often than better**: `cartography` (1 of 1, -2.0 points)" in text
    assert "**`cartography` does not beat a simple threshold here**" in text
    assert "- Neither do `entropy`." in text
    assert "**`cartography` is no better than tiers drawn by lot** at equal cost (0.0 points)" in text
    assert "Ask first" not in text
    assert "seed 1: something to know" in text
    assert "80.0\u00a0±\u00a01.4 |" in text  # CoLA's own measure
    assert "| 1 of 2 |" in text  # the seed without a setting


def test_where_a_promise_was_broken_and_networks_that_were_tested_twice(page: Any) -> None:
    made = record()
    tasks = []
    for name, change in (("CoLA", -0.004), ("CoLA (online)", -0.02)):
        (cost,) = made.tasks[0].costs
        controlled = outcome("controlled", 0.2, change, settings=("a", "all to the final exit"))
        controlled = controlled.model_copy(update={"validation_saving": Spread(seeds=(0.4, 0.0))})
        tried = [one if one.strategy != "confidence" else outcome("confidence", 0.4, change) for one in cost.outcomes]
        changed = cost.model_copy(update={"outcomes": (controlled, *tried)})
        tasks.append(made.tasks[0].model_copy(update={"task": name, "costs": (changed,)}))
    text = page.page([made.model_copy(update={"tasks": tuple(tasks)})])
    assert "something in 2 of 4 runs, and was kept on test in 1 of these (CoLA (online) 0 of 1); saves 20.0 %" in text
    assert "it could be had in 4 of 4 runs, and was kept on test in 2 of these (CoLA (online) 0 of 2)." in text
    assert "2 cases (1 task × costs, CoLA on two sets of test samples)" in text


def test_a_method_that_wins_is_said_to_win(page: Any) -> None:
    text = page.page([record(cartography=0.02, by_lot=0.03, saved=0.5, fixed=0.5)])
    assert "does not beat a simple threshold" not in text
    assert "- A simple threshold is not beaten by `entropy`." in text
    assert "- A simple threshold is beaten by: `cartography` (γ = 14λ)." in text
    assert "drawn by lot** at" not in text
    assert "same tier save no less than `confidence` in 1 of 1 cases (CoLA: γ = 14λ)" in text


def test_a_method_that_is_better_at_equal_cost_and_saves_less_is_neither(page: Any) -> None:
    text = page.page([record(cartography=0.02)])
    assert "does not beat a simple threshold" not in text
    assert "- Better in one way, worse in another: `cartography` (γ = 14λ)." in text


@pytest.mark.parametrize(
    ("made", "cell", "sentence"),
    [
        (record(), "reached", "reached by ours in 1 of the 1 cases"),
        (record(ours=0.44), "reached, not beyond chance", "reached by ours in 1 of the 1 cases"),
        (record(ours=0.42), "missed", "in 0 of the 1 cases where the oracle saves as much, missed in 1 (CoLA: γ"),
        (record(ours=0.3, oracle=0.4), "out of reach", "the oracle itself does not save as much"),
        (record(change=-0.006), "saved, accuracy in doubt", "than allowed, by chance perhaps, in 1 (CoLA: γ"),
        (record(change=-0.02), "saved, accuracy lost", "saved with more accuracy lost on test than allowed in 1"),
    ],
    ids=["reached", "by chance", "missed", "out of reach", "in doubt", "accuracy lost"],
)
def test_the_goal(page: Any, made: RunsReport, cell: str, sentence: str) -> None:
    text = page.page([made])
    (row,) = (line for line in text.splitlines() if line.startswith("| CoLA | γ = 14λ |"))
    assert row.endswith(f"| {cell} |")
    assert text.count(sentence) == 2


def test_what_loses_too_much_accuracy_is_neither_recommended_nor_bold(page: Any) -> None:
    text = page.page([record(change=-0.02)])
    # entropy saves as much
    assert "**In short: `confidence`**, the simple threshold: over 1 case (1 task" in text
    (row,) = (line for line in text.splitlines() if line.startswith("| CoLA | γ = 14λ |"))
    assert "50.0" in row
    assert "**50.0" not in row
    assert "**40.0" in row


def test_the_figure_names_every_strategy(page: Any) -> None:
    made = record(change=-0.02)
    drawn = page.draw(made, made.tasks[0])
    assert "combined: 50.0 % saved (48.0 to 52.0), accuracy -2.0 points" in drawn
    assert all(name in drawn for name in ("cartography", "oracle", "fixed-tier"))
    assert "best of ours" not in drawn


def test_streams_that_change(page: Any) -> None:
    from dispatch_shift import shift

    def along(value: float) -> dict[str, dict[str, float]]:
        return {part: {"mean": value, "std": 0.01} for part in ("before", "right_after", "after")}

    figures = {"accuracy": along(0.9), "saving": along(0.5), "against_full": along(-0.01)}
    plain = {"stream": "s", "strategy": "adaee", "drift": False} | figures
    gain = {"accuracy": along(0.05), "saving": along(-0.1)}
    threshold = plain | {"strategy": "confidence", "against_full": along(-0.05)}
    detector = plain | {"drift": True, "gain": gain, "found": 0.9, "delay": {"mean": 41.6, "std": 3.0}}
    text = "\n".join(
        shift(
            {
                "date": "today",
                "settings": {"orders": 10, "allowed_drop": 0.02},
                "streams": [
                    {
                        "stream": "s",
                        "before": "sentences",
                        "after": "reviews",
                        "samples_before": 872,
                        "samples_after": 1600,
                        "full_model_accuracy": along(0.91),
                    }
                ],
                "rows": [threshold, plain, detector, detector | {"delay": None, "gain": {"accuracy": along(0.0)}}],
            }
        )
    )
    assert "more than two standard deviations in 1 of 2 cases**: `adaee` on sentences, then reviews (+5.0" in text
    assert "Against it `confidence` is at -5.0 points before the change and at -5.0 points, 50 % saved after it" in text
    assert "`adaee` keeps most (-1.0 points, 50 % saved), `adaee` least" in text
    assert "### sentences, then reviews" in text
    assert "| `adaee` | 90.0\u00a0%" in text
    assert "| +5.0\u00a0±\u00a01.0 | 90\u00a0% | 42 |" in text
