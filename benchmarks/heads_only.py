"""Training heads on a frozen network for ten epochs: features computed once, against the backbone run every epoch.

    EDGEPART_DATA=... python benchmarks/heads_only.py          writes benchmarks/results/heads_only.json

A BERT of MiniLM's size (six layers, hidden 384; random weights, which cost the same) with linear heads after layers 2
and 4, on phrases of SST-2 with their real lengths. All runs use edgepart's own training loop with the same heads,
steps and validation after every epoch; they differ only in where a batch of features comes from:

- ``cached``: edgepart build --train heads. The backbone runs once per sample, sorted by length; this time is included.
- ``every_epoch``: the backbone runs on each batch of each epoch, in random order, as an ordinary data loader gives it.
- ``every_epoch_sorted``: the same with edgepart's batches of similar length, which already saves padding. Ten times is
  the most that computing once can save over ten epochs here.
"""

import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import transformers

from edgepart.data import load_dataset, preprocessing_for
from edgepart.exits.render import render
from edgepart.exits.template import load_template
from edgepart.frameworks.torch import TorchFramework
from edgepart.partitioning.stages import Stage
from edgepart.training import TrainingSettings, train
from edgepart.training.loop import fit
from edgepart.training.train import RawSamples

PHRASES, HELD_OUT, EPOCHS, BATCH = 1200, 120, 10, 32
RESULT = Path(__file__).parent / "results" / "heads_only.json"


class EveryEpoch:
    """Samples whose features are computed anew for every batch that is asked for."""

    def __init__(self, dataset, learner, by_length):
        self._raw, self._learner = RawSamples(dataset), learner
        self.labels = self._raw.labels
        self.lengths = self._raw.lengths if by_length else np.zeros_like(self._raw.lengths)

    def batch(self, indices):
        return self._learner.features(self._raw.batch(indices))


def network():
    torch.manual_seed(0)
    config = transformers.BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, num_labels=2
    )
    config.return_dict = False
    return transformers.BertForSequenceClassification(config).eval()


def prepare():
    """A builder with two heads, its stages, and the training and validation data."""
    data = Path(os.environ["EDGEPART_DATA"])
    names = ("input_ids", "attention_mask", "token_type_ids")
    example = {name: torch.ones(2, 16, dtype=torch.long) for name in names}
    builder = TorchFramework().builder(network(), example)
    graph = builder.program.graph
    settings = {"kind": "text", "tokenizer": str(data / "weights" / "bert_vocab" / "vocab.txt")}
    dataset = load_dataset(data / "text" / "sst2" / "train.tsv", preprocessing_for(graph, settings), classes=["0", "1"])
    chosen = np.random.default_rng(0).permutation(len(dataset))[: PHRASES + HELD_OUT]
    template = load_template("linear", "torch")
    stages, start = [], None
    for number in (2, 4):
        stop = graph.after(f"bert.encoder.layer.{number - 1}")
        tensor = next(name for name in stop.tensors if graph.tensor(name).feature)
        shape = graph.tensor(tensor).shape[1:]
        source = render(template, shape=shape, classes=2, name=f"layer-{number}", parameters={})
        builder.add_head(f"layer-{number}", source, tensor, 2, seed=number)
        stages.append(Stage("edge", start, stop, f"layer-{number}", tensor))
        start = stop
    stages.append(Stage("cloud", start, None, "final"))
    return builder, stages, dataset.subset(chosen[:PHRASES]), dataset.subset(chosen[PHRASES:])


def timed(work):
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        work(Path(folder))
        return time.perf_counter() - start


def main() -> None:
    torch.set_num_threads(1)
    builder, stages, training, validation = prepare()
    settings = TrainingSettings.for_mode("heads", epochs=EPOCHS, batch_size=BATCH)

    def every_epoch(by_length):
        learner = builder.learner(
            stages, frozen=True, head_learning_rate_ratio=1.0, weight_decay=0.01, gradient_norm=1.0
        )
        sources = [EveryEpoch(dataset, learner, by_length) for dataset in (training, validation)]
        return lambda folder: fit(learner, *sources, settings, folder)

    builder.learner(stages, frozen=True, head_learning_rate_ratio=1.0, weight_decay=0.0, gradient_norm=1.0).features(
        training.batch(range(BATCH))
    )  # warm-up
    found = {
        "cached_s": timed(lambda folder: train(builder, stages, training, validation, settings, folder)),
        "every_epoch_s": timed(every_epoch(by_length=False)),
        "every_epoch_sorted_s": timed(every_epoch(by_length=True)),
    }
    result = {
        "what": "BERT of MiniLM's size, linear heads after layers 2 and 4, phrases of SST-2, one thread",
        "phrases": PHRASES,
        "validation_phrases": HELD_OUT,
        "epochs": EPOCHS,
        "batch_size": BATCH,
        **found,
        "times_faster": found["every_epoch_s"] / found["cached_s"],
        "times_faster_than_sorted": found["every_epoch_sorted_s"] / found["cached_s"],
        "load_average": os.getloadavg()[0],
        "machine": {
            "system": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "cpus": os.cpu_count(),
        },
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "command": " ".join(["python", *sys.argv]),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    if result["times_faster"] < 10:
        sys.exit("less than ten times faster")


if __name__ == "__main__":
    main()
