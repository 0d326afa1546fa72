"""From a bundle and labelled data to a report: record once, replay every setting of every strategy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgepart.bundle import Bundle, open_bundle
from edgepart.bundle.router import router_place
from edgepart.data.dataset import Dataset
from edgepart.data.load import load_dataset
from edgepart.dispatch.base import Strategy
from edgepart.dispatch.trace import Trace
from edgepart.errors import BundleError, DataError
from edgepart.evaluation import selection
from edgepart.evaluation.costs import CostModel, Costs, Facts, tabulate
from edgepart.evaluation.evaluate_traces import THRESHOLDS, question, report_on, require_learnable
from edgepart.evaluation.plots_canvas import require_matplotlib
from edgepart.evaluation.record import record
from edgepart.evaluation.report import PartReport, Report
from edgepart.evaluation.report_page import FILES, write_report
from edgepart.evaluation.stream import changing, require_seed, require_window
from edgepart.files import require_replaceable
from edgepart.graph import Graph
from edgepart.partitioning.plan import Plan


def evaluate(
    bundle: Bundle | str | Path,
    data: Dataset | str | Path | None = None,
    *,
    trace: Trace | str | Path | None = None,
    then: Dataset | str | Path | None = None,
    then_trace: Trace | str | Path | None = None,
    window: int | None = None,
    shuffle: int | None = None,
    strategies: Sequence[str | Strategy] | None = None,
    cost: str | CostModel = "latency",
    grid: Sequence[float] = THRESHOLDS,
    drops: Sequence[float] = selection.DROPS,
    batch_size: int = 32,
    threads: int | None = None,
    temperature: bool = False,
    output: str | Path | None = None,
    command: str = "edgepart.evaluate",
    **cost_options: object,
) -> Report:
    """Measure accuracy and cost of dispatch strategies on labelled data.

    Settings are chosen on the bundle's validation trace; the report's figures are those of ``data``. With ``then``,
    they are those of a stream that changes domain where the second data begin, and ``report.stream`` tells what
    strategies did before and after that.

    Args:
        bundle: opened, or its folder
        data: labelled samples to record, as ``edgepart evaluate --data`` takes them
        trace: an earlier recording of the same bundle, instead of ``data``
        then: labelled samples of the same classes that come after ``data``
        then_trace: an earlier recording of them, where ``trace`` stands for ``data``
        window: samples of a window along the stream; by default a tenth of the shorter data
        shuffle: seed of a random order of the samples before the change, and of those after it
        strategies: names or objects; all registered ones by default, of a stream those that adapt, with and without a
            drift detector, and a few to hold them against
        cost: name of a cost model, with options, or the model itself
        grid: thresholds to try
        drops: accuracy below the full model's that a setting may lose on validation
        batch_size: samples recorded at once
        threads: that one operation may use while recording; None leaves the framework's default
        temperature: let the strategies see each exit's logits divided by a temperature learnt on the validation trace
        output: folder for report.html, report.json, figures and the recorded trace; None writes nothing
        command: noted in the report
        cost_options: options of the cost model, such as ``gamma``

    Raises:
        EdgepartError: bundle, data, strategies, costs or output are not usable, told before anything slow is done.
    """
    streaming = _require_stream_fits(data, trace, then, then_trace, window, shuffle)
    asked = question(strategies, cost, grid, drops, stream=streaming, **cost_options)
    if output is not None:
        require_matplotlib()
        require_replaceable(Path(output), "report", *FILES)
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    costs = costs_of(opened, asked.cost)
    require_learnable(asked, opened.validation, costs, temperature)
    found = _found(opened, data, trace)
    following = _found(opened, then, then_trace) if streaming else None
    if threads is not None:
        opened.set_threads(threads)
    first, source = _recorded(opened, found, batch_size)
    test, second, change = first, None, None
    if following is not None:
        second, other = _recorded(opened, following, batch_size)
        test, change = changing(first, second, (source, other), window, shuffle)
        source = f"{source}, then {other}"
    if not len(test):
        raise DataError(f"{source} holds no samples: record data with at least one")
    report = report_on(
        opened.plan,
        opened.validation,
        test,
        asked,
        costs,
        source=source,
        command=command,
        parts=part_reports(opened),
        temperature=temperature,
        change=change,
    )
    if output is not None:
        write_report(
            output,
            report,
            graph=opened.graph,
            plan=opened.plan,
            validation=opened.validation,
            test=first,
            then=second,
        )
    return report


def part_reports(bundle: Bundle) -> tuple[PartReport, ...]:
    """What the tiers of a bundle run."""
    return tuple(
        PartReport(
            tier=tier,
            runtime=part.manifest.runtime,
            precision=part.manifest.precision,
            bytes=sum(stage.bytes for stage in part.manifest.stages),
            difference=max(stage.difference for stage in part.manifest.stages),
        )
        for tier, part in bundle.parts.items()
    )


def costs_of(bundle: Bundle, model: CostModel) -> Costs:
    """What a cost model charges for the samples of a bundle."""
    return tabulate(model, bundle.plan, Facts(bundle.graph, router_seconds(bundle.plan, bundle.graph)))


def router_seconds(plan: Plan, graph: Graph) -> float:
    """Predicted seconds that the first tier takes to embed a sample for the router; 0 if the plan tells no layers'.

    Layers that the plan puts on a later tier are carried over by the devices' rates, as predictions are everywhere. The
    embedder starts like a part of the tier.
    """
    boundary, _ = router_place(graph)
    needed = boundary.layers if boundary else set(graph.position)
    first, lowest = plan.tiers[0].device, next(tier for tier in plan.tiers if tier.layers)
    layers_s = sum(
        seconds * tier.device.macs_per_s / first.macs_per_s
        for tier in plan.tiers
        for layer, seconds in zip(tier.layers, tier.layer_s, strict=False)
        if layer in needed
    )
    return layers_s + lowest.start_s * lowest.device.macs_per_s / first.macs_per_s


def _require_stream_fits(
    data: object, trace: object, then: object, then_trace: object, window: int | None, shuffle: int | None
) -> bool:
    """Whether a stream is asked for, from arguments that go together.

    Raises:
        DataError: one data set and one trace, both of them as what follows, or a window or seed for no stream.
        DispatchError: the window holds no sample, or the seed is below 0.
    """
    if then is None and then_trace is None:
        if window is not None or shuffle is not None:
            raise DataError("a window and a seed to shuffle by are for a stream: give what follows the data, too")
        return False
    if (data is None, trace is None) != (then is None, then_trace is None):
        raise DataError("a stream takes two data sets to record, or two traces recorded earlier: give both alike")
    if window is not None:
        require_window(window)
    if shuffle is not None:
        require_seed(shuffle)
    return True


def _found(
    bundle: Bundle, data: Dataset | str | Path | None, trace: Trace | str | Path | None
) -> tuple[Dataset | Trace, str]:
    """The data to record or the trace recorded earlier, and its name; nothing runs yet."""
    if (data is None) == (trace is None):
        raise DataError("give either data to record or a trace recorded earlier")
    if trace is not None:
        loaded = trace if isinstance(trace, Trace) else Trace.load(trace)
        _require_same(bundle, loaded)
        return loaded, "a trace" if isinstance(trace, Trace) else str(trace)
    if isinstance(data, Dataset):
        return data, data.source
    dataset = load_dataset(str(data), bundle.preprocessing, classes=bundle.classes)
    return dataset, dataset.source


def _recorded(bundle: Bundle, found: tuple[Dataset | Trace, str], batch_size: int) -> tuple[Trace, str]:
    data, source = found
    return data if isinstance(data, Trace) else record(bundle, data, batch_size=batch_size), source


def _require_same(bundle: Bundle, trace: Trace) -> None:
    """Check that a trace was recorded with a bundle of the same exits, tiers and classes."""
    for what, given, expected in (
        ("exits", trace.exits, bundle.exits),
        ("tiers", trace.tiers, bundle.plan.tier_names),
        ("classes", trace.classes, bundle.classes),
    ):
        if tuple(given) != tuple(expected):
            raise BundleError(
                f"the trace has the {what} {', '.join(given[:8])}, the bundle has {', '.join(expected[:8])}: "
                "record the data with this bundle"
            )
    given, expected = trace.embeddings.shape[1], bundle.validation.embeddings.shape[1]
    if given != expected:
        raise BundleError(
            f"the trace has router embeddings of {given} numbers, the bundle's validation data have {expected}: record "
            "the data with this bundle"
        )
