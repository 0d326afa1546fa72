"""Streams that change domain: what strategies that adapt do before and after, with and without a drift detector.

    EDGEPART_DATA=… OMP_NUM_THREADS=1 python benchmarks/shift.py       writes benchmarks/results/shift.json

Sentiment: MiniLM on SST-2's development sentences, then on reviews of books, films, electronics and airlines (Blitzer
et al. 2007). Images: ResNet-56 on CIFAR-10 test images, then on others that are blurred (Gaussian, a deviation of .6
or 1 pixels) or noisy (Gaussian, a deviation of 8 or 20 of 255 steps). The networks are those that
benchmarks/precision.py uses, which tunes MiniLM if it has not yet; heads learn here, on the frozen networks, after a
third and two thirds of the blocks (nested, three tiers). Settings are chosen once, on validation data of the first
domain: the cheapest that loses at most 2 points there, or the most accurate where none does. Every stream is met in ten
random orders, shuffled on both sides of the change; of the images, other ones come before and after it in each. Costs
are predicted latencies.
Bundles and recordings are kept in runs/shift: delete it to start anew.
"""

import csv
import gzip
import json
import os
import platform
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
import precision
from scipy.ndimage import gaussian_filter

from edgepart import Bundle, Trace, build, open_bundle, partition, profile, record
from edgepart.data import load_dataset
from edgepart.dispatch.base import Strategy
from edgepart.errors import DispatchError, MissingExtra
from edgepart.evaluation.costs import Costs, Facts, tabulate
from edgepart.evaluation.evaluate import router_seconds
from edgepart.evaluation.evaluate_traces import THRESHOLDS, question
from edgepart.evaluation.replay import full_model, rehearse
from edgepart.evaluation.selection import Choice, StrategyCurve, choose
from edgepart.evaluation.stream import changing
from edgepart.evaluation.stream_report import StreamCourse, StreamReport, StreamStrategy, Stretch, stream_report
from edgepart.training import TrainingSettings

RESULT = precision.ROOT / "benchmarks" / "results" / "shift.json"
WORK = precision.ROOT / "runs" / "shift"
PACKAGES = ("edgepart", "torch", "transformers", "numpy", "scipy")
TIERS = {"mobile": "raspberry-pi-4", "edge": "jetson-orin-nano", "cloud": "cloud-gpu"}
LINKS = {"mobile:edge": "wifi", "edge:cloud": "4g"}
ORDERS, DROP, WINDOW = 10, 0.02, 100
#: samples that heads learn on, and that settings are chosen on
HEADS, VALIDATION, HEAD_EPOCHS = 4_000, 1_500, 10
#: reviews of each kind
REVIEWS, KINDS = 400, ("books", "dvd", "electronics", "airline")
#: deviations, mild and strong: in pixels, and in steps of 0 … 255
BLUR, NOISE = (0.6, 1.0), (8.0, 20.0)

#: seed → the traces before and after the change
Halves = Callable[[int], tuple[Trace, Trace]]


@dataclass(frozen=True)
class Stream:
    """A stream: its name, what comes before and after the change, and the bundle that answers it."""

    name: str
    sources: tuple[str, str]
    bundle: Bundle
    halves: Halves


def sentiment() -> list[Stream]:
    """SST-2, then reviews."""
    folder = WORK / "minilm_sst2"
    folder.mkdir(parents=True, exist_ok=True)
    tuned = precision.WORK / "minilm_sst2"
    tuned.mkdir(parents=True, exist_ok=True)
    model, example = precision.prepare("minilm_sst2", tuned), precision.load_example("bert_sst2")
    phrases, sentences = example.sst2()
    known = {row[0] for row in example.read(tuned / "tuning.tsv")}
    fresh = random.Random(1).sample([row for row in phrases if row[0] not in known], HEADS + VALIDATION)
    reviews = [row for kind in KINDS for row in random.Random(2).sample(blitzer(kind), REVIEWS)]
    for name, rows in (
        ("train", fresh[:HEADS]),
        ("validation", fresh[HEADS:]),
        ("sst2", sentences),
        ("reviews", reviews),
    ):
        lines = ["text\tlabel", *(f"{text}\t{example.CLASSES[int(label)]}" for text, label in rows)]
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    places = {"mobile": "bert.encoder.layer.1", "edge": "bert.encoder.layer.3"}
    bundle = built(model, folder, ".tsv", places, "linear")
    before, after = (recorded(bundle, folder / f"{name}.tsv") for name in ("sst2", "reviews"))
    sources = ("SST-2 sentences", "reviews of books, films, electronics and airlines")
    return [Stream("sst2_reviews", sources, bundle, lambda seed: (before, after))]


def blitzer(kind: str) -> list[list[str]]:
    """The test reviews of a kind: text and label."""
    path = Path(os.environ["EDGEPART_DATA"]) / "text" / f"blitzer_{kind}" / "test.tsv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]


def images() -> list[Stream]:
    """CIFAR-10, then other images of it with less in them."""
    folder = WORK / "resnet56_cifar10"
    folder.mkdir(parents=True, exist_ok=True)
    model = f"{precision.ROOT / 'examples' / 'resnet_cifar10' / 'model.py'}:resnet56"
    source = Path(os.environ["EDGEPART_DATA"]) / "images" / "cifar10"
    with np.load(source / "train.npz") as stored:
        np.savez(folder / "train.npz", x=stored["x"][:HEADS], y=stored["y"][:HEADS])
    with np.load(source / "test.npz") as stored:
        x, y = stored["x"], stored["y"]
    np.savez(folder / "validation.npz", x=x[:VALIDATION], y=y[:VALIDATION])
    x, y = x[VALIDATION:], y[VALIDATION:]
    noise = np.random.default_rng(0).normal(0, 1, x.shape)
    shown, titles = {"clean": x}, {}
    for level in BLUR:
        name = f"blurred_{level:g}"
        shown[name] = gaussian_filter(x.astype(np.float64), (0, level, level, 0))
        titles[name] = f"blurred images ({level:g} px)"
    for level in NOISE:
        name = f"noisy_{level:g}"
        shown[name], titles[name] = x + level * noise, f"noisy images ({level:g} of 255)"
    for name, made in shown.items():
        np.savez(folder / f"{name}.npz", x=np.clip(np.rint(made), 0, 255).astype(np.uint8), y=y)
    bundle = built(model, folder, ".npz", {"mobile": "layer1", "edge": "layer2"}, "conv_pool")
    traces = {name: recorded(bundle, folder / f"{name}.npz") for name in shown}

    def halves(name: str) -> Halves:
        def drawn(seed: int) -> tuple[Trace, Trace]:
            order = np.random.default_rng(seed).permutation(len(y))
            return traces["clean"].select(order[: len(y) // 2]), traces[name].select(order[len(y) // 2 :])

        return drawn

    return [Stream(f"cifar10_{name}", ("CIFAR-10", title), bundle, halves(name)) for name, title in titles.items()]


def built(model: str, folder: Path, suffix: str, places: dict[str, str], head: str) -> Bundle:
    """A nested bundle of three tiers with an exit at the end of the first two."""
    if (folder / "bundle").exists():
        return open_bundle(folder / "bundle")
    measured = profile(model, quick=True)
    plan = partition(measured, TIERS, LINKS, deployment="nested", split_after=places, exit_after=list(places.values()))
    return build(
        model,
        plan,
        folder / f"train{suffix}",
        validation=folder / f"validation{suffix}",
        output=folder / "bundle",
        head=head,
        settings=TrainingSettings.for_mode("heads", epochs=HEAD_EPOCHS),
        profile=measured,
        threads=1,
    )


def recorded(bundle: Bundle, data: Path) -> Trace:
    kept = data.with_suffix(".trace.safetensors")
    if not kept.exists():
        bundle.set_threads(1)
        record(bundle, load_dataset(data, bundle.preprocessing, classes=bundle.classes)).save(kept)
    return Trace.load(kept)


#: part of a stream → its stretch
PARTS: dict[str, Callable[[StreamCourse], Stretch]] = {
    "before": lambda course: course.first,
    "right_after": lambda course: course.after,
    "after": lambda course: course.second,
}


def measured(stream: Stream) -> tuple[dict[str, object], list[dict[str, object]]]:
    """What is known of a stream, and a row for each strategy."""
    bundle, asked = stream.bundle, question(stream=True)
    costs = tabulate(asked.cost, bundle.plan, Facts(bundle.graph, router_seconds(bundle.plan, bundle.graph)))
    curves = [curve for one in asked.strategies if (curve := chosen(one, bundle.validation, costs))]
    reports = []
    for seed in range(ORDERS):
        trace, change = changing(*stream.halves(seed), stream.sources, WINDOW, shuffle=seed)
        reports.append(stream_report(curves, trace, change, costs))
    before, after = stream.halves(0)
    exits = {"validation": bundle.validation, "before": before, "after": after}
    told = {
        "stream": stream.name,
        "before": stream.sources[0],
        "after": stream.sources[1],
        "samples_before": len(before),
        "samples_after": len(after),
        "full_model_accuracy": along([report.full_model for report in reports], "accuracy"),
        "full_model_latency_s": costs.full_model,
        # in the first order
        "exits": list(bundle.exits),
        "exit_accuracies": {name: trace.correct.mean(axis=0).round(4).tolist() for name, trace in exits.items()},
        "exit_confidences": {
            name: [round(float(one), 4) for one in t.confidence.mean(axis=0)] for name, t in exits.items()
        },
    }
    return told, [row(stream.name, curve, reports, costs) for curve in curves]


def chosen(strategy: Strategy, validation: Trace, costs: Costs) -> StrategyCurve | None:
    """A strategy at its setting; none where it cannot learn from this bundle."""
    try:
        strategy.fit(validation, costs.table)
    except (DispatchError, MissingExtra) as error:
        print(f"{strategy.name} is left out: {error}")
        return None
    seen = rehearse(validation, strategy, costs, THRESHOLDS)
    index = choose(seen, full_model(validation, costs).accuracy - DROP)
    if index is None:
        index = max(range(len(seen)), key=lambda place: (seen[place].accuracy, -seen[place].cost))
    return StrategyCurve(strategy, tuple(strategy.settings(THRESHOLDS)), tuple(seen), (), (Choice(DROP, index),))


def row(stream: str, curve: StrategyCurve, reports: list[StreamReport], costs: Costs) -> dict[str, object]:
    """A strategy over all orders."""
    strategy, _, detector = curve.name.partition(":")
    own, plain = entries(reports, curve.name), entries(reports, strategy)
    index = curve.choices[0].index
    assert index is not None
    seen = curve.validation[index]
    told: dict[str, object] = {
        "stream": stream,
        "strategy": strategy,
        "drift": bool(detector),
        "deployable": curve.strategy.deployable,
        "setting": curve.settings[index].label,
        "validation": {"accuracy": round(seen.accuracy, 4), "saving": round(seen.saving, 4)},
        "accuracy": along(own, "accuracy"),
        "against_full": along(own, "accuracy", [report.full_model for report in reports]),
        "saving": along(own, "saving"),
        "against_threshold": against_threshold(own, reports),
    }
    if detector:
        delays = [one.delay for one in own if one.delay is not None]
        told["false_alarms"] = spread([one.false_alarms(one.first.stop) for one in own])
        told["found"] = len(delays) / len(own)
        told["delay"] = spread(delays) if delays else None
        told["gain"] = {name: along(own, name, plain) for name in ("accuracy", "saving")}
    return told


def against_threshold(own: list[StreamStrategy], reports: list[StreamReport]) -> dict[str, float] | None:
    """After the change, accuracy less that of a fixed threshold mixed with the full model so as to save as much.

    None where the strategy saves more than the threshold, or nothing.
    """
    found = []
    for one, still, report in zip(own, entries(reports, "confidence"), reports, strict=True):
        share = one.second.saving / still.second.saving
        full = report.full_model.second.accuracy
        if not 0 <= share <= 1:
            return None
        found.append(one.second.accuracy - full - share * (still.second.accuracy - full))
    return spread(found)


def entries(reports: list[StreamReport], name: str) -> list[StreamStrategy]:
    """A strategy in every order."""
    return [one for report in reports for one in report.strategies if one.name == name]


def along(own: list[StreamCourse], figure: str, other: list[StreamCourse] | None = None) -> dict[str, object]:
    """Part of the stream → mean and spread over the orders, of a figure or of its distance from another's."""
    found: dict[str, object] = {}
    for name, part in PARTS.items():
        values = [getattr(part(one), figure) for one in own]
        less = [getattr(part(one), figure) for one in other] if other else [0.0] * len(values)
        found[name] = spread([value - base for value, base in zip(values, less, strict=True)])
    return found


def spread(values: list[float]) -> dict[str, float]:
    return {
        "mean": round(float(np.mean(values)), 5),
        "std": round(float(np.std(values, ddof=min(1, len(values) - 1))), 5),
    }


def show(rows: list[dict]) -> None:
    for one in rows:
        name = one["strategy"] + ("+" if one["drift"] else "")
        figures = (one["accuracy"], one["against_full"], one["saving"])
        parts = " | ".join(" ".join(f"{figure[part]['mean']:+.3f}" for figure in figures) for part in PARTS)
        print(f"{one['stream']:16} {name:22} {parts} {one.get('found', '')} {one.get('delay', '')}")


def main() -> None:
    streams, rows = [], []
    for stream in [*sentiment(), *images()]:
        told, found = measured(stream)
        show(found)
        streams.append(told)
        rows += found
    result = {
        "date": f"{date.today()}",
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cpus": os.cpu_count()},
        "settings": {
            "orders": ORDERS,
            "allowed_drop": DROP,
            "window": WINDOW,
            "head_samples": HEADS,
            "validation_samples": VALIDATION,
            "blur_pixels": BLUR,
            "noise_steps": NOISE,
        },
        "streams": streams,
        "rows": rows,
    }
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"written to {RESULT}")


if __name__ == "__main__":
    main()
