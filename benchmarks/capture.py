"""Seconds to capture, list the boundaries of, and slice the largest graphs: about 1,000 layers of each framework.

    EDGEPART_DATA=… OMP_NUM_THREADS=1 python benchmarks/capture.py

Writes benchmarks/results/capture.json; docs/zoo.md shows it. Each network is measured in a process of its own, after
one capture that imports and warms up the framework.
"""

from __future__ import annotations

import importlib.metadata
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPEATS = 5
RESULT = Path(__file__).parent / "results" / "capture.json"
PACKAGES = ("torch", "tensorflow", "keras", "onnx", "onnxruntime")

Network = tuple[str, object, object]


def torch_residual() -> Network:
    """142 residual blocks of seven operations."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
            self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            y += x
            return self.relu(y)

    torch.manual_seed(0)
    torch.set_num_threads(1)
    body = [Block(8) for _ in range(142)]
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    return "residual CNN", model, torch.zeros(2, 3, 32, 32)


def keras_residual() -> Network:
    """Four towers of 36 residual blocks of seven layers; Keras itself builds no chain of a thousand layers."""
    from edgepart.frameworks.keras import require_keras

    require_keras()
    import keras
    import numpy as np
    from keras import layers

    def convolution(x: Any) -> Any:
        return layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", use_bias=False)(x))

    image = keras.Input((32, 32, 3))
    towers = []
    for _ in range(4):
        x = layers.Conv2D(8, 3, padding="same")(image)
        for _ in range(36):
            y = convolution(layers.ReLU()(convolution(x)))
            x = layers.ReLU()(layers.Add()([y, x]))
        towers.append(layers.GlobalAveragePooling2D()(x))
    logits = layers.Dense(10)(layers.Concatenate()(towers))
    return "residual CNN, four towers", keras.Model(image, logits), np.zeros((2, 32, 32, 3), np.float32)


def onnx_densenet() -> Network:
    """DenseNet-121 of the ONNX model zoo, with its weights as 836 more nodes."""
    import numpy as np
    import onnx

    model = onnx.load(Path(os.environ["EDGEPART_DATA"]) / "onnx" / "light" / "light_densenet121.onnx")
    return "DenseNet-121", model, {"data_0": np.ones((1, 3, 224, 224), np.float32)}


def onnx_mobilebert() -> Network:
    """MobileBERT as torch.onnx of old exports it, small."""
    import runpy

    import numpy as np
    import onnx

    folder = Path(os.environ["EDGEPART_DATA"]) / "onnx"
    fill = runpy.run_path(str(folder / "fill_weights.py"))["fill"]
    model = fill(onnx.load(folder / "exported" / "mobilebert_cls.onnx", load_external_data=False))
    tokens = np.arange(1, 33)[None]
    return "MobileBERT", model, {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}


NETWORKS = {
    "torch": torch_residual,
    "keras": keras_residual,
    "onnx DenseNet-121": onnx_densenet,
    "onnx MobileBERT": onnx_mobilebert,
}


def seconds(call: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Median and spread (distance between the quartiles) of repeated calls, and what the last one returned."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - start)
    low, median, high = statistics.quantiles(times, n=4)
    return {"median_s": median, "spread_s": high - low, "runs": REPEATS}, result


def measured(network: str) -> dict[str, object]:
    from edgepart.frameworks import framework_of, slices

    what, model, example = NETWORKS[network]()
    framework = framework_of(model)
    framework.program(model, example)
    captured, program = seconds(lambda: framework.program(model, example))
    graph = program.graph
    listed, boundaries = seconds(lambda: type(graph).model_validate(graph.model_dump()).boundaries())
    swept, boundaries = seconds(graph.boundaries)
    middle = [boundaries[len(boundaries) // 3], boundaries[2 * len(boundaries) // 3]]
    sliced, parts = seconds(lambda: slices(program, middle))
    nodes = len(model.graph.node) if framework.name == "onnx" else None  # type: ignore[attr-defined]
    return {
        "framework": framework.name,
        "what": what,
        "nodes": nodes or sum(len(layer.ops) for layer in graph.layers),
        "layers": len(graph.layers),
        "boundaries": len(boundaries),
        "parts": len(parts),
        "capture": captured,
        "boundaries_of_a_fresh_graph": listed,
        "boundaries_again": swept,
        "split_into_three_parts": sliced,
    }


def main() -> None:
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        rows = list(pool.imap(measured, NETWORKS))
    result = {
        "command": "python benchmarks/capture.py",
        "machine": {
            "system": platform.platform(),
            "processor": platform.machine(),
            "cpus": os.cpu_count(),
            "load_1min": os.getloadavg()[0],
        },
        "versions": {"python": platform.python_version()}
        | {package: importlib.metadata.version(package) for package in PACKAGES},
        "rows": rows,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    json.dump(result, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
