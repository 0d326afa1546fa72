"""The example with DIMEC-DC's Table I: its rows, its points by hand, its tables and figures, and one small run."""

import itertools
import json
import os
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from example_modules import loaded

from edgepart import plugins
from edgepart.dispatch.fixed_tier import FixedTier
from edgepart.evaluation.costs import Facts
from edgepart.evaluation.runs import Run
from edgepart.evaluation.runs_report import ExitAccuracy, RunsReport, Spread
from edgepart.graph import Graph, Layer, Tensor
from edgepart.testing.cost_models import example_plan
from edgepart.testing.traces import synthetic_trace

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "dimec_glue"
MODULES = ("tasks", "points", "tables", "figures", "run")
PLAN = example_plan("nested")
SIX_LAYERS = (2, 4, 6)


@pytest.fixture(scope="module")
def example():
    """The modules of the example, under the names that they import each other by."""
    with loaded(FOLDER, MODULES) as modules:
        yield modules


def six_layers() -> Graph:
    """A chain of six encoder layers under the names that the plan has for them."""
    names = [layer for tier in PLAN.tiers for layer in tier.layers]
    ends = ["x", *names]
    return Graph(
        name="example",
        framework="torch",
        symbols={"batch": 1},
        layers=tuple(
            Layer(
                name=name,
                module=f"encoder.layer.{n}",
                kind="Linear",
                ops=("linear",),
                inputs=(ends[n],),
                outputs=(name,),
            )
            for n, name in enumerate(names)
        ),
        tensors=tuple(
            Tensor(
                name=name,
                shape=(1,),
                dtype="float32",
                bytes=4,
                producer=name if n else None,
                consumers=tuple(names[n : n + 1]),
            )
            for n, name in enumerate(ends)
        ),
        inputs=("x",),
        outputs=(names[-1],),
        parameters={},
    )


def run_of(task: str, seed: int, samples: int = 60) -> Run:
    made = [synthetic_trace(samples, seed=10 * seed + n, epochs=3, dimension=4) for n in (0, 1)]
    validation, test = (replace(trace, exits=PLAN.exit_names) for trace in made)
    # the same samples in every seed, as a task has them
    labels = np.arange(samples) % 2
    return Run(task, seed, PLAN, validation, replace(test, labels=labels), Facts(six_layers()))


RUNS = [run_of(task, seed) for task in ("CoLA", "MRPC") for seed in (0, 1)]


class TestTasks:
    def test_labels_become_glues_numbers(self, example, tmp_path):
        task = example.tasks.TASKS["rte"]
        example.tasks.write([["a", "b", "not_entailment"], ["c", 'd "e', "0"]], task, tmp_path / "train.tsv")
        assert (tmp_path / "train.tsv").read_text(encoding="utf-8").splitlines()[0] == "text_a\ttext_b\tlabel"
        assert example.tasks.read(tmp_path / "train.tsv") == [["a", "b", "1"], ["c", 'd "e', "0"]]

    def test_the_seed_draws_the_rows(self, example):
        rows = [[str(number), "0"] for number in range(50)]
        drawn = [example.tasks.drawn(rows, 20, seed) for seed in (0, 0, 1)]
        assert drawn[0] == drawn[1] != drawn[2]
        assert len({text for text, _ in drawn[0]}) == 20
        assert example.tasks.drawn(rows, None, 0) == example.tasks.drawn(rows, 50, 1) == rows

    def test_further_rows_are_new_to_every_seed(self, example):
        rows = [[f"text {number}", "0"] for number in range(400)] + [
            [f"Text  {number} ", "1"] for number in range(0, 400, 2)
        ]
        found = example.tasks.further(rows, 40)
        texts = [example.tasks.text(row) for row in found]
        assert len(set(texts)) == len(texts) > 50
        for seed in example.tasks.SEEDS:
            assert not {" ".join(text.lower().split()) for text, _ in example.tasks.drawn(rows, 40, seed)} & set(texts)
        assert example.tasks.further(rows, None) == example.tasks.further(rows, 600) == []
        many = [[f"text {number}", "0"] for number in range(5_000)]
        assert len(example.tasks.further(many, 10)) == example.tasks.MOST_FURTHER

    def test_a_pair_of_texts_is_not_the_same_as_the_two_swapped(self, example):
        assert example.tasks.text(["A  b", "c", "1"]) == example.tasks.text(["a b", "C", "0"])
        assert len({example.tasks.text(row) for row in (["a b", "c", "1"], ["a", "b c", "1"], ["c", "a b", "1"])}) == 3

    def test_rows_come_from_the_users_folder(self, example, tmp_path, monkeypatch):
        folder = tmp_path / "text" / "cola"
        folder.mkdir(parents=True)
        for name in ("train", "dev"):
            (folder / f"{name}.tsv").write_text(f"text\tlabel\n{name} row\t1\n", encoding="utf-8")
        monkeypatch.setenv("EDGEPART_DATA", str(tmp_path))
        assert example.tasks.rows("cola") == ([["train row", "1"]], [["dev row", "1"]])


class TestPoints:
    """DIMEC-DC's costs with 2, 4 and 6 layers: 3λ on mobile, 6.5λ on the edge, 3λ + γ in the cloud."""

    @pytest.fixture
    def found(self, example):
        return {point.method: point for point in example.points.paper_points(RUNS[0], 9.0, 0.01)}

    def test_gammas_are_halved_for_half_the_layers(self, example):
        assert example.points.gammas(RUNS[0]) == (7.07, 9.0, 12.0, 16.5)
        assert example.points.on_mobile(RUNS[0]) == 9.0

    def test_single_tiers(self, found):
        test = RUNS[0].test
        for index, (tier, cost) in enumerate({"mobile": 3.0, "edge": 6.5, "cloud": 12.0}.items()):
            point = found[f"{tier} alone"]
            assert point.cost == pytest.approx(cost)
            assert point.saving_cloud == pytest.approx(1 - cost / 12)
            assert point.saving_mobile == pytest.approx(1 - cost / 9)
            assert point.accuracy == pytest.approx(test.correct[:, index].mean())
            assert point.tier_share[tier] == 1

    def test_every_method_of_the_table_is_there(self, found):
        assert {"Random", "AdaEE", "SplitEE", "SplitEE-S", "I-SplitEE", "Ours-F", "Ours-D", "oracle"} <= set(found)
        assert all(point.accuracy <= found["oracle"].accuracy for point in found.values())
        for point in found.values():
            assert sum(point.tier_share.values()) == pytest.approx(1)
            assert set(point.measures) == {"matthews", "f1"}

    def test_deebert_pays_the_cloud_for_the_layers_it_used(self, found):
        point = found["DeeBERT (in the cloud)"]
        used = sum(share * layers / 6 for share, layers in zip(point.tier_share.values(), SIX_LAYERS, strict=True))
        assert point.cost == pytest.approx(3 + 9 * used)
        assert 0 < point.tier_share["mobile"] < 1

    @pytest.mark.parametrize("weight", [0.0, 0.01, 0.02, 0.05, 1.0])
    def test_the_greatest_reward_on_validation_wins(self, example, weight):
        run = RUNS[0]
        case = example.points.Case.of(run, 9.0, weight)
        rewards = run.validation.confidence.mean(axis=0) - weight * np.array([3.0, 6.5, 12.0])
        best = ("mobile", "edge", "cloud")[int(rewards.argmax())]
        assert example.points.by_reward("any", FixedTier(), case).setting == best

    def test_weights_change_what_wins(self, example):
        chosen = {
            example.points.by_reward("any", FixedTier(), example.points.Case.of(RUNS[0], 9.0, weight)).setting
            for weight in (0.0, 1.0)
        }
        assert chosen == {"cloud", "mobile"}

    def test_what_does_not_vary_is_as_before(self, example, found):
        varied = list(example.points.varied_points(RUNS[0], 0.01))
        for method in ("Ours-F", "Ours-D", "oracle"):
            usual = [
                x for x in varied if x.method == method and (x.value == 1 or (x.varied, x.value) == ("weight", 0.01))
            ]
            assert {x.varied for x in usual} >= {"gamma", "mobile_layer", "edge_layer", "to_edge", "to_cloud"}
            assert {replace(x, varied="", value=0.0) == found[method] for x in usual} == {True}

    def test_dearer_layers_on_mobile_cost_what_they_should(self, example):
        varied = [x for x in example.points.varied_points(RUNS[0], 0.01) if x.method == "oracle"]
        cost = {x.value: x.cost for x in varied if x.varied == "mobile_layer"}
        share = next(x.tier_share["mobile"] for x in varied if (x.varied, x.value) == ("mobile_layer", 1.0))
        # up to twice its price (6λ) mobile stays the cheapest tier, so that the oracle decides as before
        assert cost[2.0] - cost[1.0] == pytest.approx(3 * share)

    def test_no_setting_means_the_full_model(self, example):
        run = RUNS[0]
        # the final exit is never wrong, all others always are
        logits = np.zeros_like(run.validation.logits)
        rows = np.arange(len(run.validation))
        for exit_, right in ((0, False), (1, False), (2, True)):
            answers = run.validation.labels if right else 1 - run.validation.labels
            logits[rows, exit_, answers] = 50
        run = replace(run, validation=replace(run.validation, logits=logits))
        case = example.points.Case.of(run, 9.0, 0.01)
        point = example.points.by_accuracy("any", FixedTierBelow(), case)
        assert point.setting == "none keeps the accuracy"
        assert point.cost == pytest.approx(12)
        assert point.accuracy == pytest.approx(run.test.correct[:, -1].mean())


class FixedTierBelow(FixedTier):
    """Never the cloud."""

    def settings(self, grid):
        return super().settings(grid)[:-1]


@pytest.fixture(scope="module")
def compared(example):
    report, points = example.tables.compare(RUNS, 0.01, "a command")
    return SimpleNamespace(report=report, points=points)


class TestTables:
    def test_every_strategy_and_variant_stands_in_every_table(self, example, compared, tmp_path):
        example.tables.write_results(tmp_path, RUNS, compared.report, compared.points, 0.01)
        text, paper = ((tmp_path / name).read_text(encoding="utf-8") for name in ("results.md", "table_1.md"))
        for name in (*plugins.names("strategy"), *example.tables.VARIANTS):
            # two tasks under four γ
            assert text.count(f"\n| {name} |") == 8, name
        assert paper.count("\n| Ours-D |") == paper.count("\n| oracle |") == 4
        assert RunsReport.load(tmp_path / "glue.json") == compared.report
        kept = json.loads((tmp_path / "points.json").read_text(encoding="utf-8"))
        assert len(kept["points"]) == len(compared.points)
        for before, line in itertools.pairwise((text + paper).splitlines()):
            assert not before.startswith("|") or line.count("|") in (0, before.count("|")), line

    def test_cells_are_means_over_seeds(self, example, compared):
        usual = [x for x in compared.points if (x.method, x.gamma, x.varied) == ("mobile alone", 9.0, "")]
        lines = list(example.tables.paper_table([x for x in compared.points if not x.varied and x.gamma == 9.0]))
        cells = next(line for line in lines if line.startswith("| mobile alone")).strip("| ").split(" | ")
        matthews, accuracy = (
            example.tables.spread([value(x) for x in usual if x.task == task])
            for task, value in (("CoLA", lambda x: x.measures["matthews"]), ("MRPC", lambda x: x.accuracy))
        )
        assert cells == ["mobile alone", matthews, "-75 % ± 0", accuracy, "-75 % ± 0", "-67 %"]

    def test_a_second_set_of_test_samples_counts_once_in_means(self, example, compared):
        usual = [x for x in compared.points if not x.varied and x.gamma == 9.0]
        again = [replace(x, task="SST-2 (phrases)", saving_mobile=9.0) for x in usual if x.task == "CoLA"]
        assert example.tables.FURTHER == ("SST-2 (phrases)",)
        with_it, without = (list(example.tables.paper_table(some)) for some in (usual + again, usual))
        assert [line.split(" | ")[-1] for line in with_it] == [line.split(" | ")[-1] for line in without]
        cost = [example.figures.by_task(some, lambda x: x.saving_mobile) for some in (usual + again, usual)]
        assert cost[0] == cost[1] < 1

    def test_what_is_known_of_the_samples_is_said(self, example, compared):
        task, runs = compared.report.tasks[0], RUNS[:2]
        assert task.warnings[0] == (
            "the 60 test samples are a part of GLUE's official development set, which has 1,043"
        )
        whole = task.model_copy(update={"samples": 1_043})
        assert "a part of" not in " ".join(example.tables.notes(whole, runs))
        phrases = task.model_copy(update={"task": "SST-2 (phrases)"})
        assert "others of the same sentences stand in training" in next(example.tables.notes(phrases, runs))

    def test_a_classifier_that_has_learnt_nothing_is_named(self, example):
        """Of 60 samples, half with either label: one always, one right on 34, and one on 48."""
        runs = [run_of("MRPC", seed) for seed in (0, 1)]
        labels = runs[0].test.labels
        answers = np.stack([np.zeros(60, int), np.where(np.arange(60) < 26, 1 - labels, labels), labels], axis=1)
        answers[48:, 2] = 1 - labels[48:]
        runs = [replace(run, test=replace(run.test, logits=np.eye(2, dtype=np.float32)[answers])) for run in runs]
        exits = [
            ExitAccuracy(name=name, tier=tier, accuracy=Spread(seeds=(right, right)))
            for name, tier, right in zip(PLAN.exit_names, PLAN.tier_names, (0.5, 34 / 60, 0.8), strict=True)
        ]
        told = list(example.tables.notes(SimpleNamespace(task="MRPC", samples=60, exits=exits), runs))
        no_more = "always the more frequent label on 50.0 %: no difference shown"
        assert told[1:] == [
            "seeds 0, 1: the classifier on mobile gives every test sample the same label",
            f"the classifier on mobile is right on 50.0 %, {no_more}",
            f"the classifier on edge is right on 56.7 %, {no_more}",
        ]

    def test_numbers(self, example):
        assert example.tables.spread([0.5, 0.6]) == "55.0 ± 7.1"
        assert example.tables.spread([0.5]) == "50.0"
        assert example.tables.change([0.43]) == "-43 %"
        assert example.tables.change([-0.1, -0.2]) == "+15 % ± 7"

    def test_figures(self, example, compared, tmp_path):
        example.figures.draw(RUNS, compared.points, 0.01, tmp_path / "figures")
        assert {path.name for path in (tmp_path / "figures").iterdir()} == set(example.tables.FIGURES)
        for name in ("data_map.png", "tsne.png"):
            assert (tmp_path / "figures" / name).read_bytes().startswith(b"\x89PNG")
        for name in ("pool_shares", "device_accuracies", "cost_variations"):
            text = (tmp_path / "figures" / f"{name}.svg").read_text(encoding="utf-8")
            assert ("CoLA" in text) == (name != "cost_variations")
            assert "<date>" not in text


class TestSteps:
    @pytest.fixture
    def ran(self, example, tmp_path, monkeypatch):
        """Runs task and seed with commands that only note that they were given."""
        commands = []

        def note(*words):
            commands.append([str(word) for word in words])
            output = Path(words[words.index("-o") + 1])
            output.mkdir(parents=True)
            if words[0] == "evaluate":
                (output / "trace.safetensors").touch()

        monkeypatch.setattr(example.run, "edgepart", note)
        monkeypatch.setattr(
            example.run, "prepare", lambda arguments, seed: (Path(f"checkpoint_{seed}"), Path("plan.json"))
        )
        monkeypatch.setattr(example.run, "rows", lambda name: ([["a", "0"], ["b", "1"]] * 400, [["c", "1"]]))
        given = Namespace(
            output=tmp_path, samples=None, quick=True, epochs=None, batch_size=32, learning_rate=5e-5,
            head_learning_rate_ratio=20.0, threads=1, checkpoint=None,
        )  # fmt: skip
        return SimpleNamespace(commands=commands, given=given, run=example.run)

    def test_what_is_finished_is_passed_over(self, ran):
        ran.run.train_and_record("cola", 1, ran.given)
        build, evaluate = ran.commands
        assert build[:3] == ["build", "hf:checkpoint_1", "plan.json"]
        assert build[build.index("--seed") + 1] == "1"
        assert evaluate[:2] == ["evaluate", str(ran.given.output / "cola" / "1" / "bundle")]
        assert len(ran.run.rows("cola")[0]) == 800
        assert len((ran.given.output / "cola" / "1" / "train.tsv").read_text().splitlines()) == 1 + ran.run.QUICK_ROWS
        ran.run.train_and_record("cola", 1, ran.given)
        assert len(ran.commands) == 2
        (ran.given.output / "cola" / "1" / "report" / "trace.safetensors").unlink()
        (ran.given.output / "cola" / "1" / "report").rmdir()
        ran.run.train_and_record("cola", 1, ran.given)
        assert [words[0] for words in ran.commands] == ["build", "evaluate", "evaluate"]

    def test_a_finished_run_gets_the_second_set_of_test_samples(self, ran, monkeypatch):
        further = [["new", "1"]]
        monkeypatch.setattr(ran.run, "further", lambda rows, most: further)
        folder = ran.given.output / "sst2" / "1"
        (folder / "bundle").mkdir(parents=True)
        (folder / "report").mkdir()
        (folder / "report" / "trace.safetensors").touch()
        ran.run.train_and_record("sst2", 1, ran.given)
        (evaluate,) = ran.commands
        assert evaluate[:4] == ["evaluate", str(folder / "bundle"), "--data", str(folder / "further.tsv")]
        assert evaluate[-1] == str(folder / "report_further")
        assert (folder / "further.tsv").read_text().splitlines() == ["text\tlabel", "new\t1"]
        ran.run.train_and_record("sst2", 1, ran.given)
        assert len(ran.commands) == 1
        # seeds whose rows these may be have none, and so has a file that is all drawn
        ran.run.train_and_record("sst2", 10, ran.given)
        further.clear()
        ran.run.train_and_record("sst2", 2, ran.given)
        assert [words[0] for words in ran.commands[1:]] == ["build", "evaluate"] * 2

    def test_a_folder_keeps_its_settings(self, ran):
        ran.run.require_same(ran.given)
        ran.run.require_same(ran.given)
        ran.given.learning_rate = 1e-5
        with pytest.raises(SystemExit, match="was started with another learning_rate"):
            ran.run.require_same(ran.given)

    def test_finished_runs_are_found_in_order(self, example, tmp_path, monkeypatch):
        for name, seed in (("mrpc", 0), ("cola", 10), ("cola", 2), ("sst2", 1), ("rte", 0)):
            report = tmp_path / name / str(seed) / ("report_further" if name == "sst2" else "report")
            report.mkdir(parents=True)
            if name != "rte":
                (report / "trace.safetensors").touch()
        monkeypatch.setattr(example.tables.Run, "of_bundle", lambda bundle, trace, task, seed: (task, seed))
        assert example.tables.finished(tmp_path) == [("SST-2 (phrases)", 1), ("CoLA", 2), ("CoLA", 10), ("MRPC", 0)]


@pytest.mark.slow
def test_two_tasks_from_rows_to_figures(tmp_path):
    assert os.environ["EDGEPART_DATA"], "name the folder of the real data"
    words = ["--quick", "--samples", "200", "--tasks", "cola", "mrpc", "--seeds", "0", "--threads", "2"]
    command = [sys.executable, str(FOLDER / "run.py"), *words, "-o", str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    report = RunsReport.load(tmp_path / "runs" / "glue.json")
    assert [(task.task, task.samples, task.validation_samples) for task in report.tasks] == [
        ("CoLA", 522, (20,)),
        ("MRPC", 408, (20,)),
    ]
    assert [cost.full_model.cost.mean for cost in report.tasks[0].costs] == pytest.approx([10.07, 12, 15, 19.5])
    assert len(list((tmp_path / "runs" / "figures").iterdir())) == 5
    # once more: nothing is trained, and the tables come out the same
    again = subprocess.run([*command, "--tables"], capture_output=True, text=True, timeout=600, check=False)
    assert again.returncode == 0, again.stdout[-2000:] + again.stderr[-2000:]
    assert "$ edgepart" not in again.stdout
    kept = RunsReport.load(tmp_path / "runs" / "glue.json")
    assert kept.tasks == report.tasks
