"""The example that sets all strategies side by side on two image networks: its steps, tables and figures."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from example_modules import loaded

from edgepart import plugins
from edgepart.evaluation.costs import Facts, cost_model
from edgepart.evaluation.runs_report import RunsReport
from edgepart.hardware import catalogue
from edgepart.testing.cost_models import CostModelContract, example_plan

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "cifar10_exits"
MODULES = ("networks", "steps", "links", "tables", "figures", "run")
IMAGE_BYTES = 12_288


@pytest.fixture(scope="module")
def example():
    """The modules of the example, under the names that they import each other by."""
    with loaded(FOLDER, MODULES) as modules:
        yield modules


class TestSteps:
    """A command runs once, and again only where something that matters has changed."""

    @pytest.fixture
    def ran(self, example, tmp_path, monkeypatch):
        """Runs ``build`` on a file, and the commands that were really run so far."""
        commands = []

        def fake(command, check):
            assert not check
            commands.append(command[3:])
            Path(command[command.index("-o") + 1]).write_text(f"made {len(commands)}", encoding="utf-8")
            return SimpleNamespace(returncode=0)

        monkeypatch.setattr(example.steps.subprocess, "run", fake)
        data = tmp_path / "data.npz"
        data.write_bytes(b"images")

        def step(*words, threads=1, output="bundle"):
            steps = example.steps.Steps(tmp_path)  # as a later run of the script makes them
            steps.edgepart("build", *words, reads=[data], output=tmp_path / output, threads=threads)
            return len(commands)

        return SimpleNamespace(step=step, data=data, commands=commands, folder=tmp_path)

    def test_what_is_done_is_kept(self, ran, capsys):
        assert ran.step("--seed", 1) == 1
        assert ran.step("--seed", 1) == 1
        assert "kept: " in capsys.readouterr().out
        assert ran.commands == [["build", "--seed", "1", "-o", str(ran.folder / "bundle"), "--threads", "1"]]

    def test_other_words_other_data_or_a_lost_output_are_reasons_to_run_again(self, ran):
        ran.step("--seed", 1)
        assert ran.step("--seed", 2) == 2
        ran.data.write_bytes(b"other images")
        assert ran.step("--seed", 2) == 3
        (ran.folder / "bundle").unlink()
        assert ran.step("--seed", 2) == 4
        assert ran.step("--seed", 2, output="another") == 5
        assert ran.step("--seed", 2) == 5

    def test_other_threads_are_none(self, ran):
        ran.step("--seed", 1)
        assert ran.step("--seed", 1, threads=2) == 1

    def test_a_command_that_fails_ends_the_script_and_is_not_done(self, example, tmp_path, monkeypatch):
        monkeypatch.setattr(example.steps.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=130))
        with pytest.raises(SystemExit) as ended:
            example.steps.Steps(tmp_path).edgepart("profile", output=tmp_path / "profile.json")
        assert ended.value.code == 130
        assert not (tmp_path / "steps.json").exists()

    def test_a_bundle_is_known_by_its_manifest(self, example, tmp_path):
        (tmp_path / "manifest.json").write_text("one", encoding="utf-8")
        before = example.steps.content(tmp_path)
        (tmp_path / "anything").write_text("else", encoding="utf-8")
        assert example.steps.content(tmp_path) == before
        (tmp_path / "manifest.json").write_text("two", encoding="utf-8")
        assert example.steps.content(tmp_path) != before


@pytest.fixture
def over(example):
    """Latency with the cloud over a link of that name."""
    return lambda link: example.links.LatencyOver("edge", "cloud", link)


class TestLatencyOver(CostModelContract):
    @pytest.fixture(autouse=True)
    def _made(self, over):
        self._model = over("3g")

    def cost_model(self):
        return self._model


@pytest.mark.parametrize("deployment", ["split", "nested"])
def test_another_link_costs_what_it_takes_longer_on_the_paths_that_cross_it(over, deployment):
    plan = example_plan(deployment)
    extra = catalogue.link("4g").transfer_s(plan.hops[1].bytes) - plan.hops[1].transfer_s
    before, after = (model.table(plan, Facts()) for model in (cost_model("latency"), over("4g")))
    crossing = np.array([tier == "cloud" for tier in plan.exit_tiers])
    finite = np.isfinite(before)
    assert after[:, crossing] == pytest.approx(before[:, crossing] + extra)
    assert (after[:, ~crossing][finite[:, ~crossing]] == before[:, ~crossing][finite[:, ~crossing]]).all()
    longer = over("4g").full_model(plan, Facts()) - cost_model("latency").full_model(plan, Facts())
    assert longer == pytest.approx(extra)
    assert catalogue.link("4g").title in over("4g").describe()


def test_the_whole_network_on_one_tier_over_another_link(example, over):
    plan = example_plan().model_copy(update={"unsplit_s": {"mobile": 0.1, "edge": 0.2, "cloud": 0.3}})
    alone = example.links.alone_s(plan, over("4g").over(plan), IMAGE_BYTES)
    extra = catalogue.link("4g").transfer_s(IMAGE_BYTES) - plan.hops[1].link.transfer_s(IMAGE_BYTES)
    assert alone == pytest.approx({"mobile": 0.1, "edge": 0.2, "cloud": 0.3 + extra})


def estimate(mean, low, high):
    return {"seeds": [mean - 0.01, mean + 0.01], "interval": [low, high]}


def outcome(strategy, saving, change=(-0.001, -0.004, 0.002), cost=0.02, picked=(), settings=("a", "b"), against=()):
    against = {"confidence": {"accuracy": estimate(0, -0.01, 0.01), "saving": estimate(*against)}} if against else {}
    both = {"seeds": [0.9, 0.9]}
    return {
        "strategy": strategy,
        "drop": 0.005,
        "settings": settings,
        "picked": picked,
        "accuracy": both,
        "measures": {},
        "cost": {"seeds": [cost, cost]},
        "saving": estimate(*saving),
        "change": estimate(*change),
        "tier_share": {"mobile": {"seeds": [0.5, 0.7]}, "edge": {"seeds": [0.4, 0.2]}, "cloud": {"seeds": [0.1, 0.1]}},
        "validation_accuracy": both,
        "validation_saving": both,
        "against": against,
    }


def record(outcomes, label="latency", unit="s"):
    """A record of one task with two seeds under one cost."""
    both = {"seeds": [0.93, 0.95]}
    cost = {
        "label": label,
        "unit": unit,
        "description": "what is counted",
        "full_model": {"accuracy": both, "measures": {}, "cost": {"seeds": [0.03, 0.03]}},
        "outcomes": outcomes,
        "at_equal_cost": [],
    }
    tiers = ("mobile", "edge", "cloud")
    task = {
        "task": "A network on images",
        "network": "Net",
        "seeds": [0, 1],
        "samples": 3000,
        "validation_samples": [2000, 2000],
        "classes": ["cat", "dog"],
        "deployment": "split",
        "exits": [{"name": f"{tier}-1", "tier": tier, "accuracy": both} for tier in tiers],
        "costs": [cost],
        "warnings": ["seeds 0, 1: something to know"],
    }
    known = {"edgepart": "0", "python": "3", "command": "c", "date": "d", "machine": {}, "packages": {}}
    return RunsReport.model_validate(
        {
            "tasks": [task],
            "drops": [0.005],
            "reference": "confidence",
            "groups": {"best of ours": ["router", "tuned"]},
            "resamples": 10,
            "provenance": known,
        }
    )


PLAIN = outcome("confidence", (0.30, 0.25, 0.35))
BETTER = outcome("tuned", (0.40, 0.35, 0.45), against=(0.1, 0.05, 0.15), settings=("a", None))
GROUP = outcome("best of ours", (0.40, 0.35, 0.45), against=(0.1, 0.05, 0.15), picked=("tuned", None))
ORACLE = outcome("oracle", (0.70, 0.65, 0.75), cost=0.001)


class TestTables:
    """The page says what the record holds, and in sentences what it comes to."""

    def verdict(self, example, *outcomes, alone=0.01):
        report = record(outcomes)
        times = example.tables.Seconds(exits=(0.01, 0.02, 0.03), alone={"edge": alone, "cloud": 0.5})
        return list(example.tables.verdict(report, report.tasks[0].costs[0], times))

    def test_the_page(self, example):
        report = record([PLAIN, BETTER, GROUP, ORACLE])
        timing = {"latency": example.tables.Seconds(exits=(0.01, 0.02, 0.03), alone={"edge": 0.0117})}
        title = report.tasks[0].task
        text = example.tables.page(report, {title: timing}, {title: "note on the images"})
        assert "## A network on images" in text
        assert "3,000 test images; settings chosen on 2,000 others; seeds 0, 1" in text
        assert "note on the images" in text
        assert "| edge-1 | edge | 94.0 % ± 1.4 | 20 ms |" in text
        assert "the whole network on one tier takes edge 11.7 ms" in text
        assert (
            "| tuned (no setting in 1 of 2) | 40.0 % ± 1.4 | 35.0 % to 45.0 % | 20 ms | -0.1 | -0.4 to +0.2 |" in text
        )
        assert "60 % / 30 % / 10 %" in text
        assert "seeds 0, 1: something to know" in text
        # the dearest saving first
        assert text.index("| oracle |") < text.index("| tuned") < text.index("| confidence |")

    def test_money_has_its_unit(self, example):
        report = record([PLAIN], label="money", unit="USD")
        title = report.tasks[0].task
        text = example.tables.page(report, {title: {}}, {title: "note"})
        assert "0.0200 USD" in text

    def test_who_is_better_and_by_how_much(self, example):
        told = self.verdict(example, PLAIN, BETTER, GROUP, ORACLE)
        assert told[0].startswith("Confidence saves 30.0 % (25.0 % to 35.0 %)")
        assert "(tuned, the full model)" in told[1]
        assert "+10.0 points of saving against confidence (+5.0 to +15.0: better)" in told[1]
        assert told[2].startswith("Oracle saves 70.0 %")

    def test_where_nothing_helps_it_says_so(self, example):
        told = self.verdict(example, outcome("confidence", (0.01, -0.02, 0.04)), ORACLE)
        assert told[0].startswith("Nothing helps")
        assert not any("Nothing helps" in sentence for sentence in self.verdict(example, PLAIN))

    def test_what_lost_more_than_was_allowed_is_named(self, example):
        careless = outcome("adaee", (0.5, 0.4, 0.6), change=(-0.03, -0.04, -0.02))
        assert any(
            sentence.endswith("by the whole interval: adaee.") for sentence in self.verdict(example, PLAIN, careless)
        )
        assert not any("whole interval" in sentence for sentence in self.verdict(example, PLAIN))

    @pytest.mark.parametrize(
        ("alone", "said"), [(0.0117, "would take 11.7 ms, less than the 20 ms"), (0.04, "faster than any single place")]
    )
    def test_one_tier_alone_is_held_against_the_split(self, example, alone, said):
        # the oracle's 1 ms do not count
        assert said in self.verdict(example, PLAIN, ORACLE, alone=alone)[-1]


def test_a_figure_for_every_cost(example, tmp_path):
    report = record([PLAIN, BETTER, GROUP, ORACLE], label="latency, cloud over 4G")
    example.figures.draw(report, tmp_path / "figures")
    (path,) = (tmp_path / "figures").iterdir()
    assert path.name == "a_network_on_images_latency_cloud_over_4g.svg"
    assert "<svg" in path.read_text(encoding="utf-8")


def test_the_words_of_a_placement(example):
    network = example.networks.NETWORKS["resnet56"]
    words = example.run.placement(network)
    assert words.count("--tier") == words.count("--link") + 1 == 3
    assert words.count("--exit-after") == len(network.exits)
    assert f"mobile={network.split['mobile']}" in words


@pytest.mark.slow
def test_both_networks_with_two_seeds(tmp_path):
    assert os.environ["EDGEPART_DATA"], "name the folder of the real data"
    command = [sys.executable, FOLDER / "run.py", "--quick", "--seeds", 0, 1, "--threads", 2, "-o", tmp_path]

    def shown():
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=1500, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    assert "$ edgepart build" in shown()
    report = RunsReport.load(tmp_path / "runs.json")
    assert [task.samples for task in report.tasks] == [3000, 250]
    for task in report.tasks:
        assert task.seeds == (0, 1)
        assert len(task.costs) == 3
        assert len(set(task.exits[0].accuracy.seeds)) == 2, "a seed draws the heads anew"
        assert len(set(task.exits[-1].accuracy.seeds)) == 1, "and leaves the network as it is"
        for cost in task.costs:
            names = {one.strategy for one in cost.outcomes}
            assert {*plugins.names("strategy"), "cartography:objective=routed"} <= names
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "## ResNet-56 on CIFAR-10" in page
    assert "## MobileNetV2 on Imagenette" in page
    assert len(list((tmp_path / "figures").glob("*.svg"))) == 6
    # what is done is kept
    again = shown()
    assert "$ edgepart" not in again
    assert again.count("kept: ") == 2 * (2 + 2 * 2)
