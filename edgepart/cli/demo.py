"""``edgepart demo``: the main job from one end to the other, by the commands that anyone would type."""

from __future__ import annotations

import importlib.util
import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click

from edgepart import resources
from edgepart.cli.output import json_option, note, print_json
from edgepart.errors import EdgepartError, FileError, MissingExtra
from edgepart.units import seconds

WHY = """\
This network is so small that it runs fastest in one piece on the mobile device. To stand for one that does not fit,
mobile may use 150 kB of memory and the edge 500 kB, beside the runtime, which would need a thousand times as much and
is left out (--runtime-memory TIER=0B); and stage 1 must run on mobile, as if raw images were private.
"""
PACKAGES = ("torch", "sklearn", "matplotlib")
TIERS = "--tier mobile=raspberry-pi-4 --tier edge=jetson-orin-nano --tier cloud=this"
LINKS = "--link mobile:edge=wifi --link edge:cloud=4g"
LIMITS = "--limit mobile.memory=150kB --limit edge.memory=500kB --pin stage1=mobile"
RUNTIMES = "--runtime-memory mobile=0B --runtime-memory edge=0B"
EXITS = "--exits linear --exits-per-part 2"
HEADS = "--head mlp --epochs 40"
#: a few of each kind: thresholds, routers, both, an accuracy that is promised, and yardsticks
STRATEGIES = ("confidence", "entropy", "cartography", "combined", "controlled", "fixed-tier", "random", "oracle")
#: more threads gain nothing on so small a network, and wait for each other on a busy machine
THREADS = ["--threads", "1"]


@click.command()
@click.option("-o", "--output", default="demo-out", show_default=True, metavar="FOLDER", help="Where everything goes.")
@json_option
def command(output: str, as_json: bool) -> None:
    """Run the main job on real handwritten digits: train, profile, partition, build, evaluate.

    Every command is shown before it runs, so that each can be repeated and changed. Needs the extra 'demo'.
    """
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "demo")
    folder = Path(output)
    copy_example(folder)
    started = time.monotonic()
    if not as_json:
        click.echo(WHY)
    results = [run(words, as_json) for words in commands(folder)]
    page, took_s = folder / "report" / "report.html", time.monotonic() - started
    if as_json:
        print_json({"steps": results, "report": str(page), "seconds": round(took_s, 1)})
    else:
        click.echo(f"\nThe whole demo took {seconds(took_s)}. The report: {page}")
        if shutil.which("edgepart") is None:
            click.echo(f"To run any of the commands yourself: source {Path(sys.prefix) / 'bin' / 'activate'}")


def copy_example(folder: Path) -> None:
    """Put the network's source where its weights, its data and everything else will be."""
    source = resources.find("examples/digits", ".py", "model", "example")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / "model.py")
    except OSError as error:
        raise FileError(f"cannot write {folder}: {error.strerror or error}") from error


def commands(folder: Path) -> list[list[str]]:
    """The commands of the main job, in order, word by word."""

    def file(name: str) -> str:
        return str(folder / name)

    model = file("model.py:network")
    placing = f"{TIERS} {LINKS} --objective latency {LIMITS} {RUNTIMES} {EXITS}".split()
    data = ["--data", file("train.npz"), "--validation", file("validation.npz"), "--profile", file("profile.json")]
    asked = [word for name in STRATEGIES for word in ("--strategy", name)]
    return [
        ["python", file("model.py")],
        ["edgepart", "profile", model, "--device", "this", "-o", file("profile.json")],
        ["edgepart", "partition", file("profile.json"), *placing, "-o", file("plan.json")],
        ["edgepart", "build", model, file("plan.json"), *data, *HEADS.split(), *THREADS, "-o", file("bundle")],
        ["edgepart", "evaluate", file("bundle"), "--data", file("test.npz"), *asked, *THREADS, "-o", file("report")],
    ]


def run(words: list[str], as_json: bool) -> dict[str, Any]:
    """Show a command and run it with this interpreter; under ``--json`` its result is kept instead of printed.

    Raises:
        EdgepartError: it failed; it has said why.
    """
    shown = shlex.join(words)
    (note if as_json else click.echo)(f"\n$ {shown}")
    program = [sys.executable, *(["-m", "edgepart"] if words[0] == "edgepart" else []), *words[1:]]
    quietly = as_json and words[0] == "edgepart"
    started = time.monotonic()
    done = subprocess.run(
        [*program, *(["--json"] if quietly else [])], stdout=subprocess.PIPE if as_json else None, check=False
    )
    if done.returncode:
        raise EdgepartError(f"the demo stopped at '{shown}' (exit code {done.returncode})")
    result = json.loads(done.stdout) if quietly else None
    return {"command": shown, "seconds": round(time.monotonic() - started, 1), "result": result}
