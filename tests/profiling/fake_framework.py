"""A framework for tests: a small branching network of matrix products in NumPy, made so that it can misbehave.

``installed`` puts it on the path of child processes as an installed distribution with its entry point.
"""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np

from edgepart.errors import GraphError
from edgepart.graph import Graph, Layer, Tensor, peak_activation_bytes

WIDTH = 64
#: (layer, tensors read, tensor made, has parameters); a mask crosses the first boundaries and two features the third
LAYERS = (
    ("mask", ("tokens",), "mask", False),
    ("embed", ("tokens",), "embed", True),
    ("left", ("embed",), "left", True),
    ("right", ("embed",), "right", True),
    ("join", ("left", "right", "mask"), "join", True),
    ("head", ("join",), "head", True),
)
#: pieces between boundaries that one feature tensor crosses: after embed, join
SEGMENTS = [(0, 2), (2, 5), (5, 6)]


def graph():
    consumers = {name: tuple(x for x, reads, _, _ in LAYERS if name in reads) for _, _, name, _ in LAYERS}
    size = 4 * WIDTH
    tensors = [Tensor(name="tokens", shape=("batch", WIDTH), dtype="float32", bytes=size, consumers=("mask", "embed"))]
    tensors += [
        Tensor(
            name=made,
            shape=("batch", WIDTH),
            dtype="float32",
            bytes=size,
            producer=layer,
            consumers=consumers[made],
            feature=made != "mask",
        )
        for layer, _, made, _ in LAYERS
    ]
    layers = [
        Layer(
            name=name,
            module=name,
            kind="Product",
            ops=("matmul",),
            inputs=reads,
            outputs=(made,),
            parameters=(f"{name}.weight",) if weighted else (),
            macs=WIDTH**2 if weighted else 0,
            activation_bytes=size,
        )
        for name, reads, made, weighted in LAYERS
    ]
    return Graph(
        name="fake network",
        framework="fake",
        symbols={"batch": 1},
        layers=tuple(layers),
        tensors=tuple(tensors),
        inputs=("tokens",),
        outputs=("head",),
        parameters={f"{name}.weight": 4 * WIDTH**2 for name, _, _, weighted in LAYERS if weighted},
    )


class FakePart:
    def __init__(self, program, layers):
        self.program, self.layers = program, layers
        made = {x[2] for x in LAYERS if x[0] in layers}
        self.inputs = tuple(dict.fromkeys(t for x in LAYERS if x[0] in layers for t in x[1] if t not in made))

    def run(self, arrays):
        values = dict(arrays)
        made = {}
        for name in self.layers:
            _, reads, output, weighted = next(x for x in LAYERS if x[0] == name)
            missing = [x for x in reads if x not in values]
            if missing:
                raise GraphError(f"the input '{missing[0]}' is missing")
            total = sum(values[x] for x in reads)
            values[output] = made[output] = total @ self.program.weights[name] if weighted else total > 0
        return made

    def runner(self, arrays):
        held = dict(arrays)
        self.run(held)
        return lambda: self.run(held)


class FakeProgram:
    def __init__(self, misbehaviour=""):
        self.graph = graph()
        self.misbehaviour = misbehaviour
        generator = np.random.default_rng(0)
        self.weights = {x[0]: generator.normal(size=(WIDTH, WIDTH)).astype(np.float32) / 8 for x in LAYERS if x[3]}

    def slice(self, start, stop):
        inside = stop.layers if stop else frozenset(self.graph.position)
        return FakePart(self, self.graph.in_order(inside - (start.layers if start else frozenset())))

    def example(self):
        return {"tokens": np.ones((1, WIDTH), np.float32)}

    def save(self, folder):
        Path(folder).mkdir()
        (Path(folder) / "program.json").write_text(json.dumps({"misbehaviour": self.misbehaviour}))


class FakeFramework:
    name = "fake"
    runtime = "fake"
    forms = ()
    templates = "fake"
    layout = "channels_first"
    suffixes = ()

    def accepts(self, model):
        return model is self

    def program(self, model, example):
        return FakeProgram()

    def open_program(self, folder):
        misbehaviour = json.loads((Path(folder) / "program.json").read_text())["misbehaviour"]
        sys.stdout.write("the framework talks on stdout\n")
        if misbehaviour == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if misbehaviour == "abort":
            os.abort()
        if misbehaviour == "raise":
            raise ValueError("the operator 'frobnicate' is not implemented")
        if misbehaviour == "mistake":
            raise GraphError("the layer 'left' is not known")
        return FakeProgram(misbehaviour)

    def version(self):
        return "1.2"

    def set_threads(self, count):
        assert os.environ["OMP_NUM_THREADS"] == str(count)

    def reference(self):
        matrix = np.ones((WIDTH, WIDTH), np.float32)
        return {"product": (WIDTH**3, lambda: matrix @ matrix)}


class FakeRuntime:
    """Keeps the names of a part's layers in a file; misbehaves like the program that they are of."""

    name = "fake"
    suffix = ".fake"

    def version(self):
        return "3.4"

    def set_threads(self, count):
        assert os.environ["OMP_NUM_THREADS"] == str(count)

    def write(self, part, path):
        path.write_text(json.dumps({"layers": part.layers, "misbehaviour": part.program.misbehaviour}))

    def open(self, path):
        held = json.loads(path.read_text())
        if held["misbehaviour"] == "memory" and "edgepart.profiling.worker" not in sys.orig_argv:
            raise ValueError("the artefact cannot be opened twice")
        return FakePart(FakeProgram(), held["layers"])


def installed(folder, monkeypatch):
    """Child processes find the framework as if it had been installed."""
    metadata = folder / "fake_framework-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-framework\nVersion: 1.2\n")
    (metadata / "entry_points.txt").write_text(
        "[edgepart.frameworks]\nfake = fake_framework:FakeFramework\n"
        "[edgepart.runtimes]\nfake = fake_framework:FakeRuntime\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(Path(__file__).parent)]))


def peak(start, stop):
    return peak_activation_bytes(graph(), [x[0] for x in LAYERS[start:stop]])
