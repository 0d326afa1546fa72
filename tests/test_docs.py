"""What the documentation shows works: links lead somewhere, commands exist, Python runs, the reference is current."""

import itertools
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml
from sample_profiles import make_profile

import edgepart
from edgepart.cli.main import COMMANDS
from edgepart.cli.main import edgepart as command_line
from edgepart.data import Preprocessing
from edgepart.hardware import catalogue
from edgepart.testing.hardware import example_device

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
WRITTEN = [page for page in PAGES if page.name != "cli.md" and "_build" not in page.parts]
by_name = {"argvalues": WRITTEN, "ids": [str(page.relative_to(ROOT)) for page in WRITTEN]}


def blocks(page, language):
    """The fenced blocks of one language, as (line, text)."""
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield text.count("\n", 0, found.start()) + 2, found[1]


def shown_commands(page):
    """Every edgepart command line in the page's shell blocks, as words."""
    for line, text in blocks(page, "bash"):
        for command in text.replace("\\\n", " ").splitlines():
            words = shlex.split(command, comments=True)
            if words and words[0] == "edgepart":
                yield line, words[1:]


GENERATED = ["cli", "devices", "dispatch_speed", "matrix", "placement", "precision", "predicted", "results"]
GENERATED += ["results/dispatch", "zoo"]


@pytest.mark.parametrize("page", GENERATED)
def test_a_generated_page_is_current(page):
    current = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    script = ROOT / "docs" / f"generate_{Path(page).name}.py"
    # In a process of its own: click remembers the help option of the first call of a command.
    code = f"import {script.stem} as script, sys; sys.stdout.write(script.page())"
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", code], cwd=script.parent, capture_output=True, check=True
    )
    assert current == done.stdout.decode(), f"docs/{page}.md is stale: run python docs/{script.name}"


@pytest.mark.parametrize("page", **by_name)
def test_links_lead_to_files_that_exist(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert re.match("https?://", target) or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", **by_name)
def test_commands_and_options_that_are_shown_exist(page):
    for line, words in shown_commands(page):
        where = f"{page.name}, line {line}: edgepart {' '.join(words)}"
        assert words[0] in COMMANDS, where
        command = command_line.get_command(click.Context(command_line), words[0])
        if isinstance(command, click.Group):
            command, words = command.commands[words[1]], words[1:]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words[1:] if word.startswith("-")} <= known, where


def test_the_python_reference_has_every_public_name():
    named = re.findall(r"auto\w+:: edgepart\.(\w+)", (ROOT / "docs" / "python.md").read_text(encoding="utf-8"))
    assert sorted(named) == edgepart.__all__


@pytest.mark.parametrize(
    ("block", "load"), [(0, catalogue.device), (1, catalogue.link), (2, catalogue.price), (3, catalogue.device)]
)
def test_the_profiles_that_are_shown_load(block, load, tmp_path):
    _, text = next(itertools.islice(blocks(ROOT / "docs" / "add-a-device.md", "yaml"), block, None))
    (tmp_path / "mine.yaml").write_text(text)
    shown = load(str(tmp_path / "mine.yaml")).model_dump(exclude_none=True)
    assert yaml.safe_load(text).keys() <= shown.keys()


def test_the_preprocessing_that_is_shown_is_valid_and_its_keys_are_all_named():
    page = ROOT / "docs" / "files.md"
    names = {}
    exec(next(blocks(page, "python"))[1], names)
    fields = type(Preprocessing.from_dict(names["preprocessing"])).model_fields
    text = page.read_text(encoding="utf-8")
    assert [field for field in fields if f"`{field}`" not in text and f'"{field}"' not in text] == []


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """A folder with the trained network of examples/digits, its data and a profile."""
    folder = tmp_path_factory.mktemp("digits")
    shutil.copy(ROOT / "examples" / "digits" / "model.py", folder)
    module = runpy.run_path(str(folder / "model.py"))
    module["write_data"]()
    net = module["DigitNet"]()
    module["save_file"](net.state_dict(), folder / "weights.safetensors")
    graph = edgepart.capture(net.eval(), module["network"]()[1])
    # made up: measuring one takes half a minute, and is tested elsewhere
    seconds = {layer.name: 1e-6 + layer.macs / 1e10 for layer in graph.layers}
    make_profile(graph, seconds, example_device()).save(folder / "profile.json")
    return folder


# What the guides add (add-a-strategy.md and the like) is tested with the package it is added to.
PYTHON = [page for page in WRITTEN if any(blocks(page, "python")) and not page.name.startswith("add-a-")]


@pytest.mark.parametrize("page", PYTHON, ids=[page.name for page in PYTHON])
def test_python_that_is_shown_runs(page, digits, monkeypatch):
    monkeypatch.chdir(digits)
    monkeypatch.syspath_prepend(digits)
    names = {"__name__": "documentation"}
    for line, text in blocks(page, "python"):
        exec(compile("\n" * (line - 1) + text, page.name, "exec"), names)


@pytest.mark.slow
def test_the_readmes_commands_run_one_after_another(digits, monkeypatch):
    monkeypatch.chdir(digits)
    for _, words in shown_commands(ROOT / "README.md"):
        assert command_line.main(words, standalone_mode=False) in (None, 0)
    assert os.path.getsize("report/report.html") > 10_000
