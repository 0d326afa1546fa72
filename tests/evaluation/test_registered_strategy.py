"""The guide's strategy, written and installed as a user would: edgepart finds, shows and evaluates it as its own."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from guides import DOCS
from report_samples import trace_for
from test_evaluate import PLAN, write_bundle


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the guide's module as an installed distribution, as pip leaves it, and a bundle with a trace."""
    folder = tmp_path_factory.mktemp("home")
    page = (DOCS / "add-a-strategy.md").read_text(encoding="utf-8")
    site = folder / "site"
    package, metadata = site / "my_package", site / "my_package-1.0.dist-info"
    package.mkdir(parents=True)
    metadata.mkdir()
    (package / "__init__.py").touch()
    (package / "odds.py").write_text(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0], encoding="utf-8")
    entry = re.search(r'\[project\.entry-points\."(.*?)"\]\n(\w+) = "(.*?)"', page)
    assert entry is not None
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(f"[{entry[1]}]\n{entry[2]} = {entry[3]}\n", encoding="utf-8")
    write_bundle(folder / "bundle", PLAN, trace_for(PLAN, seed=1))
    trace_for(PLAN, seed=2).save(folder / "trace.safetensors")
    return folder


def run(home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """One command in a process of its own, in which the distribution is installed."""
    return subprocess.run(
        [sys.executable, "-X", "utf8", "-m", "edgepart", *map(str, arguments)],
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(home / "site")},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_it_is_listed(home: Path) -> None:
    found = {entry["name"]: entry for entry in json.loads(run(home, "strategies", "list", "--json").stdout)}
    assert found["odds"]["deployable"]
    assert found["odds"]["summary"].startswith(
        "Leave at the first exit where the second class is at most 1 - threshold"
    )


def test_it_is_evaluated_beside_edgeparts_own(home: Path) -> None:
    asked = ["--strategy", "confidence", "--strategy", "odds", "--thresholds", ".5,.9", "-o", home / "report", "--json"]
    done = run(home, "evaluate", home / "bundle", "--trace", home / "trace.safetensors", *asked)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {curve["strategy"]: len(curve["points"]) for curve in report["curves"]} == {"confidence": 2, "odds": 2}
    assert any(compared["strategy"] == "odds" for compared in report["comparisons"])
    assert "odds" in (home / "report" / "report.html").read_text(encoding="utf-8")


def test_a_mistake_in_its_name_is_answered_with_it(home: Path) -> None:
    done = run(home, "evaluate", home / "bundle", "--trace", home / "trace.safetensors", "--strategy", "odss")
    assert done.returncode
    assert "odds" in done.stderr
    assert "Traceback" not in done.stderr
