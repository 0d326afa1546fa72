"""GLUE's tasks: where their rows come from and how they are written for edgepart, labels as GLUE numbers them."""

import csv
import os
import random
from dataclasses import dataclass
from pathlib import Path

#: (one text or two, label) as they stand in a file of edgepart
Rows = list[list[str]]


@dataclass(frozen=True)
class Task:
    """One task of GLUE.

    Attributes:
        title: as tables name it
        measure: what GLUE reports beside accuracy (``matthews`` or ``f1``), as edgepart's measures are called
        columns: of the texts, in ``datasets``
        labels: in the order of GLUE's numbers, where files name them
        samples: training rows that are used by default; None takes all
        official: samples of GLUE's development set; what lies in the user's folder may be a part of it
        further: what rows of the training file are, where those of the development set are of another kind; the ones
            that no network learns from are test samples, too
    """

    title: str
    measure: str | None
    columns: tuple[str, ...]
    labels: tuple[str, ...] = ("0", "1")
    samples: int | None = None
    official: int = 0
    further: str = ""

    @property
    def tests(self) -> dict[str, str]:
        """Its sets of test samples as tables name them → the folder of a run's report on them."""
        told = {self.title: "report"}
        return told | {f"{self.title} ({self.further})": "report_further"} if self.further else told


ENTAILMENT = ("entailment", "not_entailment")

#: of SST-2 and QNLI, which online have 104,743, as many rows as two cores train on in minutes
TASKS = {
    "sst2": Task("SST-2", None, ("sentence",), samples=8_000, official=872, further="phrases"),
    "cola": Task("CoLA", "matthews", ("sentence",), official=1_043),
    "mrpc": Task("MRPC", "f1", ("sentence1", "sentence2"), official=408),
    "rte": Task("RTE", None, ("sentence1", "sentence2"), ENTAILMENT, official=277),
    "qnli": Task("QNLI", None, ("question", "sentence"), ENTAILMENT, samples=8_000, official=5_463),
}
#: second test sets, by the names of tables: of tasks that stand in them once already
FURTHER = tuple(title for task in TASKS.values() for title in task.tests if title != task.title)
#: seeds whose networks learn from none of the further test samples, and how many of these there are at most
SEEDS, MOST_FURTHER = range(10), 2_000


def rows(name: str) -> tuple[Rows, Rows]:
    """Those of the training and of the official development set: from ``$EDGEPART_DATA``, else through ``datasets``."""
    if "EDGEPART_DATA" in os.environ:
        folder = Path(os.environ["EDGEPART_DATA"]) / "text" / name
        return read(folder / "train.tsv"), read(folder / "dev.tsv")
    from datasets import load_dataset

    found, columns = load_dataset("glue", name), TASKS[name].columns
    train, dev = (
        [[*(" ".join(row[column].split()) for column in columns), str(row["label"])] for row in found[part]]
        for part in ("train", "validation")
    )
    return train, dev


def read(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]


def drawn(rows: Rows, most: int | None, seed: int) -> Rows:
    """At most so many rows, drawn by the seed."""
    return rows if most is None or most >= len(rows) else random.Random(seed).sample(rows, most)


def further(rows: Rows, most: int | None) -> Rows:
    """Rows that none of :data:`SEEDS` draws, and whose texts stand in none that one draws; the same for all seeds."""
    taken = {text(row) for seed in SEEDS for row in drawn(rows, most, seed)}
    left = {text(row): row for row in rows if text(row) not in taken}
    return drawn(list(left.values()), MOST_FURTHER, seed=0)


def text(row: list[str]) -> str:
    """Its texts as the network's tokenizer sees them: without capitals and double spaces."""
    return "\t".join(" ".join(cell.lower().split()) for cell in row[:-1])


def write(rows: Rows, task: Task, path: Path) -> None:
    """A file of edgepart: one text or two, and GLUE's number of the label."""
    texts = ["text"] if len(task.columns) == 1 else ["text_a", "text_b"]
    numbers = {label: str(number) for number, label in enumerate(task.labels)}
    lines = ["\t".join([*texts, "label"]), *("\t".join([*cells, numbers.get(label, label)]) for *cells, label in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
