"""A captured network: its Graph, and slices of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn
from torch.export import ExportedProgram

from edgepart.errors import FileError, GraphError
from edgepart.files import atomic_folder, read_arrays, read_json, write_arrays, write_json
from edgepart.frameworks.base import Arrays
from edgepart.frameworks.torch.artefact import load_exported, save_exported
from edgepart.frameworks.torch.lower import Lowered, lower
from edgepart.frameworks.torch.part import Part
from edgepart.graph import Boundary, Graph

_SAMPLE = "example.safetensors"


class Program:
    """What torch.export captured, grouped into layers.

    ``graph`` describes it. The weights are those of the captured model, not copies, until a part takes its own.
    """

    def __init__(
        self,
        exported: ExportedProgram,
        name: str,
        ties: Mapping[str, str],
        sample: Arrays,
        modules: tuple[str, ...] | None = None,
    ) -> None:
        self._ties = dict(ties)
        self._sample = dict(sample)
        self._modules = modules
        self._lowered: Lowered = lower(exported, name, ties)
        self.graph: Graph = self._lowered.graph

    def example(self) -> dict[str, NDArray[np.generic]]:
        """One sample of the inputs that the network was captured with, by the names of the graph's inputs."""
        return {name: array.copy() for name, array in self._sample.items()}

    def slice(self, start: Boundary | None, stop: Boundary | None, *, share: bool = False) -> Part:
        """The part between two boundaries (None: the network's input, its output).

        Args:
            share: use the network's own parameters (for training it through its parts) instead of copies

        Raises:
            GraphError: the boundaries are not closed, do not nest, or hold nothing between them.
        """
        inside = self._between(start, stop)
        if not inside:
            raise GraphError("there is no layer between the two boundaries")
        return self._part(self.graph.in_order(inside), share)

    def _between(self, start: Boundary | None, stop: Boundary | None) -> frozenset[str]:
        parts = self.graph.chain([boundary for boundary in (start, stop) if boundary is not None])
        return parts[0] if start is None else parts[1]

    def _part(self, layers: Sequence[str], share: bool) -> Part:
        graph = self.graph
        inside = set(layers)
        inputs = [t for t in graph.tensors if t.producer not in inside and inside.intersection(t.consumers)]
        outputs = [
            t
            for t in graph.tensors
            if t.producer in inside and (t.name in graph.outputs or not inside.issuperset(t.consumers))
        ]
        names = sorted({name for layer in layers for name in graph.layer(layer).parameters})
        slicer = _Slicer(self._lowered, layers, [t.name for t in inputs], [t.name for t in outputs])
        module = slicer.module(share)
        sizes = {name: graph.parameters[name] for name in names}
        return Part(module, layers, inputs, outputs, sizes, graph.symbols)

    def update(self, model: object) -> None:
        """Take the weights that a model holds now, where it has replaced the tensors captured.

        Raises:
            GraphError: the model has changed its modules or the shape of a tensor since it was captured.
        """
        assert isinstance(model, nn.Module)
        if self._modules is not None and self._modules != structure(model):
            raise GraphError(f"the modules of the {type(model).__name__} have changed: capture the network again")
        now: dict[str, torch.Tensor] = dict(model.named_buffers(remove_duplicate=False))
        now |= dict(model.named_parameters(remove_duplicate=False))
        for name in self._lowered.graph.parameters:
            captured = self._lowered.state[name]
            if name not in now:
                continue  # a constant inside the code
            if now[name].shape != captured.shape or now[name].dtype != captured.dtype:
                raise GraphError(
                    f"'{name}' of the network is now {tuple(now[name].shape)}, it was captured as "
                    f"{tuple(captured.shape)}: capture the network again"
                )
            self._lowered.state[name] = now[name]

    def save(self, folder: Path) -> None:
        """Write the exported program, its weights and the graph.

        Raises:
            FileError: the folder's parent is missing or the disk is full.
        """
        exported = self._lowered.exported
        for name in exported.state_dict:
            current = self._lowered.state.get(self._ties.get(name, name))
            if current is not None:
                exported.state_dict[name] = current
        with atomic_folder(folder) as temporary:
            save_exported(exported, temporary / "program.pt2")
            write_json(temporary / "ties.json", self._ties)
            write_arrays(temporary / _SAMPLE, self._sample, {})
            self.graph.save(temporary / "graph.json")

    @classmethod
    def open(cls, folder: Path) -> Program:
        """Read back what :meth:`save` wrote.

        Raises:
            FileError: a file is missing or damaged, or this version of torch reads another network from it.
        """
        graph = Graph.load(Path(folder) / "graph.json")
        exported = load_exported(Path(folder) / "program.pt2")
        program = cls(exported, graph.name, read_json(Path(folder) / "ties.json"), read_arrays(Path(folder) / _SAMPLE))
        if program.graph.fingerprint != graph.fingerprint:
            raise FileError(
                f"{folder} holds a program whose layers differ from its graph.json: capture the network again"
            )
        return program


def structure(model: nn.Module) -> tuple[str, ...]:
    """Path and settings of every module: what must stay for a captured program to stand for the model."""
    return tuple(f"{path}: {type(m).__qualname__}({m.extra_repr()})" for path, m in model.named_modules())


_EMPTY = fx.GraphModule({}, fx.Graph())


class _Slicer:
    """Copies the nodes of some layers into a module of their own."""

    def __init__(self, lowered: Lowered, layers: Sequence[str], inputs: Sequence[str], outputs: Sequence[str]) -> None:
        self._lowered = lowered
        self._graph = fx.Graph()
        self._weights: dict[str, fx.Node] = {}
        self._nodes: dict[fx.Node, fx.Node] = {}
        for name in inputs:
            # a name of Python's, whatever the layer is called ("0" in an nn.Sequential)
            place = self._graph.placeholder("x_" + "".join(c if c.isalnum() else "_" for c in name))
            self._nodes[lowered.nodes[name]] = place
        for layer in layers:
            for node in lowered.bodies[layer]:
                copy = self._graph.node_copy(node, self._copied)
                copy.meta = {k: node.meta[k] for k in ("nn_module_stack", "stack_trace") if k in node.meta}
                copy.meta["custom"] = {"layer": layer}  # which torch passes on to whatever it makes of the operation
                self._nodes[node] = copy
        self._graph.output(tuple(self._nodes[lowered.nodes[name]] for name in outputs))

    def _copied(self, node: fx.Node) -> fx.Node:
        if node.op != "get_attr":
            return self._nodes[node]
        name = str(node.target)
        if name not in self._weights:
            first = next(iter(self._graph.nodes), None)
            with self._graph.inserting_before(first):
                self._weights[name] = self._graph.create_node("get_attr", _attribute(name))
        return self._weights[name]

    def module(self, share: bool) -> fx.GraphModule:
        root: dict[str, Any] = {}
        for name in self._weights:
            value = self._lowered.state[name]
            root[_attribute(name)] = value if share else _copy(value)
        return fx.GraphModule(root, self._graph, class_name="Part")


def _attribute(name: str) -> str:
    """Where a slice keeps a tensor: under its own name, unless a GraphModule has another use for that (``graph``)."""
    return f"own_{name}" if hasattr(_EMPTY, name.partition(".")[0]) else name


def _copy(value: Any) -> Any:
    if isinstance(value, nn.Parameter):
        return nn.Parameter(value.detach().clone(), requires_grad=value.requires_grad)
    return value.detach().clone() if isinstance(value, torch.Tensor) else value
