"""The paper's figures 2 and 3: inference time, memory, cost and accuracy over c_thr, one column a network."""

import textwrap
from pathlib import Path
from typing import Any

EDGE, CLOUD, WHOLE = "#009e73", "#0072b2", "#59636e"
CHOSEN = "c_thr chosen on the validation data"


def draw(networks: dict[str, Any], rule: str, caveat: str, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4 * len(networks) + 0.8, 10), layout="constrained")
    grid = figure.subplots(4, len(networks), sharex=True, squeeze=False)
    for column, network in enumerate(networks.values()):
        draw_network(grid[:, column], network, network["rules"][rule])
    for axes, label in zip(
        grid[:, 0], ("inference time, ms", "memory, MB", "cloud cost, USD per million", "accuracy, %"), strict=True
    ):
        axes.set_ylabel(label)
    for axes in grid[-1]:
        axes.set_xlabel("confidence threshold c_thr")
    # lines of memory, and the first of the others
    lines = {line.get_label(): line for axes in grid[1::-1, 0] for line in axes.get_lines()}
    figure.legend(lines.values(), lines, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.suptitle(f"{rule.capitalize()} exits, split at 70 % of the memory\n{wrapped(caveat)}", fontsize=10)
    figure.savefig(path, dpi=130)


def draw_network(column: Any, network: dict[str, Any], measured: dict[str, Any]) -> None:
    time, memory, cost, accuracy = column
    points, alone = measured["points"], network["cloud_only"]
    x = [point["c_thr"] for point in points]
    time.set_title(f"{network['title']}, {network['size']} px")
    for axes, key, factor, whole in (
        (time, "latency_s", 1e3, alone["latency_s"]),
        (cost, "usd", 1e6, alone["usd"]),
        (accuracy, "accuracy", 100, measured["full_accuracy"]),
    ):
        axes.plot(x, [factor * point[key] for point in points], "o-", color=EDGE, label="edge and cloud, with exits")
        axes.axhline(factor * whole, color=WHOLE, linestyle="--", label="whole network in the cloud")
    for key, marker, colour, label in (
        ("edge_bytes", "s-", EDGE, "memory on the edge"),
        ("cloud_bytes", "o-", CLOUD, "memory in the cloud, while called"),
    ):
        memory.plot(x, [point[key] / 1e6 for point in points], marker, color=colour, label=label)
    memory.axhline(alone["bytes"] / 1e6, color=WHOLE, linestyle="--", label="whole network in the cloud")
    for axes in column:
        axes.set_ylim(bottom=0, top=1.15 * axes.get_ylim()[1])
        if measured["chosen"] is not None:
            axes.axvline(measured["chosen"], color="#d0d7de", linewidth=5, zorder=0, label=CHOSEN)
        axes.spines[["top", "right"]].set_visible(False)


def wrapped(text: str, width: int = 110) -> str:
    return "\n".join(textwrap.wrap(text, width))
