"""Training dynamics in allenai/cartography's files: round trips, statistics after their definitions, bad files."""

import json
import math
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgepart.dispatch.cartography import Cartography
from edgepart.dispatch.data_map import DataMap
from edgepart.dispatch.dynamics_files import TrainingDynamics, _logits, read_dynamics, write_dynamics
from edgepart.errors import DispatchError, FileError
from edgepart.testing.strategies import example_costs
from edgepart.testing.traces import synthetic_trace

#: as pandas writes them in allenai/cartography: the order of the samples differs from epoch to epoch
EPOCHS = [
    ['{"guid":70,"logits_epoch_0":[2.0,0.0,-1.0],"gold":0}', '{"guid":"b3","logits_epoch_0":[0.0,0.0,1.0],"gold":1}'],
    ['{"guid":"b3","logits_epoch_1":[0.0,3.0,1],"gold":1}', '{"guid":70,"logits_epoch_1":[-1e4,0.0,1e4],"gold":0}'],
]


def written(folder: Path, epochs: list[list[str]]) -> Path:
    (folder / "training_dynamics").mkdir(parents=True)
    for epoch, lines in enumerate(epochs):
        text = "\n".join(lines)
        (folder / "training_dynamics" / f"dynamics_epoch_{epoch}.jsonl").write_text(text, encoding="utf-8")
    return folder


def test_their_files_by_hand(tmp_path: Path) -> None:
    found = TrainingDynamics.load(written(tmp_path, EPOCHS))
    assert found.guids == (70, "b3")
    assert found.gold.tolist() == [0, 1]
    e = math.e
    first = [e**2 / (e**2 + 1 + 1 / e), 1 / (2 + e)]
    second = [0.0, e**3 / (1 + e**3 + e)]
    assert found.chances == pytest.approx(np.array([first, second]))
    pairs = list(zip(first, second, strict=True))
    assert found.confidence == pytest.approx([statistics.fmean(pair) for pair in pairs])
    assert found.variability == pytest.approx([statistics.pstdev(pair) for pair in pairs])
    assert found.correctness.tolist() == [1, 1]


@given(st.integers(2, 6), st.integers(1, 8), st.integers(1, 5), st.randoms(use_true_random=False))
def test_statistics_are_their_definitions(epochs: int, samples: int, classes: int, random) -> None:  # type: ignore[no-untyped-def]
    """Counted in plain Python, a sample and an epoch at a time."""
    logits = [[[random.uniform(-20, 20) for _ in range(classes)] for _ in range(samples)] for _ in range(epochs)]
    gold = [random.randrange(classes) for _ in range(samples)]
    found = TrainingDynamics(tuple(range(samples)), np.array(gold), np.array(logits))
    for sample in range(samples):
        rows = [logits[epoch][sample] for epoch in range(epochs)]
        chances = [math.exp(row[gold[sample]]) / math.fsum(math.exp(value) for value in row) for row in rows]
        assert found.confidence[sample] == pytest.approx(statistics.fmean(chances))
        assert found.variability[sample] == pytest.approx(statistics.pstdev(chances), abs=1e-9)
        assert found.correctness[sample] == sum(row.index(max(row)) == gold[sample] for row in rows)


def test_files_come_back_as_they_were_written(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    made = TrainingDynamics(("x", "y", 3), np.array([2, 0, 1]), random.normal(0, 9, (4, 3, 3)))
    made.save(tmp_path / "run")
    names = sorted(path.name for path in (tmp_path / "run" / "training_dynamics").iterdir())
    assert names == [f"dynamics_epoch_{epoch}.jsonl" for epoch in range(4)]
    line = (tmp_path / "run" / "training_dynamics" / names[1]).read_text(encoding="utf-8").splitlines()[2]
    assert json.loads(line) == {"guid": 3, "logits_epoch_1": made.logits[1, 2].tolist(), "gold": 1}
    found = TrainingDynamics.load(tmp_path / "run")
    assert found.guids == made.guids
    assert np.array_equal(found.gold, made.gold)
    assert np.array_equal(found.logits, made.logits)
    replace(made, logits=made.logits[:2]).save(tmp_path / "run")
    assert len(TrainingDynamics.load(tmp_path / "run").logits) == 2


@pytest.mark.parametrize("classes", [2, 9])
def test_a_trace_comes_back(tmp_path: Path, classes: int) -> None:
    trace = synthetic_trace(40, classes=classes)
    names = [f"sst-{number}" for number in range(40)]
    write_dynamics(trace, tmp_path / "runs", names)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == sorted(trace.exits)
    order = np.random.default_rng(1).permutation(40)[:30]
    shuffled = replace(trace.select(order), dynamics=None)
    found = read_dynamics(shuffled, tmp_path / "runs", [names[place] for place in order])
    assert found.dynamics == pytest.approx(trace.dynamics[:, order], rel=1e-6, abs=1e-30)
    for index, name in enumerate(trace.exits):
        files, own = TrainingDynamics.load(tmp_path / "runs" / name), DataMap.of(trace, index)
        assert files.confidence == pytest.approx(own.confidence, rel=1e-9)
        assert files.variability == pytest.approx(own.variability, rel=1e-6, abs=1e-12)
        assert files.correctness.tolist() == (trace.dynamics[:, :, index] > 1 / classes).sum(axis=0).tolist()


def test_cartography_chooses_the_same_from_the_files(tmp_path: Path) -> None:
    trace = synthetic_trace(200)
    write_dynamics(trace, tmp_path / "runs")
    again = read_dynamics(replace(trace, dynamics=None), tmp_path / "runs")
    chosen = []
    for validation in (trace, again):
        strategy = Cartography()
        strategy.fit(validation, example_costs(trace))
        chosen.append([strategy.thresholds(setting) for setting in strategy.settings([])])
    assert chosen[0] == chosen[1]


@given(arrays(np.float32, (3, 4), elements=st.floats(0, 1, width=32)), st.integers(2, 5))
def test_logits_give_every_probability_back(chances: np.ndarray, classes: int) -> None:
    """0, 1 and the smallest numbers between, too, as finite numbers that JSON can hold."""
    gold = np.arange(4) % classes
    logits = _logits(chances.astype(np.float64), gold, classes)
    assert np.isfinite(logits).all()
    found = TrainingDynamics(tuple(range(4)), gold, logits)
    assert found.chances.astype(np.float32) == pytest.approx(chances, rel=1e-6, abs=1e-44)


def test_one_class_is_always_certain() -> None:
    logits = _logits(np.ones((2, 3)), np.zeros(3, np.int64), 1)
    assert TrainingDynamics((0, 1, 2), np.zeros(3, np.int64), logits).chances.tolist() == [[1.0] * 3] * 2


FIRST, SECOND = EPOCHS[0]


@pytest.mark.parametrize(
    ("epochs", "message"),
    [
        ([], "dynamics_epoch_0.jsonl does not exist"),
        ([[]], "holds no samples"),
        ([[FIRST, FIRST]], "line 2: guid 70 stands there twice"),
        ([[FIRST, SECOND[:30]]], "line 2: expected a JSON object"),
        ([[FIRST.replace("2.0", "NaN")]], "line 1: expected a JSON object"),
        ([[FIRST.replace('"gold":0', '"gold":3')]], "line 1: expected a JSON object"),
        ([[FIRST.replace('"gold":0', '"gold":true')]], "line 1: expected a JSON object"),
        ([[FIRST.replace("epoch_0", "epoch_1")]], "line 1: expected a JSON object with guid, gold .* logits_epoch_0"),
        ([[FIRST, SECOND.replace("0.0,0.0,", "0.0,")]], r"samples of \[2, 3\] classes"),
        ([EPOCHS[0], EPOCHS[1][:1]], "not of the same samples: only one holds guid 70"),
        ([EPOCHS[0], [EPOCHS[1][0].replace('"gold":1', '"gold":2'), EPOCHS[1][1]]], "guid 'b3' another gold"),
    ],
)
def test_bad_files_are_told_in_a_sentence(tmp_path: Path, epochs: list[list[str]], message: str) -> None:
    written(tmp_path, epochs)
    with pytest.raises(FileError, match=message):
        TrainingDynamics.load(tmp_path)


def test_an_epoch_left_out_is_told(tmp_path: Path) -> None:
    written(tmp_path, EPOCHS)
    (tmp_path / "training_dynamics" / "dynamics_epoch_0.jsonl").unlink()
    with pytest.raises(FileError, match=r"dynamics_epoch_0.jsonl does not exist: .* none left out"):
        TrainingDynamics.load(tmp_path)


def test_what_does_not_belong_together_is_told(tmp_path: Path) -> None:
    trace = synthetic_trace(10)
    with pytest.raises(DispatchError, match="no training dynamics to write"):
        write_dynamics(replace(trace, dynamics=None), tmp_path)
    with pytest.raises(DispatchError, match="9 different guids were given for 10 samples"):
        write_dynamics(trace, tmp_path, [0, *range(9)])
    with pytest.raises(FileError, match="cannot write"):
        write_dynamics(trace, tmp_path / "nowhere" / "runs")
    write_dynamics(trace, tmp_path / "runs")
    with pytest.raises(FileError, match="no training dynamics of the trace's sample 10"):
        read_dynamics(synthetic_trace(11), tmp_path / "runs")
    with pytest.raises(FileError, match="sample 0 has another label"):
        read_dynamics(replace(trace, labels=1 - trace.labels), tmp_path / "runs")
    write_dynamics(replace(trace, dynamics=trace.dynamics[:2]), tmp_path / "short")
    (tmp_path / "runs" / "final" / "training_dynamics").rename(tmp_path / "old")
    (tmp_path / "short" / "final" / "training_dynamics").rename(tmp_path / "runs" / "final" / "training_dynamics")
    with pytest.raises(FileError, match="final holds 2 epochs, exit1 5"):
        read_dynamics(trace, tmp_path / "runs")
