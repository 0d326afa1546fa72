"""All dispatch strategies on ResNet-56 with CIFAR-10 and MobileNetV2 with Imagenette, over mobile, edge and cloud.

    python examples/cifar10_exits/run.py            # about 40 minutes on two cores; goes on where it was stopped
    python examples/cifar10_exits/run.py --quick    # the same steps on fewer images

Needs ``pip install 'edgepart[torch,onnx,images,plots,router]'``, and the images and weights that
``examples/resnet_cifar10`` and ``examples/onnx_imagenette`` need. Each network is cut into three parts, each part has
exits of its own, and their heads learn on the frozen network, once for every seed: a seed draws the heads' first
weights and the order of the images. Which images settings are chosen on, and which are reported on, is the same for
all seeds. ResNet-56 knows its training images by heart, so 2,000 of the test images are set aside for choosing and
3,000 reported on. Of Imagenette there are 1,500 training images here and 250 for testing, too few to divide: settings
are chosen on 300 training images that no head has seen, though the network has (it is right on about as many of them),
and 250 images tell accuracies to a few points only.

Writes into the output folder, for every network and seed, the bundle and its report; ``runs.json``, the record of all
of them; ``results.md``; and ``figures``. What is there from an earlier run with the same settings is kept.
"""

import argparse
import sys
from pathlib import Path

from figures import draw
from links import LatencyOver, alone_s
from networks import MOBILENET, NETWORKS, Network
from steps import Steps
from tables import Seconds, Timing, page

from edgepart import plugins
from edgepart.errors import EdgepartError
from edgepart.evaluation.costs import CostModel, cost_model
from edgepart.evaluation.evaluate_traces import FINE_THRESHOLDS
from edgepart.evaluation.runs import Run, compare_runs

TIERS = {"mobile": "raspberry-pi-4", "edge": "jetson-orin-nano", "cloud": "cloud-gpu"}
#: the cloud in the same building
LINKS = {"mobile:edge": "wifi", "edge:cloud": "ethernet"}
#: the cloud far away
FAR = ("edge", "cloud", "4g")
NEAR_LABEL, FAR_LABEL = "latency, cloud over Ethernet", "latency, cloud over 4G"
PRICE = "google-cloud-functions"
#: beside those that are registered
VARIANTS = ("cartography:objective=routed", "cartography-adaptive:objective=routed")


def main() -> None:
    arguments = parse()
    try:
        runs = [run for name in arguments.networks for run in runs_of(name, arguments)]
        compare(runs, arguments.output)
    except EdgepartError as error:
        sys.exit(str(error))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="few images and epochs")
    parser.add_argument("--onnx", type=Path, default=MOBILENET, help="mobilenet_v2_imagenet.onnx, wherever it lies")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, help="folder; by default runs/cifar10_exits, or …_quick")
    arguments = parser.parse_args()
    arguments.output = arguments.output or Path("runs") / f"cifar10_exits{'_quick' if arguments.quick else ''}"
    return arguments


def runs_of(name: str, arguments: argparse.Namespace) -> list[Run]:
    """One network trained and recorded with every seed."""
    network, folder = NETWORKS[name], arguments.output / name
    folder.mkdir(parents=True, exist_ok=True)
    model = network.prepare(folder, arguments.quick, arguments.onnx)
    steps = Steps(folder)
    profile, plan = folder / "profile.json", folder / "plan.json"
    # its times are scaled to other devices: those of a long measurement would be no better
    steps.edgepart("profile", model, "--quick", output=profile)
    steps.edgepart("partition", profile, *placement(network), reads=[profile], output=plan)
    data = {part: folder / f"{part}.npz" for part in ("train", "calibration", "test")}
    words = [*network.build, "--epochs", 2 if arguments.quick else network.epochs]
    runs = []
    for seed in arguments.seeds:
        bundle, report = folder / f"seed_{seed}" / "bundle", folder / f"seed_{seed}" / "report"
        bundle.parent.mkdir(exist_ok=True)
        learn = ["--data", data["train"], "--validation", data["calibration"], "--seed", seed]
        made_of = [plan, data["train"], data["calibration"]]
        steps.edgepart("build", model, plan, *learn, *words, reads=made_of, output=bundle, threads=arguments.threads)
        recorded = ["--data", data["test"], "--thresholds", ",".join(map(str, sorted(FINE_THRESHOLDS)))]
        read = [bundle, data["test"]]
        steps.edgepart("evaluate", bundle, *recorded, reads=read, output=report, threads=arguments.threads)
        runs.append(Run.of_bundle(bundle, report / "trace.safetensors", network.title, seed))
    return runs


def placement(network: Network) -> list[str]:
    """Words of ``edgepart partition``: tiers, links, where the network is cut and where samples may leave."""
    words = [word for tier in TIERS.items() for word in ("--tier", "=".join(tier))]
    words += [word for link in LINKS.items() for word in ("--link", "=".join(link))]
    words += [word for cut in network.split.items() for word in ("--split-after", "=".join(cut))]
    return words + [word for point in network.exits for word in ("--exit-after", point)]


def cost_models() -> dict[str, CostModel]:
    return {
        NEAR_LABEL: cost_model("latency"),
        FAR_LABEL: LatencyOver(*FAR),
        "money": cost_model(f"price={PRICE}"),
    }


def compare(runs: list[Run], folder: Path) -> None:
    """The record of all runs, the page and the figures."""
    strategies = [*plugins.names("strategy"), *VARIANTS]
    command = "python examples/cifar10_exits/run.py"
    # heads on frozen features are surer than they are right
    report = compare_runs(runs, strategies, cost_models(), grid=FINE_THRESHOLDS, command=command)
    report.save(folder / "runs.json")
    first = {run.task: run for run in reversed(runs)}
    timing = {task: timing_of(run) for task, run in first.items()}
    notes = {network.title: network.note for network in NETWORKS.values()}
    (folder / "results.md").write_text(page(report, timing, notes), encoding="utf-8")
    draw(report, folder / "figures")
    print(f"\nwritten to {folder}: results.md, runs.json and figures")


def timing_of(run: Run) -> Timing:
    """Seconds to every exit and on one tier alone, with the cloud near and far."""
    assert run.facts.graph is not None
    image_bytes = sum(run.facts.graph.tensor(name).bytes for name in run.facts.graph.inputs)
    far = LatencyOver(*FAR)
    models = {NEAR_LABEL: (cost_model("latency"), run.plan), FAR_LABEL: (far, far.over(run.plan))}
    return {
        label: Seconds(
            exits=tuple(model.table(run.plan, run.facts)[0].tolist()),
            alone=alone_s(run.plan, plan, image_bytes),
        )
        for label, (model, plan) in models.items()
    }


if __name__ == "__main__":
    main()
