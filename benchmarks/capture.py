"""Seconds to capture, list the boundaries of, and slice a network of about 1,000 operations.

python benchmarks/capture.py          writes benchmarks/results/capture.json
"""

import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import nn

from edgepart.frameworks import capture, split

BLOCKS, REPEATS = 142, 5
RESULT = Path(__file__).parent / "results" / "capture.json"


class Block(nn.Module):
    """Seven operations: a residual block of a CNN."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += x
        return self.relu(y)


def network() -> nn.Module:
    torch.manual_seed(0)
    body = [Block(8) for _ in range(BLOCKS)]
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))


def seconds(call, repeats):
    """Median and spread (distance between the quartiles) of repeated calls, and what the last one returned."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - start)
    low, median, high = statistics.quantiles(times, n=4)
    return {"median_s": median, "spread_s": high - low, "runs": repeats}, result


def main() -> None:
    torch.set_num_threads(1)
    model, example = network(), torch.zeros(2, 3, 32, 32)
    capture(model, example)  # warm-up: torch.export imports a good part of torch
    captured, graph = seconds(lambda: capture(model, example), REPEATS)
    listed, boundaries = seconds(lambda: type(graph).model_validate(graph.model_dump()).boundaries(), REPEATS)
    swept, boundaries = seconds(graph.boundaries, REPEATS)
    middle = [boundaries[len(boundaries) // 3], boundaries[2 * len(boundaries) // 3]]
    sliced, parts = seconds(lambda: split(model, graph, middle), REPEATS)
    result = {
        "what": "residual CNN, one thread",
        "operations": sum(len(layer.ops) for layer in graph.layers),
        "layers": len(graph.layers),
        "boundaries": len(boundaries),
        "parts": len(parts),
        "capture": captured,
        "boundaries_of_a_fresh_graph": listed,
        "boundaries_again": swept,
        "split_into_three_parts": sliced,
        "machine": {
            "system": platform.platform(),
            "processor": platform.machine(),
            "cpus": os.cpu_count(),
            "load_1min": os.getloadavg()[0],
        },
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    json.dump(result, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
