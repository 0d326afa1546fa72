"""Every registered strategy on traces at the edge of what there is; what is beyond it is refused."""

from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepart.dispatch.layout import walk
from edgepart.dispatch.options import strategy as strategy_named
from edgepart.dispatch.trace import Trace
from edgepart.errors import FileError, TrainingError
from edgepart.evaluation.costs.base import Costs
from edgepart.evaluation.replay import rehearse, replay
from edgepart.testing.strategies import example_costs
from edgepart.testing.traces import synthetic_trace

SHIPPED = sorted(e.name for e in entry_points(group="edgepart.strategies") if e.value.startswith("edgepart."))
PLAIN = synthetic_trace(40, ("mobile", "mobile", "edge", "cloud"), classes=3, dimension=4, seed=3)
#: surest, right and wrong; and a sample of each class
HUGE = np.sign(PLAIN.logits) * np.float32(1e4)
ODD: dict[str, Trace] = {
    "logits of 1e4": replace(PLAIN, logits=HUGE),
    "logits of 1e4 and ties": replace(PLAIN, logits=np.round(PLAIN.logits / 4) * np.float32(1e4)),
    "nothing but ties": replace(
        PLAIN,
        logits=np.zeros_like(PLAIN.logits),
        embeddings=np.zeros_like(PLAIN.embeddings),
        dynamics=np.full((5, 40, 4), 1 / 3, np.float32),
    ),
    "one class": replace(PLAIN, logits=PLAIN.logits[..., :1], labels=np.zeros(40, np.int64), classes=("only",)),
    "one sample": PLAIN.select(np.array([7])),
    "all easy": replace(PLAIN, dynamics=np.ones((5, 40, 4), np.float32)),
    "all medium": replace(PLAIN, dynamics=np.tile(np.array([0.31, 1, 1, 1, 1], np.float32)[:, None, None], (1, 40, 4))),
    "all hard": replace(PLAIN, dynamics=np.zeros((5, 40, 4), np.float32)),
    "one epoch": replace(PLAIN, dynamics=np.full((1, 40, 4), 0.9, np.float32)),
}


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("odd", ODD)
def test_it_decides_and_one_by_one_as_together(name: str, odd: str) -> None:
    trace, strategy = ODD[odd], strategy_named(name)
    table = example_costs(trace)
    costs = Costs(table, full_model=float(table[0, -1]))
    strategy.fit(trace, table)
    grid = [0.0, 0.5, 1.0]
    chosen_from = rehearse(trace, strategy, costs, grid)
    assert len(chosen_from) == len(strategy.settings(grid)) > 0
    assert all(0 <= found.accuracy <= 1 and np.isfinite(found.cost) for found in chosen_from)
    for setting in strategy.settings(grid):
        assert all(np.isfinite(value) for _, value in setting.values if not isinstance(value, str))
        for seen in (trace, PLAIN if len(trace.classes) > 1 else trace, trace.select(np.zeros(0, np.int64))):
            whole = strategy.policy(setting).decide(seen)
            if len(seen):
                found = replay(seen, strategy.policy(setting), costs)
                assert np.isfinite(found.cost)
            if strategy.deployable:
                single = walk(strategy.policy(setting), seen, table)
                assert (whole.entry.tolist(), whole.exit.tolist()) == (single.entry.tolist(), single.exit.tolist())


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers_are_refused(odd: float) -> None:
    logits = PLAIN.logits.copy()
    logits[5, 2, 1] = odd
    with pytest.raises(TrainingError, match="exit 'exit3' gives a NaN or infinite logit for sample 5"):
        replace(PLAIN, logits=logits)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"labels": PLAIN.labels + 3}, "a label is no class, expected whole numbers from 0 to 2"),
        ({"labels": PLAIN.labels - 1}, "a label is no class"),
        ({"labels": PLAIN.labels.astype(np.float32)}, "a label is no class"),
        ({"exit_tiers": ("mobile", "mobile", "edge", "mars")}, "an exit is on mars, expected one of the tiers"),
    ],
)
def test_what_no_trace_can_hold_is_refused(change: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace(PLAIN, **change)
    wrong = replace(PLAIN)
    for name, value in change.items():
        object.__setattr__(wrong, name, value)
    wrong.save(tmp_path / "wrong.safetensors")
    with pytest.raises(FileError, match=f"wrong.safetensors is not a readable trace .{sentence}"):
        Trace.load(tmp_path / "wrong.safetensors")


def test_a_folder_is_no_trace(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"is a folder, expected a trace: give the trace\.safetensors"):
        Trace.load(tmp_path)
