"""The template that docs/add-a-template.md shows works as the page says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgepart.cli import main
from edgepart.exits.template import CONTEXT, Header, Parameter

PAGE = Path(__file__).resolve().parents[2] / "docs" / "add-a-template.md"


def block(language):
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(found) == 1, f"expected one block of {language}"
    return found[0]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "margin.py.j2").write_text(block("jinja"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_passes_the_check(folder, capsys):
    assert main(["templates", "check", "margin.py.j2", "--set", "temperature=0.5"]) == 0
    assert "margin is fine" in capsys.readouterr().out


def test_it_meets_the_contract(folder):
    (folder / "test_margin.py").write_text(block("py"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "test_margin.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert re.search(r"[5-9] passed", done.stdout)


def test_the_tables_name_everything():
    named = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert named == [*Header.model_fields, *CONTEXT]
    optional = Parameter.model_fields.keys() - {"type", "default", "help"}
    assert all(f"`{field}`" in PAGE.read_text(encoding="utf-8") for field in optional)
