"""A bundle of three parts whose runtime sleeps, holds memory and misbehaves as its files say; no framework is needed.

``installed`` puts the runtime on the path of this process and of its children.
"""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np

from edgepart import plugins
from edgepart.bundle.bundle import GRAPH, PARTS, PLAN
from edgepart.bundle.manifest import (
    MANIFEST,
    PART,
    FileRecord,
    Manifest,
    PartManifest,
    RouterRecord,
    StageRecord,
    survey,
)
from edgepart.data.preprocessing import default_preprocessing
from edgepart.errors import GraphError
from edgepart.frameworks.runtimes.base import SignedArtefact
from edgepart.frameworks.signature import Signature
from edgepart.graph import Graph, Layer, Tensor
from edgepart.hardware import LayerProfile, Load, Measurement, Profile, Segment
from edgepart.partitioning.plan import Hop, Plan, PlannedExit, Proof, TierPlan
from edgepart.profiling.machine import this_device
from edgepart.testing.hardware import example_device, example_link

CLASSES = ("no", "yes")
WIDTH = 5000
#: seconds that each layer sleeps
SLEEPS = {"first": 0.02, "second": 0.03, "third": 0.01}
#: layer → tier
TIERS = {"first": "mobile", "second": "edge", "third": "cloud"}
#: 2 MB/s and a round trip of 20 ms
LINK = example_link(16e6, 0.02, name="slow")
SENT_BYTES = 4 * WIDTH


def graph():
    names = list(SLEEPS)
    made = ["x", *names]
    tensors = tuple(
        Tensor(
            name=name,
            shape=("batch", 2 if name == names[-1] else WIDTH),
            dtype="float32",
            bytes=8 if name == names[-1] else SENT_BYTES,
            producer=None if name == "x" else name,
            consumers=tuple(made[place + 1 : place + 2]),
            feature=name != "x",
        )
        for place, name in enumerate(made)
    )
    layers = tuple(
        Layer(name=name, module=name, kind="Sleep", ops=("sleep",), inputs=(made[place],), outputs=(name,))
        for place, name in enumerate(names)
    )
    return Graph(
        name="sleeper", framework="torch", symbols={"batch": 1}, layers=layers, tensors=tensors, inputs=("x",),
        outputs=(names[-1],), parameters={},
    )  # fmt: skip


def plan(deployment="split", device=None):
    """By hand; an exit after the first layer, and under ``nested`` one after the second."""
    device = device or this_device(1e9)
    whole = graph()
    places = [("early", "first"), ("middle", "second")][: 2 if deployment == "nested" else 1]
    spent = dict(zip(SLEEPS, np.cumsum(list(SLEEPS.values())).tolist(), strict=True))
    nested = deployment == "nested"
    tiers = [
        TierPlan(
            name=tier, device=device, layers=(layer,), compute_s=spent[layer] if nested else SLEEPS[layer],
            parameter_bytes=4_000_000, activation_bytes=SENT_BYTES, estimated=False,
        )
        for layer, tier in TIERS.items()
    ]  # fmt: skip
    hops = [
        Hop(source=low, target=high, link=LINK, tensors=("x" if nested else layer,), bytes=SENT_BYTES,
            transfer_s=LINK.transfer_s(SENT_BYTES))
        for low, high, layer in (("mobile", "edge", "first"), ("edge", "cloud", "second"))
    ]  # fmt: skip
    exits = [
        PlannedExit(name=name, tier=TIERS[layer], tensor=layer, depth=1,
                    compute_s=spent[layer] if nested else SLEEPS[layer])
        for name, layer in places
    ]  # fmt: skip
    return Plan(
        network="sleeper", fingerprint=whole.fingerprint, deployment=deployment, runtime="sleepy", tiers=tuple(tiers),
        hops=tuple(hops), exits=tuple(exits), latency_s=1.0, unsplit_s={}, proof=Proof(status="by hand", method="test"),
    )  # fmt: skip


def profile(factor=1.0, runtime="sleepy", **facts):
    """Every layer takes ``factor`` times what it sleeps."""
    device = this_device(1e9)
    device = device.model_copy(update={"facts": device.facts | facts})
    taken = [Measurement(median_s=factor * seconds, spread_s=0.0, runs=1) for seconds in SLEEPS.values()]
    layers = [
        LayerProfile(name=name, latency=each, macs=0, parameter_bytes=0, activation_bytes=0)
        for name, each in zip(SLEEPS, taken, strict=True)
    ]
    segments = [
        Segment(start=place, stop=place + 1, latency=each, macs=0, parameter_bytes=0, activation_bytes=0)
        for place, each in enumerate(taken)
    ]
    whole = Measurement(median_s=sum(each.median_s for each in taken), spread_s=0.0, runs=1)
    return Profile(
        graph=graph(), device=device, runtime=runtime, runtime_version="1", threads=1, layers=tuple(layers),
        segments=tuple(segments), end_to_end=whole, machine_load=Load(mean_cores=0, maximum_cores=0),
    )  # fmt: skip


def write_bundle(folder, planned, behaviour=None, certain=0.9, hold_bytes=4_000_000):
    """``behaviour``: tier → what its part does instead of answering; ``certain``: confidence of the early exits."""
    folder.mkdir()
    whole, nested = graph(), planned.deployment == "nested"
    planned.save(folder / PLAN)
    whole.save(folder / GRAPH)
    default_preprocessing(whole).save(folder)
    names = list(SLEEPS)
    for place, (layer, tier) in enumerate(TIERS.items()):
        inside = names[: place + 1] if nested else [layer]
        reads = "x" if nested or place == 0 else names[place - 1]
        point = "final" if layer == names[-1] else next((x.name for x in planned.exits if x.tier == tier), None)
        made = [] if nested or layer == names[-1] else [layer]
        write_part(
            folder / PARTS / tier,
            tier,
            whole.tensor(reads),
            [whole.tensor(name) for name in made],
            point,
            {
                "sleep_s": sum(SLEEPS[name] for name in inside),
                "certain": certain if point != "final" else 0.9,
                "behaviour": (behaviour or {}).get(tier, ""),
                "hold_bytes": hold_bytes,
            },
        )
    Manifest(
        edgepart_version="0", network="sleeper", fingerprint=whole.fingerprint, framework="torch",
        framework_version="0", router=RouterRecord(file="none", runtime="sleepy"), deployment=planned.deployment,
        tiers=planned.tier_names, exits=planned.exit_names, classes=CLASSES, files=survey(folder),
    ).sealed().save(folder / MANIFEST)  # fmt: skip
    return folder


def write_part(folder, tier, read, made, point, what):
    folder.mkdir(parents=True)
    logits = [Tensor(name=point, shape=("batch", 2), dtype="float32", bytes=8)] if point else []
    path = folder / "stage_0.sleep"
    path.write_text(json.dumps(what))
    Signature.of([read], [*made, *logits], {"batch": 1}).save(Signature.beside(path))
    names = tuple(tensor.name for tensor in made)
    stage = StageRecord(
        file=path.name, inputs=(read.name,), outputs=names, exit=point, difference=0, tolerance=0,
        files={each.name: FileRecord.of(each) for each in (path, Signature.beside(path))},
    )  # fmt: skip
    PartManifest(
        framework="torch", runtime="sleepy", runtime_version="1", precision="float32", tier=tier, classes=CLASSES,
        inputs=(read.name,), outputs=names, stages=(stage,),
    ).save(folder / PART)  # fmt: skip


class SleepyRuntime:
    name = "sleepy"
    form = "sleep"
    suffix = ".sleep"
    precisions = ("float32",)

    def open(self, path):
        return SleepyArtefact(json.loads(Path(path).read_text()), Signature.load(Signature.beside(path)))

    def version(self):
        return "1"

    def set_threads(self, count):
        assert os.environ["OMP_NUM_THREADS"] == str(count)


class SleepyArtefact(SignedArtefact):
    def __init__(self, what, signature):
        super().__init__(signature)
        self.what = what
        if what["behaviour"] == "raise":
            raise ValueError("the operator 'frobnicate' is not implemented")
        # touched, so that the system has to give it
        self.held = np.ones(what["hold_bytes"], np.uint8)

    def compute(self, arrays):
        behaviour = self.what["behaviour"]
        if behaviour == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if behaviour == "abort":
            os.abort()
        if behaviour == "mistake":
            raise GraphError("the input 'y' is missing")
        if behaviour == "hang":
            time.sleep(600)
        time.sleep(self.what["sleep_s"])
        made = []
        for spec in self.signature.outputs:
            if spec.shape[-1] == 2:
                certain = self.what["certain"]
                made.append(np.log(np.array([[1 - certain, certain]], np.float32)))
            else:
                made.append(arrays[0] + np.float32(1))
        return made


def installed(folder, monkeypatch):
    """This process and its children find the runtime as if it had been installed."""
    metadata = folder / "sleepy_runtime-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: sleepy-runtime\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[edgepart.runtimes]\nsleepy = fake_bundle:SleepyRuntime\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(Path(__file__).parent)]))
    monkeypatch.syspath_prepend(str(folder))
    plugins._entries.cache_clear()


def example_elsewhere():
    return example_device("phone")
