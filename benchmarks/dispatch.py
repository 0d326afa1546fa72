"""How long it takes to decide, to replay, to adapt and to make the whole table, on one thread.

    EDGEPART_DATA=… OMP_NUM_THREADS=1 python benchmarks/dispatch.py [-o benchmarks/results/dispatch.json] [SECTION …]

Sections, each kept as it is in the file unless it is named (or none is):

- *deciding*: one sample as at run time (admit, leaves at one exit, from its logits, observe where the strategy learns),
  beside one inference of the first part at batch 1, and one of the artefact that embeds a sample for the routers.
  Parts: the first two of MiniLM's six layers, for sentences of 16 and 64 tokens; of ResNet-56 what
  examples/resnet_cifar10 puts on its first tier, and the first of its three stages alone, a small part.
- *replay*: 36 thresholds on a trace of 20,000 samples at three exits, against a loop over samples, exits and thresholds
  in plain Python, with probabilities as lists; the way samples are asked at run time, one by one; and a million samples
  at six exits swept over a thousand thresholds.
- *adapting*: decisions a second of the strategies that learn while they serve, over a trace of 20,000 samples at three
  exits, by dimensions of the embedding and classes, with and without a drift detector.
- *table*: a report on all registered strategies: validation trace of 2,000 samples, test trace of 5,000, three exits,
  embeddings of 384 dimensions; every strategy by itself, too.

Traces are made up, networks have random weights (MiniLM) or published ones (ResNet-56). What is timed against each
other gives equal decisions, which is checked first. Seconds are those of the processor, of one thread, since other work
makes the clock's longer; beside each stands the clock's median (``clock_s``).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import runpy
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from edgepart import plugins
from edgepart.dispatch.base import Outcome, Policy, State, Strategy
from edgepart.dispatch.layout import walk
from edgepart.dispatch.one_sample import softmax
from edgepart.dispatch.options import strategy as strategy_named
from edgepart.dispatch.threshold import ThresholdStrategy
from edgepart.dispatch.trace import Trace
from edgepart.evaluation.costs import Costs, tabulate
from edgepart.evaluation.evaluate_traces import THRESHOLDS, question, report_on
from edgepart.evaluation.replay import replay, sweep
from edgepart.evaluation.selection import evaluate_strategy
from edgepart.files import write_json
from edgepart.profiling.machine import processor
from edgepart.testing.cost_models import example_plan
from edgepart.testing.strategies import example_costs
from edgepart.testing.traces import synthetic_trace

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "transformers", "onnx", "onnxruntime")
RUNS = 7
#: of one decision or inference: so many rounds of about so many seconds
ROUNDS, ROUND_S = 9, 0.05
RUNTIMES = ("onnxruntime", "torch")
SIX = ("mobile", "mobile", "edge", "edge", "cloud", "cloud")
ADAPTIVE = ("adaee", "splitee", "splitee-s", "i-splitee", "cartography-adaptive")
#: routers learnt by scikit-learn in other ways than by default, which cost more to ask
VARIANTS = ("router:model=neighbours", "router:model=boosting")


def timed(action: Callable[[], object], runs: int = RUNS) -> dict[str, float | int]:
    """Of repeated runs, after one that warms up."""
    action()
    return spread([once(action) for _ in range(runs)])


def timed_small(action: Callable[[], object]) -> dict[str, float | int]:
    """Of something so short that it is repeated within each run."""
    action()
    calls = max(1, int(ROUND_S / max(once(action)[0], 1e-7)))

    def many() -> None:
        for _ in range(calls):
            action()

    many()
    return spread([(cpu / calls, wall / calls) for cpu, wall in (once(many) for _ in range(ROUNDS))])


def once(action: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the processor, and of the clock."""
    cpu, wall = time.process_time(), time.perf_counter()
    action()
    return time.process_time() - cpu, time.perf_counter() - wall


def spread(runs: Sequence[tuple[float, float]]) -> dict[str, float | int]:
    """Median, distance between the quartiles, least and most; and the median by the clock."""
    cpu, wall = ([run[place] for run in runs] for place in (0, 1))
    low, _, high = statistics.quantiles(cpu, n=4)
    found = {"median_s": statistics.median(cpu), "spread_s": high - low, "least_s": min(cpu), "most_s": max(cpu)}
    return {**found, "clock_s": statistics.median(wall), "runs": len(runs)}


# deciding


def deciding() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="edgepart-dispatch-") as scratch:
        parts = list(mobile_parts(Path(scratch)))
    trace = synthetic_trace(2000, ("mobile", "edge", "cloud"), dimension=384, seed=1)
    wide = synthetic_trace(2000, ("mobile", "edge", "cloud"), classes=10, dimension=16, seed=1)
    found = {
        "minilm": decisions(trace),
        "resnet56": decisions(wide),
    }
    for part in parts:
        one = found[part["network"]]["strategies"]
        part["shares"] = {name: row["all"]["median_s"] / part["part"]["median_s"] for name, row in one.items()}
        part["largest_share"] = max(share for name, share in part["shares"].items() if name not in VARIANTS)
    return {"parts": parts, "decisions": found}


def mobile_parts(scratch: Path) -> Iterator[dict[str, Any]]:
    import torch
    import transformers

    torch.set_num_threads(1)
    torch.manual_seed(0)
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    minilm = transformers.BertForSequenceClassification(transformers.BertConfig(**sizes)).eval()
    ids = torch.randint(1, 30000, (2, 64))
    example = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    sentences = {
        f"{tokens} tokens": {name: value[:1, :tokens].numpy() for name, value in example.items()} for tokens in (16, 64)
    }
    yield from timed_parts(scratch, "minilm", minilm, example, "bert.encoder.layer.1", sentences)
    module = runpy.run_path(str(ROOT / "examples" / "resnet_cifar10" / "model.py"))
    resnet, image, _ = module["resnet56"]()
    images = {"32 x 32": {"image": torch.randn(1, 3, 32, 32).numpy()}}
    for last in ("layer3.4", "layer1"):
        yield from timed_parts(scratch, "resnet56", resnet, image, last, images)


def timed_parts(
    scratch: Path, name: str, model: object, example: object, last: str, inputs: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """The network up to a module, and up to where a bundle's router looks, in every runtime."""
    from edgepart.bundle.router import router_place
    from edgepart.frameworks import framework_of
    from edgepart.frameworks.runtimes import runtime

    framework = framework_of(model)
    program, builder = framework.program(model, example), framework.builder(model, example)
    graph = program.graph
    place, tensor = router_place(graph)
    mask = "attention_mask" if "attention_mask" in graph.inputs else None
    written = {"part": program.slice(None, graph.after(last)), "embed": builder.router(place, tensor, mask)}
    for runtime_name in RUNTIMES:
        used = runtime(runtime_name)
        used.set_threads(1)
        for size, arrays in inputs.items():
            row: dict[str, Any] = {"network": name, "up_to": last, "input": size, "runtime": runtime_name}
            for what, part in written.items():
                path = scratch / f"{name}_{last}_{what}_{runtime_name}{used.suffix}"
                if not path.exists():
                    used.write(part, path)
                opened = used.open(path)
                row[what] = timed_small(opened.runner({key: arrays[key] for key in opened.inputs}))
            yield row


def decisions(trace: Trace) -> dict[str, Any]:
    """Of one sample at one exit, as at run time."""
    costs = example_costs(trace)
    logits = trace.logits[0, 0]
    probabilities = timed_small(lambda: softmax(logits))
    rows = {}
    for name in (*plugins.names("strategy"), *VARIANTS):
        strategy = strategy_named(name)
        if strategy.deployable:
            strategy.fit(trace, costs)
            rows[name] = one_decision(strategy, trace)
    return {
        "dimensions": trace.embeddings.shape[1],
        "classes": len(trace.classes),
        "softmax": probabilities,
        "strategies": rows,
    }


def one_decision(strategy: Strategy, trace: Trace) -> dict[str, Any]:
    policy, state = middle(strategy), State()
    embeddings = list(trace.embeddings.astype(np.float32))
    said, probabilities = list(trace.logits[:, 0]), trace.probabilities[:, 0].astype(np.float64)
    asked = [policy.at_exit(0, one, state) for one in probabilities]
    assert [policy.leaves(0, one, state) for one in said] == asked, "logits decide otherwise than probabilities"
    turn, nothing = iter(range(1 << 60)), np.empty(0)

    def admit() -> None:
        policy.admit(embeddings[next(turn) % len(embeddings)], state)

    def leaves() -> None:
        policy.leaves(0, said[next(turn) % len(said)], state)

    def observe() -> None:
        sample = next(turn) % len(said)
        answer = softmax(said[sample]) if policy.uses_probabilities else nothing
        policy.observe(Outcome(embeddings[sample], 0, 0, answer, 1.0))

    learns = type(policy).observe is not Policy.observe
    row: dict[str, Any] = {"admit": timed_small(admit), "leaves": timed_small(leaves)}
    if learns:
        row["observe"] = timed_small(observe)
    row["all"] = {"median_s": sum(part["median_s"] for part in row.values())}
    row["embeds"] = policy.uses_embedding
    return row


def middle(strategy: Strategy) -> Policy:
    settings = strategy.settings([0.8])
    return strategy.policy(settings[len(settings) // 2])


# replay


def replaying() -> dict[str, Any]:
    trace = synthetic_trace(20_000, classes=4, epochs=0, dimension=1)
    grid = list(THRESHOLDS)
    probabilities = trace.probabilities.astype(np.float64).tolist()
    labels = trace.labels.tolist()
    found: dict[str, Any] = {"samples": len(trace), "exits": 3, "classes": 4, "thresholds": len(grid)}
    for name, certainty in (("confidence", max), ("margin", lead)):
        made, costs = prepared(name, trace)
        values = [made.threshold(setting) for setting in made.settings(grid)]
        table = costs.table[0].tolist()

        def plain(certainty: Any = certainty, values: Any = values, table: Any = table) -> list[tuple[float, float]]:
            return [looped(probabilities, labels, certainty, value, table) for value in values]

        swept = sweep(trace, made, costs, grid)
        assert np.allclose([(x.accuracy, x.cost) for x in swept], plain()), "the loop gives something else"
        fast = timed(lambda made=made, costs=costs: sweep(trace, made, costs, grid))
        setting = made.one(0.8)
        single = timed(lambda made=made, costs=costs, setting=setting: replay(trace, made.policy(setting), costs))
        loop = timed(plain, 3)
        asked = timed(lambda made=made, setting=setting: walk(made.policy(setting), trace), 3)
        found[name] = {
            "sweep": fast,
            "plain_loop": loop,
            "sweep_over_plain_loop": loop["median_s"] / fast["median_s"],
            "one_threshold": single,
            "one_threshold_one_by_one": asked,
            "replay_over_one_by_one": asked["median_s"] / single["median_s"],
        }
    return found | {"large": large()}


def lead(probabilities: list[float]) -> float:
    first, second = sorted(probabilities)[-1:-3:-1]
    return first - second


def looped(
    probabilities: list[list[list[float]]], labels: list[int], certainty: Any, threshold: float, table: list[float]
) -> tuple[float, float]:
    """Accuracy and mean cost, as one would first write it."""
    right, cost = 0, 0.0
    for said, label in zip(probabilities, labels, strict=True):
        for index, row in enumerate(said):
            if index == len(said) - 1 or certainty(row) >= threshold:
                right += row.index(max(row)) == label
                cost += table[index]
                break
    return right / len(labels), cost / len(labels)


def prepared(name: str, trace: Trace) -> tuple[ThresholdStrategy, Costs]:
    made = strategy_named(name)
    assert isinstance(made, ThresholdStrategy)
    table = example_costs(trace)
    made.fit(trace, table)
    return made, Costs(table, full_model=float(table[0, -1]))


def large() -> dict[str, Any]:
    """A million samples: from logits, as a report's first strategy pays for the softmax, and from probabilities."""
    trace = synthetic_trace(1_000_000, SIX, classes=4, epochs=0, dimension=1)
    grid = np.linspace(0, 1, 1000).tolist()
    found: dict[str, Any] = {"samples": len(trace), "exits": len(SIX), "classes": 4, "thresholds": len(grid)}
    for name in ("confidence", "entropy"):
        made, costs = prepared(name, trace)
        fresh = timed(lambda made=made, costs=costs: sweep(replace(trace), made, costs, grid), 3)
        trace.probabilities  # noqa: B018 (computed once and kept)
        kept = timed(lambda made=made, costs=costs: sweep(trace, made, costs, grid), 3)
        found[name] = {"from_logits": fresh, "from_probabilities": kept}
    return found


# adapting


def adapting() -> dict[str, Any]:
    rows = []
    for dimension in (16, 384):
        for classes in (2, 10):
            validation, trace = (
                synthetic_trace(count, classes=classes, dimension=dimension, seed=seed)
                for count, seed in ((2000, 1), (20_000, 2))
            )
            trace.probabilities  # noqa: B018 (every strategy of a table finds them there)
            few, costs = trace.select(np.arange(300)), example_costs(validation)
            for name in (text for plain in ADAPTIVE for text in (plain, f"{plain}:drift=page-hinkley")):
                strategy = strategy_named(name)
                strategy.fit(validation, costs)
                alone, together = walk(middle(strategy), few, costs), middle(strategy).decide(few)
                assert np.array_equal(alone.exit, together.exit), "one by one gives something else"
                seconds = timed(lambda strategy=strategy, trace=trace: middle(strategy).decide(trace))
                row = {"strategy": name, "dimensions": dimension, "classes": classes, **seconds}
                rows.append(row | {"decisions_per_s": len(trace) / seconds["median_s"]})
    return {"samples": 20_000, "exits": 3, "rows": rows, "least_per_s": min(row["decisions_per_s"] for row in rows)}


# the table


def whole_table() -> dict[str, Any]:
    plan = example_plan("nested")
    made = synthetic_trace(7000, plan.exit_tiers, plan.tier_names, dimension=384, seed=1)
    made = replace(made, exits=plan.exit_names)
    validation, test = made.select(np.arange(2000)), made.select(np.arange(2000, 7000))
    costs = tabulate(question().cost, plan)

    def report() -> object:
        return report_on(plan, replace(validation), replace(test), question(), costs, source="made up", command="")

    rows = {}
    for name in plugins.names("strategy"):
        seconds = timed(partial(evaluated, name, validation, test, costs), 3)
        fitted = strategy_named(name)
        fitted.fit(validation, costs.table)
        rows[name] = {**seconds, "settings": len(fitted.settings(THRESHOLDS))}
    return {
        "validation": len(validation),
        "test": len(test),
        "exits": len(test.exits),
        "classes": len(test.classes),
        "dimensions": 384,
        "report": timed(report, 5),
        "strategies": rows,
    }


def evaluated(name: str, validation: Trace, test: Trace, costs: Costs) -> object:
    return evaluate_strategy(strategy_named(name), validation, test, costs, THRESHOLDS)


SECTIONS = {"deciding": deciding, "replay": replaying, "adapting": adapting, "table": whole_table}


@contextmanager
def load_seen(found: dict[str, Any]) -> Iterator[None]:
    """Adds how many cores were busy with other things, on average, and the load before and after."""
    before, own = psutil.cpu_times(), psutil.Process().cpu_times()
    found["load_before"], start = round(psutil.getloadavg()[0], 2), time.monotonic()
    yield
    after, mine, took = psutil.cpu_times(), psutil.Process().cpu_times(), time.monotonic() - start
    busy = (after.user + after.nice + after.system) - (before.user + before.nice + before.system)
    found["others_cores"] = round((busy - (mine.user + mine.system) + (own.user + own.system)) / took, 2)
    found["took_s"] = round(took, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks" / "results" / "dispatch.json")
    asked = parser.parse_args()
    found: dict[str, Any] = {"command": "OMP_NUM_THREADS=1 python benchmarks/dispatch.py"}
    if asked.output.exists():
        found |= json.loads(asked.output.read_text(encoding="utf-8"))
    for name in asked.sections or SECTIONS:
        section: dict[str, Any] = {"date": time.strftime("%Y-%m-%d"), "machine": machine()}
        with load_seen(section):
            measured = SECTIONS[name]()
        found[name] = {**section, **measured}
        write_json(asked.output, found)
        print(name, section["took_s"], "s, others on", section["others_cores"], "cores", flush=True)


def machine() -> dict[str, object]:
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


if __name__ == "__main__":
    main()
