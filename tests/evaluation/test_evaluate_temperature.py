"""Temperature scaling in an evaluation: learnt on validation, applied to both traces, told in the report."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from report_samples import chain, plan_for, trace_for
from test_evaluate import write_bundle

from edgepart.cli.evaluate import command
from edgepart.dispatch.temperature import calibration_error, temperatures
from edgepart.dispatch.trace import Trace
from edgepart.errors import DispatchError
from edgepart.evaluation.costs import tabulate
from edgepart.evaluation.evaluate_traces import question, report_on
from edgepart.evaluation.report import Report

PLAN = plan_for(chain(9), (3, 6), [("mobile-1", "mobile", 3), ("edge-1", "edge", 2)])
EXITS = tuple(point.model_copy(update={"threshold": 0.7}) for point in PLAN.exits)
PLANNED = PLAN.model_copy(update={"strategy": "confidence", "exits": EXITS})
VALIDATION, TEST = trace_for(PLAN, seed=1), trace_for(PLAN, seed=2)


def report_of(validation: Trace, test: Trace, *names: str, temperature: bool = False) -> Report:
    asked = question(names or None, grid=(0.4, 0.6, 0.8, 0.9, 0.99))
    costs = tabulate(asked.cost, PLANNED)
    return report_on(PLANNED, validation, test, asked, costs, source="x", command="x", temperature=temperature)


def test_scaling_is_the_same_as_evaluating_scaled_traces() -> None:
    learnt = temperatures(VALIDATION)
    names = ("confidence", "entropy", "margin", "budgeted", "learned", "oracle")
    scaled = report_of(VALIDATION, TEST, *names, temperature=True)
    plain = report_of(VALIDATION.scaled(learnt), TEST.scaled(learnt), *names)
    assert scaled.curves == plain.curves
    assert scaled.strategies == plain.strategies
    assert scaled.curves != report_of(VALIDATION, TEST, *names).curves


def test_neither_exits_nor_the_plans_own_thresholds_change() -> None:
    scaled, plain = (report_of(VALIDATION, TEST, "confidence", temperature=on) for on in (True, False))
    assert scaled.planned == plain.planned is not None
    assert scaled.exits == plain.exits
    assert scaled.full_model == plain.full_model
    assert plain.temperatures == ()


def test_the_report_tells_temperatures_and_calibration_errors() -> None:
    report = report_of(VALIDATION, TEST, "confidence", temperature=True)
    learnt = temperatures(VALIDATION)
    assert [one.exit for one in report.temperatures] == ["mobile-1", "edge-1", "final"]
    assert [one.temperature for one in report.temperatures] == learnt.tolist()
    for trace, before, after in (
        (TEST, "error_before", "error_after"),
        (VALIDATION, "validation_error_before", "validation_error_after"),
    ):
        assert [getattr(one, before) for one in report.temperatures] == calibration_error(trace).tolist()
        assert [getattr(one, after) for one in report.temperatures] == calibration_error(trace.scaled(learnt)).tolist()


def test_temperatures_are_learnt_on_validation_alone() -> None:
    reports = [report_of(VALIDATION, trace_for(PLAN, seed=seed), "confidence", temperature=True) for seed in (2, 3)]
    first, second = ([one.temperature for one in report.temperatures] for report in reports)
    assert first == second


def test_a_promise_is_not_made_on_temperatures_of_its_own_samples() -> None:
    with pytest.raises(DispatchError, match="promises of 'controlled' would not hold"):
        report_of(VALIDATION, TEST, "controlled", temperature=True)
    report = report_of(VALIDATION, TEST, temperature=True)
    assert "controlled" not in {curve.strategy for curve in report.curves}
    assert any("controlled: left out" in warning for warning in report.warnings)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", PLAN, VALIDATION)


def test_the_command_line_shows_and_writes_them(bundle: Path, tmp_path: Path) -> None:
    TEST.save(tmp_path / "test.safetensors")
    arguments = [str(bundle), "--trace", str(tmp_path / "test.safetensors"), "--strategy", "confidence"]
    arguments += ["--temperature", "--output", str(tmp_path / "report")]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    place = lines.index("temperatures learnt on validation, calibration error on test")
    shown = lines[place + 3].split()
    assert shown[:2] == ["mobile-1", f"{temperatures(VALIDATION)[0]:.3g}"]
    written = json.loads((tmp_path / "report" / "report.json").read_text())
    assert [one["exit"] for one in written["temperatures"]] == ["mobile-1", "edge-1", "final"]
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Temperatures learnt on the validation data" in page
    # what is kept is the recording, which other temperatures can be tried on
    kept = Trace.load(tmp_path / "report" / "trace.safetensors")
    assert np.array_equal(kept.logits, TEST.logits)


def test_a_named_strategy_that_cannot_promise_is_refused_before_anything_is_recorded(
    bundle: Path, tmp_path: Path
) -> None:
    arguments = [str(bundle), "--data", "there-is-none.tsv", "--strategy", "controlled", "--temperature"]
    result = CliRunner().invoke(command, [*arguments, "--output", str(tmp_path / "report")])
    assert isinstance(result.exception, DispatchError)


def test_without_it_the_page_tells_no_temperature(bundle: Path, tmp_path: Path) -> None:
    TEST.save(tmp_path / "test.safetensors")
    arguments = [str(bundle), "--trace", str(tmp_path / "test.safetensors"), "--strategy", "confidence"]
    CliRunner().invoke(command, [*arguments, "--output", str(tmp_path / "report")], catch_exceptions=False)
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Strategies" in page
    assert "Temperatures learnt" not in page
    assert "divided by its temperature" not in page
