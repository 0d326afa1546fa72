"""From finished runs to tables: every strategy at the accuracy it keeps, the paper's methods as the paper has them."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from points import Point, gammas, mean_std, on_mobile, paper_points, varied_points
from tasks import FURTHER, TASKS

from edgepart import plugins
from edgepart.evaluation.evaluate_traces import FINE_THRESHOLDS
from edgepart.evaluation.runs import Run, compare_runs
from edgepart.evaluation.runs_report import CostReport, Outcome, RunsReport, TaskReport
from edgepart.units import percent

#: variants of the paper's method that stand beside every registered strategy: routing as it will happen, and the most
#: that we could make of it
VARIANTS = (
    "cartography:objective=routed",
    "cartography-adaptive:objective=routed",
    "cartography:objective=routed,grid=quantile,embedding=standardised",
)
MEASURES = {task.title: task.measure for task in TASKS.values()}
OFFICIAL = {task.title: task.official for task in TASKS.values()}
MEASURE_NAMES = {"matthews": "MCC", "f1": "F1"}
FIGURES = {
    "data_map.png": "Data maps of the validation samples of the first seed (figures 1 and 3 of the paper), by pool.",
    "pool_shares.svg": "Shares of the pools on validation, and where the fixed router sends the test samples.",
    "device_accuracies.svg": "Accuracy of each device alone (figure 4a), of the paper's method, of a threshold on the "
    "confidence that loses at most 0.5 % on validation, and of the oracle.",
    "tsne.png": "t-SNE of the embeddings that the router sees (figures 4b and 4c), coloured by pool.",
    "cost_variations.svg": "Accuracy and savings while one cost changes (figure 5), or λ in the reward; mean over the "
    "tasks, SST-2 by its official set, γ being the second one above where it stands still.",
}


def finished(work: Path) -> list[Run]:
    """The runs in a folder whose test samples are recorded, by task, set of test samples and seed."""
    found = []
    for name, title, report in ((name, *test) for name, task in TASKS.items() for test in task.tests.items()):
        traces = sorted((work / name).glob(f"*/{report}/trace.safetensors"), key=lambda path: int(path.parts[-3]))
        for trace in traces:
            folder = trace.parent.parent
            found.append(Run.of_bundle(folder / "bundle", trace, title, int(folder.name)))
    return found


def compare(runs: Sequence[Run], weight: float, command: str) -> tuple[RunsReport, list[Point]]:
    """The record of all strategies under every γ, and the points of the paper's methods; all runs of one network."""
    costs = {f"γ = {gamma:g}λ": f"dimec:gamma={gamma:g}" for gamma in gammas(runs[0])}
    strategies = [*plugins.names("strategy"), *VARIANTS]
    # training makes the classifiers surer than they are right
    report = compare_runs(runs, strategies, costs, grid=FINE_THRESHOLDS, command=command)
    told = [(task, [run for run in runs if run.task == task.task]) for task in report.tasks]
    tasks = [task.model_copy(update={"warnings": (*notes(task, own), *task.warnings)}) for task, own in told]
    report = report.model_copy(update={"tasks": tuple(tasks)})
    points = [point for run in runs for gamma in gammas(run) for point in paper_points(run, gamma, weight)]
    return report, points + [point for run in runs for point in varied_points(run, weight)]


def notes(task: TaskReport, runs: Sequence[Run]) -> Iterator[str]:
    """What the test samples are, where they are not GLUE's, and classifiers that have learnt next to nothing."""
    if task.task in FURTHER:
        yield (
            f"the {task.samples:,} test samples are rows of the training file that no network has learnt from, of the "
            "same kind as those for validation; but they are phrases, and others of the same sentences stand in "
            "training and in validation"
        )
    elif task.samples < OFFICIAL[task.task]:
        whole = OFFICIAL[task.task]
        yield f"the {task.samples:,} test samples are a part of GLUE's official development set, which has {whole:,}"
    labels = runs[0].test.labels
    frequent = labels == np.bincount(labels).argmax()
    for index, one in enumerate(task.exits):
        same = [str(run.seed) for run in runs if len(np.unique(run.test.logits[:, index].argmax(axis=-1))) == 1]
        if same:
            seeds = f"seed{'s' if len(same) > 1 else ''} {', '.join(same)}"
            yield f"{seeds}: the classifier on {one.tier} gives every test sample the same label"
        gained = np.mean([run.test.correct[:, index] for run in runs], axis=0) - frequent
        # two standard errors, sample by sample
        if gained.mean() <= 2 * gained.std() / len(gained) ** 0.5:
            yield (
                f"the classifier on {one.tier} is right on {percent(one.accuracy.mean)}, always the more frequent "
                f"label on {percent(float(frequent.mean()))}: no difference shown"
            )


def write_results(work: Path, runs: Sequence[Run], report: RunsReport, points: Sequence[Point], weight: float) -> None:
    """``glue.json``, ``points.json``, ``table_1.md`` and ``results.md``."""
    report.save(work / "glue.json")
    kept = {"reward_weight": weight, "points": [asdict(point) for point in points]}
    (work / "points.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    baseline = on_mobile(runs[0])
    for name, lines in (
        ("table_1.md", table_1(report, points, weight, baseline)),
        ("results.md", results(report, baseline)),
    ):
        (work / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def table_1(report: RunsReport, points: Sequence[Point], weight: float, baseline: float) -> Iterator[str]:
    """The paper's table and figures; ``baseline`` is what the whole network on mobile costs."""
    fixed = [point for point in points if not point.varied]
    yield from (
        f"<!-- Written by {report.provenance.command}; do not edit. -->",
        "# DIMEC-DC's Table I in our own numbers",
        "",
    )
    yield from about(report, baseline)
    yield from ("", *(f"- {task.task}: {warning}." for task in report.tasks for warning in task.warnings))
    yield from ("", paper_intro(weight), "")
    for gamma in dict.fromkeys(point.gamma for point in fixed):
        yield from (f"## γ = {gamma:g}λ", "", *paper_table([x for x in fixed if x.gamma == gamma]), "")
    yield from ("## Figures", "")
    for file, caption in FIGURES.items():
        yield from (f"![{caption}](figures/{file})", "", caption, "")


def results(report: RunsReport, baseline: float) -> Iterator[str]:
    """Every strategy on every task under every γ."""
    yield from ("# Every strategy at the accuracy that it keeps on validation", "", *about(report, baseline), "")
    for task in report.tasks:
        yield from (f"## {task.task}", "", alone(task), *(f"- {warning}" for warning in task.warnings), "")
        for cost in task.costs:
            yield from (f"### {task.task}, {cost.label}", "", *cost_table(task.task, cost, report.drops, baseline), "")


def summary(report: RunsReport, points: Sequence[Point]) -> Iterator[str]:
    """What is said at the end of a run: the paper's methods under the second γ, and what is finished."""
    fixed = [point for point in points if not point.varied]
    gamma = sorted({point.gamma for point in fixed})[1]
    yield f"γ = {gamma:g}λ; " + ", ".join(f"{task.task} with {len(task.seeds)} seeds" for task in report.tasks)
    yield from paper_table([point for point in fixed if point.gamma == gamma])


def about(report: RunsReport, baseline: float) -> Iterator[str]:
    yield (
        "Test samples are those of GLUE's official development sets, whose labels are public; of SST-2, where these "
        "are sentences and the training rows phrases, further phrases beside them. A tenth of the training rows, set "
        "aside, chose the epoch and every setting, and made the data maps. Figures are means over seeds ± their sample "
        "standard deviation; a seed changes the rows drawn, the split, their order and the fresh heads. Costs are "
        "DIMEC-DC's, in λ. There are two baselines: everything in the cloud, o_c + γ a sample, and the whole network "
        f"on mobile, λ_m·l = {baseline:g}λ. examples/dimec_glue/README.md says how the networks were trained, and on "
        "which rows."
    )
    yield ""
    for task in report.tasks:
        seeds = f"seed{'s' if len(task.seeds) > 1 else ''} {', '.join(map(str, task.seeds))}"
        yield f"- {task.task}: {seeds}; {task.samples:,} test samples, {task.validation_samples[0]:,} for validation."


def paper_intro(weight: float) -> str:
    return (
        "AdaEE, SplitEE and DIMEC-DC (*Ours*) choose by a reward, not by an accuracy: the mean over validation of "
        f"C - λ·cost. The paper states no λ; here it is {weight:g} for all of them. DeeBERT's threshold is the "
        "cheapest that loses at most 0.5 % on validation, and it runs in the cloud alone, which charges for the layers "
        "used, as in section V-B3. *routed* chooses α and β by where samples are really sent. Cells are accuracy in "
        "per cent (for CoLA, as in the paper, Matthews' correlation) and cost against all in the cloud; the last "
        "column is the mean over the tasks (SST-2 by its official set) against the whole network on mobile."
    )


def paper_table(points: Sequence[Point]) -> Iterator[str]:
    """A row a method, two columns a task, as Table I."""
    tasks = list(dict.fromkeys(point.task for point in points))
    yield row(["method", *(text for task in tasks for text in (task, "cost")), "against mobile"])
    yield row(["---", *["---:"] * (2 * len(tasks) + 1)])
    for method in dict.fromkeys(point.method for point in points):
        own = [[x for x in points if (x.method, x.task) == (method, task)] for task in tasks]
        cells = [text for some in own for text in (score(some), change([x.saving_cloud for x in some]))]
        once = [some for some in own if some[0].task not in FURTHER]
        mobile = mean_std([mean_std([x.saving_mobile for x in some])[0] for some in once])[0]
        yield row([method, *cells, change([mobile])])


def score(points: Sequence[Point]) -> str:
    """Accuracy; for CoLA Matthews' correlation, as GLUE and the paper have it."""
    if MEASURES.get(points[0].task) == "matthews":
        return spread([point.measures["matthews"] for point in points])
    return spread([point.accuracy for point in points])


def alone(task: TaskReport) -> str:
    told = [f"{point.tier} {spread(point.accuracy.seeds)} %" for point in task.exits]
    return f"Accuracy of each device alone: {', '.join(told)}."


def cost_table(task: str, cost: CostReport, drops: Sequence[float], baseline: float) -> Iterator[str]:
    """A row a strategy: at every allowed drop accuracy, GLUE's measure, cost and the savings from both baselines."""
    measure = MEASURES.get(task)
    names = [*([MEASURE_NAMES[measure]] if measure else []), "cost, λ", "saved", "against mobile"]
    yield row(["strategy", *(text for drop in drops for text in (f"accuracy at ≤ {100 * drop:g} %", *names))])
    yield row(["---", *["---:"] * (len(drops) * (len(names) + 1))])
    full = cost.full_model
    extra = [spread(full.measures[measure].seeds)] if measure else []
    saved = f"{spread([1 - one / baseline for one in full.cost.seeds])} %"
    cells = [spread(full.accuracy.seeds), *extra, f"{full.cost.mean:.2f}", "0", saved]
    yield row(["*all in the cloud*", *cells * len(drops)])
    for name in dict.fromkeys(outcome.strategy for outcome in cost.outcomes):
        chosen = [cost.outcome(name, drop) for drop in drops]
        cells = [text for one in chosen for text in outcome_cells(one, measure, baseline, len(names) + 1)]
        yield row([name, *cells])


def outcome_cells(outcome: Outcome | None, measure: str | None, baseline: float, width: int) -> list[str]:
    if outcome is None:
        return ["-"] * width
    note = f" ({outcome.fallbacks} of {len(outcome.settings)}: full model)" if outcome.fallbacks else ""
    extra = [spread(outcome.measures[measure].seeds)] if measure else []
    mobile = spread([1 - one / baseline for one in outcome.cost.seeds])
    return [
        spread(outcome.accuracy.seeds) + note,
        *extra,
        f"{outcome.cost.mean:.2f}",
        f"{spread(outcome.saving.seeds)} %",
        f"{mobile} %",
    ]


def row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def spread(values: Sequence[float]) -> str:
    """Mean ± sample standard deviation, in per cent."""
    mean, std = mean_std([100 * value for value in values])
    return f"{mean:.1f} ± {std:.1f}" if len(values) > 1 else f"{mean:.1f}"


def change(savings: Sequence[float]) -> str:
    """What savings make of the cost, as the paper's tables have it: ``-43 %``."""
    mean, std = mean_std([-100 * saving for saving in savings])
    return f"{round(mean) + 0:+d} %" + (f" ± {std:.0f}" if len(savings) > 1 else "")
