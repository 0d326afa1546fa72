"""Write ``docs/results.md`` from the reports in ``docs/results``: ``python docs/generate_results.py``.

A test fails when the page is stale. ``python docs/generate_results.py EXAMPLE RUN_FOLDER`` first copies the reports
that ``examples/EXAMPLE/run.py`` wrote into its run folder.
"""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgepart.evaluation.report import Report
from edgepart.units import percent, seconds, significant, size

DOCS = Path(__file__).resolve().parent
FIGURES = ("accuracy_cost", "tier_share", "plan", "latency", "data_map")

#: example → heading, what was run, and its reports with what each charges
EXAMPLES = {
    "bert_sst2": (
        "BERT (MiniLM, 6 layers) on SST-2",
        "Exits after layers 2, 4 and 6, trained jointly, every tier starting from the text (DIMEC-DC's deployment).",
    ),
    "resnet_cifar10": (
        "ResNet-56 on CIFAR-10",
        "The published weights, split at 70 % of the memory (EdgeLessPart's rule), six heads on the frozen network.",
    ),
    "onnx_imagenette": (
        "MobileNetV2 from an ONNX file on Imagenette",
        "Published ImageNet weights, cut to the ten classes of the data, on three tiers in ONNX Runtime; the network "
        "has seen the images that settings are chosen on.",
    ),
    "keras_cifar10": (
        "ResNet-8 from a Keras file on CIFAR-10",
        "MLPerf Tiny's weights, one residual block a tier: LiteRT, ONNX Runtime and TensorFlow.",
    ),
}

#: example → report → what sets it apart, where that is more than the cost
VARIANTS = {
    "onnx_imagenette": {"report_int8": "The mobile part in 8 bits"},
    "keras_cifar10": {"report_int8": "The mobile part in 8 bits", "report_joint": "Network and heads trained jointly"},
}

#: EdgeLessPart's own experiment, with figures and numbers of its own
EDGELESSPART = "edgelesspart_cifar10"
EDGELESSPART_FILES = ("results.json", "figure_2_linear.png", "figure_3_pareto.png")

HEAD = """\
<!-- Written by docs/generate_results.py from the reports in docs/results; do not edit. -->
# Results

What the examples gave, as it came out. Settings are chosen on validation data, figures are on test data. Each figure
is one run with one seed: the intervals say what the size of the test set leaves open, not what another seed would give.

*fixed-tier* sends every sample to the same tier; mixing its settings by lot is the best that routing without a look at
the sample can do, so it is what *random* amounts to. The *oracle* looks at the labels: a ceiling, not a strategy.
"""


def copy(example: str, run: Path) -> None:
    """Keep the reports of a run, and the figures of the first: those of the others differ in the cost axis alone."""
    if example == EDGELESSPART:
        (DOCS / "results" / example).mkdir(parents=True, exist_ok=True)
        for name in EDGELESSPART_FILES:
            shutil.copy(run / name, DOCS / "results" / example)
        return
    for report in sorted(run.glob("report*")):
        target = DOCS / "results" / example / report.name
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(report / "report.json", target)
        for figure in FIGURES if report.name == "report" else ():
            shutil.copy(report / "figures" / f"{figure}.svg", target)


def page() -> str:
    """The page as Markdown."""
    there = [example for example in EXAMPLES if (DOCS / "results" / example).is_dir()]
    lines = [HEAD, *(line for example in there for line in section(example))]
    if (DOCS / "results" / EDGELESSPART).is_dir():
        lines += edgelesspart()
    return "\n".join(lines)


def section(example: str) -> Iterator[str]:
    title, what = EXAMPLES[example]
    found = [(path.parent, Report.load(path)) for path in (DOCS / "results" / example).glob("*/report.json")]
    reports = sorted(found, key=lambda each: (each[0].name != "report", each[1].full_model.cost, each[0].name))
    first = reports[0][1]
    machine = first.provenance.machine
    packages = ", ".join(f"{name} {version}" for name, version in first.provenance.packages.items())
    yield f"## {title}\n\n{what} `python examples/{example}/run.py`\n"
    yield f"- test data: {first.data.samples:,} samples; settings chosen on {first.data.validation_samples:,}"
    yield f"- {first.provenance.date[:10]}, {', '.join(f'{k} {v}' for k, v in machine.items())}; {packages}\n"
    yield from exits(first)
    yield from parts(first)
    for folder, report in reports:
        variant = VARIANTS.get(example, {}).get(folder.name)
        if variant:
            yield f"### {variant}\n"
            yield from exits(report)
            yield from parts(report)
        yield from costs(folder, report)
    yield from pictures(*reports[0])


def exits(report: Report) -> Iterator[str]:
    rows = [(x.name, x.tier, x.head or "the network's own", percent(x.accuracy)) for x in report.exits]
    yield from table(("exit", "tier", "head", "accuracy if all leave here"), rows)


def parts(report: Report) -> Iterator[str]:
    rows = [(x.tier, x.runtime, x.precision, size(x.bytes), f"{x.difference:.1e}") for x in report.parts]
    yield from table(("part", "runtime", "precision", "size", "largest difference to the network"), rows)


def costs(folder: Path, report: Report) -> Iterator[str]:
    yield f"### Cost: {report.cost_description}\n"
    low, high = report.full_model.interval
    yield (
        f"Full model: {percent(report.full_model.accuracy)} (95 % interval {percent(low)} to {percent(high)}), "
        f"{cost(report, report.full_model.cost)} a sample. "
        f"[report.json](results/{folder.parent.name}/{folder.name}/report.json)\n"
    )
    head = ("strategy", "drop allowed on validation", "setting", "accuracy", "drop, points", "cost", "saved")
    full = report.full_model.accuracy
    rows = [
        (
            s.name,
            percent(s.allowed_drop),
            s.setting,
            percent(s.accuracy),
            points(full - s.accuracy),
            cost(report, s.cost),
            percent(s.saving),
        )
        for s in report.strategies
    ]
    yield from table(head, rows)
    means = [c for c in report.comparisons if c.setting is None]
    head = ("strategy", "against", "difference at equal cost, points", "95 % interval", "verdict")
    rows = [
        (c.strategy, c.baseline, points(c.difference), " to ".join(map(points, c.interval)), c.verdict) for c in means
    ]
    yield from table(head, rows)
    for warning in report.warnings:
        yield f"- {warning}"
    yield ""


def cost(report: Report, value: float) -> str:
    return seconds(value) if report.cost_unit == "s" else f"{significant(value)} {report.cost_unit}"


def pictures(folder: Path, report: Report) -> Iterator[str]:
    for figure in FIGURES:
        path = folder / f"{figure}.svg"
        if path.exists():
            yield f"![{figure.replace('_', ' ')} of {report.title}]({path.relative_to(DOCS)})\n"


def edgelesspart() -> Iterator[str]:
    """The paper's figures 2 and 3, and the numbers in them."""
    found = json.loads((DOCS / "results" / EDGELESSPART / EDGELESSPART_FILES[0]).read_text(encoding="utf-8"))
    networks, samples = found["networks"], found["samples"]
    first = next(iter(networks.values()))["provenance"]
    yield "## EdgeLessPart's experiment on CIFAR-10\n"
    yield (
        "ResNet50, MobileNetV2 and InceptionV3 of `keras.applications`, split at 70 % of the memory between "
        f"{found['tiers']['edge']} and {found['tiers']['cloud']} over {found['links']['edge:cloud']}; each exit is a "
        f"copy of the network's own classifier. {found['caveat']} `python examples/{EDGELESSPART}/run.py`\n"
    )
    yield f"- test data: {samples['test']:,} samples; c_thr chosen on {samples['calibration']:,}"
    machine = ", ".join(f"{key} {value}" for key, value in first["machine"].items())
    packages = ", ".join(f"{key} {value}" for key, value in first["packages"].items())
    yield f"- {first['date'][:10]}, {machine}; {packages}"
    yield "- memory in the cloud is that of the function times the share of samples that call it"
    yield f"- [results.json](results/{EDGELESSPART}/results.json)\n"
    for network in networks.values():
        yield from edgelesspart_network(network)
    for number, (rule, file) in enumerate(zip(("linear", "pareto"), EDGELESSPART_FILES[1:], strict=True), start=2):
        yield f"![figure {number}: {rule} exits](results/{EDGELESSPART}/{file})\n"


def edgelesspart_network(network: Mapping[str, Any]) -> Iterator[str]:
    alone = network["cloud_only"]
    full = network["rules"]["linear"]["full_accuracy"]
    yield f"### {network['title']} on images of {network['size']} x {network['size']}, {network['epochs']} epochs\n"
    for rule, measured in network["rules"].items():
        exits = (f"{x['name']} {percent(x['accuracy'])}" for x in measured["exits"])
        yield f"- {rule} exits, accuracy if all leave there: {', '.join(exits)}"
    yield ""
    rows = [
        (
            rule,
            f"{x['c_thr']:g}" + (" (chosen)" if x["c_thr"] == measured["chosen"] else ""),
            percent(x["accuracy"]),
            seconds(x["latency_s"]),
            percent(x["on_cloud"]),
            size(x["edge_bytes"]),
            size(x["cloud_bytes"]),
            significant(1e6 * x["usd"]),
        )
        for rule, measured in network["rules"].items()
        for x in measured["points"]
    ]
    whole = (percent(full), seconds(alone["latency_s"]), percent(1), size(0), size(alone["bytes"]))
    rows.append(("none, all in the cloud", "", *whole, significant(1e6 * alone["usd"])))
    head = ("exits", "c_thr", "accuracy", "time", "on cloud", "edge memory", "cloud memory", "USD per million")
    yield from table(head, rows)


def points(share: float) -> str:
    return f"{100 * share:+.1f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if rows:
        yield f"| {' | '.join(head)} |\n|{'---|' * len(head)}"
        # a number and its unit stay on one line
        yield from (f"| {' | '.join(row)} |".replace(" %", "\u00a0%").replace(" ms", "\u00a0ms") for row in rows)
        yield ""


if __name__ == "__main__":
    if len(sys.argv) == 3:
        copy(sys.argv[1], Path(sys.argv[2]))
    (DOCS / "results.md").write_text(page(), encoding="utf-8")
