"""The table of docs/strategies.md on streams that change holds the figures of benchmarks/results/shift.json."""

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOUND = json.loads((ROOT / "benchmarks" / "results" / "shift.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")


def row_of(stream: str, strategy: str, drift: bool = False) -> dict[str, Any]:
    (row,) = [
        row for row in FOUND["rows"] if (row["stream"], row["strategy"], row["drift"]) == (stream, strategy, drift)
    ]
    return row


def cell(row: dict[str, Any]) -> str:
    """Points against the full model, and what is saved, after the change."""
    lost, saved = row["against_full"]["after"]["mean"], row["saving"]["after"]["mean"]
    return f"{100 * lost:+.1f}, {100 * saved:.0f} %".replace("-", "−")


@pytest.mark.parametrize("stream", FOUND["streams"], ids=lambda stream: stream["stream"])
def test_a_row_of_the_table(stream: dict[str, Any]) -> None:
    name, full = stream["stream"], stream["full_model_accuracy"]
    watching = row_of(name, "splitee-s", drift=True)
    noticed = f"after {watching['delay']['mean']:.0f}" if watching["delay"] else "none"
    cells = [
        stream["after"],
        f"{100 * full['before']['mean']:.1f} → {100 * full['after']['mean']:.1f} %",
        *(cell(row_of(name, strategy)) for strategy in ("confidence", "splitee-s")),
        cell(watching),
        noticed,
    ]
    assert f"| {' | '.join(cells)} |" in PAGE


def test_what_is_said_of_them() -> None:
    rows = FOUND["rows"]
    watching = [row for row in rows if row["drift"]]
    assert all(row["false_alarms"]["mean"] == 0 for row in watching)
    bandits = {"adaee", "splitee", "splitee-s", "i-splitee"}
    found = {(row["stream"], row["strategy"]): row["found"] for row in watching if row["found"]}
    assert {stream for stream, strategy in found if strategy in bandits} == {"cifar10_noisy_20"}
    assert found["cifar10_noisy_20", "cartography-adaptive"] == 0.9
    assert found["cifar10_blurred_1", "cartography-adaptive"] == 0.8
    against = [row["against_threshold"] for row in rows if row["strategy"] in bandits and row["against_threshold"]]
    assert max(one["mean"] for one in against) < 0.002
    assert min(one["mean"] for one in against) == pytest.approx(-0.022, abs=5e-4)
    gain = row_of("cifar10_noisy_20", "splitee-s", drift=True)["gain"]["accuracy"]["after"]["mean"]
    assert gain == pytest.approx(-0.067, abs=5e-4)
    (strong,) = [one for one in FOUND["streams"] if one["stream"] == "cifar10_noisy_20"]
    first = [(one["before"][0], one["after"][0]) for one in (strong["exit_confidences"], strong["exit_accuracies"])]
    assert [tuple(round(value, 2) for value in pair) for pair in first] == [(0.52, 0.77), (0.57, 0.18)]
    others = [one["exit_confidences"] for one in FOUND["streams"] if one is not strong]
    assert max(abs(one["after"][0] - one["before"][0]) for one in others) < 0.045
