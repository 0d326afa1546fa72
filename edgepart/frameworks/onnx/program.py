"""A captured network: its Graph, and slices of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgepart.errors import FileError, GraphError
from edgepart.files import atomic_folder, read_arrays, read_json, write_arrays, write_json
from edgepart.frameworks.base import Arrays
from edgepart.frameworks.onnx.files import load_model, save_model
from edgepart.frameworks.onnx.normal import normalise, structure
from edgepart.frameworks.onnx.part import Part
from edgepart.frameworks.onnx.sides import Sides
from edgepart.graph import Boundary, Graph

_MODEL, _SAMPLE, _GRAPH, _STRUCTURE = "model.onnx", "example.safetensors", "graph.json", "structure.json"


class Program:
    """A model whose nodes and values bear the names of the layers and tensors of its ``graph``.

    Parts share its weights, which nobody writes to: :meth:`update` replaces them.
    """

    def __init__(self, model: ir.Model, graph: Graph, sample: Arrays, fingerprint: str) -> None:
        """Args:
        fingerprint: :func:`edgepart.frameworks.onnx.normal.structure` of the user's model
        """
        self.model = model
        self.graph = graph
        self._sample = dict(sample)
        self._fingerprint = fingerprint
        self._sides = Sides.of(model.graph)
        self._nodes = {str(node.name): node for node in model.graph}
        self._values = {str(v.name): v for v in model.graph.inputs}
        self._values |= {str(v.name): v for node in model.graph for v in node.outputs if v.name}

    def example(self) -> dict[str, NDArray[np.generic]]:
        """One sample of the inputs that the network was captured with, by the names of the graph's inputs."""
        return {name: array.copy() for name, array in self._sample.items()}

    def slice(self, start: Boundary | None, stop: Boundary | None) -> Part:
        """The part between two boundaries (None: the network's input, its output).

        Raises:
            GraphError: the boundaries are not closed, do not nest, or hold nothing between them.
        """
        parts = self.graph.chain([boundary for boundary in (start, stop) if boundary is not None])
        inside = parts[0] if start is None else parts[1]
        if not inside:
            raise GraphError("there is no layer between the two boundaries")
        return self.part(self.graph.in_order(inside))

    def part(self, layers: tuple[str, ...]) -> Part:
        """The part of some layers, in topological order."""
        graph, inside = self.graph, set(layers)
        inputs = [t for t in graph.tensors if t.producer not in inside and inside.intersection(t.consumers)]
        outputs = [
            t
            for t in graph.tensors
            if t.producer in inside and (t.name in graph.outputs or not inside.issuperset(t.consumers))
        ]
        names = sorted({name for layer in layers for name in graph.layer(layer).parameters})
        model = self._sliced(layers, [t.name for t in inputs], [t.name for t in outputs], names)
        sizes = {name: graph.parameters[name] for name in names}
        return Part(model, layers, inputs, outputs, sizes, graph.symbols)

    def _sliced(self, layers: tuple[str, ...], inputs: list[str], outputs: list[str], weights: list[str]) -> ir.Model:
        nodes = [self._nodes[name] for name in layers]
        before = {node: None for layer in nodes for node in self._sides.closure(layer)[0]}
        whole = self.model.graph
        place = {node: index for index, node in enumerate(whole)} if before else {}
        graph = ir.GraphView(
            [self._values[name] for name in inputs],
            [self._values[name] for name in outputs],
            nodes=[*sorted(before, key=place.__getitem__), *nodes],
            initializers=[whole.initializers[name] for name in weights],
            opset_imports=whole.opset_imports,
            name=whole.name,
        ).clone()
        return ir.Model(graph, ir_version=self.model.ir_version, producer_name="edgepart")

    def update(self, model: object) -> None:
        """Take the weights that a model holds now.

        Raises:
            GraphError: the model has other nodes or shapes than when it was captured.
        """
        now = normalise(model)
        if structure(now) != self._fingerprint:
            raise GraphError(f"the nodes of the model '{self.graph.name}' have changed: capture the network again")
        for name, value in self.model.graph.initializers.items():
            if name in now.graph.initializers:
                value.const_value = now.graph.initializers[name].const_value

    def weights_digest(self) -> str:
        """sha256 of all weights."""
        digest = hashlib.sha256()
        for name in sorted(self.graph.parameters):
            tensor: Any = self.model.graph.initializers[name].const_value
            digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
            digest.update(tensor.tobytes())
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write the model, its weights, the graph and the example.

        Raises:
            FileError: the folder's parent is missing or the disk is full.
        """
        with atomic_folder(folder) as temporary:
            save_model(self.model, temporary / _MODEL)
            write_arrays(temporary / _SAMPLE, self._sample, {})
            write_json(temporary / _STRUCTURE, self._fingerprint)
            self.graph.save(temporary / _GRAPH)

    @classmethod
    def open(cls, folder: Path) -> Program:
        """Read back what :meth:`save` wrote; the weights stay in their file.

        Raises:
            FileError: a file is missing or damaged.
        """
        folder = Path(folder)
        graph = Graph.load(folder / _GRAPH)
        model = load_model(folder / _MODEL)
        program = cls(model, graph, read_arrays(folder / _SAMPLE), str(read_json(folder / _STRUCTURE)))
        lacking = [layer.name for layer in graph.layers if layer.name not in program._nodes]
        if lacking:
            raise FileError(f"{folder} holds a model without the layer '{lacking[0]}': capture the network again")
        return program
