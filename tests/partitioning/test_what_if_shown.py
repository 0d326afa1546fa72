"""What is printed and drawn of a "what if" and of switching between plans."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

from edgepart.cli.what_if import answer, letter, plot_what_if, show_switching, show_what_if
from edgepart.cli.what_if_options import options
from edgepart.errors import EdgepartError, FileError
from edgepart.hardware.bandwidth_trace import BandwidthTrace
from edgepart.partitioning.exhaustive import Exhaustive
from edgepart.partitioning.problem import Problem, Tier
from edgepart.partitioning.switching import under_trace
from edgepart.partitioning.what_if import WhatIf, what_if
from edgepart.testing.graphs import make_graph
from edgepart.testing.hardware import example_device, example_link


def chain() -> Problem:
    """All on the edge 96/B, after a 1 + 64/B, after b 5 + 16/B, all on mobile 8."""
    layers = [("a", ["x"], {"a": 8}), ("b", ["a"], {"b": 2}), ("c", ["b"], {"c": 1})]
    work = {"a": 1.0, "b": 4.0, "c": 3.0}
    tiers = (Tier("mobile", example_device(), work), Tier("edge", example_device(), dict.fromkeys(work, 0.0)))
    weights = {name: {f"{name}.weight": 10} for name in work}
    return Problem(make_graph(layers, {"x": 12}, parameters=weights), tiers, (example_link(8.0),))


def by_bandwidth() -> WhatIf:
    return what_if(chain(), "link.mobile:edge.bandwidth=0.5..100bps", Exhaustive())


BANDWIDTH = """\
Best plan by link.mobile:edge.bandwidth (breakpoints exact)
         from          to  plan  latency from      to
  -----------  ----------  ----  ------------  ------
  0.500 bit/s  5.33 bit/s  A              8 s     8 s
   5.33 bit/s  12.0 bit/s  B              8 s  6.33 s
   12.0 bit/s  32.0 bit/s  C           6.33 s     3 s
   32.0 bit/s   100 bit/s  D              3 s  960 ms

Plans
  plan  layers            mobile > edge
  ----  ----------------  -------------
  A     all on mobile     nothing
  B     mobile 2, edge 1  b (2 B)
  C     mobile 1, edge 2  a (8 B)
  D     all on edge       x (12 B)
Solved 6 times, exactly.
"""


def test_the_pieces_of_a_range(capsys: pytest.CaptureFixture[str]) -> None:
    show_what_if(by_bandwidth())
    assert capsys.readouterr().out == BANDWIDTH


def test_what_does_not_fit_and_what_is_sampled_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    pinned = replace(chain(), pins=dict.fromkeys("abc", "mobile"))
    show_what_if(what_if(pinned, "limit.mobile.memory=10..90B", Exhaustive()))
    printed = capsys.readouterr().out
    assert "(steps exact)" in printed
    assert "-: no placement satisfies the limits" in printed
    show_what_if(what_if(replace(chain(), objective="period"), "tier.mobile.speed=0.5..4", Exhaustive(), samples=4))
    printed = capsys.readouterr().out
    assert "(sampled: what lies between two values is not known)" in printed
    assert "looked for at 4 values" in printed
    assert "0.500 ×" in printed


def test_steps_that_lie_close_together_are_told_to_the_byte(capsys: pytest.CaptureFixture[str]) -> None:
    problem = chain()
    mobile = replace(problem.tiers[0], runtime_bytes=1_000_000)
    close = replace(problem, tiers=(mobile, problem.tiers[1]))
    show_what_if(what_if(close, "limit.mobile.memory=0.5..2MB", Exhaustive()))
    printed = capsys.readouterr().out
    assert "500,000 B" in printed
    assert printed.count(" 1,000,0") == 4
    assert "MB" not in printed


def test_sets_of_plans_under_a_trace(capsys: pytest.CaptureFixture[str]) -> None:
    trace = BandwidthTrace("walk", "walk.csv, column down_mbps", np.ones(5), np.array([4.0, 96.0, 0.0, 96.0, 4.0]))
    show_switching(under_trace(chain(), "mobile:edge", trace))
    printed = capsys.readouterr().out
    assert (
        "Bandwidth of mobile:edge as in walk (walk.csv, column down_mbps): 4.00 bit/s to 96.0 bit/s for 5 s" in printed
    )
    rows = [line.split("  ") for line in printed.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert ["A (50 %), D (50 %)", "2", "12.0 bit/s", "4.5 s", "36.5 %", "0.0 %", "2"] in cells
    assert ["best at each moment", "2", "4.5 s", "36.5 %", "0.0 %"] in cells
    last = printed.splitlines()[-1]
    assert last.startswith("Outages, 20.0 % of the time, are left out of the means; plan A sends nothing over the link")
    assert last.endswith("and takes 8 s then.")


def test_letters_go_on() -> None:
    assert [letter(plan) for plan in (0, 25, 26, 27, 701, 702)] == ["A", "Z", "AA", "AB", "ZZ", "AAA"]


def test_the_plot_names_every_plan_and_breakpoint(tmp_path: Path) -> None:
    plot_what_if(by_bandwidth(), tmp_path / "plot.svg")
    root = ElementTree.parse(tmp_path / "plot.svg").getroot()
    texts = {"".join(element.itertext()).strip() for element in root.iter() if element.tag.endswith("text")}
    assert {"A: all on mobile", "B: sends b (2 B)", "C: sends a (8 B)", "D: all on edge"} <= texts
    assert {"5.33 bit/s", "12.0 bit/s", "32.0 bit/s", "link.mobile:edge.bandwidth"} <= texts
    plot_what_if(by_bandwidth(), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_of_steps_and_samples(tmp_path: Path) -> None:
    pinned = replace(chain(), pins=dict.fromkeys("abc", "mobile"))
    plot_what_if(what_if(pinned, "limit.mobile.memory=0..90B", Exhaustive()), tmp_path / "steps.svg")
    assert "nothing fits" in (tmp_path / "steps.svg").read_text()
    period = replace(chain(), objective="period")
    plot_what_if(what_if(period, "tier.mobile.speed=0.5..4", Exhaustive(), samples=4), tmp_path / "samples.svg")
    assert "tier.mobile.speed" in (tmp_path / "samples.svg").read_text()


def test_a_plot_needs_a_suffix_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(EdgepartError, match=r"neither a \.png nor a \.svg file"):
        plot_what_if(by_bandwidth(), tmp_path / "plot.jpg")
    with pytest.raises(FileError, match="does not exist"):
        plot_what_if(by_bandwidth(), tmp_path / "none" / "plot.png")


def test_both_are_data() -> None:
    trace = BandwidthTrace("walk", "walk.csv", np.ones(2), np.array([4.0, 96.0]))
    for found in (by_bandwidth(), under_trace(chain(), "mobile:edge", trace)):
        assert (
            type(found).model_validate(json.loads(json.dumps(found.model_dump(mode="json"), allow_nan=False))) == found
        )


@click.command
@options
@click.option("--json", "as_json", is_flag=True)
def command(as_json: bool, **given: Any) -> None:
    """A command with the options."""
    found = answer(chain(), given.pop("what_if"), given.pop("traces"), **given, show=not as_json)
    if as_json:
        click.echo(json.dumps(found, allow_nan=False))


def run(*arguments: str) -> str:
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_options_answer_several_questions_at_once(tmp_path: Path) -> None:
    (tmp_path / "walk.csv").write_text("time,bandwidth\n0,4\n1,96\n2,0.25\n")
    trace, plot = f"mobile:edge={tmp_path / 'walk.csv'}", str(tmp_path / "plot.png")
    asked = ["--what-if", "link.mobile:edge.bandwidth=0.5..100bps", "--under-trace", trace, "--outage-below", "1bps"]
    printed = run(*asked, "--most-plans", "2", "--plot", plot)
    assert printed.startswith(BANDWIDTH.removesuffix("exactly.\n").rpartition("Solved")[0])
    assert "Outages, 33.3 % of the time" in printed
    assert Path(plot).exists()
    found = json.loads(run(*asked, "--json"))
    assert [len(found["what_if"]), len(found["under_trace"])] == [1, 1]
    assert len(found["what_if"][0]["pieces"]) == 4
    assert [len(each["plans"]) for each in found["under_trace"][0]["sets"]] == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plot", "p.png"], "--plot draws one --what-if, and 0 are given"),
        (
            ["--outage-below", "1MB"],
            "'MB' in --outage-below=1MB is not a unit of a rate in bits a second: did you mean 1Mbps",
        ),
        (["--under-trace", "mobile:edge=none.csv"], "none.csv does not exist"),
        (["--under-trace", "none.csv"], "--under-trace none.csv is not of the form"),
        (["--what-if", "tier.mobile.speed=4..2"], "is no range"),
    ],
)
def test_a_wrong_option_is_one_sentence(arguments: list[str], message: str) -> None:
    with pytest.raises(EdgepartError, match=message):
        run(*arguments)


def test_estimates_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    mobile, edge = chain().tiers
    show_what_if(what_if(replace(chain(), tiers=(replace(mobile, estimated=True), edge)), "tier.mobile.speed=0.5..4"))
    printed = capsys.readouterr().out
    assert "~10 s" in printed
    assert printed.endswith(
        "~ estimate: scaled from a measurement on another device, or computed from the device's rates\n"
    )


@pytest.mark.parametrize(("gap", "said"), [(None, "without a proof"), (0.02, "to a relative gap of 2e-02")])
def test_pieces_without_proof_are_not_called_exact(
    gap: float | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show_what_if(by_bandwidth().model_copy(update={"gap": gap}))
    printed = capsys.readouterr().out
    assert "(as exact as the solutions, see below)" in printed
    assert said in printed


def test_a_trace_without_times_claims_none(capsys: pytest.CaptureFixture[str]) -> None:
    trace = BandwidthTrace("walk", "made up", np.ones(3), np.array([2.0, 20.0, 90.0]), timed=False)
    show_switching(under_trace(chain(), "mobile:edge", trace))
    assert "90.0 bit/s in 3 rows that name no times and count alike\n" in capsys.readouterr().out
