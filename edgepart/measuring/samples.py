"""What is sent through a bundle to measure it: samples of a data set, or made-up ones of the example's sizes."""

from __future__ import annotations

import numpy as np

from edgepart.bundle import Bundle
from edgepart.bundle.router import mask_input
from edgepart.data.dataset import Dataset
from edgepart.errors import DataError
from edgepart.frameworks.signature import Signature
from edgepart.measuring.framing import Arrays

#: of a data set: enough to vary, few enough to hold
MOST_SAMPLES = 64


def from_dataset(dataset: Dataset) -> list[Arrays]:
    """Batches of one, spread evenly over the data set.

    Raises:
        DataError: it is empty.
    """
    if not len(dataset):
        raise DataError(f"{dataset.source} holds no samples, expected at least one")
    chosen = np.unique(np.linspace(0, len(dataset) - 1, MOST_SAMPLES).astype(np.int64))
    return [dataset.batch([index]) for index in chosen]


def made_up(bundle: Bundle) -> list[Arrays]:
    """One sample of the sizes that the network was captured with: noise, token 0, and masks that hide nothing."""
    graph = bundle.graph
    signature = Signature.of([graph.tensor(name) for name in graph.inputs], (), graph.symbols)
    mask = mask_input(graph, bundle.preprocessing)
    generator = np.random.default_rng(0)
    arrays = {}
    for name, zeros in signature.example(1).items():
        if zeros.dtype.kind == "f":
            arrays[name] = generator.standard_normal(zeros.shape).astype(zeros.dtype)
        else:
            arrays[name] = np.ones_like(zeros) if name == mask else zeros
    return [arrays]


def unlike_example(bundle: Bundle, samples: list[Arrays]) -> str | None:
    """A remark where samples have other sizes than those that times were predicted for."""
    for name, size in bundle.graph.symbols.items():
        found = sorted({given for sample in samples for given in _sizes(bundle, name, sample)})
        if name != "batch" and found and found != [size]:
            shown = str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"
            return f"the samples have {name} {shown}; times and bytes are predicted for {name} {size}"
    return None


def _sizes(bundle: Bundle, symbol: str, sample: Arrays) -> list[int]:
    """The values that a symbol of the shapes has in a sample."""
    return [
        sample[name].shape[axis]
        for name in bundle.graph.inputs
        for axis, size in enumerate(bundle.graph.tensor(name).shape)
        if size == symbol and name in sample
    ]
