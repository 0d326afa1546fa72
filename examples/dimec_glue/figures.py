"""The paper's figures in our own numbers: data maps, pools, their embeddings, each device alone, and other costs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from points import VARIED, WEIGHTS, Case, Point, fitted, gammas, mean_std
from tasks import FURTHER

from edgepart.dispatch.cartography import Cartography
from edgepart.dispatch.data_map import DataMap
from edgepart.dispatch.pools import POOLS, pools
from edgepart.evaluation.report_style import INK, MUTED, PAPER, strategy_styles, text_on, tier_colour
from edgepart.evaluation.runs import Run

CONFIDENCE = "confidence, ≤ 0.5 %"
_STYLES = strategy_styles(("cartography", "cartography-adaptive", "confidence", "oracle"))
#: method → strategy whose look it has, and its line
LOOKS = {
    "Ours-F": ("cartography", "-"),
    "Ours-D": ("cartography-adaptive", "-"),
    "Ours-D, routed": ("cartography-adaptive", ":"),
    CONFIDENCE: ("confidence", "-"),
    "oracle": ("oracle", "--"),
}
LINES = {
    method: {"color": _STYLES[name].colour, "marker": _STYLES[name].marker, "linestyle": line}
    for method, (name, line) in LOOKS.items()
}
BARS = {
    "mobile alone": tier_colour(0),
    "edge alone": tier_colour(1),
    "cloud alone": tier_colour(2),
    "Ours-D": LINES["Ours-D"]["color"],
    CONFIDENCE: LINES[CONFIDENCE]["color"],
    "oracle": LINES["oracle"]["color"],
}
#: names of the costs and of λ in the reward, below the axes
LABELS = {name: f"{symbol}, times its value" for name, symbol in VARIED.items()} | {"weight": "λ in the reward"}


def draw(runs: Sequence[Run], points: Sequence[Point], weight: float, folder: Path) -> None:
    """Every figure; maps and embeddings are of each task's first seed, the rest are means over seeds.

    Maps are of validation samples, which a task's second set of test samples shares.
    """
    folder.mkdir(exist_ok=True)
    mapped = [Mapped(run, weight) for run in runs if run.task not in FURTHER]
    first = list({one.run.task: one for one in reversed(mapped)}.values())[::-1]
    save(data_maps(first), folder / "data_map.png")
    save(embeddings(first), folder / "tsne.png")
    save(pool_shares(mapped, points), folder / "pool_shares.svg")
    save(device_accuracies(points), folder / "device_accuracies.svg")
    save(cost_variations(points), folder / "cost_variations.svg")


class Mapped:
    """A run's validation samples in the pools of the paper's method (fixed, the second γ)."""

    def __init__(self, run: Run, weight: float) -> None:
        strategy = Cartography(lambdas=(weight,))
        fitted(strategy, Case.of(run, gammas(run)[1], weight))
        (setting,) = strategy.settings(())
        self.run, self.thresholds = run, strategy.thresholds(setting)
        self.map: DataMap = strategy.data_map
        self.pool = pools(self.map, *self.thresholds)

    @property
    def shares(self) -> np.ndarray:
        """(3,) of the validation samples."""
        return np.bincount(self.pool, minlength=len(POOLS)) / len(self.pool)


def data_maps(mapped: Sequence[Mapped]) -> Any:
    figure, axes = panels(len(mapped))
    for one, panel in zip(mapped, axes, strict=True):
        scatter(panel, one, one.map.variability, one.map.confidence)
        alpha, beta = one.thresholds
        panel.axhline(alpha, color=MUTED, linewidth=0.8, linestyle=":")
        panel.plot([beta**0.5] * 2, [alpha, 1], color=MUTED, linewidth=0.8, linestyle=":")
        panel.set(xlim=(0, 0.5), ylim=(0, 1), xlabel="variability (standard deviation)", ylabel="confidence (mean)")
    titled(figure, axes, "Validation samples over the epochs, at the mobile exit: probability of the true label")
    return figure


def embeddings(mapped: Sequence[Mapped]) -> Any:
    from sklearn.manifold import TSNE

    figure, axes = panels(len(mapped))
    for one, panel in zip(mapped, axes, strict=True):
        points = one.run.validation.embeddings
        near = min(30.0, (len(points) - 1) / 3)
        placed = TSNE(perplexity=near, init="pca", random_state=0).fit_transform(points.astype(np.float64))
        scatter(panel, one, *placed.T)
        panel.set(xticks=[], yticks=[])
    titled(figure, axes, "t-SNE of what the router sees of a sample: the mean of its word embeddings")
    return figure


def scatter(panel: Any, one: Mapped, x: np.ndarray, y: np.ndarray) -> None:
    for index, name in enumerate(POOLS):
        of = one.pool == index
        style = {"marker": "osD"[index], "color": tier_colour(index), "linewidths": 0, "alpha": 0.75}
        panel.scatter(x[of], y[of], s=9, label=name, **style)
    told = ", ".join(f"{name} {share:.0%}" for name, share in zip(POOLS, one.shares, strict=True))
    panel.set_title(f"{one.run.task}: {told}", fontsize=9.5, color=INK)


def pool_shares(mapped: Sequence[Mapped], points: Sequence[Point]) -> Any:
    """Two bars a task: the pools on validation, and where the fixed router sends the test samples."""
    from matplotlib.figure import Figure

    rows: list[tuple[str, np.ndarray]] = []
    for task in dict.fromkeys(one.run.task for one in mapped):
        own = [one for one in mapped if one.run.task == task]
        gamma = gammas(own[0].run)[1]
        sent = [x for x in points if (x.task, x.method, x.gamma, x.varied) == (task, "Ours-F", gamma, "")]
        rows.append((f"{task}, pools", np.mean([one.shares for one in own], axis=0)))
        rows.append((f"{task}, sent to", np.mean([list(x.tier_share.values()) for x in sent], axis=0)))
    figure = Figure(figsize=(6.4, 1.2 + 0.34 * len(rows)), layout="constrained", facecolor=PAPER)
    axes = figure.subplots()
    for index, (name, tier) in enumerate(zip(POOLS, ("mobile", "edge", "cloud"), strict=True)):
        widths = [100 * shares[index] for _, shares in rows]
        left = [100 * shares[:index].sum() for _, shares in rows]
        bars = axes.barh(
            range(len(rows)), widths, left=left, color=tier_colour(index), edgecolor=PAPER, label=f"{name}: {tier}"
        )
        for bar, width in zip(bars, widths, strict=True):
            if width >= 8:
                place = (bar.get_x() + width / 2, bar.get_y() + bar.get_height() / 2)
                colour = text_on(tier_colour(index))
                axes.text(*place, f"{width:.0f}", ha="center", va="center", fontsize=9, color=colour)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel="share of samples (%)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure


def device_accuracies(points: Sequence[Point]) -> Any:
    """Accuracy of each device alone beside that of the paper's method, a threshold and the oracle."""
    from matplotlib.figure import Figure

    tasks = list(dict.fromkeys(point.task for point in points))
    usual = list(at_usual_costs(points))
    figure = Figure(figsize=(2.6 + 1.4 * len(tasks), 3.6), layout="constrained", facecolor=PAPER)
    axes = figure.subplots()
    width = 0.84 / len(BARS)
    for index, (method, colour) in enumerate(BARS.items()):
        found = [mean_std([100 * x.accuracy for x in usual if (x.task, x.method) == (task, method)]) for task in tasks]
        places = np.arange(len(tasks)) + (index - (len(BARS) - 1) / 2) * width
        style = {"width": 0.9 * width, "color": colour, "label": method, "error_kw": {"ecolor": INK, "elinewidth": 1}}
        axes.bar(places, [mean for mean, _ in found], yerr=[std for _, std in found], **style)
    lowest = min(100 * point.accuracy for point in usual if point.method in BARS)
    axes.set_ylim(max(0, 5 * (lowest // 5) - 5), 100)
    axes.set_xticks(range(len(tasks)), tasks)
    axes.set_ylabel("accuracy (%)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure


def at_usual_costs(points: Sequence[Point]) -> Iterator[Point]:
    """The points under the second γ, those of the threshold included, which stand among the varied ones."""
    gamma = sorted({point.gamma for point in points if not point.varied})[1]
    for point in points:
        if point.gamma == gamma and (not point.varied or (point.varied, point.method) == ("gamma", CONFIDENCE)):
            yield point


def cost_variations(points: Sequence[Point]) -> Any:
    """Accuracy below that of the cloud alone, and what is saved against it, mean over the tasks, by each cost."""
    from matplotlib.figure import Figure

    full = {(x.task, x.seed): x.accuracy for x in points if x.method == "cloud alone" and not x.varied}
    rows: Mapping[str, Callable[[Point], float]] = {
        "accuracy against\nthe cloud alone (points)": lambda x: 100 * (x.accuracy - full[x.task, x.seed]),
        "saved against\nall in the cloud (%)": lambda x: 100 * x.saving_cloud,
    }
    figure = Figure(figsize=(2.3 * len(LABELS) + 0.8, 5), layout="constrained", facecolor=PAPER)
    grid = figure.subplots(len(rows), len(LABELS), sharey="row", sharex="col", squeeze=False)
    for number, (label, value) in enumerate(rows.items()):
        line = grid[number]
        line[0].set_ylabel(label)
        for axes, varied in zip(line, LABELS, strict=True):
            # the oracle is right so much more often that nothing else would be seen beside it
            shown = [x for x in points if x.varied == varied and (number or x.method != "oracle")]
            curves(axes, shown, value)
            axes.spines[["top", "right"]].set_visible(False)
            axes.axhline(0, color=MUTED, linewidth=0.8, zorder=0)
    for axes, label in zip(grid[-1], LABELS.values(), strict=True):
        axes.set_xlabel(label)
    grid[0, -1].set_xscale("symlog", linthresh=0.001)
    grid[0, -1].set_xlim(-0.2 * WEIGHTS[1], 1.3 * WEIGHTS[-1])
    handles, names = grid[-1, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names), frameon=False)
    return figure


def curves(axes: Any, points: Sequence[Point], value: Callable[[Point], float]) -> None:
    for method, style in LINES.items():
        own = [point for point in points if point.method == method]
        places = sorted({point.value for point in own})
        if places:
            axes.plot(
                places,
                [by_task([x for x in own if x.value == place], value) for place in places],
                label=method,
                **style,
            )


def by_task(points: Sequence[Point], value: Callable[[Point], float]) -> float:
    """Mean over tasks, each by its first set of test samples, of the mean over seeds."""
    tasks = {point.task for point in points} - set(FURTHER)
    return float(np.mean([np.mean([value(x) for x in points if x.task == task]) for task in tasks]))


def panels(count: int) -> tuple[Any, list[Any]]:
    """A figure with so many square panels, at most three in a row."""
    from matplotlib.figure import Figure

    columns = min(3, count)
    lines = -(-count // columns)
    figure = Figure(figsize=(3.7 * columns, 3.5 * lines + 0.7), layout="constrained", facecolor=PAPER)
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for extra in axes[count:]:
        extra.set_axis_off()
    for panel in axes[:count]:
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes[:count]


def titled(figure: Any, axes: Sequence[Any], title: str) -> None:
    figure.suptitle(title, fontsize=11, color=INK)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False, markerscale=2)


def save(figure: Any, path: Path) -> None:
    """The same bytes for the same figure."""
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": path.stem}):
        figure.savefig(path, dpi=130, metadata={"Date": None, "Creator": None} if path.suffix == ".svg" else None)
